"""What every store of schedules does. A test module inherits the suite and gives it a `lab`."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from orchestrator.agents.domain import Agent, CloudConnector, DataType, LocalDirectory, Overlap, Schedule
from orchestrator.agents.ports import AgentStore
from orchestrator.runs.domain import Run, RunState, Trigger
from orchestrator.schedules.decisions import COALESCED, DEVICE_OFFLINE, Candidate, Decision, decide
from orchestrator.schedules.ports import Claim, Decide, Schedules
from tests.conformance.orchestrator.agents import LOCAL, a_mutation, an_agent

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
MINUTELY = Schedule(cron="* * * * *")


class ScheduleLab(Protocol):
    """A store of schedules, with the agents and the runs that belong to it. It holds no agents of other tests."""

    @property
    def schedules(self) -> Schedules: ...

    @property
    def agents(self) -> AgentStore: ...

    async def runs_of(self, agent_id: str) -> list[Run]:
        """Return the agent's runs, oldest first."""
        ...

    async def end_run(self, run_id: str, state: RunState) -> None:
        """Make a run terminal, as its worker does."""
        ...

    async def begin_run(self, run_id: str) -> None:
        """Make a run RUNNING."""
        ...


def deciding(now: datetime, *, online: bool | None = True) -> Callable[[Candidate], Decision]:
    """Return the rule, at a time."""
    return lambda candidate: decide(candidate, now=now, online=online)


@dataclass
class Seen:
    """A decision function that remembers whom it was asked about."""

    decide: Decide
    candidates: list[Candidate]

    def __call__(self, candidate: Candidate) -> Decision | None:
        self.candidates.append(candidate)
        return self.decide(candidate)


