"""What is special about PostgreSQL: migrations, a lost connection, a database that is not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from device_bridge.server.adapters.sql.devices import SqlDeviceStore
from device_bridge.server.adapters.sql.engine import pool, transaction
from device_bridge.server.adapters.sql.enrolment import SqlEnrolmentStore
from device_bridge.server.adapters.sql.notices import CHANNEL, SqlNoticeFeed, notice_of, notify
from device_bridge.server.adapters.sql.schema import upgrade
from device_bridge.server.adapters.sql.sessions import SqlSessionStore
from device_bridge.server.adapters.sql.tables import SCHEMA, metadata
from device_bridge.server.devices.domain import Manifest, Notice, NoticeKind, Tool
from device_bridge.server.enrolment.ports import NewDevice
from device_bridge.server.errors import StoreUnavailable
from device_bridge.server.sessions.ports import Arrival
from tests.device_bridge.server.waiting import until

NOTICE = Notice(kind=NoticeKind.CONNECTED, device_id="laptop", user_id="anna", epoch=7)
NOWHERE = "postgresql+asyncpg://postgres@127.0.0.1:1/nowhere"


@pytest.fixture
async def engine(new_database: Callable[[], str]) -> AsyncIterator[AsyncEngine]:
    async with pool(new_database()) as opened:
        yield opened


async def test_replicas_that_start_together_migrate_in_turn(engine: AsyncEngine) -> None:
    await asyncio.gather(*(upgrade(engine) for _ in range(4)))

    async with transaction(engine) as connection:
        versions = (await connection.execute(text("SELECT version_num FROM device_bridge.alembic_version"))).all()
    assert len(versions) == 1


async def test_the_migrations_make_exactly_the_tables_of_the_code(engine: AsyncEngine) -> None:
    def differences(connection: Connection) -> list[Any]:
        options = {
            "include_schemas": True,
            "version_table_schema": SCHEMA,
            "include_name": lambda name, kind, _parents: kind != "schema" or name == SCHEMA,
        }
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    await upgrade(engine)

    async with transaction(engine) as connection:
        assert await connection.run_sync(differences) == []


async def test_nothing_is_made_outside_the_schema(engine: AsyncEngine) -> None:
    await upgrade(engine)

    async with transaction(engine) as connection:
        schemas = await connection.execute(
            text("SELECT DISTINCT schemaname FROM pg_tables WHERE schemaname !~ '^(pg_catalog|information_schema)$'")
        )
        assert [row.schemaname for row in schemas] == [SCHEMA]


async def test_sessions_that_come_go_and_are_renewed_at_once_never_wait_for_each_other(engine: AsyncEngine) -> None:
    await upgrade(engine)
    store, enrolment = SqlSessionStore(engine), SqlEnrolmentStore(engine)
    device_ids = [f"device-{number}" for number in range(6)]
    for device_id in device_ids:
        code = f"code of {device_id}"
        await enrolment.add_code("anna", request_id=code, sha256=code, lifetime=60.0, max_unused=20)
        new = NewDevice(device_id=device_id, installation_id="i", display_name="laptop")
        await enrolment.redeem(code, new, credential_of=lambda _device_id: "credential")
    epochs = dict.fromkeys(device_ids, 0)

    async def come_and_go(device_id: str) -> None:
        arrival = Arrival(
            device_id=device_id,
            user_id="anna",
            session_id="s",
            agent_version="",
            display_name="laptop",
            root_names=(),
            manifest=Manifest(hash="a" * 64, tools=(Tool(name="t"),)),
        )
        for _ in range(15):
            epochs[device_id] = (await store.open_session(arrival, replica="r", lease_seconds=0.0)).epoch
            await store.release(dict(reversed(epochs.items())))

    async def keep() -> None:
        for _ in range(30):
            await store.renew(epochs, replica="r", lease_seconds=0.0)
            await store.expire()

    # A deadlock would come out of this as StoreUnavailable.
    with anyio.fail_after(50):
        await asyncio.gather(*map(come_and_go, device_ids), keep(), keep())


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    async with pool(NOWHERE) as engine:
        with pytest.raises(StoreUnavailable):
            await SqlDeviceStore(engine).get("anna", "laptop")
        with pytest.raises(StoreUnavailable):
            await SqlSessionStore(engine).expire()


async def test_a_connection_that_was_cut_is_replaced(engine: AsyncEngine, database_url: str) -> None:
    await upgrade(engine)
    store = SqlDeviceStore(engine)
    await store.load({"laptop"})
    cut = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name")
    async with pool(database_url) as other, transaction(other) as connection:
        await connection.execute(cut, {"name": engine.url.database})

    assert await store.load({"laptop"}) == {}


async def test_a_feed_that_loses_its_connection_says_so_and_listens_again(new_database: Callable[[], str]) -> None:
    url = new_database()
    heard: list[Notice] = []
    states: list[bool] = []
    async with pool(url) as engine, anyio.create_task_group() as tasks:
        tasks.start_soon(SqlNoticeFeed(url).run, heard.append, states.append)
        await until(lambda: states == [True])

        async with transaction(engine) as connection:
            await connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
            )
        await until(lambda: states == [True, False, True])
        async with transaction(engine) as connection:
            await notify(connection, [NOTICE])

        await until(lambda: heard == [NOTICE])
        tasks.cancel_scope.cancel()


async def test_a_feed_waits_for_a_database_that_is_not_there() -> None:
    states: list[bool] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(SqlNoticeFeed(NOWHERE).run, lambda _notice: None, states.append)

        await until(lambda: states[:2] == [False, False])
        tasks.cancel_scope.cancel()


async def test_a_notice_is_told_when_its_transaction_commits_and_never_otherwise(
    new_database: Callable[[], str],
) -> None:
    url = new_database()
    heard: list[Notice] = []
    states: list[bool] = []
    async with pool(url) as engine, anyio.create_task_group() as tasks:
        tasks.start_soon(SqlNoticeFeed(url).run, heard.append, states.append)
        await until(lambda: states == [True])

        with pytest.raises(ZeroDivisionError):
            async with transaction(engine) as connection:
                await notify(connection, [Notice(kind=NoticeKind.REVOKED, device_id="x", user_id="y", epoch=1)])
                raise ZeroDivisionError
        async with transaction(engine) as connection:
            await notify(connection, [NOTICE])

        await until(lambda: heard == [NOTICE])
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("payload", ["", "x", "[]", "{}", '["later","a","b",1]', '["connected","a"]', "[1,2,3,4]"])
def test_what_a_newer_replica_says_is_passed_over(payload: str) -> None:
    assert notice_of(payload) is None


def test_the_channel_is_the_schemas_own() -> None:
    assert CHANNEL == SCHEMA
