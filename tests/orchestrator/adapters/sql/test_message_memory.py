"""The memory of messages in PostgreSQL keeps what every implementation keeps."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from orchestrator.adapters.sql.journals import SqlJournals
from orchestrator.adapters.sql.message_memory import SqlMessageMemory
from orchestrator.adapters.sql.runs import SqlRuns
from orchestrator.agents.domain import AgentDefinition
from orchestrator.runs.domain import JournalLost, Run
from orchestrator.runs.events import ItemProcessed
from tests.conformance.orchestrator.message_memory import MAIL, ONE, MemoryHarness, MessageMemoryConformance
from tests.orchestrator.adapters.sql.test_runs import new_run


class _Harness:
    def __init__(self, pool: AsyncEngine, journals: SqlJournals) -> None:
        self.journals = journals
        self.memory = SqlMessageMemory(pool)
        self._runs = SqlRuns(pool)
        self._test = uuid.uuid4()

    async def new_run(self, definition: AgentDefinition = MAIL, *, user: str = "ada") -> Run:
        run = await self._runs.start(replace(new_run(f"{user}-{self._test}"), definition=definition))
        return await self.take(run)

    async def take(self, run: Run) -> Run:
        claimed = await self._runs.claim(run.run_id)
        assert claimed is not None
        return claimed


@pytest.fixture
async def sql(pool: AsyncEngine) -> AsyncIterator[_Harness]:
    journals = SqlJournals(pool)
    async with asyncio.TaskGroup() as tasks:
        writer = tasks.create_task(journals.run())
        yield _Harness(pool, journals)
        writer.cancel()


class TestSqlMessageMemory(MessageMemoryConformance):
    @pytest.fixture
    async def harness(self, sql: _Harness) -> MemoryHarness:
        return sql


async def test_an_event_that_is_not_stored_is_not_remembered(sql: _Harness, pool: AsyncEngine) -> None:
    """The event and what is remembered of it are one transaction: when the second part fails, there is no first."""
    run = await sql.new_run()
    async with pool.begin() as connection:
        await connection.execute(text("ALTER TABLE processed_messages ADD CONSTRAINT broken CHECK (false) NOT VALID"))
    try:
        with pytest.raises(Exception, match="journal"):
            await sql.journals.append(run.run_id, run.epoch, [(1, ItemProcessed(group="g1", item=ONE))])
    finally:
        async with pool.begin() as connection:
            await connection.execute(text("ALTER TABLE processed_messages DROP CONSTRAINT broken"))

    assert await sql.journals.read(run.run_id) == []
    assert (await sql.memory.recall(run, [ONE])).done == frozenset()


async def test_a_database_that_is_away_stops_the_worker_and_not_the_run(sql: _Harness, pool: AsyncEngine) -> None:
    run = await sql.new_run()
    async with pool.begin() as connection:
        await connection.execute(text("ALTER TABLE processed_messages RENAME TO away"))
    try:
        with pytest.raises(JournalLost):
            await sql.memory.recall(run, [ONE])
    finally:
        async with pool.begin() as connection:
            await connection.execute(text("ALTER TABLE away RENAME TO processed_messages"))
