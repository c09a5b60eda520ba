"""Dispatch: who runs a run, one at a time for each user, and who runs it when its worker is gone."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from orchestrator.adapters.dispatch import ExecuteRun, dispatch
from orchestrator.adapters.migrations import upgrade
from orchestrator.adapters.sql.engine import engine
from orchestrator.adapters.sql.runs import SqlRuns
from tests.device_bridge.server.waiting import until_seen
from tests.orchestrator.adapters.sql.test_runs import new_run


@pytest.fixture(scope="module")
def url(new_database: Callable[[], str]) -> str:
    made = new_database()
    upgrade(made)
    return made


@pytest.fixture
async def pool(url: str) -> AsyncIterator[AsyncEngine]:
    async with engine(url) as pool:
        yield pool


@asynccontextmanager
async def working(url: str, execute: ExecuteRun) -> AsyncIterator[None]:
    async with dispatch(url, execute, stop_within=0.1) as jobs, asyncio.TaskGroup() as tasks:
        parts = [tasks.create_task(jobs.work()), tasks.create_task(jobs.reap())]
        try:
            yield
        finally:
            for part in parts:
                part.cancel()


async def test_a_run_is_started_without_waiting_for_a_poll(url: str, pool: AsyncEngine) -> None:
    started: asyncio.Queue[str] = asyncio.Queue()

    with anyio.fail_after(4):  # less than the polling interval
        async with working(url, started.put):
            run = await SqlRuns(pool).start(new_run(f"user-{uuid.uuid4()}"))

            assert await started.get() == run.run_id


async def test_runs_of_one_user_never_overlap_and_keep_their_order(url: str, pool: AsyncEngine) -> None:
    user = f"user-{uuid.uuid4()}"
    running = 0
    order: list[str] = []
    done = asyncio.Event()

    async def execute(run_id: str) -> None:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0.01)
        order.append(run_id)
        running -= 1
        if len(order) == 5:
            done.set()

    with anyio.fail_after(20):
        async with working(url, execute):
            started = [(await SqlRuns(pool).start(new_run(user))).run_id for _ in range(5)]
            await done.wait()

    assert order == started


async def test_runs_of_two_users_go_side_by_side(url: str, pool: AsyncEngine) -> None:
    together = asyncio.Barrier(3)

    async def execute(run_id: str) -> None:
        await together.wait()

    with anyio.fail_after(10):
        async with working(url, execute):
            for _ in range(2):
                await SqlRuns(pool).start(new_run(f"user-{uuid.uuid4()}"))
            await together.wait()


async def test_a_run_whose_process_stops_goes_on_in_another(url: str, pool: AsyncEngine) -> None:
    first, second = asyncio.Event(), asyncio.Event()

    async def never_ends(run_id: str) -> None:
        first.set()
        await asyncio.Event().wait()

    async def ends(run_id: str) -> None:
        second.set()

    with anyio.fail_after(20):
        async with working(url, never_ends):
            await SqlRuns(pool).start(new_run(f"user-{uuid.uuid4()}"))
            await first.wait()
        async with working(url, ends):
            await second.wait()


async def test_a_run_that_broke_off_is_tried_again(url: str, pool: AsyncEngine) -> None:
    tries = 0
    done = asyncio.Event()

    async def execute(run_id: str) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ConnectionError("the database was away")
        done.set()

    with anyio.fail_after(20):
        async with working(url, execute):
            await SqlRuns(pool).start(new_run(f"user-{uuid.uuid4()}"))
            await done.wait()

    assert tries == 2


async def test_a_worker_that_lost_the_database_goes_on_when_it_is_back(url: str, pool: AsyncEngine) -> None:
    started: asyncio.Queue[str] = asyncio.Queue()

    with anyio.fail_after(30):
        async with working(url, started.put):
            first = await SqlRuns(pool).start(new_run(f"user-{uuid.uuid4()}"))
            assert await started.get() == first.run_id
            # A job whose end cannot be written leaves its error to the event loop, so let the first one end.
            await until_seen(lambda: no_jobs(pool))
            async with pool.begin() as connection:
                await connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
                    )
                )
            second = await SqlRuns(pool).start(new_run(f"user-{uuid.uuid4()}"))
            while await started.get() != second.run_id:
                pass


async def no_jobs(pool: AsyncEngine) -> bool:
    async with pool.connect() as connection:
        return not (await connection.execute(text("SELECT count(*) FROM procrastinate_jobs"))).scalar_one()
