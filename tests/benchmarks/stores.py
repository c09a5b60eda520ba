"""The orchestrator's stores on a fresh database, with what has to run beside them, and runs that are under way."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from orchestrator.adapters.migrations import upgrade
from orchestrator.adapters.sql.bell import SqlBell
from orchestrator.adapters.sql.engine import engine
from orchestrator.adapters.sql.journals import SqlJournals
from orchestrator.adapters.sql.runs import SqlRuns
from orchestrator.agents.domain import AgentDefinition, DataType, LocalDirectory
from orchestrator.runs.domain import Run, Trigger
from orchestrator.runs.journal import RunJournal, open_journal
from orchestrator.runs.ports import NewRun
from tests.benchmarks.bench import Bench

DEFINITION = AgentDefinition(
    display_name="Folder watcher",
    source=LocalDirectory(directory_paths=("sample",)),
    data_types=frozenset(DataType),
    client_agent_id="client-agent-1",
)


@dataclass(frozen=True, slots=True)
class Stores:
    """What the orchestrator keeps in the database."""

    database_url: str
    pool: AsyncEngine
    runs: SqlRuns
    journals: SqlJournals
    bell: SqlBell

    async def claimed(self, user_id: str = "") -> Run:
        """Start a run and take it, as dispatch does; of a user of its own unless one is named."""
        started = await self.runs.start(new_run(user_id or f"user-{uuid.uuid4()}"))
        run = await self.runs.claim(started.run_id)
        if run is None:
            raise RuntimeError("the run that was just started is gone")
        return run

    async def journal(self, user_id: str = "") -> RunJournal:
        """Return the journal of such a run."""
        return await open_journal(await self.claimed(user_id), self.journals)


def new_run(user_id: str) -> NewRun:
    """Return a run that is to be created."""
    return NewRun(
        user_id=user_id,
        agent_id="",
        definition=DEFINITION,
        trigger=Trigger.MANUAL,
        request_id=str(uuid.uuid4()),
        request_hash="benchmark",
    )


@asynccontextmanager
async def stores(bench: Bench) -> AsyncIterator[Stores]:
    """Give the stores; the journals' writer and the bell run."""
    database_url = bench.new_database()
    await asyncio.to_thread(upgrade, database_url)
    async with engine(database_url) as pool:
        kept = Stores(database_url, pool, SqlRuns(pool), SqlJournals(pool), SqlBell(database_url))
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(part) for part in (kept.journals.run(), kept.bell.run())]
            try:
                yield kept
            finally:
                for part in running:
                    part.cancel()
