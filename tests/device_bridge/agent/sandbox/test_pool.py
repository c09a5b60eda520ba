"""File work in threads: bounded, in time, and never in the way of the event loop."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from device_bridge.agent.domain import Reason, ToolError
from device_bridge.agent.sandbox.pool import FilePool


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What hanging work waits for; set at the end in any case."""
    event = threading.Event()
    yield event
    event.set()


async def refused(pool: FilePool, release: threading.Event) -> None:
    with pytest.raises(ToolError) as error:
        await pool.run(lambda: release.wait(30))
    assert error.value.reason is Reason.UNAVAILABLE
    assert error.value.retryable


async def test_work_answers_and_fails_as_it_does() -> None:
    pool = FilePool(threads=1)

    assert await pool.run(lambda: 42) == 42
    with pytest.raises(LookupError, match="own"):
        await pool.run(lambda: fail(LookupError("own")))
    with pytest.raises(TimeoutError, match="disk"):
        await pool.run(lambda: fail(TimeoutError("disk")))


def fail(error: Exception) -> None:
    raise error


async def test_work_that_hangs_is_refused_at_the_deadline(release: threading.Event) -> None:
    pool = FilePool(threads=2, deadline_seconds=0.05)

    with anyio.fail_after(5):
        await refused(pool, release)
        pool.deadline_seconds = 5
        assert await pool.run(lambda: "still one thread") == "still one thread"


async def test_when_every_thread_hangs_calls_fail_at_once(release: threading.Event) -> None:
    pool = FilePool(threads=2, deadline_seconds=0.05)
    with anyio.fail_after(5):
        async with asyncio.TaskGroup() as tasks:
            for _ in range(2):
                tasks.create_task(refused(pool, release))
    pool.deadline_seconds = 3600

    with anyio.fail_after(5):
        await refused(pool, release)


async def test_threads_that_come_back_serve_again(release: threading.Event) -> None:
    pool = FilePool(threads=1, deadline_seconds=0.05)
    with anyio.fail_after(5):
        await refused(pool, release)

    release.set()

    with anyio.fail_after(5):
        while await answer(pool) != "back":
            await anyio.lowlevel.checkpoint()


async def answer(pool: FilePool) -> str:
    try:
        return await pool.run(lambda: "back")
    except ToolError:
        return ""


async def test_work_that_waited_too_long_never_begins(release: threading.Event) -> None:
    pool = FilePool(threads=1, deadline_seconds=0.05)
    begun: list[int] = []
    with anyio.fail_after(5):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(refused(pool, release))
            for number in range(3):
                tasks.create_task(waits_in_vain(pool, begun, number))
    release.set()

    with anyio.fail_after(5):
        while await answer(pool) != "back":
            await anyio.lowlevel.checkpoint()
    assert begun == []


async def waits_in_vain(pool: FilePool, begun: list[int], number: int) -> None:
    with pytest.raises(ToolError):
        await pool.run(lambda: begun.append(number))


async def test_a_full_queue_refuses(release: threading.Event) -> None:
    pool = FilePool(threads=1, deadline_seconds=3600, max_waiting=1)
    started = threading.Event()

    def hang() -> None:
        started.set()
        release.wait(30)

    with anyio.fail_after(5):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pool.run(hang))
            await anyio.to_thread.run_sync(started.wait, 5)
            waiting = tasks.create_task(pool.run(lambda: "second"))
            await anyio.lowlevel.checkpoint()
            await refused(pool, release)
            release.set()
            assert await waiting == "second"


async def test_a_cancelled_call_is_forgotten(release: threading.Event) -> None:
    pool = FilePool(threads=1)
    with anyio.fail_after(5):
        with anyio.move_on_after(0.05) as scope:
            await pool.run(lambda: release.wait(30))
        assert scope.cancelled_caught

        release.set()
        assert await pool.run(lambda: 1) == 1


async def test_a_pool_makes_no_more_threads_than_it_may_and_lets_them_go() -> None:
    pool = FilePool(threads=3)
    before = set(threading.enumerate())
    for _ in range(20):
        await pool.run(lambda: None)
    made = set(threading.enumerate()) - before
    assert 1 <= len(made) <= 3

    del pool
    gc.collect()

    for thread in made:
        thread.join(timeout=5)
        assert not thread.is_alive()
