"""Whatever time does, and whatever happens in between: no slot fires twice, and an absence is at most one run."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import HealthCheck, assume, given, settings, strategies as st

from orchestrator.agents.domain import Agent, CatchUp, Overlap, Schedule
from orchestrator.runs.domain import RunState
from orchestrator.schedules.decisions import decide
from orchestrator.schedules.domain import DEFAULT_GRACE, jitter_of
from orchestrator.schedules.validity import problem
from tests.conformance.orchestrator.agents import a_mutation, an_agent
from tests.fakes.schedules import InMemorySchedules
from tests.orchestrator.schedules.strategies import frequent_crons, schedules, unusual_times

MAX_DISTANCE_DAYS = 32
"""Between two slots of any schedule here."""

steps = st.one_of(
    st.integers(0, 180).map(lambda n: timedelta(seconds=n)),
    st.integers(1, 12 * 60).map(lambda n: timedelta(minutes=n)),
    st.integers(-24 * 60, -1).map(lambda n: timedelta(minutes=n)),
    st.integers(1, 21).map(lambda n: timedelta(days=n)),
)
happenings = st.sampled_from(
    ["tick", "tick", "tick", "connect", "offline tick", "end", "fail", "by another replica", "pause", "resume"]
)
histories = st.lists(st.tuples(steps, happenings), min_size=1, max_size=25)


async def live(store: InMemorySchedules, agent: Agent, what: str, now: datetime) -> None:
    """Let one thing happen."""
    match what:
        case "tick" | "by another replica":
            for _ in range(2 if what == "by another replica" else 1):
                await store.claim_due(now, lambda one: decide(one, now=now, online=True), limit=10)
        case "offline tick":
            await store.claim_due(now, lambda one: decide(one, now=now, online=False), limit=10)
        case "connect":
            await store.claim_overdue(["ada"], now, lambda one: decide(one, now=now, online=True), limit=10)
        case "end" | "fail":
            for run in await store.runs_of(agent.agent_id):
                if not run.state.terminal:
                    await store.end_run(run.run_id, RunState.SUCCEEDED if what == "end" else RunState.FAILED)
                    await store.run_ended(run.run_id)
        case _:
            await store.change(
                a_mutation("ada"),
                agent.agent_id,
                lambda before: replace(before, paused=what == "pause", updated_at=max(now, before.updated_at)),
            )


async def lived(schedule: Schedule, start: datetime, history: list[tuple[timedelta, str]]) -> InMemorySchedules:
    """Return the store after a history of an agent with this schedule. The store itself refuses a slot's second run."""
    store = InMemorySchedules()
    agent = an_agent("ada", schedule=schedule, created_at=start, updated_at=start)
    await store.add(a_mutation("ada"), agent)
    now = start
    for step, what in history:
        now += step
        before = len(store.runs)
        await live(store, agent, what, now)
        assert len(store.runs) <= before + 1, "one look started more than one run"
        new = list(store.runs.values())[before:]
        for run in new:
            assert run.slot_time is not None
            due_at = run.slot_time + jitter_of(schedule, agent.agent_id)
            assert due_at <= now
            if schedule.catch_up is CatchUp.NONE:
                assert now - due_at <= (schedule.grace or DEFAULT_GRACE)
            if schedule.overlap is Overlap.SKIP:
                assert all(other.state.terminal for other in store.runs.values() if other is not run)
    return store


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schedules(frequent_crons), unusual_times, histories)
async def test_no_slot_fires_twice_whatever_time_does(
    schedule: Schedule, place: tuple[datetime, str], history: list[tuple[timedelta, str]]
) -> None:
    start, zone = place
    schedule = replace(schedule, time_zone=zone, start_time=None, end_time=None)
    assume(problem(schedule) is None)

    store = await lived(schedule, start, history)

    slots = [run.slot_time for run in store.runs.values()]
    assert len(slots) == len(set(slots))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schedules(frequent_crons), unusual_times, st.integers(1, 60), st.booleans())
async def test_an_absence_is_at_most_one_run(
    schedule: Schedule, place: tuple[datetime, str], days: int, ticked_meanwhile: bool
) -> None:
    start, zone = place
    schedule = replace(schedule, time_zone=zone, start_time=None, end_time=None)
    assume(problem(schedule) is None)
    meanwhile = [(timedelta(hours=1), "offline tick")] * 24 if ticked_meanwhile else []

    store = await lived(schedule, start, [*meanwhile, (timedelta(days=days), "connect"), (timedelta(0), "tick")])

    assert len(store.runs) <= 1
    # Every one of these schedules has a slot each month at the least; with COALESCE none of them stays without its run.
    assert schedule.catch_up is CatchUp.NONE or days < MAX_DISTANCE_DAYS or len(store.runs) == 1
