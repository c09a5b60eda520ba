"""The agents in PostgreSQL as far as time concerns them: who is due is claimed and started in one transaction."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import RowMapping, Select, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.exc import DBAPIError, TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adiuva_rpc.errors import Unavailable
from adiuva_rpc.failpoints import failpoint
from orchestrator.adapters.sql.agents import read_schedule
from orchestrator.adapters.sql.bell import ring
from orchestrator.adapters.sql.runs import MAX_WAITING_RUNS, QUEUE, TASK, cancel
from orchestrator.adapters.sql.tables import agents, runs
from orchestrator.runs.domain import RunState, Trigger
from orchestrator.schedules.decisions import Candidate, Decision, failures_after, pauses
from orchestrator.schedules.ports import CHANGED, Claim, Decide, Decided

RUN_IDS: Final = uuid.UUID("6f2f7ad6-3b0f-4a4c-9d0a-5b8a3a2f4c11")
"""The namespace of the ids of scheduled runs."""
CANCEL_REASON: Final = "A newer slot of the schedule starts."
PAUSE_REASON: Final = "Paused after {failures} failed runs in a row."

UNDER_WAY: Final = (RunState.QUEUED.value, RunState.RUNNING.value)

START = text("""
INSERT INTO runs (run_id, user_id, agent_id, agent_key, definition, trigger, state, created_at, slot_time)
SELECT given.run_id, agents.user_id, agents.agent_id, coalesce(agents.client_agent_id, agents.agent_id),
    agents.definition, :trigger, 'QUEUED', :now, given.slot
