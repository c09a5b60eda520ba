from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from orchestrator.adapters.sql.agents import DEFINITION, SCHEDULE, SqlAgents
from orchestrator.adapters.sql.requests import REQUEST_LIFETIME
from orchestrator.agents.domain import Agent, AgentDefinition, Schedule
from orchestrator.agents.ports import AgentQuery, AgentStore
from tests.conformance.orchestrator.agents import AgentStoreConformance, a_mutation, an_agent, renamed
from tests.orchestrator.agents.strategies import definitions
from tests.orchestrator.schedules.strategies import schedules


class TestSqlAgents(AgentStoreConformance):
    @pytest.fixture
    def store(self, pool: AsyncEngine) -> AgentStore:
        return SqlAgents(pool)


@settings(deadline=None)
@given(definitions)
def test_a_definition_survives_its_json(definition: AgentDefinition) -> None:
    assert (
        DEFINITION.validate_python(json.loads(json.dumps(DEFINITION.dump_python(definition, mode="json"))))
        == definition
    )


@settings(max_examples=50, deadline=None)
@given(schedules())
def test_a_schedule_survives_its_json(schedule: Schedule) -> None:
    assert SCHEDULE.validate_python(json.loads(json.dumps(SCHEDULE.dump_python(schedule, mode="json")))) == schedule


@pytest.fixture
def user() -> str:
    return f"user-{uuid.uuid4()}"


async def test_requests_that_come_at_the_same_time_add_one_agent(pool: AsyncEngine, user: str) -> None:
    store, mutation = SqlAgents(pool), a_mutation(user)

    async with asyncio.TaskGroup() as tasks:
        adds = [tasks.create_task(store.add(mutation, an_agent(user))) for _ in range(8)]

    assert len({add.result().agent_id for add in adds}) == 1
    assert len(await store.page(AgentQuery(user_id=user, limit=10))) == 1


async def test_changes_that_come_at_the_same_time_are_made_one_after_another(pool: AsyncEngine, user: str) -> None:
    store = SqlAgents(pool)
    agent = await store.add(a_mutation(user), an_agent(user, etag="0"))

    def count(agent: Agent) -> Agent:
        return replace(agent, etag=str(int(agent.etag) + 1))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(store.change(a_mutation(user), agent.agent_id, count))

    assert (await store.get(user, agent.agent_id)).etag == "8"


async def test_a_change_does_not_take_back_the_start_of_a_run(pool: AsyncEngine, user: str) -> None:
    store = SqlAgents(pool)
    agent = await store.add(a_mutation(user), an_agent(user))
    started = agent.created_at + timedelta(hours=1)
    await execute(pool, "UPDATE agents SET last_run_at = :at WHERE agent_id = :id", at=started, id=agent.agent_id)

    await store.change(a_mutation(user), agent.agent_id, renamed)

    assert (await store.get(user, agent.agent_id)).last_run_at == started


async def test_a_request_is_forgotten_after_a_day(pool: AsyncEngine, user: str) -> None:
    store, mutation = SqlAgents(pool), a_mutation(user)
    await store.add(mutation, an_agent(user))
    await execute(pool, "UPDATE requests SET at = at - CAST(:age AS interval)", age=REQUEST_LIFETIME)

    await store.add(replace(mutation, request_hash="another request"), an_agent(user))

    assert len(await store.page(AgentQuery(user_id=user, limit=10))) == 2


@pytest.mark.parametrize(
    "stored",
    [
        {"cron": 7},
        {},
        [],
        "0 9 * * *",
        {"cron": "0 9 * * *", "overlap": "queue_all"},
        {"cron": "0 9 * * *", "jitter": "?"},
    ],
    ids=str,
)
async def test_a_schedule_that_cannot_be_read_breaks_no_read_and_outlives_other_changes(
    pool: AsyncEngine, user: str, stored: object
) -> None:
    store = SqlAgents(pool)
    agent = await store.add(a_mutation(user), an_agent(user, schedule=Schedule(cron="0 9 * * *")))
    await execute(
        pool,
        "UPDATE agents SET schedule = CAST(:stored AS jsonb) WHERE agent_id = :id",
        stored=json.dumps(stored),
        id=agent.agent_id,
    )

    (read,) = await store.page(AgentQuery(user_id=user, limit=10))
    await store.change(a_mutation(user), agent.agent_id, renamed)

    assert read.schedule is None
    assert read.schedule_problem
    assert await store.get(user, agent.agent_id) == renamed(read)
    kept = await execute(pool, "SELECT schedule FROM agents WHERE agent_id = :id", id=agent.agent_id)
    assert kept == [stored]


@pytest.mark.parametrize("schedule", [None, Schedule(cron="0 9 * * *")])
async def test_a_schedule_that_cannot_be_read_can_be_replaced_and_removed(
    pool: AsyncEngine, user: str, schedule: Schedule | None
) -> None:
    store = SqlAgents(pool)
    agent = await store.add(a_mutation(user), an_agent(user))
    await execute(pool, "UPDATE agents SET schedule = '{}' WHERE agent_id = :id", id=agent.agent_id)

    await store.change(
        a_mutation(user), agent.agent_id, lambda agent: replace(agent, schedule=schedule, schedule_problem="")
    )

    assert await store.get(user, agent.agent_id) == replace(agent, schedule=schedule)


async def test_deleting_an_agent_keeps_its_runs(pool: AsyncEngine, user: str) -> None:
    store = SqlAgents(pool)
    agent = await store.add(a_mutation(user), an_agent(user))
    await execute(
        pool,
        "INSERT INTO runs (run_id, user_id, agent_id, agent_key, definition, trigger, state, created_at)"
        " VALUES (:run, :user, :agent, :agent, '{}', 'api', 'RUNNING', now())",
        run=f"run-of-{agent.agent_id}",
        user=user,
        agent=agent.agent_id,
    )

    await store.remove(a_mutation(user), agent.agent_id, lambda _agent: None)

    runs = await execute(pool, "SELECT run_id FROM runs WHERE agent_id = :agent", agent=agent.agent_id)
    assert runs == [f"run-of-{agent.agent_id}"]


async def execute(pool: AsyncEngine, statement: str, **parameters: object) -> list[object]:
    """Run a statement past the store; return the first column of what it gives."""
    async with pool.begin() as connection:
        result = await connection.execute(text(statement), parameters)
        return [row[0] for row in result] if result.returns_rows else []
