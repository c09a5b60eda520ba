"""Fetches and commits on PostgreSQL: several replicas, and a service that breaks off between any two steps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from adiuva_rpc import failpoints
from adiuva_rpc.failpoints import FailpointError, Failpoints
from connectors.adapters.sql.cursors import SqlCursors
from connectors.adapters.sql.engine import pool, transaction
from connectors.adapters.sql.quarantine import SqlQuarantine
from connectors.adapters.sql.schema import upgrade
from connectors.adapters.sql.tables import connections, cursors, quarantine, seen
from connectors.errors import StaleFetch
from connectors.messages.domain import Message, Unreadable
from connectors.messages.events import Checkpoint, Completed, Event
from tests.connectors.messages.lab import ANNA, NOON, Lab

POINTS = [
    "connectors.before_round_stored",
    "connectors.after_round_stored",
    "connectors.before_delivery",
    "connectors.before_commit",
    "connectors.after_commit",
]


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with pool(database_url) as opened:
        await upgrade(opened)
        async with transaction(opened) as connection:
            await connection.execute(connections.delete())
            row = {"connection_id": "c-1", "user_id": ANNA, "provider": "fake", "state": "ACTIVE"}
            await connection.execute(insert(connections).values({**row, "created_at": NOON, "updated_at": NOON}))
        yield opened


@pytest.fixture
async def lab(engine: AsyncEngine) -> Lab:
    return await Lab.linked(cursors=SqlCursors(engine), quarantine=SqlQuarantine(engine))


async def count(engine: AsyncEngine, table: Any) -> int:
    async with transaction(engine) as connection:
        return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


async def test_what_came_once_does_not_come_again(lab: Lab, engine: AsyncEngine) -> None:
    ids = lab.mails(50)
    lab.fake.scripts["m0007"].append(Unreadable("broken"))

    first = await lab.consume(max_messages=30)
    second = await lab.consume()
    lab.fake.forget()
    third = await lab.consume()

    assert first.keys + second.keys == [one for one in ids if one != "m0007"]
    assert third.keys == []
    assert await count(engine, seen) == 50
    assert await count(engine, quarantine) == 1


@pytest.mark.parametrize("hit", [1, 2, 25])
@pytest.mark.parametrize("point", POINTS)
async def test_a_service_that_breaks_off_loses_and_repeats_nothing(
    lab: Lab, point: str, hit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = lab.mails(45)
    stored: list[str] = []
    monkeypatch.setattr(failpoints, "_ACTIVE", Failpoints(f"{point}=raise@{hit}"))

    async def store_and_commit(event: Event) -> None:
        """As a caller that stores at once, and keeps what it has got already."""
        if isinstance(event, Message) and event.key not in stored:
            stored.append(event.key)
        if isinstance(event, Checkpoint | Completed):
            await lab.commit(event.cursor_token)

    for _ in range(3):
        try:
            await lab.fetch(store_and_commit)
        except FailpointError:
            continue

    assert stored == ids
    assert (await lab.fetch()).keys == []


async def test_replicas_share_a_cursor(engine: AsyncEngine) -> None:
    one, other = [await Lab.linked(cursors=SqlCursors(engine), quarantine=SqlQuarantine(engine)) for _ in range(2)]
    other.connections = one.connections
    other.access._connections = other.access._keys = other.access._tokens = one.connections
    other.access._providers = one.access._providers
    ids = one.mails(30)

    first = await one.fetch()
    second = await other.fetch()
    with pytest.raises(StaleFetch):
        await one.commit(first.token)
    await one.commit(second.token)

    assert first.keys == second.keys == ids
    assert len(one.fake.queries) == 1
    assert (await other.fetch()).keys == []


async def test_of_fetches_at_the_same_time_the_newest_can_be_committed(lab: Lab) -> None:
    ids = lab.mails(30)

    fetches = await asyncio.gather(*(lab.fetch() for _ in range(5)))
    committed = 0
    for fetched in fetches:
        if fetched.error is None:
            try:
                await lab.commit(fetched.token)
            except StaleFetch:
                continue
            committed += 1
            assert fetched.keys == ids

    assert committed >= 1
    assert (await lab.fetch()).keys == []


async def test_nothing_that_was_written_lies_open_in_the_database(lab: Lab, engine: AsyncEngine) -> None:
    canary = "canary-5d21"
    lab.mail("m1", text=canary, sender=f"{canary}@example.org")
    lab.mail("m2", text=canary)
    lab.fake.scripts["m2"].append(Unreadable("The charset is unknown."))

    await lab.consume()
    lab.mail("m3", ago=timedelta(0), text=canary)
    await lab.fetch()

    async with transaction(engine) as connection:
        for table in (cursors, seen, quarantine):
            rows = (await connection.execute(select(table))).all()
            assert rows
            assert canary not in str(rows)
