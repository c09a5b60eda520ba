"""The agents in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import ColumnElement, RowMapping, delete, func, insert, null, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adiuva_rpc.errors import NotFound
from orchestrator.adapters.sql.bell import ring
from orchestrator.adapters.sql.requests import recall_request
from orchestrator.adapters.sql.tables import agents
from orchestrator.agents.domain import Agent, AgentDefinition, LostSlots, Schedule
from orchestrator.agents.errors import ClientAgentIdTaken
from orchestrator.agents.ports import AgentQuery, Mutation
from orchestrator.agents.rules import is_uuid
from orchestrator.schedules.ports import CHANGED
from orchestrator.schedules.timing import timing_after

UNIQUE_CLIENT_ID = "agents_client_agent_id"
UNREADABLE = "what is stored cannot be read as a schedule"

DEFINITION: TypeAdapter[AgentDefinition] = TypeAdapter(AgentDefinition)
SCHEDULE: TypeAdapter[Schedule] = TypeAdapter(Schedule)


class SqlAgents:
    """Implements `agents.ports.AgentStore` and `runs.ports.Agents`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, mutation: Mutation, agent: Agent, *, validate_only: bool = False) -> Agent:
        """Store a new agent, or return the one that the same request made, as it stands now."""
        async with self._transaction(keep=not validate_only) as connection:
            known = await _recall(connection, mutation, agent.agent_id)
            if known is not None:
                return await _one(connection, mutation.user_id, known)
            await connection.execute(
                insert(agents).values(
                    agent_id=agent.agent_id,
                    user_id=agent.user_id,
                    created_at=agent.created_at,
                    last_run_at=agent.last_run_at,
                    schedule=_dumped(agent.schedule),
                    missed_slots=0,
                    missed_reason="",
                    skipped_slots=0,
                    skipped_reason="",
                    **_changing(agent),
                    **_timed(None, agent),
                )
            )
            await ring(connection, [CHANGED])
            return agent

    async def get(self, user_id: str, agent_id: str) -> Agent:
        """Return an agent of the user."""
        async with self._engine.connect() as connection:
            return await _one(connection, user_id, agent_id)

    async def page(self, query: AgentQuery) -> list[Agent]:
        """Return the agents, newest first."""
        statement = select(agents).where(agents.c.user_id == query.user_id)
        if query.before is not None:
            statement = statement.where(tuple_(agents.c.created_at, agents.c.agent_id) < tuple_(*query.before))
        statement = statement.order_by(agents.c.created_at.desc(), agents.c.agent_id.desc()).limit(query.limit)
        async with self._engine.connect() as connection:
            return [_agent(row) for row in (await connection.execute(statement)).mappings()]

    async def change(
        self, mutation: Mutation, agent_id: str, change: Callable[[Agent], Agent], *, validate_only: bool = False
    ) -> Agent:
        """Store what `change` makes of the agent, or return it as it stands when the request was served before."""
        async with self._transaction(keep=not validate_only) as connection:
            known = await _recall(connection, mutation, agent_id)
            current = await _one(connection, mutation.user_id, agent_id, lock=True)
            if known is not None:
                return current
            changed = change(current)
            if changed == current:
                return current
            timing = _timed(current, changed)
            if timing:
                changed = replace(changed, waits_for_device=False)
                await ring(connection, [CHANGED])
            values = _changing(changed) | timing
            if (changed.schedule, changed.schedule_problem) != (current.schedule, current.schedule_problem):
                values["schedule"] = _dumped(changed.schedule)
            await connection.execute(update(agents).where(_mine(mutation.user_id, agent_id)).values(values))
            return changed

    async def remove(self, mutation: Mutation, agent_id: str, check: Callable[[Agent], None]) -> None:
        """Delete an agent, but none of its runs; nothing when the same request deleted it before."""
        async with self._transaction(keep=True) as connection:
            if await _recall(connection, mutation, agent_id) is not None:
                return
            check(await _one(connection, mutation.user_id, agent_id, lock=True))
            await connection.execute(delete(agents).where(_mine(mutation.user_id, agent_id)))

    @asynccontextmanager
    async def _transaction(self, *, keep: bool) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that ends with a commit only when it is to be kept and nothing is raised."""
        try:
            async with self._engine.connect() as connection:
                yield connection
                if keep:
                    await connection.commit()
        except IntegrityError as error:
            if UNIQUE_CLIENT_ID in str(error.orig):
                raise ClientAgentIdTaken from None
            raise


async def _recall(connection: AsyncConnection, mutation: Mutation, agent_id: str) -> str | None:
    _check_form(agent_id)
    return await recall_request(connection, mutation.user_id, mutation.request_id, mutation.request_hash, agent_id)


async def _one(connection: AsyncConnection, user_id: str, agent_id: str, *, lock: bool = False) -> Agent:
    statement = select(agents).where(_mine(user_id, agent_id))
    row = (await connection.execute(statement.with_for_update() if lock else statement)).mappings().one_or_none()
    if row is None:
        raise NotFound("agent")
    return _agent(row)


def _mine(user_id: str, agent_id: str) -> ColumnElement[bool]:
    _check_form(agent_id)
    return (agents.c.agent_id == agent_id) & (agents.c.user_id == user_id)


def _check_form(agent_id: str) -> None:
    # No agent has an id of another form, and not every text is one that PostgreSQL would take.
    if not is_uuid(agent_id):
        raise NotFound("agent")


def _changing(agent: Agent) -> dict[str, Any]:
    """Return the columns that a change may change, without the schedule."""
    return {
        "client_agent_id": agent.definition.client_agent_id or None,
        "definition": DEFINITION.dump_python(agent.definition, mode="json"),
        "etag": agent.etag,
        "updated_at": agent.updated_at,
        "paused": agent.paused,
        "pause_reason": agent.pause_reason,
        "failures_in_a_row": agent.failures_in_a_row,
    }


def _timed(before: Agent | None, after: Agent) -> dict[str, Any]:
    """Return the columns that tell when the agent is looked at next; none when the change does not touch them."""
    timing = timing_after(before, after)
    if timing is None:
        return {}
    values: dict[str, Any] = {"next_due_at": timing.next_due_at, "waits_for_device": False}
    if timing.served_until is not None:
        values["served_until"] = func.greatest(agents.c.served_until, timing.served_until)
    return values


def _dumped(schedule: Schedule | None) -> Any:
    return null() if schedule is None else SCHEDULE.dump_python(schedule, mode="json")


def _agent(row: RowMapping) -> Agent:
    schedule, found = read_schedule(row[agents.c.schedule])
    return Agent(
        agent_id=row[agents.c.agent_id],
        user_id=row[agents.c.user_id],
        definition=DEFINITION.validate_python(row[agents.c.definition]),
        schedule=schedule,
        schedule_problem=found,
        etag=row[agents.c.etag],
        created_at=row[agents.c.created_at],
        updated_at=row[agents.c.updated_at],
        last_run_at=row[agents.c.last_run_at],
        paused=row[agents.c.paused],
        pause_reason=row[agents.c.pause_reason],
        waits_for_device=row[agents.c.waits_for_device],
        missed=LostSlots(
            count=row[agents.c.missed_slots],
            last_reason=row[agents.c.missed_reason],
            last_slot=row[agents.c.missed_last],
        ),
        skipped=LostSlots(
            count=row[agents.c.skipped_slots],
            last_reason=row[agents.c.skipped_reason],
            last_slot=row[agents.c.skipped_last],
        ),
        failures_in_a_row=row[agents.c.failures_in_a_row],
    )


def read_schedule(stored: object) -> tuple[Schedule | None, str]:
    """Return a stored schedule, None when there is none; and why what is stored cannot be read, if so."""
    if stored is None:
        return None, ""
    try:
        return SCHEDULE.validate_python(stored), ""
    except ValidationError:
        return None, UNREADABLE
