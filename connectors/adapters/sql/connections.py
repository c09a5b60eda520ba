"""Connections as users see them."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from connectors.adapters.sql.engine import transaction
from connectors.adapters.sql.rows import connection_of
from connectors.adapters.sql.tables import connections
from connectors.connections.domain import Connection, ConnectionState
from connectors.connections.errors import ConnectionUnknown
from connectors.paging import Key


class SqlConnections:
    """Implements `connections.ports.ConnectionStore`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def get(self, user_id: str, connection_id: str) -> Connection:
        """Return a connection of the user; see the port."""
        query = select(connections).where(
            connections.c.connection_id == connection_id, connections.c.user_id == user_id
        )
        async with transaction(self._engine) as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise ConnectionUnknown
        return connection_of(row)

    async def page(
        self, user_id: str | None, *, limit: int, after: Key | None, include_disconnected: bool
    ) -> list[Connection]:
        """Return connections, newest first; see the port."""
        place = tuple_(connections.c.created_at, connections.c.connection_id)
        query = (
            select(connections)
            .order_by(connections.c.created_at.desc(), connections.c.connection_id.desc())
            .limit(limit)
        )
        if user_id is not None:
            query = query.where(connections.c.user_id == user_id)
        if not include_disconnected:
            query = query.where(connections.c.state != ConnectionState.DISCONNECTED.value)
        if after is not None:
            query = query.where(place < tuple_(*after))
        async with transaction(self._engine) as connection:
            return [connection_of(row) for row in await connection.execute(query)]

    async def load(self, connection_ids: Collection[str]) -> dict[str, Connection]:
        """Return the connections with these ids; see the port."""
        query = select(connections).where(connections.c.connection_id.in_(list(connection_ids)))
        async with transaction(self._engine) as connection:
            return {row.connection_id: connection_of(row) for row in await connection.execute(query)}
