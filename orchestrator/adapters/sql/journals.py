"""The journals in PostgreSQL. Appends of all runs of the process are committed in groups.

One task writes: it takes everything that waits, checks every epoch and inserts in one statement, and commits. While a
commit is under way the next group gathers. So a run's events are committed in the order of their seq, a watcher that
reads after a seq misses none, and the cost of a commit is shared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adiuva_rpc.errors import Unavailable
from orchestrator.adapters.sql.bell import ring
from orchestrator.adapters.sql.message_memory import remember
from orchestrator.adapters.sql.tables import run_events
from orchestrator.runs.domain import Fenced
from orchestrator.runs.events import Event, Finished, StoredEvent, decode, encode

MAX_WAITING = 1_000
"""Appends that may wait; one more waits for room before it waits for its commit."""
MAX_GROUP_EVENTS = 2_000
ATTEMPTS = 5
"""Of one group, when the database is away for a moment."""

# FOR SHARE: a takeover that raises the epoch waits for this commit, or makes this statement see the new epoch.
APPEND = text("""
WITH given AS (
    SELECT * FROM unnest(
        CAST(:run_ids AS text[]), CAST(:epochs AS integer[]), CAST(:seqs AS bigint[]),
        CAST(:kinds AS text[]), CAST(:payloads AS text[])
    ) AS given(run_id, epoch, seq, kind, payload)
), held AS (
    SELECT run_id, epoch FROM runs
    WHERE run_id = ANY (CAST(:run_ids AS text[])) AND state = 'RUNNING'
    ORDER BY run_id
    FOR SHARE
), written AS (
    INSERT INTO run_events (run_id, seq, kind, payload)
    SELECT given.run_id, given.seq, given.kind, given.payload FROM given JOIN held USING (run_id, epoch)
    ON CONFLICT DO NOTHING
)
SELECT run_id, epoch FROM held
""")

FINISH = text("""
UPDATE runs SET state = :state, ended_at = clock_timestamp(), device_informed = :device_informed,
    cancel_reason = CASE WHEN :reason = '' THEN cancel_reason ELSE :reason END
WHERE run_id = :run_id AND epoch = :epoch AND state = 'RUNNING'
""")

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Append:
    run_id: str
    epoch: int
    events: Sequence[tuple[int, Event]]
    committed: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class SqlJournals:
    """Implements `runs.ports.Journals`. `run` must be running for appends to be committed."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._waiting: asyncio.Queue[_Append] = asyncio.Queue(maxsize=MAX_WAITING)

    async def append(self, run_id: str, epoch: int, events: Sequence[tuple[int, Event]]) -> None:
        """Store the events under their seq numbers, in order, and return once they are committed."""
        append = _Append(run_id, epoch, events)
        await self._waiting.put(append)
        await append.committed

    async def read(self, run_id: str, *, after_seq: int = 0, limit: int | None = None) -> list[StoredEvent]:
        """Return the run's events in order. One query."""
        query = (
            select(run_events.c.seq, run_events.c.at, run_events.c.kind, run_events.c.payload)
            .where(run_events.c.run_id == run_id, run_events.c.seq > after_seq)
            .order_by(run_events.c.seq)
            .limit(limit)
        )
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).all()
        return [StoredEvent(seq=seq, at=at, event=decode(kind, payload)) for seq, at, kind, payload in rows]

    async def run(self) -> None:
        """Commit what waits, group by group, for ever."""
        while True:
            group = [await self._waiting.get()]
            size = len(group[0].events)
            while size < MAX_GROUP_EVENTS and not self._waiting.empty():
                group.append(self._waiting.get_nowait())
                size += len(group[-1].events)
            await self._commit(group)

    async def _commit(self, group: list[_Append]) -> None:
        try:
            held = await self._write_with_patience(group)
        except (DBAPIError, PoolTimeout, OSError) as error:
            _log.error("journal_unavailable", error=type(error).__name__, appends=len(group))
            for append in group:
                _fail(append, Unavailable("The journal cannot be written now.", retry_after=5.0))
            return
        except BaseException:
            # The task ends: nobody may wait for a commit that will never come. It may have happened; whoever takes the
            # run over reads the journal and knows.
            for append in group:
                _fail(append, Unavailable("The journal is closing."))
            raise
        for append in group:
            if (append.run_id, append.epoch) not in held:
                _fail(append, Fenced(append.run_id))
            elif not append.committed.done():
                append.committed.set_result(None)

    async def _write_with_patience(self, group: list[_Append]) -> set[tuple[str, int]]:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._engine.begin() as connection:
                    return await self._write(connection, group)
            except (DBAPIError, PoolTimeout, OSError) as error:
                # The commit may have happened all the same. Writing again is safe: the same seq of the same epoch is
                # the same event.
                if attempt == ATTEMPTS or (isinstance(error, DBAPIError) and not error.connection_invalidated):
                    raise
                await asyncio.sleep(0.1 * 2**attempt)
        raise AssertionError("unreachable")

    async def _write(self, connection: AsyncConnection, group: list[_Append]) -> set[tuple[str, int]]:
        rows = [(append.run_id, append.epoch, seq, *encode(event)) for append in group for seq, event in append.events]
        columns = zip(*rows, strict=True) if rows else [(), (), (), (), ()]
        names = ("run_ids", "epochs", "seqs", "kinds", "payloads")
        result = await connection.execute(APPEND, dict(zip(names, map(list, columns), strict=True)))
        held = {(row.run_id, row.epoch) for row in result}
        for append in group:
            for _seq, event in append.events:
                if isinstance(event, Finished) and (append.run_id, append.epoch) in held:
                    await connection.execute(
                        FINISH,
                        {
                            "run_id": append.run_id,
                            "epoch": append.epoch,
                            "state": event.state.value,
                            "device_informed": event.device_informed,
                            "reason": event.reason,
                        },
                    )
        stored = [append for append in group if (append.run_id, append.epoch) in held]
        await remember(connection, ((append.run_id, event) for append in stored for _seq, event in append.events))
        await ring(connection, (f"run:{run_id}" for run_id, _epoch in held))
        return held


def _fail(append: _Append, error: Exception) -> None:
    if not append.committed.done():
        append.committed.set_exception(error)
