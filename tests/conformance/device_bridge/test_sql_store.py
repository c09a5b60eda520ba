"""The store on PostgreSQL is a store."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest
from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncEngine

from device_bridge.server.adapters.sql.devices import SqlDeviceStore
from device_bridge.server.adapters.sql.engine import pool, transaction
from device_bridge.server.adapters.sql.enrolment import SqlEnrolmentStore
from device_bridge.server.adapters.sql.notices import SqlNoticeFeed, notify
from device_bridge.server.adapters.sql.schema import upgrade
from device_bridge.server.adapters.sql.sessions import SqlSessionStore
from device_bridge.server.adapters.sql.tables import device_leases, enrolment_codes
from device_bridge.server.devices.domain import Notice, NoticeKind
from tests.conformance.device_bridge.device_store import DeviceStoreConformance
from tests.conformance.device_bridge.enrolment_store import EnrolmentStoreConformance
from tests.conformance.device_bridge.kit import Kit
from tests.conformance.device_bridge.session_store import SessionStoreConformance
from tests.device_bridge.server.waiting import until


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with pool(database_url) as opened:
        await upgrade(opened)
        yield opened


@pytest.fixture
async def kit(engine: AsyncEngine, database_url: str) -> AsyncIterator[Kit]:
    heard: list[Notice] = []
    states: list[bool] = []

    async def expire_leases() -> None:
        async with transaction(engine) as connection:
            await connection.execute(update(device_leases).values(expires_at=func.now()))

    async def expire_codes() -> None:
        async with transaction(engine) as connection:
            await connection.execute(update(enrolment_codes).values(expires_at=func.now()))

    async def notices() -> list[Notice]:
        # Notices come in the order of their transactions: whatever was told before this mark has been heard with it.
        mark = Notice(kind=NoticeKind.CHANGED, device_id="mark", user_id="mark", epoch=len(heard))
        async with transaction(engine) as connection:
            await notify(connection, [mark])
        await until(lambda: mark in heard)
        told = [notice for notice in heard if notice.user_id == made.user]
        heard.clear()
        return told

    made = Kit(
        SqlSessionStore(engine),
        SqlDeviceStore(engine),
        SqlEnrolmentStore(engine),
        expire_leases=expire_leases,
        expire_codes=expire_codes,
        notices=notices,
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(SqlNoticeFeed(database_url).run, heard.append, states.append)
        await until(lambda: states == [True])
        yield made
        tasks.cancel_scope.cancel()


class TestSessions(SessionStoreConformance):
    """As the suite says."""


class TestDevices(DeviceStoreConformance):
    """As the suite says."""


class TestEnrolment(EnrolmentStoreConformance):
    """As the suite says."""
