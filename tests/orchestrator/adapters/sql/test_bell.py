"""The bell: a ring in one process is heard in another, and a lost connection loses none for good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import anyio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from orchestrator.adapters.sql.bell import SqlBell, ring


@asynccontextmanager
async def running(bell: SqlBell) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(bell.run())
        try:
            yield
        finally:
            task.cancel()


async def ring_until_heard(pool: AsyncEngine, topic: str, heard: asyncio.Event) -> None:
    """A listener that is just being set up hears the next ring."""
    while not heard.is_set():
        async with pool.begin() as connection:
            await ring(connection, [topic])
        await asyncio.sleep(0.02)


async def test_who_waits_is_woken_by_a_ring_of_its_topic(migrated_url: str, pool: AsyncEngine) -> None:
    bell = SqlBell(migrated_url)
    heard = asyncio.Event()

    async def listen() -> None:
        async with aclosing(bell.ringing("run:1")) as rings:
            await anext(rings)
            await anext(rings)
            heard.set()

    with anyio.fail_after(10):
        async with running(bell), asyncio.TaskGroup() as tasks:
            tasks.create_task(listen())
            await ring_until_heard(pool, "run:1", heard)

    assert heard.is_set()


async def test_a_listener_that_lost_its_connection_is_woken_when_it_is_back(
    migrated_url: str, pool: AsyncEngine
) -> None:
    bell = SqlBell(migrated_url)
    heard = asyncio.Event()

    async def listen() -> None:
        async with aclosing(bell.ringing("run:2")) as rings:
            async for _ in rings:
                if heard.is_set():
                    return
                heard.set()

    with anyio.fail_after(10):
        async with running(bell), asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(listen())
            await ring_until_heard(pool, "run:2", heard)
            async with pool.begin() as connection:
                await connection.execute(
                    text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
                )
            # Nobody rings: losing the connection itself wakes who waits.
            await waiting


async def test_a_topic_that_nobody_waits_for_leaves_nothing_behind(migrated_url: str) -> None:
    bell = SqlBell(migrated_url)

    async with aclosing(bell.ringing("run:3")) as rings:
        await anext(rings)

    assert not bell._waiting
