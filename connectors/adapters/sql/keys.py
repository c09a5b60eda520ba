"""The wrapped data keys of all connections, for rotation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncEngine

from connectors.adapters.sql.engine import transaction
from connectors.adapters.sql.tables import connections
from connectors.vault.domain import Owner, StoredKey, WrappedKey


class SqlKeyStore:
    """Implements `vault.ports.KeyStore`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(self, current: str, *, after: tuple[str, str] | None, limit: int) -> Sequence[StoredKey]:
        """Return keys that are not under `current`; see the port."""
        query = (
            select(connections.c.user_id, connections.c.connection_id, connections.c.key_id, connections.c.wrapped_key)
            .where(connections.c.wrapped_key.is_not(None), connections.c.key_id != current)
            .order_by(connections.c.user_id, connections.c.connection_id)
            .limit(limit)
        )
        if after is not None:
            query = query.where(tuple_(connections.c.user_id, connections.c.connection_id) > tuple_(*after))
        async with transaction(self._engine) as connection:
            rows = (await connection.execute(query)).all()
        return [
            StoredKey(Owner(row.user_id, row.connection_id), WrappedKey(row.key_id, bytes(row.wrapped_key)))
            for row in rows
        ]

    async def replace(self, owner: Owner, old: WrappedKey, new: WrappedKey) -> bool:
        """Store `new` if `old` is stored; see the port. What the key has sealed stays as it is, and so do versions."""
        statement = (
            update(connections)
            .where(
                connections.c.connection_id == owner.connection_id,
                connections.c.user_id == owner.user_id,
                connections.c.key_id == old.key_id,
                connections.c.wrapped_key == old.blob,
            )
            .values(key_id=new.key_id, wrapped_key=new.blob)
            .returning(connections.c.connection_id)
        )
        async with transaction(self._engine) as connection:
            return (await connection.execute(statement)).one_or_none() is not None

    async def counts(self) -> Mapping[str, int]:
        """Return how many keys each key wraps; see the port."""
        query = (
            select(connections.c.key_id, func.count().label("wrapped"))
            .where(connections.c.wrapped_key.is_not(None))
            .group_by(connections.c.key_id)
        )
        async with transaction(self._engine) as connection:
            return {row.key_id: row.wrapped for row in await connection.execute(query)}
