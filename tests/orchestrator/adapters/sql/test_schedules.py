"""Schedules in PostgreSQL: the conformance suite, and what only a database can get wrong."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import anyio
import pytest
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from adiuva_rpc.errors import Unavailable
from orchestrator.adapters.sql.agents import SqlAgents
from orchestrator.adapters.sql.bell import SqlBell
from orchestrator.adapters.sql.engine import engine
from orchestrator.adapters.sql.runs import RUN_COLUMNS, SqlRuns, _run
from orchestrator.adapters.sql.schedules import SqlSchedules, run_id_of
from orchestrator.adapters.sql.tables import agents, runs
from orchestrator.agents.domain import Schedule
from orchestrator.agents.ports import AgentStore
from orchestrator.agents.service import AgentService
from orchestrator.runs.domain import Run, RunState, Trigger
from orchestrator.runs.ports import NewRun
from orchestrator.schedules.decisions import Candidate, Decision, decide
from orchestrator.schedules.ports import CHANGED, Schedules
from tests.conformance.orchestrator.schedules import (
    DAY,
    MINUTE,
    NOON,
    ScheduleConformance,
    ScheduleLab,
    deciding,
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


async def test_looks_of_several_replicas_at_the_same_time_fire_a_slot_once(lab: SqlLab) -> None:
    suite = ScheduleConformance()
    made = [await suite.add(lab) for _ in range(20)]
    now = NOON + MINUTE

    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(lab.schedules.claim_due(now, deciding(now), limit=7))
        for agent in made:
            tasks.create_task(lab.schedules.claim_overdue([agent.user_id], now, deciding(now), limit=7))

    for agent in made:
        assert [run.slot_time for run in await lab.runs_of(agent.agent_id)] == [now]


async def test_a_connect_waits_for_who_is_parking_the_agent_just_now(lab: SqlLab) -> None:
    agent = await ScheduleConformance().add(lab)
    now = NOON + MINUTE
    connecting: list[asyncio.Task[object]] = []

    async with asyncio.TaskGroup() as tasks:

        def park(candidate: Candidate) -> Decision:
            # The ticker has looked: nothing is connected. Before it commits, a device is.
            overdue = lab.schedules.claim_overdue([agent.user_id], now, deciding(now), limit=7)
            connecting.append(tasks.create_task(overdue))
            return decide(candidate, now=now, online=False)

        await lab.schedules.claim_due(now, park, limit=7)

    [run] = await lab.runs_of(agent.agent_id)
    assert run.trigger is Trigger.DEVICE_CONNECTED
    assert not (await lab.agents.get(agent.user_id, agent.agent_id)).waits_for_device


async def test_the_run_of_a_slot_always_has_the_same_id(lab: SqlLab) -> None:
    agent = await ScheduleConformance().add(lab)
    await lab.schedules.claim_due(NOON + MINUTE, deciding(NOON + MINUTE), limit=7)
    async with lab.pool.begin() as connection:
        # A backup of the agents alone has been restored.
        await connection.execute(update(agents).values(served_until=None, next_due_at=NOON))

    def anew(candidate: Candidate) -> Decision:
        return decide(replace(candidate, under_way=()), now=NOON + MINUTE, online=True)

    await lab.schedules.claim_due(NOON + MINUTE, anew, limit=7)

    [run] = await lab.runs_of(agent.agent_id)
    assert run.run_id == run_id_of(agent.agent_id, NOON + MINUTE)
    assert await jobs_of(lab, run.run_id) == 1


async def test_a_run_by_hand_serves_the_slots_before_it(lab: SqlLab) -> None:
    agent = await ScheduleConformance().add(lab)
    await lab.schedules.claim_due(NOON + MINUTE, lambda one: decide(one, now=NOON + MINUTE, online=False), limit=7)

    run = await SqlRuns(lab.pool).start(
        NewRun(
            user_id=agent.user_id,
            agent_id=agent.agent_id,
            definition=agent.definition,
            trigger=Trigger.MANUAL,
            request_id=str(uuid.uuid4()),
            request_hash="hash",
        )
    )
    seen: list[Candidate] = []
    await lab.schedules.claim_overdue([agent.user_id], NOON, lambda one: seen.append(one), limit=7)

    assert [one.served_until for one in seen] == [(await lab.agents.get(agent.user_id, agent.agent_id)).last_run_at]
    assert seen[0].under_way == ((run.run_id, RunState.QUEUED),)


@pytest.mark.parametrize("stored", ['{"cron": "61 * * * *"}', '{"cron": 5}', '"nonsense"', "[]"])
async def test_a_schedule_that_somebody_wrote_into_the_database_is_looked_at_once(lab: SqlLab, stored: str) -> None:
    agent = await ScheduleConformance().add(lab)
    async with lab.pool.begin() as connection:
        await connection.execute(
            text("UPDATE agents SET schedule = CAST(:stored AS jsonb), next_due_at = DEFAULT"), {"stored": stored}
        )
    later = datetime.now(UTC) + DAY

    first = await lab.schedules.claim_due(later, deciding(later), limit=7)
    second = await lab.schedules.claim_due(later, deciding(later), limit=7)

    assert [bool(one.decision.invalid) for one in first.decided] == [True]
    assert second.decided == ()
    assert (await AgentService(SqlAgents(lab.pool)).get(agent.user_id, agent.agent_id)).schedule_problem
    assert await lab.runs_of(agent.agent_id) == []


async def test_every_change_of_an_agents_time_rings(lab: SqlLab, migrated_url: str) -> None:
    bell = SqlBell(migrated_url)
    rung: asyncio.Queue[None] = asyncio.Queue(maxsize=100)

    async def listen() -> None:
        async with aclosing(bell.ringing(CHANGED)) as rings:
            async for _ in rings:
                rung.put_nowait(None)

    async def heard() -> None:
        await rung.get()
        while not rung.empty():
            rung.get_nowait()

    suite = ScheduleConformance()
    with anyio.fail_after(10):
        async with asyncio.TaskGroup() as tasks:
            listening = [tasks.create_task(bell.run()), tasks.create_task(listen())]
            # Once at the start, and once when the database is being listened to.
            await rung.get()
            await rung.get()
            agent = await suite.add(lab)
            await heard()
            await suite.change(lab, agent, NOON + MINUTE / 2, schedule=Schedule(cron="30 * * * *"))
            await heard()
            await suite.change(lab, agent, NOON + MINUTE, paused=True)
            await heard()
            await suite.change(lab, agent, NOON + MINUTE, paused=False)
            await heard()
            for task in listening:
                task.cancel()


async def test_a_database_that_is_away_is_unavailable() -> None:
    async with engine("postgresql+asyncpg://nobody@127.0.0.1:1/nothing") as pool:
        with pytest.raises(Unavailable):
            await SqlSchedules(pool).next_due()


async def jobs_of(lab: SqlLab, run_id: str) -> int:
    async with lab.pool.connect() as connection:
        found = await connection.execute(
            text("SELECT count(*) FROM procrastinate_jobs WHERE args->>'run_id' = :run_id"), {"run_id": run_id}
        )
        return int(found.scalar_one())
