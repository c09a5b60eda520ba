"""Cursors and the quarantine in PostgreSQL keep the suites."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from connectors.adapters.sql.cursors import SqlCursors
from connectors.adapters.sql.engine import pool, transaction
from connectors.adapters.sql.quarantine import SqlQuarantine
from connectors.adapters.sql.schema import upgrade
from connectors.adapters.sql.tables import connections, cursors
from connectors.connections.errors import ConnectionUnknown
from connectors.errors import StoreUnavailable
from tests.conformance.connectors.cursor_store import (
    NOW,
    CursorStoreConformance,
    Shelf,
    step,
)
from tests.conformance.connectors.quarantine import QuarantineConformance


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with pool(database_url) as opened:
        await upgrade(opened)
        yield opened


@pytest.fixture
async def shelf(engine: AsyncEngine) -> Shelf:
    async def link(connection_id: str, user_id: str) -> None:
        row = {
            "connection_id": connection_id,
            "user_id": user_id,
            "provider": "fake",
            "state": "ACTIVE",
            "created_at": NOW,
            "updated_at": NOW,
        }
        async with transaction(engine) as connection:
            await connection.execute(insert(connections).values(row))

    quarantine = SqlQuarantine(engine)
    return Shelf(SqlCursors(engine), quarantine, quarantine, link)


class TestSqlCursors(CursorStoreConformance):
    """As the suite says."""


class TestSqlQuarantine(QuarantineConformance):
    """As the suite says."""


async def test_a_cursor_goes_with_its_connection(shelf: Shelf, engine: AsyncEngine) -> None:
    name = await shelf.name()
    epoch = await shelf.with_round(name)
    await shelf.cursors.advance(name, step(epoch, 0, 2), now=NOW)
    await shelf.put(name)

    async with transaction(engine) as connection:
        await connection.execute(delete(connections).where(connections.c.connection_id == name.connection_id))

    assert await shelf.cursors.read(name) is None
    assert await shelf.cursors.seen(name, [b"digest 0"]) == set()
    with pytest.raises(ConnectionUnknown):
        await shelf.put(name)


async def test_it_is_written_down_when_a_cursor_was_last_changed(shelf: Shelf, engine: AsyncEngine) -> None:
    name = await shelf.name()
    epoch = await shelf.with_round(name)
    later = NOW + timedelta(hours=1)

    await shelf.cursors.advance(name, step(epoch, 0, 2), now=later)

    async with transaction(engine) as connection:
        query = select(cursors.c.updated_at).where(cursors.c.connection_id == name.connection_id)
        assert (await connection.execute(query)).scalar_one() == later


async def test_a_database_that_is_away_is_told_as_such(shelf: Shelf, tmp_path: object) -> None:
    name = await shelf.name()
    async with pool(f"postgresql+asyncpg://postgres@/nowhere?host={tmp_path}") as lost:
        with pytest.raises(StoreUnavailable):
            await SqlCursors(lost).begin(name, filter_hash="f", now=NOW)
        with pytest.raises(StoreUnavailable):
            await SqlQuarantine(lost).retries(name, limit=1)
