"""Schedules in PostgreSQL: the conformance suite, and what only a database can get wrong."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from orchestrator.adapters.sql.agents import SqlAgents
from orchestrator.adapters.sql.runs import RUN_COLUMNS, _run
from orchestrator.adapters.sql.schedules import SqlSchedules
from orchestrator.adapters.sql.tables import agents, runs
from orchestrator.agents.ports import AgentStore
from orchestrator.runs.domain import Run, RunState
from orchestrator.schedules.ports import Schedules
from tests.conformance.orchestrator.schedules import (
    ScheduleConformance,
    ScheduleLab,
)


@dataclass
class SqlLab:
    """The real thing."""

    pool: AsyncEngine

    @property
    def schedules(self) -> Schedules:
        return SqlSchedules(self.pool)

    @property
    def agents(self) -> AgentStore:
        return SqlAgents(self.pool)

    async def runs_of(self, agent_id: str) -> list[Run]:
        statement = select(*RUN_COLUMNS).where(runs.c.agent_id == agent_id).order_by(runs.c.created_at)
        async with self.pool.connect() as connection:
            return [_run(row) for row in await connection.execute(statement)]

    async def end_run(self, run_id: str, state: RunState) -> None:
        await self._set(run_id, state=state.value, ended_at=func.now())

    async def begin_run(self, run_id: str) -> None:
        await self._set(run_id, state=RunState.RUNNING.value, started_at=func.now())

    async def _set(self, run_id: str, **values: object) -> None:
        async with self.pool.begin() as connection:
            await connection.execute(update(runs).where(runs.c.run_id == run_id).values(values))


@pytest.fixture
async def lab(pool: AsyncEngine) -> SqlLab:
    async with pool.begin() as connection:
        await connection.execute(delete(agents))
        await connection.execute(delete(runs))
    return SqlLab(pool)


class TestSqlSchedules(ScheduleConformance):
    @pytest.fixture
    def lab(self, lab: SqlLab) -> ScheduleLab:
        return lab
