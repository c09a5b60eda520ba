"""The runs in PostgreSQL, and the jobs that run them."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime

from pydantic import TypeAdapter
from sqlalchemy import Row, Select, func, insert, or_, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adiuva_rpc.errors import NotFound, ResourceExhausted
from orchestrator.adapters.sql.bell import ring
from orchestrator.adapters.sql.requests import remember_request
from orchestrator.adapters.sql.tables import agents, run_events, runs
from orchestrator.agents.domain import AgentDefinition
from orchestrator.runs.domain import Run, RunState, Trigger
from orchestrator.runs.events import Finished, encode
from orchestrator.runs.ports import NewRun, RunQuery
from orchestrator.runs.report import RunReport

QUEUE = "runs"
TASK = "execute_run"
MAX_WAITING_RUNS = 100
"""Of one user: a client that starts runs in a loop must notice."""

DEFER = text("""
SELECT procrastinate_defer_jobs_v1(ARRAY[
    ROW(:queue, :task, 0, :lock, NULL, CAST(:args AS jsonb), NULL)::procrastinate_job_to_defer_v1
])
""")

DEFINITION: TypeAdapter[AgentDefinition] = TypeAdapter(AgentDefinition)
REPORT: TypeAdapter[RunReport] = TypeAdapter(RunReport)

RUN_COLUMNS = [column for column in runs.c if column.name not in {"report", "outcome_counted"}]


class TooManyRuns(ResourceExhausted):
    """Too many runs of this user wait already."""

    reason = "TOO_MANY_RUNS"


class SqlRuns:
    """Implements `runs.ports.Runs` and `runs.ports.Reports`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def start(self, new: NewRun) -> Run:
        """Create a run and the job that will run it, in one transaction; or return the run that the request_id made."""
        async with self._engine.begin() as connection:
            run_id = str(uuid.uuid4())
            answer_id = await remember_request(connection, new.user_id, new.request_id, new.request_hash, run_id)
            if answer_id == run_id:
                await _refuse_too_many(connection, new.user_id)
                await connection.execute(insert(runs).values(**_new_row(run_id, new)))
                if new.agent_id:
                    await connection.execute(
                        update(agents)
                        .where(agents.c.agent_id == new.agent_id)
                        # A run by hand serves the slots before it.
                        .values(last_run_at=func.now(), served_until=func.greatest(agents.c.served_until, func.now()))
                    )
                await connection.execute(
                    DEFER,
                    {
                        "queue": QUEUE,
                        "task": TASK,
                        "lock": f"user:{new.user_id}",
                        "args": json.dumps({"run_id": run_id}),
                    },
                )
            row = await connection.execute(select(*RUN_COLUMNS).where(runs.c.run_id == answer_id))
            return _run(row.one())

    async def get(self, user_id: str, run_id: str) -> Run:
        """Return a run of the user."""
        return await self._one(select(*RUN_COLUMNS).where(runs.c.run_id == run_id, runs.c.user_id == user_id))

    async def page(self, query: RunQuery) -> list[Run]:
        """Return the runs, newest first."""
        statement = select(*RUN_COLUMNS).where(runs.c.user_id == query.user_id)
        if query.agent_id:
            statement = statement.where(or_(runs.c.agent_id == query.agent_id, runs.c.agent_key == query.agent_id))
        if query.states:
            statement = statement.where(runs.c.state.in_([state.value for state in query.states]))
        if query.before:
            statement = statement.where(tuple_(runs.c.created_at, runs.c.run_id) < tuple_(*query.before))
        statement = statement.order_by(runs.c.created_at.desc(), runs.c.run_id.desc()).limit(query.limit)
        async with self._engine.connect() as connection:
            return [_run(row) for row in await connection.execute(statement)]

    async def claim(self, run_id: str) -> Run | None:
        """Take the run for this worker: raise its epoch, and make it RUNNING. None when it is terminal or gone."""
        statement = (
            update(runs)
            .where(runs.c.run_id == run_id, runs.c.state.in_([RunState.QUEUED.value, RunState.RUNNING.value]))
            .values(
                state=RunState.RUNNING.value,
                epoch=runs.c.epoch + 1,
                started_at=func.coalesce(runs.c.started_at, func.now()),
            )
            .returning(*RUN_COLUMNS)
        )
        async with self._engine.begin() as connection:
            row = (await connection.execute(statement)).one_or_none()
            await ring(connection, [f"run:{run_id}"])
            return _run(row) if row else None

    async def request_cancel(self, user_id: str, run_id: str, reason: str) -> Run:
        """Ask for the run's end. A run that no worker has taken becomes CANCELLED at once."""
        async with self._engine.begin() as connection:
            if not await cancel(connection, user_id, run_id, reason):
                raise NotFound("run")
            return _run((await connection.execute(select(*RUN_COLUMNS).where(runs.c.run_id == run_id))).one())

    async def uninformed(self, user_id: str) -> list[Run]:
        """Return the terminal runs of the user whose device has still to be told, oldest first, at most 100."""
        statement = (
            select(*RUN_COLUMNS)
            .where(runs.c.user_id == user_id, ~runs.c.device_informed, runs.c.ended_at.is_not(None))
            .order_by(runs.c.ended_at)
            .limit(100)
        )
        async with self._engine.connect() as connection:
            return [_run(row) for row in await connection.execute(statement)]

    async def informed(self, run_id: str) -> None:
        """Remember that the run's device has been told."""
        async with self._engine.begin() as connection:
            await connection.execute(update(runs).where(runs.c.run_id == run_id).values(device_informed=True))
            await ring(connection, [f"run:{run_id}"])

    async def report(self, run_id: str) -> RunReport | None:
        """Return the kept report of a terminal run, None when there is none yet."""
        async with self._engine.connect() as connection:
            kept = (await connection.execute(select(runs.c.report).where(runs.c.run_id == run_id))).scalar_one_or_none()
        return None if kept is None else REPORT.validate_python(kept)

    async def keep_report(self, run_id: str, report: RunReport) -> None:
        """Keep the report of a terminal run, so that lists need not fold its journal again."""
        async with self._engine.begin() as connection:
            await connection.execute(
                update(runs)
                .where(runs.c.run_id == run_id, runs.c.ended_at.is_not(None))
                .values(report=REPORT.dump_python(report, mode="json"))
            )

    async def _one(self, statement: Select[tuple[object, ...]]) -> Run:
        async with self._engine.connect() as connection:
            row = (await connection.execute(statement)).one_or_none()
        if row is None:
            raise NotFound("run")
        return _run(row)


