"""The journals in PostgreSQL keep what every implementation keeps."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from orchestrator.adapters.sql.journals import SqlJournals
from orchestrator.adapters.sql.runs import SqlRuns
from tests.conformance.orchestrator.journals import JournalsConformance, JournalsHarness
from tests.orchestrator.adapters.sql.test_runs import new_run


class _Harness:
    def __init__(self, pool: AsyncEngine, journals: SqlJournals) -> None:
        self.journals = journals
        self._runs = SqlRuns(pool)

    async def new_run(self) -> str:
        run = await self._runs.start(new_run(f"user-{uuid.uuid4()}"))
        await self.take(run.run_id)
        return run.run_id

    async def take(self, run_id: str) -> int:
        claimed = await self._runs.claim(run_id)
        assert claimed is not None
        return claimed.epoch


class TestSqlJournals(JournalsConformance):
    @pytest.fixture
    async def harness(self, pool: AsyncEngine) -> AsyncIterator[JournalsHarness]:
        journals = SqlJournals(pool)
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(journals.run())
            yield _Harness(pool, journals)
            writer.cancel()
