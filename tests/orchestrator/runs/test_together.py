"""Doing several things of a run at the same time."""

from __future__ import annotations

import asyncio
from functools import partial

import anyio
import pytest

from orchestrator.runs.domain import Fenced
from orchestrator.runs.together import together


async def give(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def fail(error: Exception) -> int:
    await asyncio.sleep(0)
    raise error


async def test_results_come_in_the_order_of_the_works() -> None:
    assert await together([partial(give, number) for number in range(20)], at_most=3) == list(range(20))
    assert await together([partial(give, 1)], at_most=3) == [1]
    assert await together([], at_most=3) == []


async def test_no_more_run_at_a_time_than_allowed_and_as_many_as_that_do() -> None:
    running, most = 0, 0

    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    await together([work] * 12, at_most=4)

    assert most == 4


async def test_what_is_under_way_goes_on_when_another_fails_and_nothing_new_begins() -> None:
    done: list[str] = []
    failed = asyncio.Event()

    async def slow() -> None:
        await failed.wait()
        await asyncio.sleep(0)
        done.append("slow")

    async def failing() -> None:
        failed.set()
        raise ValueError("first")

    async def late() -> None:
        done.append("late")

    with anyio.fail_after(5), pytest.raises(ValueError, match="first"):
        await together([slow, failing, late], at_most=2)

    assert done == ["slow"]


async def test_the_first_error_is_raised_by_itself() -> None:
    with pytest.raises(KeyError):
        await together([partial(give, 1), partial(fail, KeyError()), partial(fail, ValueError())], at_most=3)
    with pytest.raises(KeyError):
        await together([partial(fail, KeyError())], at_most=3)


async def test_a_worker_that_is_fenced_stops_everything_at_once() -> None:
    stopped = asyncio.Event()

    async def for_ever() -> int:
        try:
            await asyncio.Event().wait()
            return 0
        finally:
            stopped.set()

    with anyio.fail_after(5), pytest.raises(Fenced):
        await together([partial(for_ever), partial(fail, Fenced("run"))], at_most=2)

    assert stopped.is_set()


async def test_cancellation_from_outside_goes_through() -> None:
    started = asyncio.Event()

    async def for_ever() -> None:
        started.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(together([for_ever, for_ever], at_most=2))
        await started.wait()
        task.cancel()

    assert task.cancelled()
