"""What is special about PostgreSQL: the schema, what a connection takes with it, rows put where they do not belong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, func, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from connectors.adapters.sql.audit import SqlAuditTrail
from connectors.adapters.sql.connections import SqlConnections
from connectors.adapters.sql.engine import pool, transaction
from connectors.adapters.sql.flows import SqlFlows
from connectors.adapters.sql.grants import SqlGrants
from connectors.adapters.sql.notices import SqlNotices, notice_of
from connectors.adapters.sql.schema import upgrade
from connectors.adapters.sql.tables import SCHEMA, connections, cursors, flows, metadata, quarantine, seen
from connectors.connections.domain import Notice, StoredGrant
from connectors.connections.ports import Change
from connectors.errors import StoreUnavailable
from connectors.vault.domain import WrappedKey
from tests.conformance.connectors.connection_kit import NOW, Kit
from tests.conformance.connectors.connection_store import erase

NOWHERE = "postgresql+asyncpg://postgres@127.0.0.1:1/nowhere"


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with pool(database_url) as opened:
        await upgrade(opened)
        yield opened


async def nothing_told() -> list[Notice]:
    return []


async def nobody_waits() -> None:
    return


def kit_on(engine: AsyncEngine) -> Kit:
    return Kit(
        SqlConnections(engine),
        SqlGrants(engine),
        SqlFlows(engine),
        SqlAuditTrail(engine),
        SqlNotices(engine),
        expire_leases=nobody_waits,
        notices=nothing_told,
    )


async def give_belongings(engine: AsyncEngine, grant: StoredGrant) -> None:
    """Give a connection a cursor under way, a delivered message, and one in quarantine."""
    named = {"connection_id": grant.connection.connection_id, "subscriber": "agent"}
    cursor = {"epoch": 3, "filter_hash": "f", "state": b"s", "round_id": "r", "round": b"r", "position": 2}
    unread = {"quarantine_id": f"q of {grant.connection.connection_id}", "user_id": "u", "provider_id": "p"}
    why = {"reason": "R", "message": "m", "attempts": 1, "first_tried_at": NOW, "last_tried_at": NOW}
    async with transaction(engine) as connection:
        await connection.execute(insert(cursors).values({**named, **cursor, "listed_at": NOW, "updated_at": NOW}))
        await connection.execute(insert(seen).values({**named, "digest": b"d", "received_at": NOW}))
        await connection.execute(insert(quarantine).values({**named, **unread, **why, "received_at": NOW}))


async def belongings(engine: AsyncEngine, grant: StoredGrant) -> dict[str, int]:
    """Count the rows that belong to a connection."""
    counts = {}
    async with transaction(engine) as connection:
        for table in (flows, cursors, seen, quarantine):
            query = (
                select(func.count()).select_from(table).where(table.c.connection_id == grant.connection.connection_id)
            )
            counts[table.name] = (await connection.execute(query)).scalar_one()
    return counts


async def test_replicas_that_start_together_migrate_in_turn(engine: AsyncEngine) -> None:
    await asyncio.gather(*(upgrade(engine) for _ in range(4)))

    async with transaction(engine) as connection:
        versions = (await connection.execute(text("SELECT version_num FROM connectors.alembic_version"))).all()
    assert len(versions) == 1


async def test_the_migrations_make_exactly_the_tables_of_the_code(engine: AsyncEngine) -> None:
    def differences(connection: Connection) -> list[Any]:
        options = {
            "include_schemas": True,
            "version_table_schema": SCHEMA,
            "include_name": lambda name, kind, _parents: kind != "schema" or name == SCHEMA,
        }
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    async with transaction(engine) as connection:
        assert await connection.run_sync(differences) == []


async def test_ending_a_connection_destroys_all_that_belongs_to_it_and_nothing_else(engine: AsyncEngine) -> None:
    kit = kit_on(engine)
    ended, other = await kit.linked(), await kit.linked()
    for grant in (ended, other):
        await give_belongings(engine, grant)

    await kit.grants.change(ended.connection.connection_id, erase)

    assert set((await belongings(engine, ended)).values()) == {0}
    assert set((await belongings(engine, other)).values()) == {1}


async def test_a_new_data_key_drops_what_was_sealed_under_the_old_one_and_keeps_what_was_delivered(
    engine: AsyncEngine,
) -> None:
    kit = kit_on(engine)
    grant = await kit.linked()
    await give_belongings(engine, grant)

    def rekey(current: StoredGrant) -> Change:
        return Change(
            grant=StoredGrant(
                connection=current.connection,
                wrapped_key=WrappedKey("key-9", b"9"),
                grant_version=2,
                refresh_token=b"r",
                access_token=b"a",
                access_expires_at=NOW,
            ),
            rekeyed=True,
        )

    await kit.grants.change(grant.connection.connection_id, rekey)

    assert (await belongings(engine, grant))["seen"] == 1
    async with transaction(engine) as connection:
        query = select(cursors).where(cursors.c.connection_id == grant.connection.connection_id)
        cursor = (await connection.execute(query)).one()
    # Where the window begins that makes up for the lost state.
    assert (cursor.epoch, cursor.state, cursor.listed_at) == (3, None, NOW)
    assert (cursor.round_id, cursor.round, cursor.position) == (None, None, 0)


async def test_the_database_itself_keeps_an_account_from_being_linked_twice(engine: AsyncEngine) -> None:
    kit = kit_on(engine)
    grant = await kit.linked("twice")
    row = {
        "connection_id": "another",
        "user_id": kit.user,
        "provider": "gmail",
        "account_id": "twice",
        "created_at": NOW,
        "updated_at": NOW,
    }

    with pytest.raises(IntegrityError) as refused:
        async with transaction(engine) as connection:
            await connection.execute(insert(connections).values({**row, "state": "ACTIVE"}))

    assert "[SQL parameters hidden" in str(refused.value)
    async with transaction(engine) as connection:
        await connection.execute(insert(connections).values({**row, "state": "DISCONNECTED"}))
    assert await kit.grants.of_account(kit.user, "gmail", "twice") == grant


async def test_connections_that_are_ended_while_others_are_linked_never_wait_for_each_other(
    engine: AsyncEngine,
) -> None:
    kit = kit_on(engine)
    grants = [await kit.linked() for _ in range(4)]

    async def come_and_go(number: int) -> None:
        grant = grants[number % len(grants)]
        new = kit.new_flow(grant)
        await kit.begin(new, limit=1000)
        await kit.flows.sweep(NOW)
        await kit.flows.settle(new.flow, grant.connection.connection_id, lambda _grant: None, now=NOW)
        await kit.flows.abandon(new.flow, kit.event(grant.connection.connection_id))

    await asyncio.gather(*(come_and_go(number) for number in range(24)))

    ends = [kit.grants.change(grant.connection.connection_id, erase) for grant in grants]
    await asyncio.gather(*ends, *(kit.flows.sweep(NOW) for _ in range(4)))


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    async with pool(NOWHERE) as engine:
        kit = kit_on(engine)
        with pytest.raises(StoreUnavailable):
            await kit.grants.grant("c")
        with pytest.raises(StoreUnavailable):
            await kit.audit.add(kit.event("c"))


@pytest.mark.parametrize(
    "payload", ["", "[]", "{}", '["changed", "c"]', '["later", "c", "u", "", null]', '["gone","c","u","",7]']
)
def test_a_notice_of_a_newer_replica_is_passed_over(payload: str) -> None:
    assert notice_of(payload) is None
