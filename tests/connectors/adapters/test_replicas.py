"""Two replicas on one PostgreSQL: one refresh between them, and rows that open only where they belong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import pytest
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from connectors.adapters.sql.audit import SqlAuditTrail
from connectors.adapters.sql.connections import SqlConnections
from connectors.adapters.sql.engine import pool, transaction
from connectors.adapters.sql.flows import SqlFlows
from connectors.adapters.sql.grants import SqlGrants
from connectors.adapters.sql.keys import SqlKeyStore
from connectors.adapters.sql.notices import SqlNoticeFeed
from connectors.adapters.sql.schema import upgrade
from connectors.adapters.sql.tables import audit, connections, metadata
from connectors.connections.domain import AuditAction, Connection, ConnectionState, Event, EventKind
from connectors.connections.refreshing import Timing
from connectors.connections.watching import ConnectionHub
from connectors.errors import DecryptFailed, NeedsReauth
from connectors.vault.rotation import rotate
from tests.connectors.connections.lab import ADDRESS, PATIENCE, USER, Lab, Stores, World, replica, until
from tests.fakes.identity import CANARY, Rotation

PATIENT = Timing(call=5.0, lease=10.0, wait=10.0, poll=5.0)
"""Whoever is not told waits for five seconds: a test that is quick shows that they are told."""


@asynccontextmanager
async def on_postgres(world: World, database_url: str, *, timing: Timing = PATIENT) -> AsyncIterator[Lab]:
    """Put a replica together with a pool and a feed of its own."""
    listening = asyncio.Event()
    async with pool(database_url) as engine:
        stores = Stores(SqlConnections(engine), SqlGrants(engine), SqlFlows(engine), SqlAuditTrail(engine))
        async with replica(world, stores, timing=timing) as lab, anyio.create_task_group() as tasks:
            feed = SqlNoticeFeed(database_url)
            tasks.start_soon(feed.run, lab.keeper.noticed, lambda _state: listening.set())
            with anyio.fail_after(PATIENCE):
                await listening.wait()
            yield lab
            tasks.cancel_scope.cancel()


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """The database, emptied."""
    async with pool(database_url) as opened:
        await upgrade(opened)
        async with transaction(opened) as connection:
            await connection.execute(connections.delete())
            await connection.execute(audit.delete())
        yield opened


@pytest.fixture
async def replicas(engine: AsyncEngine, database_url: str) -> AsyncIterator[tuple[Lab, Lab]]:
    world = World()
    async with on_postgres(world, database_url) as one, on_postgres(world, database_url) as two:
        yield one, two


async def audited(lab: Lab, connection: Connection, action: AuditAction) -> int:
    """Count the lines of an action."""
    events = await lab.stores.audit.page(user_id=None, connection_id=connection.connection_id, limit=1000, before="")
    return len([event for event in events if event.action is action])


async def test_fifty_callers_with_an_expired_token_in_two_replicas_make_one_refresh(replicas: tuple[Lab, Lab]) -> None:
    connection = await replicas[0].link()
    replicas[0].expire()

    tokens = await asyncio.gather(*(replicas[number % 2].token(connection) for number in range(50)))

    identity = replicas[0].identity
    assert len(set(tokens)) == 1
    assert (identity.refreshes, identity.together) == (1, 1)
    assert await audited(replicas[0], connection, AuditAction.REFRESHED) == 1


async def test_each_of_many_expiries_makes_one_refresh_and_the_grant_lives(replicas: tuple[Lab, Lab]) -> None:
    connection = await replicas[0].link()
    source = [lab.keeper.source(connection) for lab in replicas]

    for number in range(20):
        if number % 2:
            replicas[0].expire()
            tokens = await asyncio.gather(*(one.token() for one in source * 3))
        else:
            refused = await source[0].token()
            replicas[0].identity.expire_access()
            tokens = await asyncio.gather(*(one.replace(refused) for one in source * 3))
        assert len(set(tokens)) == 1

    assert replicas[0].identity.refreshes == 20
    assert await replicas[0].state(connection) is ConnectionState.ACTIVE


async def test_a_replica_that_waits_is_told_of_the_outcome(replicas: tuple[Lab, Lab]) -> None:
    connection = await replicas[0].link()
    replicas[0].expire()
    identity = replicas[0].identity
    identity.may_answer.clear()

    with anyio.fail_after(PATIENT.poll - 1.0):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(replicas[0].token, connection)
            await identity.arrived.wait()
            tasks.start_soon(replicas[1].token, connection)
            await anyio.sleep(0.05)
            identity.may_answer.set()

    assert identity.refreshes == 1


async def test_keepers_in_threads_of_their_own_make_one_refresh(replicas: tuple[Lab, Lab], database_url: str) -> None:
    connection = await replicas[0].link()
    replicas[0].expire()
    world = replicas[0].world

    def in_a_thread() -> str:
        async def ask() -> str:
            # What waits on an event belongs to one loop: the hold points are open, and stay so.
            async with on_postgres(world, database_url, timing=Timing(poll=0.05)) as lab:
                return await lab.token(connection)

        return asyncio.run(ask())

    with anyio.fail_after(PATIENCE):
        tokens = await asyncio.gather(
            asyncio.to_thread(in_a_thread), asyncio.to_thread(in_a_thread), replicas[1].token(connection)
        )

    assert len(set(tokens)) == 1
    assert world.identity.refreshes == 1


async def test_a_stalled_holders_late_answer_does_not_overwrite_a_newer_grant(
    replicas: tuple[Lab, Lab], engine: AsyncEngine
) -> None:
    one, two = replicas
    identity = one.identity
    identity.rotation = Rotation.KEEP_OLD
    connection = await one.link()
    one.expire()
    identity.may_answer.clear()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.token, connection)
        await identity.arrived.wait()
        await anyio.sleep(0.05)
        async with transaction(engine) as database:
            await database.execute(update(connections).values(refresh_until=func.now()))
        hold, identity.may_answer = identity.may_answer, asyncio.Event()
        identity.may_answer.set()
        token = await two.token(connection)
        newest = await two.grant(connection)
        hold.set()

    assert await one.grant(connection) == newest
    assert await one.token(connection) == token
    assert identity.refreshes == 2


async def test_a_lease_is_held_for_its_time_and_no_longer(engine: AsyncEngine, database_url: str) -> None:
    async with on_postgres(World(), database_url, timing=Timing(call=5.0, wait=5.0, poll=0.05)) as lab:
        connection = await lab.link()
        lab.expire()
        taken = await lab.stores.grants.take_lease(connection.connection_id, grant_version=1, owner="dead", seconds=0.3)
        began = asyncio.get_running_loop().time()

        assert taken
        assert lab.identity.accepts(await lab.token(connection))

        assert asyncio.get_running_loop().time() - began >= 0.25
        assert lab.identity.refreshes == 1


@pytest.mark.parametrize(
    "columns",
    [
        ("refresh_token",),
        ("access_token",),
        ("key_id", "wrapped_key"),
        ("key_id", "wrapped_key", "refresh_token", "access_token", "grant_version"),
    ],
)
async def test_a_row_of_another_user_never_opens(
    replicas: tuple[Lab, Lab], engine: AsyncEngine, columns: tuple[str, ...]
) -> None:
    lab = replicas[0]
    anna, ben = await lab.link(), await lab.link("ben@example.org", user="ben")
    async with transaction(engine) as database:
        rows = {
            connection_id: (
                await database.execute(
                    select(*(connections.c[name] for name in columns)).where(
                        connections.c.connection_id == connection_id
                    )
                )
            ).one()
            for connection_id in (anna.connection_id, ben.connection_id)
        }
        for into, out_of in [(anna, ben), (ben, anna)]:
            values = dict(zip(columns, rows[out_of.connection_id], strict=True))
            mine = connections.c.connection_id == into.connection_id
            await database.execute(update(connections).where(mine).values(values))

    for connection in (anna, ben):
        with pytest.raises(DecryptFailed):
            await lab.token(connection)
        assert await lab.state(connection) is ConnectionState.DECRYPT_FAILED
    assert lab.identity.refreshes == 0


async def test_keys_are_rotated_while_tokens_are_refreshed_and_nothing_fails(
    replicas: tuple[Lab, Lab], engine: AsyncEngine
) -> None:
    lab = replicas[0]
    linked = [await lab.link(f"user-{number}@example.org") for number in range(8)]
    keys = lab.world.keys

    for _ in range(4):
        lab.expire()
        old = await keys.current_key_id()
        await keys.add()
        await asyncio.gather(
            rotate(SqlKeyStore(engine), lab.vault, batch=2),
            *(replicas[number % 2].token(connection) for number, connection in enumerate(linked)),
        )
        progress = await rotate(SqlKeyStore(engine), lab.vault)
        assert dict(progress.remaining) == {}
        await keys.forget(old)

    for connection in linked:
        assert lab.identity.accepts(await lab.token(connection))
    assert {(await lab.state(connection)) for connection in linked} == {ConnectionState.ACTIVE}


async def test_a_grant_that_died_is_given_up_once_by_all_replicas(replicas: tuple[Lab, Lab]) -> None:
    connection = await replicas[0].link()
    replicas[0].identity.grants[0].alive = False
    replicas[0].expire()

    outcomes = await asyncio.gather(
        *(replicas[number % 2].token(connection) for number in range(20)), return_exceptions=True
    )

    assert {type(outcome) for outcome in outcomes} == {NeedsReauth}
    assert await audited(replicas[0], connection, AuditAction.REFRESH_REFUSED) == 1
    assert replicas[0].identity.refreshes == 1


async def test_a_watcher_at_one_replica_hears_what_happens_at_another(
    replicas: tuple[Lab, Lab], engine: AsyncEngine, database_url: str
) -> None:
    hub, told = ConnectionHub(SqlConnections(engine), now=replicas[0].clock), list[Event]()

    async def tell(event: Event) -> None:
        told.append(event)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(SqlNoticeFeed(database_url).run, hub.noticed, hub.hears)
        tasks.start_soon(hub.run)
        with anyio.fail_after(PATIENCE):
            await hub.listening.wait()
        tasks.start_soon(hub.watch, USER, tell)
        await until(lambda: EventKind.SNAPSHOT_END in [event.kind for event in told])
        connection = await replicas[1].link()
        await until(lambda: told[-1].connection is not None and told[-1].connection.state is ConnectionState.ACTIVE)
        begun = await replicas[1].begin()
        replicas[1].clock.advance(timedelta(hours=1))
        await replicas[1].upkeep.sweep()
        await until(
            lambda: told[-1].connection is not None and told[-1].connection.state is ConnectionState.DISCONNECTED
        )
        tasks.cancel_scope.cancel()

    last = told[-1].connection
    assert last is not None
    assert last.connection_id == begun.connection_id
    assert connection.connection_id in [event.connection.connection_id for event in told if event.connection]


async def test_the_database_holds_no_token_code_or_verifier(replicas: tuple[Lab, Lab], engine: AsyncEngine) -> None:
    lab = replicas[0]
    connection = await lab.link("anna@example.org")
    lab.expire()
    await lab.token(connection)
    await lab.begin()
    await lab.begin()

    async with transaction(engine) as database:
        for table in metadata.sorted_tables:
            rows = (await database.execute(select(table))).all()
            for row in rows:
                for value in row:
                    raw = value if isinstance(value, bytes) else str(value).encode()
                    assert CANARY.encode() not in raw, table.name
    assert CANARY in ADDRESS
