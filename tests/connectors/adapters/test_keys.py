"""The wrapped keys in PostgreSQL keep the suite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from connectors.adapters.sql.engine import pool, transaction
from connectors.adapters.sql.keys import SqlKeyStore
from connectors.adapters.sql.rows import key_columns, wrapped_key_of
from connectors.adapters.sql.schema import upgrade
from connectors.adapters.sql.tables import connections
from connectors.vault.domain import Owner, WrappedKey
from tests.conformance.connectors.connection_kit import NOW
from tests.conformance.connectors.key_store import KeyStoreConformance


class Lab:
    """The keys of a database's connections."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self.keys = SqlKeyStore(engine)

    async def put(self, owner: Owner, wrapped: WrappedKey) -> None:
        if await self._set(owner, wrapped):
            return
        row = {
            "connection_id": owner.connection_id,
            "user_id": owner.user_id,
            "provider": "gmail",
            "state": "ACTIVE",
            "created_at": NOW,
            "updated_at": NOW,
            **key_columns(wrapped),
        }
        async with transaction(self._engine) as connection:
            await connection.execute(insert(connections).values(row))

    async def stored(self, owner: Owner) -> WrappedKey | None:
        query = select(connections.c.key_id, connections.c.wrapped_key).where(*_mine(owner))
        async with transaction(self._engine) as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else wrapped_key_of(row.key_id, row.wrapped_key)

    async def erase(self, owner: Owner) -> None:
        await self._set(owner, None)

    async def _set(self, owner: Owner, wrapped: WrappedKey | None) -> bool:
        statement = update(connections).where(*_mine(owner)).values(key_columns(wrapped))
        async with transaction(self._engine) as connection:
            found = await connection.execute(statement.returning(connections.c.connection_id))
            return found.one_or_none() is not None


@pytest.fixture
async def lab(database_url: str) -> AsyncIterator[Lab]:
    async with pool(database_url) as engine:
        await upgrade(engine)
        async with transaction(engine) as connection:
            await connection.execute(connections.delete())
        yield Lab(engine)


class TestSqlKeys(KeyStoreConformance):
    """As the suite says."""


def _mine(owner: Owner) -> tuple[Any, Any]:
    return connections.c.connection_id == owner.connection_id, connections.c.user_id == owner.user_id
