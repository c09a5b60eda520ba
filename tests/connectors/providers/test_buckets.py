"""Units in a time: never more than allowed, in order, and whole after whatever happens."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings, strategies as st

from connectors.providers.quotas import Rate, TokenBucket
from tests.connectors.providers.support import NOON, ManualClock

pytestmark = pytest.mark.timeout(20)

MINUTE = timedelta(minutes=1)
SECOND_LASTS = Rate.per_second(1).lasts.total_seconds()
MINUTE_LASTS = Rate.per_minute(1).lasts.total_seconds()


def bucket(clock: ManualClock, *rates: Rate) -> TokenBucket:
    return TokenBucket(rates, now=clock.now, sleep=clock.sleep)


def most_in_any_window(taken: list[tuple[datetime, int]], length: timedelta) -> int:
    """Return the most units in a window of that length that begins with any of them."""
    return max(sum(units for at, units in taken if begin <= at < begin + length) for begin, _ in taken)


RATES = st.builds(Rate, st.integers(1, 50), st.sampled_from([timedelta(seconds=1), MINUTE, timedelta(seconds=7)]))
REQUESTS = st.lists(
    st.tuples(st.floats(0, 90) | st.sampled_from([0.0, 0.001, 1.0, 59.999, 60.0]), st.integers(1, 50)),
    min_size=1,
    max_size=60,
)


@settings(deadline=None)
@given(rates=st.lists(RATES, min_size=1, max_size=3), requests=REQUESTS)
async def test_never_more_than_the_rate_is_taken_in_any_window(
    rates: list[Rate], requests: list[tuple[float, int]]
) -> None:
    clock = ManualClock()
    taking = bucket(clock, *rates)
    most = min(rate.units for rate in rates)
    taken: list[tuple[datetime, int]] = []

    for gap, units in requests:
        clock.advance(gap)
        await taking.acquire(min(units, most))
        taken.append((clock.now(), min(units, most)))

    for rate in rates:
        assert most_in_any_window(taken, rate.per) <= rate.units


@settings(deadline=None)
@given(requests=st.lists(st.integers(1, 20), min_size=1, max_size=40))
async def test_no_more_time_is_lost_than_a_slice_of_a_window(requests: list[int]) -> None:
    clock = ManualClock()
    taking = bucket(clock, Rate(20, MINUTE))
    # What a ledger of every single unit would need.
    ledger: list[tuple[float, int]] = []
    at = 0.0
    for units in requests:
        while sum(spent for then, spent in ledger if then > at - MINUTE_LASTS) + units > 20:
            at = min(then for then, _ in ledger if then > at - MINUTE_LASTS) + MINUTE_LASTS
        ledger.append((at, units))

    for units in requests:
        await taking.acquire(units)

    assert (clock.now() - NOON).total_seconds() <= at * (1 + 1 / 60) + 1


async def test_what_is_there_is_given_at_once() -> None:
    clock = ManualClock()
    taking = bucket(clock, Rate.per_minute(6000))

    for _ in range(300):
        await taking.acquire(20)

    assert clock.slept == []
    assert taking.wait_for(1) == timedelta(seconds=61)


async def test_who_comes_first_is_served_first_whatever_it_costs() -> None:
    clock = ManualClock()
    taking = bucket(clock, Rate.per_second(10))
    await taking.acquire(10)
    served: list[int] = []

    async def caller(number: int, units: int) -> None:
        await taking.acquire(units)
        served.append(number)

    async with asyncio.TaskGroup() as tasks:
        for number, units in enumerate([10, 1, 9, 3, 1]):
            tasks.create_task(caller(number, units))

    assert served == [0, 1, 2, 3, 4]
    assert clock.now() == NOON + timedelta(seconds=3 * SECOND_LASTS)


async def test_a_caller_who_is_cancelled_while_waiting_takes_nothing() -> None:
    clock = ManualClock()
    asleep = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    taking = TokenBucket([Rate.per_second(10)], now=clock.now, sleep=sleep)
    await taking.acquire(10)
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(taking.acquire(10)) for _ in range(3)]
        await asleep.wait()
        for task in waiting:
            task.cancel()
    clock.advance(2)

    await taking.acquire(10)

    assert not taking.turn.locked()


async def test_more_than_there_ever_is_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="only 10"):
        await bucket(ManualClock(), Rate.per_second(10)).acquire(11)


@pytest.mark.parametrize(("units", "per"), [(0, MINUTE), (-1, MINUTE), (1, timedelta(0)), (1, -MINUTE)])
def test_a_rate_of_nothing_is_refused(units: int, per: timedelta) -> None:
    with pytest.raises(ValueError, match="rate"):
        Rate(units, per)


async def test_a_clock_that_is_put_back_makes_nobody_wait_for_hours() -> None:
    clock = ManualClock()
    taking = bucket(clock, Rate.per_minute(10))
    await taking.acquire(10)
    clock.advance(-7200)

    assert taking.wait_for(1) == timedelta(seconds=MINUTE_LASTS)


async def test_what_a_bucket_remembers_does_not_grow() -> None:
    clock = ManualClock()
    taking = bucket(clock, Rate.per_minute(1_200_000))

    for _ in range(20_000):
        await taking.acquire(2)
        clock.advance(0.01)

    assert len(taking._windows[0]._slices) <= 61
