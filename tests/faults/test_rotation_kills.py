"""kill -9 in the middle of a rotation of keys: everything still opens, and the next rotation goes on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import grpc
import grpc.aio
import psycopg
import pytest

from adiuva.connectors.v1 import admin_service_pb2, connection_pb2 as pb
from connectors.vault.key_file import add_key, remove_key
from tests.emulator.core import Emulator
from tests.emulator.oauth import RefreshMode
from tests.faults.accounts import LONG, gmail
from tests.system.connectors_service import Installation, Replica, replicas

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(240)]

FULL = os.environ.get("ADIUVA_FAULTS") == "full"
USERS = 24
DONE_BEFORE = [0, 1, 11, USERS - 1] if FULL else [11]
"""How many keys are moved when the process dies."""

_LOCK = """
    SELECT connection_id FROM connectors.connections WHERE connection_id =
    (SELECT connection_id FROM connectors.connections ORDER BY user_id, connection_id OFFSET %s LIMIT 1) FOR UPDATE
"""
_UNDER = "SELECT count(*) FROM connectors.connections WHERE key_id = %s"

Link = tuple[str, str]
"""A connection and its user."""


@contextmanager
def locked(shared: Installation, place: int) -> Iterator[None]:
    """Lock the row at this place of a rotation, which then stands before it."""
    with psycopg.connect(url(shared)) as database:
        database.execute(_LOCK, [place])
        yield
        database.rollback()


def url(shared: Installation) -> str:
    """Return the database's address for psycopg."""
    return shared.database_url.replace("+asyncpg", "")


async def moved(shared: Installation, key_id: str, count: int) -> None:
    """Wait until so many grants are under a key."""
    async with asyncio.timeout(20):
        async with await psycopg.AsyncConnection.connect(url(shared), autocommit=True) as database:
            while await (await database.execute(_UNDER, [key_id])).fetchone() != (count,):  # noqa: ASYNC110 - elsewhere
                await asyncio.sleep(0.02)


async def check_that_all_open(replica: Replica, links: Sequence[Link]) -> None:
    """Use each connection, for which its grant has to be opened."""
    for connection_id, user_id in links:
        async with replica.client(user_id) as client:
            assert (await client.test(connection_id)).state == pb.CONNECTION_STATE_ACTIVE


@pytest.mark.parametrize("done_before", DONE_BEFORE)
async def test_a_rotation_that_dies_is_finished_by_the_next_one(
    done_before: int, shared: Installation, emulator: Emulator
) -> None:
    account = gmail(emulator)
    account.give(RefreshMode.STRICT, lifetime=LONG)
    replica = Replica(shared)
    async with replicas(replica):
        links = []
        for number in range(USERS):
            async with replica.client(f"user-{number:02}") as client:
                links.append(
                    ((await client.link(account.provider, account.address)).connection_id, f"user-{number:02}")
                )
        account.forget()
        (old,) = key_ids(shared)
        new = add_key(shared.key_file)

        with locked(shared, done_before):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_dies(replica))
                await moved(shared, new, done_before)
                # While it is under way, what it has moved opens, and so does what it has not.
                await check_that_all_open(replica, [*links[:done_before], *links[done_before + 1 :]])
                replica.send_kill()
            await replica.until_ended()

        await replica.start()
        await check_that_all_open(replica, links)
        async with replica.client() as client:
            done = await client.admin.RotateKeys(admin_service_pb2.RotateKeysRequest())
        assert done.rewrapped == USERS - done_before
        assert not done.failures
        assert [(key.key_id, key.grants, key.current) for key in done.keys] == [(new, USERS, True)]
        remove_key(shared.key_file, old)
        await replica.stop()
        await replica.start()
        await check_that_all_open(replica, links)
        assert account.token_calls == 0, "no grant was refreshed for it"


def key_ids(shared: Installation) -> list[str]:
    """Return the ids of the keys that wrap something."""
    with psycopg.connect(url(shared)) as database:
        return [row[0] for row in database.execute("SELECT DISTINCT key_id FROM connectors.connections")]


async def _dies(replica: Replica) -> None:
    async with replica.client() as client:
        with pytest.raises(grpc.aio.AioRpcError) as gone:
            await client.admin.RotateKeys(admin_service_pb2.RotateKeysRequest())
    assert gone.value.code() is grpc.StatusCode.UNAVAILABLE