FROM unnest(CAST(:run_ids AS text[]), CAST(:agent_ids AS text[]), :slots) AS given(run_id, agent_id, slot)
JOIN agents USING (agent_id)
ON CONFLICT DO NOTHING
RETURNING run_id
""").bindparams(bindparam("slots", type_=ARRAY(TIMESTAMP(timezone=True))))

DEFER = text("""
SELECT procrastinate_defer_jobs_v1(ARRAY(
    SELECT ROW(:queue, :task, 0, lock, NULL, CAST(args AS jsonb), NULL)::procrastinate_job_to_defer_v1
    FROM unnest(CAST(:locks AS text[]), CAST(:arguments AS text[])) WITH ORDINALITY AS given(lock, args, place)
    ORDER BY place
))
""")

REMEMBER = (
    update(agents)
    .where(agents.c.agent_id == bindparam("of_agent"))
    .values(
        next_due_at=bindparam("new_next_due_at"),
        waits_for_device=bindparam("new_waits"),
        served_until=func.coalesce(bindparam("new_served_until"), agents.c.served_until),
        last_run_at=func.coalesce(bindparam("new_last_run_at"), agents.c.last_run_at),
        missed_slots=agents.c.missed_slots + bindparam("more_missed"),
        missed_reason=func.coalesce(bindparam("new_missed_reason"), agents.c.missed_reason),
        missed_last=func.coalesce(bindparam("new_missed_last"), agents.c.missed_last),
        skipped_slots=agents.c.skipped_slots + bindparam("more_skipped"),
        skipped_reason=func.coalesce(bindparam("new_skipped_reason"), agents.c.skipped_reason),
        skipped_last=func.coalesce(bindparam("new_skipped_last"), agents.c.skipped_last),
    )
)

CANDIDATES = select(
    agents.c.agent_id,
    agents.c.user_id,
    agents.c.schedule,
    agents.c.served_until,
    agents.c.created_at,
    agents.c.definition["source"]["device_id"].astext.label("device_id"),
)


def run_id_of(agent_id: str, slot: datetime) -> str:
    """Return the id of the run that a slot of an agent starts: always the same, so that there is one."""
    return str(uuid.uuid5(RUN_IDS, f"{agent_id}/{slot.astimezone(UTC).isoformat()}"))


class SqlSchedules:
    """Implements `schedules.ports.Schedules`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def claim_due(self, now: datetime, decide: Decide, *, limit: int) -> Claim:
        """Decide about agents whose time has come, the longest overdue first, without those somebody else is at."""
        chosen = (
            CANDIDATES.where(agents.c.next_due_at <= now, ~agents.c.paused)
            .order_by(agents.c.next_due_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        return await self._claim(chosen, decide, limit=limit, now=now, trigger=Trigger.SCHEDULE)

    async def claim_overdue(
        self, users: Collection[str], now: datetime, decide: Decide, *, limit: int, after: str = ""
    ) -> Claim:
        """Decide about agents of these users that wait for a device, are due, or have never run."""
        overdue = agents.c.waits_for_device | (agents.c.next_due_at <= now) | agents.c.served_until.is_(None)
        chosen = (
            CANDIDATES.where(agents.c.user_id.in_(users), overdue, agents.c.schedule.is_not(None), ~agents.c.paused)
            .where(agents.c.agent_id > after)
            .order_by(agents.c.agent_id)
            .limit(limit)
            # Waits for who is deciding just now: it may not know yet that the device is there.
            .with_for_update()
        )
        return await self._claim(chosen, decide, limit=limit, now=now, trigger=Trigger.DEVICE_CONNECTED)

    async def next_due(self) -> datetime | None:
        """Return when the next agent is due, None when none ever is."""
        async with self._connection() as connection:
            found: datetime | None = await connection.scalar(
                select(func.min(agents.c.next_due_at)).where(agents.c.next_due_at.is_not(None), ~agents.c.paused)
            )
            return found

    async def run_ended(self, run_id: str) -> None:
        """Count a terminal run for its agent, once, and pause the agent after as many failures as its schedule says."""
        run = select(runs.c.agent_id, runs.c.state).where(runs.c.run_id == run_id, ~runs.c.outcome_counted)
        async with self._connection() as connection:
            found = (await connection.execute(run)).one_or_none()
            if found is None or not (state := RunState(found.state)).terminal:
                return
            # First the agent, then the run, as a claim does.
            agent = await _locked(connection, found.agent_id)
            counted = await connection.execute(
                update(runs)
                .where(runs.c.run_id == run_id, ~runs.c.outcome_counted)
                .values(outcome_counted=True)
                .returning(runs.c.run_id)
            )
            if agent is None or counted.one_or_none() is None:
                return
            failures = failures_after(agent[agents.c.failures_in_a_row], state)
            values: dict[str, Any] = {"failures_in_a_row": failures}
            schedule, _problem = read_schedule(agent[agents.c.schedule])
            if state is RunState.FAILED and pauses(schedule, failures) and not agent[agents.c.paused]:
                values |= {
                    "paused": True,
                    "pause_reason": PAUSE_REASON.format(failures=failures),
                    "next_due_at": None,
                    "waits_for_device": False,
                    "etag": str(uuid.uuid4()),
                    "updated_at": func.now(),
                }
            await connection.execute(update(agents).where(agents.c.agent_id == found.agent_id).values(values))

    async def _claim(
        self, chosen: Select[Any], decide: Decide, *, limit: int, now: datetime, trigger: Trigger
    ) -> Claim:
        async with self._connection() as connection:
            rows = (await connection.execute(chosen)).mappings().all()
            if not rows:
                return Claim(decided=())
            decided = await _decide(connection, rows, decide)
            await _carry_out(connection, decided, now, trigger)
            failpoint("schedules.before_commit")
        failpoint("schedules.after_commit")
        more_after = str(rows[-1][agents.c.agent_id]) if len(rows) == limit else ""
        return Claim(decided=tuple(decided), more_after=more_after)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.begin() as connection:
                yield connection
        except (DBAPIError, PoolTimeout, OSError) as error:
            raise Unavailable(f"The schedules cannot be used now ({type(error).__name__}).", retry_after=5.0) from error


async def _decide(connection: AsyncConnection, rows: Sequence[RowMapping], decide: Decide) -> list[Decided]:
    under_way = await _under_way(connection, [row[agents.c.agent_id] for row in rows])
    waiting = await _waiting(connection, {row[agents.c.user_id] for row in rows})
    decided = []
    for row in rows:
        schedule, found = read_schedule(row[agents.c.schedule])
        candidate = Candidate(
            agent_id=row[agents.c.agent_id],
            user_id=row[agents.c.user_id],
            device_id=row["device_id"] or "",
            schedule=schedule,
            schedule_problem=found,
            served_until=row[agents.c.served_until],
            created_at=row[agents.c.created_at],
            under_way=tuple(under_way[row[agents.c.agent_id]]),
            room=MAX_WAITING_RUNS - waiting[row[agents.c.user_id]],
        )
        decision = decide(candidate)
        if decision is not None:
            decided.append(Decided(candidate=candidate, decision=decision))
            waiting[candidate.user_id] += decision.fire is not None
        # Counting the slots of a long absence takes milliseconds: the sessions of this process must not wait for all.
        await asyncio.sleep(0)
    return decided


async def _under_way(connection: AsyncConnection, agent_ids: list[str]) -> defaultdict[str, list[tuple[str, RunState]]]:
    found: defaultdict[str, list[tuple[str, RunState]]] = defaultdict(list)
    statement = select(runs.c.agent_id, runs.c.run_id, runs.c.state).where(
        runs.c.agent_id.in_(agent_ids), runs.c.state.in_(UNDER_WAY), runs.c.agent_id != ""
    )
    for agent_id, run_id, state in await connection.execute(statement.order_by(runs.c.created_at)):
        found[agent_id].append((run_id, RunState(state)))
    return found


async def _waiting(connection: AsyncConnection, users: set[str]) -> Counter[str]:
    statement = (
        select(runs.c.user_id, func.count().label("waiting"))
        .where(runs.c.user_id.in_(users), runs.c.state == RunState.QUEUED.value)
        .group_by(runs.c.user_id)
    )
    return Counter({row.user_id: row.waiting for row in await connection.execute(statement)})


async def _carry_out(connection: AsyncConnection, decided: list[Decided], now: datetime, trigger: Trigger) -> None:
    if not decided:
        return
    for one in decided:
        for run_id in one.decision.cancel:
            await cancel(connection, one.candidate.user_id, run_id, CANCEL_REASON)
    await _start(connection, decided, now, trigger)
    await connection.execute(REMEMBER, [_remembered(one.candidate.agent_id, one.decision, now) for one in decided])
    if trigger is Trigger.DEVICE_CONNECTED:
        # The tickers have slept over what was decided here.
        await ring(connection, [CHANGED])


async def _start(connection: AsyncConnection, decided: list[Decided], now: datetime, trigger: Trigger) -> None:
    firing = [(one.candidate, one.decision.fire.slot) for one in decided if one.decision.fire is not None]
    if not firing:
        return
    run_ids = [run_id_of(candidate.agent_id, slot) for candidate, slot in firing]
    started = await connection.execute(
        START,
        {
            "run_ids": run_ids,
            "agent_ids": [candidate.agent_id for candidate, _slot in firing],
            "slots": [slot for _candidate, slot in firing],
            "trigger": trigger.value,
            "now": now,
        },
    )
    new = set(started.scalars())
    jobs = [
        (f"user:{candidate.user_id}", json.dumps({"run_id": run_id}))
        for (candidate, _slot), run_id in zip(firing, run_ids, strict=True)
        if run_id in new
    ]
    if jobs:
        locks, arguments = map(list, zip(*jobs, strict=True))
        await connection.execute(DEFER, {"queue": QUEUE, "task": TASK, "locks": locks, "arguments": arguments})


def _remembered(agent_id: str, decision: Decision, now: datetime) -> dict[str, Any]:
    missed, skipped = decision.missed, decision.skipped
    return {
        "of_agent": agent_id,
        "new_next_due_at": decision.next_due_at,
        "new_waits": decision.waits_for_device,
        "new_served_until": decision.served_until,
        "new_last_run_at": None if decision.fire is None else now,
        "more_missed": missed.count if missed else 0,
        "new_missed_reason": missed.reason if missed else None,
        "new_missed_last": missed.slot if missed else None,
        "more_skipped": skipped.count if skipped else 0,
        "new_skipped_reason": skipped.reason if skipped else None,
        "new_skipped_last": skipped.slot if skipped else None,
    }


async def _locked(connection: AsyncConnection, agent_id: str) -> RowMapping | None:
    statement = select(agents.c.schedule, agents.c.paused, agents.c.failures_in_a_row).where(
        agents.c.agent_id == agent_id
    )
    return (await connection.execute(statement.with_for_update())).mappings().one_or_none()
