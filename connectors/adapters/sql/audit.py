"""The audit trail: lines are added and read, and never changed."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from connectors.adapters.sql.engine import transaction
from connectors.adapters.sql.tables import audit
from connectors.connections.domain import AuditAction, AuditEvent


async def add_events(connection: AsyncConnection, events: Iterable[AuditEvent]) -> None:
    """Write lines in the connection's transaction."""
    rows = [
        {
            "user_id": event.user_id,
            "connection_id": event.connection_id,
            "action": event.action.value,
            "actor": event.actor,
            "reason": event.reason,
            "at": event.at,
        }
        for event in events
    ]
    if rows:
        await connection.execute(insert(audit), rows)


class SqlAuditTrail:
    """Implements `connections.ports.AuditTrail`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, event: AuditEvent) -> None:
        """Write a line; see the port."""
        async with transaction(self._engine) as connection:
            await add_events(connection, [event])

    async def page(self, *, user_id: str | None, connection_id: str, limit: int, before: str) -> list[AuditEvent]:
        """Return events, newest first; see the port."""
        query = select(audit).order_by(audit.c.event_id.desc()).limit(limit)
        if user_id is not None:
            query = query.where(audit.c.user_id == user_id)
        if connection_id:
            query = query.where(audit.c.connection_id == connection_id)
        if before:
            query = query.where(audit.c.event_id < int(before))
        async with transaction(self._engine) as connection:
            rows = (await connection.execute(query)).all()
        return [
            AuditEvent(
                event_id=str(row.event_id),
                user_id=row.user_id,
                connection_id=row.connection_id,
                action=AuditAction(row.action),
                actor=row.actor,
                reason=row.reason,
                at=row.at,
            )
            for row in rows
        ]
