"""Quotas: never more than allowed, in order, and whole after whatever happens."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from connectors.errors import Throttled
from connectors.providers.quotas import Cost, Quota, Rate
from tests.connectors.providers.support import NOON, ManualClock, session

pytestmark = pytest.mark.timeout(20)

SECOND_LASTS = Rate.per_second(1).lasts.total_seconds()
MINUTE_LASTS = Rate.per_minute(1).lasts.total_seconds()


def quota(
    clock: ManualClock,
    *,
    concurrency: int = 20,
    connection: Rate | None = None,
    project: Rate | None = None,
    scope: Rate | None = None,
    kept: int = 1024,
) -> Quota:
    return Quota(
        now=clock.now,
        sleep=clock.sleep,
        concurrency=concurrency,
        per_connection=[connection] if connection else [],
        per_project=[project] if project else [],
        per_scope=[scope] if scope else [],
        kept=kept,
    )


async def spend(limits: Quota, clock: ManualClock, cost: Cost | None = None, *, connection_id: str = "c-1") -> float:
    """Make a request that takes no time; return when it was made, in seconds after noon."""
    async with limits.slot(session(clock, connection_id=connection_id), cost or Cost()):
        return (clock.now() - NOON).total_seconds()


async def test_each_connection_has_its_own_units() -> None:
    clock = ManualClock()
    limits = quota(clock, connection=Rate.per_second(2))

    times = [await spend(limits, clock, connection_id=name) for name in ("c-1", "c-1", "c-2", "c-2", "c-1")]

    assert times == [0, 0, 0, 0, SECOND_LASTS]


async def test_all_connections_share_the_units_of_the_project() -> None:
    clock = ManualClock()
    limits = quota(clock, project=Rate.per_second(2))

    assert [await spend(limits, clock, connection_id=name) for name in ("c-1", "c-2", "c-3")] == [
        0,
        0,
        SECOND_LASTS,
    ]


async def test_all_connections_share_the_units_of_a_scope() -> None:
    clock = ManualClock()
    limits = quota(clock, scope=Rate.per_second(1))
    asked = [("c-1", "general"), ("c-2", "general"), ("c-2", "random"), ("c-1", "")]

    times = [await spend(limits, clock, Cost(scope=scope), connection_id=name) for name, scope in asked]

    assert times == [0, SECOND_LASTS, SECOND_LASTS, SECOND_LASTS]


async def test_a_scope_that_has_to_wait_holds_up_no_other() -> None:
    clock = ManualClock()
    limits = quota(clock, scope=Rate.per_second(1), concurrency=1)
    order: list[str] = []

    async def call(scope: str) -> None:
        await spend(limits, clock, Cost(scope=scope))
        order.append(scope)

    async with asyncio.TaskGroup() as tasks:
        for scope in ("general", "general", "general", "random"):
            tasks.create_task(call(scope))

    assert order == ["general", "random", "general", "general"]


async def test_a_paused_connection_holds_up_no_scope_for_the_others() -> None:
    clock = ManualClock()
    limits = quota(clock, scope=Rate.per_second(1))
    limits.pause("c-1", NOON + timedelta(seconds=30))

    async with asyncio.TaskGroup() as tasks:
        paused = tasks.create_task(spend(limits, clock, Cost(scope="general")))
        await asyncio.sleep(0)
        other = tasks.create_task(spend(limits, clock, Cost(scope="general"), connection_id="c-2"))

    assert (paused.result(), other.result()) == (30, 0)


async def test_a_connection_makes_no_more_requests_at_once_than_it_may() -> None:
    clock = ManualClock()
    limits = quota(clock, concurrency=4)
    running: dict[str, int] = {"c-1": 0, "c-2": 0}
    most: dict[str, int] = {"c-1": 0, "c-2": 0}

    async def call(name: str) -> None:
        async with limits.slot(session(clock, connection_id=name), Cost()):
            running[name] += 1
            most[name] = max(most[name], running[name])
            await asyncio.sleep(0)
            running[name] -= 1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(20):
            for name in running:
                tasks.create_task(call(name))

    assert most == {"c-1": 4, "c-2": 4}


async def test_a_paused_connection_is_left_alone_until_then_and_its_session_is_told() -> None:
    clock = ManualClock()
    limits = quota(clock)
    told: list[datetime] = []
    asking = session(clock)
    asking.on_wait = told.append
    limits.pause("c-1", NOON + timedelta(seconds=30))
    limits.pause("c-1", NOON + timedelta(seconds=10))

    assert await spend(limits, clock, connection_id="c-2") == 0
    async with limits.slot(asking, Cost()):
        assert clock.now() == NOON + timedelta(seconds=30)
    assert told == [NOON + timedelta(seconds=30)]


async def test_a_pause_that_comes_while_the_project_is_waited_for_still_holds() -> None:
    clock = ManualClock()
    limits = quota(clock, project=Rate.per_second(1))
    await spend(limits, clock, connection_id="c-2")

    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(spend(limits, clock))
        await asyncio.sleep(0)
        limits.pause("c-1", NOON + timedelta(seconds=30))
        other = tasks.create_task(spend(limits, clock, connection_id="c-3"))

    assert (waiting.result(), other.result()) == (30, SECOND_LASTS)


@pytest.mark.parametrize("paused", [True, False])
async def test_a_wait_beyond_the_deadline_is_a_throttle_at_once_and_costs_nothing(paused: bool) -> None:
    clock = ManualClock()
    limits = quota(clock, connection=Rate.per_minute(10), concurrency=1)
    await spend(limits, clock, Cost(units=9))
    if paused:
        limits.pause("c-1", NOON + timedelta(seconds=MINUTE_LASTS))

    with pytest.raises(Throttled) as caught:
        async with limits.slot(session(clock, seconds=60), Cost(units=2)):
            pytest.fail("it was let through")

    assert caught.value.retry_after == MINUTE_LASTS
    assert clock.slept == []
    assert await spend(limits, clock, Cost(units=1)) == (MINUTE_LASTS if paused else 0)


async def test_a_request_that_is_cancelled_while_running_or_waiting_leaves_its_place() -> None:
    clock = ManualClock()
    limits = quota(clock, concurrency=2, connection=Rate.per_minute(4))
    inside = asyncio.Event()

    async def call() -> None:
        async with limits.slot(session(clock), Cost()):
            inside.set()
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(call()) for _ in range(4)]
        await inside.wait()
        for task in reversed(running):
            task.cancel()

    # Two units were spent by those that ran, none by those that stood in line.
    assert [await spend(limits, clock) for _ in range(3)] == [0, 0, MINUTE_LASTS]
    lane = limits._connections._lanes["c-1"]
    assert (lane.users, lane.places._value, lane.bucket.turn.locked()) == (0, 2, False)


async def test_a_request_that_is_cancelled_while_its_units_are_waited_for_leaves_everything_whole() -> None:
    clock = ManualClock()
    asleep = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    limits = Quota(
        now=clock.now, sleep=sleep, concurrency=3, per_project=[Rate.per_second(1)], per_scope=[Rate.per_second(1)]
    )
    cost = Cost(scope="general")
    await spend(limits, clock, cost)
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(spend(limits, clock, cost, connection_id=name)) for name in ("c-1", "c-2")]
        await asleep.wait()
        for task in waiting:
            task.cancel()
    clock.advance(2)

    assert await spend(limits, clock, cost) == 2
    assert not limits._project.turn.locked()


async def test_connections_that_are_quiet_are_forgotten() -> None:
    clock = ManualClock()
    limits = quota(clock, connection=Rate.per_second(10), kept=10)

    for number in range(50):
        await spend(limits, clock, connection_id=f"early-{number}")
    assert len(limits._connections) == 50
    clock.advance(2)
    for number in range(50):
        await spend(limits, clock, connection_id=f"late-{number}")
        clock.advance(2)

    assert len(limits._connections) <= 10


async def test_a_connection_that_has_spent_or_is_paused_is_not_forgotten() -> None:
    clock = ManualClock()
    limits = quota(clock, connection=Rate.per_minute(1), kept=3)
    limits.pause("paused", NOON + timedelta(hours=1))
    await spend(limits, clock, connection_id="spent")

    for number in range(20):
        await spend(limits, clock, connection_id=f"other-{number}")

    assert await spend(limits, clock, connection_id="spent") == MINUTE_LASTS
    with pytest.raises(Throttled):
        async with limits.slot(session(clock, connection_id="paused", seconds=10), Cost()):
            pytest.fail("it was let through")
