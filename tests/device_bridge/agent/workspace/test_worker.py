from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest

from device_bridge.agent.domain import Reason, ToolError
from device_bridge.agent.workspace.worker import MAX_WAITING_JOBS, Worker, _Job


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=0.05)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS t (x INTEGER PRIMARY KEY)")
    return connection


@asynccontextmanager
async def working(path: Path) -> AsyncIterator[Worker]:
    worker = Worker(partial(connect, path), name="test", transaction="IMMEDIATE")
    worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    async with working(tmp_path / "t.db") as started:
        yield started


@contextmanager
def blocked(worker: Worker) -> Iterator[threading.Event]:
    """Keep the worker's thread busy with one job until the block ends."""
    begun, go_on = threading.Event(), threading.Event()

    def wait(_connection: sqlite3.Connection) -> None:
        begun.set()
        assert go_on.wait(10)

    worker._jobs.put_nowait(_Job(wait, Future()))
    try:
        assert begun.wait(10)
        yield go_on
    finally:
        go_on.set()


def add(connection: sqlite3.Connection, x: int) -> int:
    connection.execute("INSERT INTO t VALUES (?)", (x,))
    return x


def values(connection: sqlite3.Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT x FROM t ORDER BY x")]


async def test_an_answer_comes_after_the_commit(worker: Worker, tmp_path: Path) -> None:
    assert await worker.run(partial(add, x=1)) == 1

    other = sqlite3.connect(tmp_path / "t.db")
    assert values(other) == [1]
    other.close()


async def test_jobs_that_wait_share_one_commit(worker: Worker) -> None:
    commits: list[str] = []
    await worker.run(lambda connection: connection.set_trace_callback(commits.append))

    with blocked(worker) as go_on:
        async with asyncio.TaskGroup() as tasks:
            for number in range(20):
                tasks.create_task(worker.run(partial(add, x=number)))
            await asyncio.sleep(0)
            go_on.set()

    assert commits.count("COMMIT") <= 3
    assert await worker.run(values) == list(range(20))


async def test_a_job_that_fails_undoes_itself_and_not_its_neighbours(worker: Worker) -> None:
    def half(connection: sqlite3.Connection) -> None:
        add(connection, 100)
        raise LookupError

    with blocked(worker) as go_on:
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(worker.run(partial(add, x=1)))
            failing = tasks.create_task(_error(worker.run(half)))
            last = tasks.create_task(worker.run(partial(add, x=2)))
            await asyncio.sleep(0)
            go_on.set()

    assert (first.result(), last.result()) == (1, 2)
    assert isinstance(failing.result(), LookupError)
    assert await worker.run(values) == [1, 2]


async def test_a_database_that_another_program_holds_is_unavailable_for_the_moment(
    worker: Worker, tmp_path: Path
) -> None:
    await worker.run(partial(add, x=1))
    other = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    error = await _error(worker.run(partial(add, x=2)))
    other.execute("ROLLBACK")
    other.close()

    assert isinstance(error, ToolError)
    assert (error.reason, error.retryable) == (Reason.UNAVAILABLE, True)
    assert await worker.run(partial(add, x=2)) == 2


async def test_when_sqlite_gives_up_the_transaction_every_job_in_it_hears_of_it(worker: Worker) -> None:
    def lost(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")
        raise sqlite3.OperationalError

    with blocked(worker) as go_on:
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(_error(worker.run(partial(add, x=1))))
            second = tasks.create_task(_error(worker.run(lost)))
            await asyncio.sleep(0)
            go_on.set()

    assert isinstance(first.result(), ToolError)
    assert isinstance(second.result(), ToolError)
    assert await worker.run(values) == []


async def test_a_caller_that_leaves_takes_its_waiting_job_back(worker: Worker) -> None:
    with blocked(worker):
        with anyio.move_on_after(0) as scope:
            await worker.run(partial(add, x=1))

    assert scope.cancelled_caught
    assert await worker.run(values) == []


async def test_one_job_too_many_is_refused_at_once(worker: Worker) -> None:
    with blocked(worker) as go_on:
        async with asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(worker.run(values)) for _ in range(MAX_WAITING_JOBS)]
            await asyncio.sleep(0)

            error = await _error(worker.run(values))

            go_on.set()

    assert isinstance(error, ToolError)
    assert (error.reason, error.retryable) == (Reason.UNAVAILABLE, True)
    assert all(job.result() == [] for job in waiting)


async def test_stopping_does_the_jobs_that_wait_and_takes_no_more(tmp_path: Path) -> None:
    async with working(tmp_path / "t.db") as worker:
        with blocked(worker) as go_on:
            async with asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(worker.run(partial(add, x=1)))
                await asyncio.sleep(0)
                stopping = tasks.create_task(worker.stop())
                await asyncio.sleep(0)
                error = await _error(worker.run(partial(add, x=2)))
                go_on.set()

        assert stopping.done()
        assert waiting.result() == 1
        assert isinstance(error, ToolError)
        assert not worker._thread.is_alive()


async def _error(job: object) -> BaseException | None:
    try:
        await job  # type: ignore[misc]  # a coroutine of any result
    except Exception as error:  # noqa: BLE001  # the error is what the test is about
        return error
    return None
