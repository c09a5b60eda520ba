"""The ticker on a store in memory: when it looks, what it starts, and how it bears trouble."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from adiuva_rpc.errors import Unavailable
from orchestrator.agents.domain import Agent, OnOffline, Schedule
from orchestrator.runs.domain import Trigger
from orchestrator.schedules.ports import Claim, Decide, Schedules
from orchestrator.schedules.presence import Presence
from orchestrator.schedules.ticker import AFTER_FAULT, AGENTS_AT_A_TIME, LONGEST_SLEEP, SHORTEST_SLEEP, Ticker
from tests.conformance.orchestrator.agents import a_mutation, an_agent
from tests.conformance.orchestrator.schedules import DAY, MINUTE, MINUTELY, NOON
from tests.fakes.schedules import InMemorySchedules
from tests.orchestrator.schedules.clockwork import ListMeter, ManualClock, device


def here(*users: str) -> Presence:
    """Return a presence that knows a connected device of each of these users."""
    presence = Presence()
    for user in users:
        presence.see(device(f"laptop of {user}", user_id=user))
    presence.complete()
    return presence


async def add(store: InMemorySchedules, *, user_id: str = "ada", schedule: Schedule = MINUTELY) -> Agent:
    agent = an_agent(user_id, schedule=schedule, created_at=NOON, updated_at=NOON)
    return await store.add(a_mutation(user_id), agent)


@asynccontextmanager
async def ticking(
    schedules: Schedules, clock: ManualClock, presence: Presence, meter: ListMeter | None = None
) -> AsyncIterator[None]:
    ticker = Ticker(schedules=schedules, presence=presence, clock=clock, alarm=clock, meter=meter or ListMeter())
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(ticker.run())
        try:
            yield
        finally:
            task.cancel()


@pytest.fixture
def store() -> InMemorySchedules:
    return InMemorySchedules()


@pytest.fixture
async def clock() -> ManualClock:
    return ManualClock(NOON)


async def test_it_sleeps_until_the_next_slot_and_starts_it_then(store: InMemorySchedules, clock: ManualClock) -> None:
    agent, meter = await add(store), ListMeter()

    async with ticking(store, clock, here("ada"), meter):
        await clock.move(MINUTE - timedelta(seconds=1))
        assert store.runs == {}
        await clock.move(timedelta(seconds=1))

    assert [run.slot_time for run in await store.runs_of(agent.agent_id)] == [NOON + MINUTE]
    assert clock.asked == [NOON + MINUTE, NOON + 2 * MINUTE]
    assert [(one.decision.fire is not None, trigger) for one, trigger in meter.seen] == [(True, Trigger.SCHEDULE)]


async def test_it_looks_again_now_and_then_when_nothing_is_ever_due(
    store: InMemorySchedules, clock: ManualClock
) -> None:
    await add(store, schedule=Schedule(cron="0 0 1 1 *"))

    async with ticking(store, clock, here("ada")):
        await clock.settled()
        for _ in range(10):
            await clock.move(LONGEST_SLEEP)

    assert store.claims == 11
    assert clock.asked[0] == NOON + LONGEST_SLEEP


async def test_a_changed_schedule_wakes_it(store: InMemorySchedules, clock: ManualClock) -> None:
    async with ticking(store, clock, here("ada")):
        await clock.settled()
        await add(store)
        await clock.ring()

    assert clock.asked == [NOON + LONGEST_SLEEP, NOON + MINUTE]


async def test_more_agents_than_one_batch_are_all_started_at_once(store: InMemorySchedules, clock: ManualClock) -> None:
    users = [f"user-{number}" for number in range(2 * AGENTS_AT_A_TIME + 1)]
    for user in users:
        await add(store, user_id=user)

    async with ticking(store, clock, here(*users)):
        await clock.move(MINUTE)

    assert len(store.runs) == len(users)


async def test_it_decides_nothing_before_it_is_known_what_is_connected(
    store: InMemorySchedules, clock: ManualClock
) -> None:
    presence = Presence()
    await add(store, schedule=Schedule(cron="* * * * *", on_offline=OnOffline.SKIP))
    clock.time = NOON + MINUTE

    async with ticking(store, clock, presence):
        await asyncio.sleep(0)
        assert store.claims == 0
        presence.see(device())
        presence.complete()
        await clock.settled()

    assert len(store.runs) == 1


async def test_a_week_of_sleep_is_one_run(store: InMemorySchedules, clock: ManualClock) -> None:
    agent = await add(store)

    async with ticking(store, clock, here("ada")):
        await clock.move(7 * DAY)
        await clock.ring()

    assert [run.slot_time for run in await store.runs_of(agent.agent_id)] == [NOON + 7 * DAY]


async def test_what_is_due_in_other_hands_is_looked_at_again_a_moment_later(
    store: InMemorySchedules, clock: ManualClock
) -> None:
    class Busy(InMemorySchedules):
        async def claim_due(self, now: datetime, decide: Decide, *, limit: int) -> Claim:
            return Claim(decided=())

    busy = Busy()
    await add(busy)
    clock.time = NOON + MINUTE

    async with ticking(busy, clock, here("ada")):
        await clock.settled()

    assert clock.asked == [NOON + MINUTE + SHORTEST_SLEEP]


async def test_a_database_that_is_away_only_delays(clock: ManualClock) -> None:
    class Away(InMemorySchedules):
        away = True

        async def claim_due(self, now: datetime, decide: Decide, *, limit: int) -> Claim:
            if self.away:
                raise Unavailable("The schedules cannot be used now.")
            return await super().claim_due(now, decide, limit=limit)

    store = Away()
    agent = await add(store)
    clock.time = NOON + MINUTE

    async with ticking(store, clock, here("ada")):
        await clock.settled()
        assert clock.asked == [NOON + MINUTE + AFTER_FAULT]
        store.away = False
        await clock.move(AFTER_FAULT)

    assert len(await store.runs_of(agent.agent_id)) == 1


async def test_a_schedule_that_is_not_valid_is_logged_once(
    store: InMemorySchedules, clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(InMemorySchedules):
        async def claim_due(self, now: datetime, decide: Decide, *, limit: int) -> Claim:
            for agent in list(self._agents.values()):
                self.put(_broken(agent))
            return await super().claim_due(now, decide, limit=limit)

        async def claim_overdue(
            self, users: Collection[str], now: datetime, decide: Decide, *, limit: int, after: str = ""
        ) -> Claim:
            raise AssertionError("nobody asks")

    broken = Broken()
    await add(broken)

    async with ticking(broken, clock, here("ada")):
        for _ in range(5):
            await clock.move(MINUTE)

    assert broken.runs == {}
    assert capsys.readouterr().out.count("schedule_invalid") == 1


def _broken(agent: Agent) -> Agent:
    return replace(agent, schedule=Schedule(cron="every day"))
