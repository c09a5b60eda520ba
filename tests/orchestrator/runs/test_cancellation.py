"""Ending a run that somebody cancelled."""

from __future__ import annotations

import asyncio
from functools import partial

import anyio
import pytest

from orchestrator.runs.cancellation import Cancellation
from orchestrator.runs.domain import Fenced, RunCancelled


async def give(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def test_work_goes_on_while_nobody_asks() -> None:
    assert await Cancellation().interrupt(partial(give, 7)) == 7


async def test_work_is_abandoned_as_soon_as_somebody_asks() -> None:
    cancellation = Cancellation()
    abandoned = asyncio.Event()

    async def for_ever() -> None:
        asyncio.get_running_loop().call_soon(cancellation.request, "Wrong folder.")
        try:
            await asyncio.Event().wait()
        finally:
            abandoned.set()

    with anyio.fail_after(5), pytest.raises(RunCancelled, match="Wrong folder"):
        await cancellation.interrupt(for_ever)

    assert abandoned.is_set()


async def test_nothing_begins_once_somebody_asked_and_the_first_reason_stays() -> None:
    cancellation = Cancellation()
    cancellation.request("one")
    cancellation.request("two")

    with pytest.raises(RunCancelled, match="one"):
        await cancellation.interrupt(partial(give, 7))

    assert cancellation.requested
    assert cancellation.reason == "one"


async def test_the_errors_of_the_work_leave_as_themselves() -> None:
    async def fail() -> None:
        raise Fenced("run")

    with pytest.raises(Fenced):
        await Cancellation().interrupt(fail)


async def test_cancellation_of_the_task_is_not_the_cancellation_of_the_run() -> None:
    started = asyncio.Event()

    async def for_ever() -> None:
        started.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(Cancellation().interrupt(for_ever))
        await started.wait()
        task.cancel()

    assert task.cancelled()


async def test_work_that_fails_while_its_task_is_cancelled_does_not_hide_the_cancellation() -> None:
    gone_on = False

    async def fail() -> None:
        task.cancel()
        raise ValueError("at the same time")

    async def work() -> None:
        nonlocal gone_on
        try:
            await Cancellation().interrupt(fail)
        except ValueError:
            await asyncio.sleep(0)
            gone_on = True

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(work())

    assert task.cancelled()
    assert not gone_on