async def cancel(connection: AsyncConnection, user_id: str, run_id: str, reason: str) -> bool:
    """Ask for a run's end in the connection's transaction; False when the user has no such run."""
    mine = (runs.c.run_id == run_id) & (runs.c.user_id == user_id)
    row = (await connection.execute(select(runs.c.state).where(mine).with_for_update())).one_or_none()
    if row is None:
        return False
    state = RunState(row.state)
    if state is RunState.QUEUED:
        kind, payload = encode(Finished(state=RunState.CANCELLED, device_informed=True, reason=reason))
        await connection.execute(
            update(runs)
            .where(mine)
            .values(
                state=RunState.CANCELLED.value,
                ended_at=func.now(),
                cancel_requested=True,
                cancel_reason=reason,
            )
        )
        await connection.execute(insert(run_events).values(run_id=run_id, seq=1, kind=kind, payload=payload))
    elif state is RunState.RUNNING:
        await connection.execute(
            update(runs).where(mine, ~runs.c.cancel_requested).values(cancel_requested=True, cancel_reason=reason)
        )
    await ring(connection, [f"run:{run_id}", f"cancel:{run_id}"])
    return True


async def _refuse_too_many(connection: AsyncConnection, user_id: str) -> None:
    waiting = await connection.scalar(
        select(func.count()).where(runs.c.user_id == user_id, runs.c.state == RunState.QUEUED.value)
    )
    if (waiting or 0) >= MAX_WAITING_RUNS:
        raise TooManyRuns(retry_after=30.0)


def _new_row(run_id: str, new: NewRun) -> dict[str, object]:
    return {
        "run_id": run_id,
        "user_id": new.user_id,
        "agent_id": new.agent_id,
        "agent_key": new.definition.client_agent_id or new.agent_id,
        "definition": DEFINITION.dump_python(new.definition, mode="json"),
        "trigger": new.trigger.value,
        "state": RunState.QUEUED.value,
        "epoch": 0,
        "created_at": datetime.now(UTC),
        "slot_time": new.slot_time,
        "cancel_requested": False,
        "cancel_reason": "",
        "device_informed": True,
        "outcome_counted": False,
    }


def _run(row: Row[tuple[object, ...]]) -> Run:
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    fields.pop("agent_key")
    fields["definition"] = DEFINITION.validate_python(fields["definition"])
    fields["trigger"] = Trigger(fields["trigger"])
    fields["state"] = RunState(fields["state"])
    return Run(**fields)