class ScheduleConformance:
    """The suite. Every test has users of its own; times are passed in."""

    async def add(self, lab: ScheduleLab, **fields: object) -> Agent:
        user = str(fields.pop("user_id", f"user-{uuid.uuid4()}"))
        usual: dict[str, object] = {"schedule": MINUTELY, "created_at": NOON, "updated_at": NOON}
        agent = an_agent(user, **(usual | fields))
        await lab.agents.add(a_mutation(user), agent)
        return agent

    async def tick(
        self, lab: ScheduleLab, now: datetime, *, online: bool | None = True, limit: int = 100
    ) -> list[Claim]:
        claims = [await lab.schedules.claim_due(now, deciding(now, online=online), limit=limit)]
        while claims[-1].more_after:
            claims.append(await lab.schedules.claim_due(now, deciding(now, online=online), limit=limit))
        return claims

    async def test_a_new_agent_is_due_at_its_next_slot(self, lab: ScheduleLab) -> None:
        agent = await self.add(lab)

        assert await lab.schedules.next_due() == NOON + MINUTE
        await self.tick(lab, NOON + MINUTE - timedelta(microseconds=1))
        assert await lab.runs_of(agent.agent_id) == []

        await self.tick(lab, NOON + MINUTE)

        [run] = await lab.runs_of(agent.agent_id)
        assert (run.slot_time, run.trigger, run.state) == (NOON + MINUTE, Trigger.SCHEDULE, RunState.QUEUED)
        assert (run.user_id, run.definition) == (agent.user_id, agent.definition)
        assert await lab.schedules.next_due() == NOON + 2 * MINUTE
        assert (await lab.agents.get(agent.user_id, agent.agent_id)).last_run_at == NOON + MINUTE

    async def test_a_slot_fires_once_however_often_it_is_looked_at(self, lab: ScheduleLab) -> None:
        agent = await self.add(lab)

        for seconds in (60, 60, 61, 90, 119, 60):
            await self.tick(lab, NOON + timedelta(seconds=seconds))

        assert [run.slot_time for run in await lab.runs_of(agent.agent_id)] == [NOON + MINUTE]

    async def test_a_long_absence_is_one_run_and_its_other_slots_are_counted(self, lab: ScheduleLab) -> None:
        agent = await self.add(lab, schedule=Schedule(cron="0 9 * * *"))
        await self.tick(lab, NOON + DAY)

        await self.tick(lab, NOON + 8 * DAY)

        slots = [run.slot_time for run in await lab.runs_of(agent.agent_id)]
        assert slots == [NOON.replace(hour=9) + DAY]  # the second slot found the first run still waiting
        found = await lab.agents.get(agent.user_id, agent.agent_id)
        assert (found.missed.count, found.missed.last_reason) == (6, COALESCED)
        assert found.missed.last_slot == NOON.replace(hour=9) + 7 * DAY
        assert found.skipped.count == 1

    async def test_agents_are_taken_in_batches_the_longest_overdue_first(self, lab: ScheduleLab) -> None:
        slow = [await self.add(lab, created_at=NOON - index * DAY, updated_at=NOON - index * DAY) for index in range(5)]

        claims = await self.tick(lab, NOON + MINUTE, limit=2)

        taken = [one.candidate.agent_id for claim in claims for one in claim.decided]
        assert taken == [agent.agent_id for agent in reversed(slow)]
        assert [len(claim.decided) for claim in claims] == [2, 2, 1]

    async def test_who_waits_for_a_device_is_not_looked_at_until_one_connects(self, lab: ScheduleLab) -> None:
        agent = await self.add(lab)
        await self.tick(lab, NOON + MINUTE, online=False)

        assert await lab.schedules.next_due() is None
        assert (await lab.agents.get(agent.user_id, agent.agent_id)).waits_for_device
        assert await self.tick(lab, NOON + DAY) == [Claim(decided=())]

        await lab.schedules.claim_overdue([agent.user_id], NOON + DAY, deciding(NOON + DAY), limit=10)
        await lab.schedules.claim_overdue([agent.user_id], NOON + DAY, deciding(NOON + DAY), limit=10)

        [run] = await lab.runs_of(agent.agent_id)
        assert (run.trigger, run.slot_time) == (Trigger.DEVICE_CONNECTED, NOON + DAY)
        assert not (await lab.agents.get(agent.user_id, agent.agent_id)).waits_for_device
        assert await lab.schedules.next_due() == NOON + DAY + MINUTE

    async def test_only_agents_of_the_users_are_overdue_and_pages_repeat_none(self, lab: ScheduleLab) -> None:
        mine = [await self.add(lab, user_id="ada") for _ in range(5)]
        await self.add(lab, user_id="bob")
        await self.add(lab, user_id="ada", schedule=None)
        seen, after = Seen(lambda _candidate: None, []), ""

        while True:
            claim = await lab.schedules.claim_overdue(["ada"], NOON, seen, limit=2, after=after)
            assert claim.decided == ()
            if not (after := claim.more_after):
                break

        assert [one.agent_id for one in seen.candidates] == sorted(agent.agent_id for agent in mine)

    async def test_a_candidate_tells_its_device_its_runs_and_how_much_room_there_is(self, lab: ScheduleLab) -> None:
        bound = replace(LOCAL, source=LocalDirectory(directory_paths=("a",), device_id="laptop"))
        cloud = replace(LOCAL, source=CloudConnector(connection_id="c"), data_types=frozenset({DataType.TASKS}))
        agent = await self.add(lab, definition=bound)
        await self.add(lab, user_id=agent.user_id, definition=cloud, created_at=NOON + DAY, updated_at=NOON + DAY)
        await self.tick(lab, NOON + MINUTE)
        [run] = await lab.runs_of(agent.agent_id)
        seen = Seen(deciding(NOON + 2 * DAY), [])

        await lab.schedules.claim_due(NOON + 2 * DAY, seen, limit=10)

        first, second = seen.candidates
        assert (first.device_id, second.device_id) == ("laptop", "")
        assert first.under_way == ((run.run_id, RunState.QUEUED),)
        assert second.under_way == ()
        assert first.served_until == NOON + MINUTE
        assert second.served_until is None
        assert (first.room, second.room) == (99, 99)

    async def test_runs_beyond_the_users_room_wait_their_turn_and_are_not_lost(self, lab: ScheduleLab) -> None:
        agents = [await self.add(lab, user_id="many") for _ in range(103)]

        await self.tick(lab, NOON + MINUTE)
        started = [agent for agent in agents if await lab.runs_of(agent.agent_id)]
        assert len(started) == 100
        for agent in started[:10]:
            [run] = await lab.runs_of(agent.agent_id)
            await lab.end_run(run.run_id, RunState.SUCCEEDED)
        await self.tick(lab, NOON + MINUTE + timedelta(seconds=10))

        slots = [run.slot_time for agent in agents for run in await lab.runs_of(agent.agent_id)]
        assert slots == [NOON + MINUTE] * 103

    async def test_an_older_run_is_cancelled_before_the_new_one_starts(self, lab: ScheduleLab) -> None:
        agent = await self.add(lab, schedule=replace(MINUTELY, overlap=Overlap.CANCEL_OTHER))
        await self.tick(lab, NOON + MINUTE)
        [first] = await lab.runs_of(agent.agent_id)

        await self.tick(lab, NOON + 2 * MINUTE)
        [first, second] = await lab.runs_of(agent.agent_id)
        await lab.begin_run(second.run_id)
        await self.tick(lab, NOON + 3 * MINUTE)
        [first, second, third] = await lab.runs_of(agent.agent_id)

        assert (first.state, second.state, third.state) == (RunState.CANCELLED, RunState.RUNNING, RunState.QUEUED)
        assert first.cancel_reason
        assert second.cancel_requested

    async def test_a_skipped_slot_is_counted_with_its_reason(self, lab: ScheduleLab) -> None:
        agent = await self.add(lab)

        await lab.schedules.claim_due(
            NOON + MINUTE,
            lambda one: decide(replace(one, under_way=(("r", RunState.RUNNING),)), now=NOON + MINUTE, online=True),
            limit=10,
        )

        found = await lab.agents.get(agent.user_id, agent.agent_id)
        assert (found.skipped.count, found.skipped.last_slot) == (1, NOON + MINUTE)
        assert found.skipped.last_reason not in {"", DEVICE_OFFLINE}
        assert await lab.runs_of(agent.agent_id) == []

    async def test_a_pause_takes_the_slots_that_pass_during_it(self, lab: ScheduleLab) -> None:
        agent = await self.add(lab)

        await self.change(lab, agent, NOON + MINUTE / 2, paused=True)
        assert await lab.schedules.next_due() is None
        await self.tick(lab, NOON + DAY)
        await lab.schedules.claim_overdue([agent.user_id], NOON + DAY, deciding(NOON + DAY), limit=10)
        await self.change(lab, agent, NOON + DAY + MINUTE / 2, paused=False)
        now = NOON + DAY + MINUTE / 2
        await lab.schedules.claim_overdue([agent.user_id], now, deciding(now), limit=10)
        assert await lab.runs_of(agent.agent_id) == []
        await self.tick(lab, NOON + DAY + MINUTE)

        assert [run.slot_time for run in await lab.runs_of(agent.agent_id)] == [NOON + DAY + MINUTE]

    async def test_a_new_schedule_is_due_at_its_own_next_slot(self, lab: ScheduleLab) -> None:
        agent = await self.add(lab)
        await self.tick(lab, NOON + MINUTE)

        await self.change(lab, agent, NOON + 2 * MINUTE, schedule=Schedule(cron="30 * * * *"))

        assert await lab.schedules.next_due() == NOON + 30 * MINUTE
        await self.change(lab, agent, NOON + 2 * MINUTE, schedule=None)
        assert await lab.schedules.next_due() is None

    async def test_an_agent_that_waits_is_looked_at_when_it_becomes_another_devices(self, lab: ScheduleLab) -> None:
        agent = await self.add(lab)
        await self.tick(lab, NOON + MINUTE, online=False)
        other = replace(LOCAL, source=LocalDirectory(directory_paths=("a",), device_id="laptop"))

        await self.change(lab, agent, NOON + 2 * MINUTE, definition=other)
        await self.tick(lab, NOON + 2 * MINUTE)

        assert len(await lab.runs_of(agent.agent_id)) == 1

    async def test_an_invalid_schedule_is_looked_at_once_and_never_fires(self, lab: ScheduleLab) -> None:
        agent = await self.add(lab)
        broken = Schedule(cron="61 * * * *")

        claim = await lab.schedules.claim_due(
            NOON + MINUTE,
            lambda one: decide(replace(one, schedule=broken), now=NOON + MINUTE, online=True),
            limit=10,
        )

        assert [one.decision.invalid != "" for one in claim.decided] == [True]
        assert await self.tick(lab, NOON + DAY) == [Claim(decided=())]
        assert await lab.runs_of(agent.agent_id) == []

    async def test_an_agent_is_paused_after_as_many_failures_as_its_schedule_says(self, lab: ScheduleLab) -> None:
        agent = await self.add(lab, schedule=replace(MINUTELY, pause_after_failures=2))
        failed, fine, gone = RunState.FAILED, RunState.SUCCEEDED, RunState.CANCELLED

        for number, state in enumerate([failed, fine, failed, gone, failed], 1):
            await self.run_once(lab, agent, NOON + number * MINUTE, state)
            found = await lab.agents.get(agent.user_id, agent.agent_id)
            assert found.paused == (number == 5)

        assert found.failures_in_a_row == 2
        assert "2 failed runs" in found.pause_reason
        assert found.etag != agent.etag
        assert await lab.schedules.next_due() is None
        assert await self.tick(lab, NOON + DAY) == [Claim(decided=())]

    async def test_a_run_is_counted_once_and_only_when_it_has_ended(self, lab: ScheduleLab) -> None:
        agent = await self.add(lab)
        await self.tick(lab, NOON + MINUTE)
        [run] = await lab.runs_of(agent.agent_id)

        await lab.schedules.run_ended(run.run_id)
        await lab.end_run(run.run_id, RunState.FAILED)
        for _ in range(3):
            await lab.schedules.run_ended(run.run_id)

        assert (await lab.agents.get(agent.user_id, agent.agent_id)).failures_in_a_row == 1

    async def test_the_end_of_a_deleted_agents_run_is_nobodys(self, lab: ScheduleLab) -> None:
        agent = await self.add(lab)
        await self.tick(lab, NOON + MINUTE)
        [run] = await lab.runs_of(agent.agent_id)
        await lab.end_run(run.run_id, RunState.FAILED)
        await lab.agents.remove(a_mutation(agent.user_id), agent.agent_id, lambda _agent: None)

        await lab.schedules.run_ended(run.run_id)
        await lab.schedules.run_ended(str(uuid.uuid4()))

    async def run_once(self, lab: ScheduleLab, agent: Agent, now: datetime, state: RunState) -> None:
        await self.tick(lab, now)
        run = (await lab.runs_of(agent.agent_id))[-1]
        await lab.end_run(run.run_id, state)
        await lab.schedules.run_ended(run.run_id)

    async def change(self, lab: ScheduleLab, agent: Agent, now: datetime, **fields: object) -> None:
        def change(before: Agent) -> Agent:
            return replace(before, etag=str(uuid.uuid4()), updated_at=now, **fields)  # type: ignore[arg-type] # of Agent

        await lab.agents.change(a_mutation(agent.user_id), agent.agent_id, change)
