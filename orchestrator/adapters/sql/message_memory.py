"""What became of each message, in PostgreSQL: written by the journals, with the events that tell it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, Table, func, select, text
from sqlalchemy.exc import DBAPIError, TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from orchestrator.adapters.sql.tables import message_failures, processed_messages
from orchestrator.agents.domain import CloudConnector
from orchestrator.runs.domain import JournalLost, Run
from orchestrator.runs.events import Event, ItemFailed, ItemProcessed
from orchestrator.runs.incoming import MESSAGE_PREFIX
from orchestrator.runs.ports import Failures, Remembered

# Whose message it is stands in the run: a worker cannot write for another user or agent.
GIVEN = """
WITH given AS (
    SELECT * FROM unnest(
        CAST(:run_ids AS text[]), CAST(:message_keys AS text[]), CAST(:flags AS boolean[])
    ) AS given(run_id, message_key, flag)
), of_agents AS (
    SELECT runs.user_id, runs.agent_key, runs.definition #>> '{source,connection_id}' AS connection_id,
        given.message_key, given.run_id, given.flag
    FROM given JOIN runs USING (run_id)
    WHERE runs.definition #>> '{source,connection_id}' IS NOT NULL
)
"""

REMEMBER_DONE = text(  # the order in which rows are locked is the same for all
    GIVEN  # noqa: S608 - constants only
    + """, forgotten AS (
    DELETE FROM message_failures USING of_agents
    WHERE message_failures.user_id = of_agents.user_id AND message_failures.agent_key = of_agents.agent_key
        AND message_failures.connection_id = of_agents.connection_id
        AND message_failures.message_key = of_agents.message_key
)
INSERT INTO processed_messages (user_id, agent_key, connection_id, message_key, run_id, given_up)
SELECT user_id, agent_key, connection_id, message_key, run_id, flag FROM of_agents
ORDER BY user_id, agent_key, connection_id, message_key
ON CONFLICT DO NOTHING
"""
)
REMEMBER_FAILED = text(
    GIVEN
    + """
INSERT INTO message_failures (user_id, agent_key, connection_id, message_key, run_id, blamed)
SELECT user_id, agent_key, connection_id, message_key, run_id, flag FROM of_agents
ORDER BY user_id, agent_key, connection_id, message_key
ON CONFLICT DO NOTHING
"""
)


async def remember(connection: AsyncConnection, events: Iterable[tuple[str, Event]]) -> None:
    """Remember what events of runs tell of messages, in the connection's transaction. Safe to repeat.

    Args:
        connection: Of the transaction that stores the events.
        events: Each with its run.
    """
    done: list[tuple[str, str, bool]] = []
    failed: list[tuple[str, str, bool]] = []
    for run_id, event in events:
        match event:
            case ItemProcessed(item=item) if item.startswith(MESSAGE_PREFIX):
                done.append((run_id, item, False))
            case ItemFailed(item=item, given_up=True):
                done.append((run_id, item, True))
            case ItemFailed(item=item):
                failed.append((run_id, item, event.blamed))
            case _:
                pass
    for statement, rows in ((REMEMBER_DONE, done), (REMEMBER_FAILED, failed)):
        if rows:
            columns = map(list, zip(*rows, strict=True))
            await connection.execute(statement, dict(zip(("run_ids", "message_keys", "flags"), columns, strict=True)))


class SqlMessageMemory:
    """Implements `runs.ports.MessageMemory`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def recall(self, run: Run, message_ids: Sequence[str]) -> Remembered:
        """Return what earlier runs of the run's agent made of these messages of its connection."""
        source = run.definition.source
        if not message_ids or not isinstance(source, CloudConnector):
            return Remembered()
        done = select(processed_messages.c.message_key).where(
            _mine(processed_messages, run, source.connection_id, message_ids)
        )
        failed = (
            select(
                message_failures.c.message_key,
                func.count().label("tries"),
                func.count().filter(message_failures.c.blamed).label("blamed"),
            )
            .where(
                _mine(message_failures, run, source.connection_id, message_ids),
                message_failures.c.run_id != run.run_id,
            )
            .group_by(message_failures.c.message_key)
        )
        try:
            async with self._engine.connect() as connection:
                keys = (await connection.execute(done)).scalars().all()
                rows = (await connection.execute(failed)).all()
        except (DBAPIError, PoolTimeout, OSError) as error:
            raise JournalLost(run.run_id) from error
        return Remembered(
            done=frozenset(keys),
            failures={row.message_key: Failures(tries=row.tries, blamed=row.blamed) for row in rows},
        )


def _mine(table: Table, run: Run, connection_id: str, message_ids: Sequence[str]) -> ColumnElement[bool]:
    return (
        (table.c.user_id == run.user_id)
        & (table.c.agent_key == run.agent_key)
        & (table.c.connection_id == connection_id)
        & table.c.message_key.in_(message_ids)
    )
