"""Connections, grants, flows and the audit trail in PostgreSQL keep the suites."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest
from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncEngine

from connectors.adapters.sql.audit import SqlAuditTrail
from connectors.adapters.sql.connections import SqlConnections
from connectors.adapters.sql.engine import pool, transaction
from connectors.adapters.sql.flows import SqlFlows
from connectors.adapters.sql.grants import SqlGrants
from connectors.adapters.sql.notices import SqlNoticeFeed, SqlNotices, notify
from connectors.adapters.sql.schema import upgrade
from connectors.adapters.sql.tables import connections
from connectors.connections.domain import Notice, NoticeKind
from tests.conformance.connectors.connection_kit import Kit
from tests.conformance.connectors.connection_store import ConnectionStoreConformance, GrantStoreConformance
from tests.conformance.connectors.flow_store import AuditTrailConformance, FlowStoreConformance

PATIENCE = 10.0


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with pool(database_url) as opened:
        await upgrade(opened)
        yield opened


@pytest.fixture
async def kit(engine: AsyncEngine, database_url: str) -> AsyncIterator[Kit]:
    heard: list[Notice] = []
    arrived, listening = asyncio.Event(), asyncio.Event()

    def noticed(notice: Notice) -> None:
        heard.append(notice)
        arrived.set()

    async def expire_leases() -> None:
        async with transaction(engine) as connection:
            await connection.execute(update(connections).values(refresh_until=func.now()))

    async def notices() -> list[Notice]:
        # Notices come in the order of their transactions: whatever was told before this mark has been heard with it.
        mark = Notice(kind=NoticeKind.CHANGED, connection_id=f"mark {len(heard)}", user_id="mark")
        async with transaction(engine) as connection:
            await notify(connection, [mark])
        with anyio.fail_after(PATIENCE):
            while mark not in heard:
                arrived.clear()
                await arrived.wait()
        told = [notice for notice in heard if notice.user_id == made.user]
        heard.clear()
        return told

    made = Kit(
        SqlConnections(engine),
        SqlGrants(engine),
        SqlFlows(engine),
        SqlAuditTrail(engine),
        SqlNotices(engine),
        expire_leases=expire_leases,
        notices=notices,
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(SqlNoticeFeed(database_url).run, noticed, lambda _state: listening.set())
        with anyio.fail_after(PATIENCE):
            await listening.wait()
        yield made
        tasks.cancel_scope.cancel()


class TestConnections(ConnectionStoreConformance):
    """As the suite says."""


class TestGrants(GrantStoreConformance):
    """As the suite says."""


class TestFlows(FlowStoreConformance):
    """As the suite says."""


class TestAudit(AuditTrailConformance):
    """As the suite says."""
