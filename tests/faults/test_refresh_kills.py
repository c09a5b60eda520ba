"""kill -9 while a grant is refreshed: it survives, or its user has to consent again; nobody asks for ever."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import grpc
import grpc.aio
import pytest

from adiuva.connectors.v1 import connection_pb2 as pb
from adiuva_rpc.status import from_rpc_error
from tests.emulator.core import Emulator
from tests.emulator.faults import Fault
from tests.emulator.oauth import RefreshMode
from tests.faults.accounts import ACCOUNTS, LONG, Account, end_leases
from tests.faults.mailboxes import Mailbox
from tests.faults.subscribers import Subscriber
from tests.system.connectors_service import Client, Installation, Replica, replicas

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(900)]

FULL = os.environ.get("ADIUVA_FAULTS") == "full"
TURNS = 20 if FULL else 1
SEED = 4_711
TOKEN_MS = 40

BEFORE_COMMIT = "connectors.before_refresh_commit"
AFTER_COMMIT = "connectors.after_refresh_commit"

MODES = pytest.mark.parametrize("mode", list(RefreshMode))
OF = ACCOUNTS if FULL else {"gmail": ACCOUNTS["gmail"]}
PROVIDERS = pytest.mark.parametrize("make", OF.values(), ids=OF)

Make = Callable[[Emulator], Account]


def fail_at(failpoint: str, fired: Path) -> dict[str, str]:
    """Return the settings with which a process dies there, once."""
    fired.mkdir(exist_ok=True)
    return {"ADIUVA_FAILPOINTS": f"{failpoint}=kill", "ADIUVA_FAILPOINTS_DIR": str(fired)}


async def link(replica: Replica, account: Account) -> str:
    """Link an account, and return the id of the connection."""
    async with replica.client() as client:
        connection_id = (await client.link(account.provider, account.address)).connection_id
    account.forget()
    return connection_id


async def die(replica: Replica, connection_id: str) -> None:
    """Use the connection, and see the process die."""
    async with replica.client() as client:
        with pytest.raises(grpc.aio.AioRpcError) as gone:
            await client.test(connection_id)
    assert gone.value.code() is grpc.StatusCode.UNAVAILABLE
    async with asyncio.timeout(10):
        await replica.until_ended()


async def needs_reauth(client: Client, connection_id: str) -> bool:
    """Use the connection; return whether that takes a new consent. Nothing else may be in its way."""
    lost = False
    try:
        await client.test(connection_id)
    except grpc.aio.AioRpcError as error:
        if from_rpc_error(error).reason != "NEEDS_REAUTH":
            raise
        lost = True
    state = pb.CONNECTION_STATE_NEEDS_REAUTH if lost else pb.CONNECTION_STATE_ACTIVE
    assert (await client.get(connection_id)).state == state
    return lost


@PROVIDERS
@MODES
async def test_dying_with_new_tokens_in_hand_ends_a_grant_only_if_the_provider_forgives_nothing(
    make: Make, mode: RefreshMode, shared: Installation, emulator: Emulator, place: Path
) -> None:
    account = make(emulator)
    account.give(mode)
    replica = Replica(shared, settings=fail_at(BEFORE_COMMIT, place / "fired"))
    async with replicas(replica):
        connection_id = await link(replica, account)
        account.give(mode, lifetime=LONG)
        await die(replica, connection_id)
        assert (place / "fired" / BEFORE_COMMIT).exists()
        assert account.token_calls == 1

        end_leases(shared)
        await replica.start()
        async with replica.client() as client:
            outcomes = [await needs_reauth(client, connection_id) for _ in range(4)]

    assert outcomes == [mode is RefreshMode.STRICT] * 4
    assert account.token_calls == 2


@PROVIDERS
@MODES
async def test_dying_after_new_tokens_are_stored_costs_nothing(
    make: Make, mode: RefreshMode, shared: Installation, emulator: Emulator, place: Path
) -> None:
    account = make(emulator)
    account.give(mode)
    replica = Replica(shared, settings=fail_at(AFTER_COMMIT, place / "fired"))
    async with replicas(replica):
        connection_id = await link(replica, account)
        account.give(mode, lifetime=LONG)
        await die(replica, connection_id)
        assert (place / "fired" / AFTER_COMMIT).exists()

        # The lease went with the old version: there is nothing to wait for.
        await replica.start()
        async with replica.client() as client:
            outcomes = [await needs_reauth(client, connection_id) for _ in range(4)]

    assert outcomes == [False] * 4
    assert account.token_calls == 1


@PROVIDERS
@MODES
async def test_a_grant_that_the_provider_rotates_after_its_asker_died_is_lost_once_or_not_at_all(
    make: Make, mode: RefreshMode, shared: Installation, emulator: Emulator
) -> None:
    account = make(emulator)
    account.give(mode)
    replica = Replica(shared)
    async with replicas(replica):
        connection_id = await link(replica, account)
        account.give(mode, lifetime=LONG)
        held = emulator.faults.add(Fault(route=account.token_route, hold=True))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(die(replica, connection_id))
            async with asyncio.timeout(20):
                await emulator.faults.until_held(held)
            replica.send_kill()
        await emulator.faults.release(held)

        end_leases(shared)
        await replica.start()
        async with replica.client() as client:
            outcomes = [await needs_reauth(client, connection_id) for _ in range(4)]

    assert outcomes == [mode is RefreshMode.STRICT] * 4
    assert account.token_calls == 2


@PROVIDERS
@MODES
async def test_killed_at_any_moment_of_a_refresh_it_is_asked_twice_at_most(
    make: Make, mode: RefreshMode, shared: Installation, emulator: Emulator
) -> None:
    rng = random.Random(f"{SEED} {mode}")  # noqa: S311 - the same moments each time
    account = make(emulator)
    account.give(mode)
    emulator.latencies[account.token_route] = TOKEN_MS
    replica = Replica(shared)
    async with replicas(replica):
        connection_id = await link(replica, account)
        for _ in range(TURNS):
            account.forget()
            await _killed_soon(replica, connection_id, rng.uniform(0, 5 * TOKEN_MS))
            end_leases(shared)
            await replica.start()
            async with replica.client() as client:
                lost = await needs_reauth(client, connection_id)
                assert not lost or mode is RefreshMode.STRICT
                assert account.token_calls <= 2
                if lost:
                    assert (await client.reauthorize(connection_id)).connection_id == connection_id
                    assert not await needs_reauth(client, connection_id)


async def test_after_a_new_consent_a_subscriber_goes_on_where_it_was(
    shared: Installation, emulator: Emulator, place: Path
) -> None:
    account = ACCOUNTS["gmail"](emulator)
    account.give(RefreshMode.STRICT, lifetime=LONG)
    mailbox = Mailbox(emulator, account.address)
    mailbox.receive(10, over=timedelta(days=2))
    replica = Replica(shared, settings=fail_at(BEFORE_COMMIT, place / "fired"))
    async with replicas(replica):
        connection_id = await link(replica, account)
        subscriber = Subscriber(connection_id=connection_id, name="agent-1", max_messages=30)
        async with replica.client() as client:
            await subscriber.catch_up(client, on_step=lambda _kind: None)
        subscriber.check(mailbox)
        # Before its time, as when a password was changed: the connectors learn of it by a 401.
        account.grants.expire_access()
        await die(replica, connection_id)

        end_leases(shared)
        await replica.start()
        mailbox.receive(3)
        async with replica.client() as client:
            assert await needs_reauth(client, connection_id)
            assert (await client.reauthorize(connection_id)).connection_id == connection_id
            await subscriber.catch_up(client, on_step=lambda _kind: None)

    subscriber.check(mailbox)
    assert set(subscriber.delivered.values()) == {1}


async def _killed_soon(replica: Replica, connection_id: str, milliseconds: float) -> None:
    """Use the connection, and kill the process so long after that, whatever it is at."""
    async with replica.client() as client, asyncio.TaskGroup() as tasks:
        use = tasks.create_task(_used(client, connection_id))
        await asyncio.wait([use], timeout=milliseconds / 1000)
        replica.send_kill()
    async with asyncio.timeout(10):
        await replica.until_ended()


async def _used(client: Client, connection_id: str) -> None:
    try:
        await client.test(connection_id)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
