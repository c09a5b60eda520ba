"""Two replicas of the connectors on one database: one refresh for all callers, whoever dies in the middle of it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from datetime import timedelta

import grpc
import grpc.aio
import pytest

from adiuva.connectors.v1 import connection_pb2 as pb, message_service_pb2
from tests.emulator.core import Emulator
from tests.emulator.faults import Fault
from tests.emulator.oauth import RefreshMode
from tests.faults.accounts import ACCOUNTS, LONG, SHORT, Account, end_leases
from tests.system.connectors_service import Client, Installation, Replica, replicas

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(240)]

FULL = os.environ.get("ADIUVA_FAULTS") == "full"
CALLERS = 50
LEASE_SECONDS = 45.0
"""Of a refresh in the connectors: what a replica that dies may hold the others up."""
LOOK_SECONDS = 2.0
"""Until those who wait see that the lease is free, with some time for a busy machine."""

Make = Callable[[Emulator], Account]


async def use(client: Client, connection_id: str, number: int) -> None:
    """Use a connection as the callers do: to fetch messages, each for a subscriber of its own, or to test it."""
    if number % 4:
        assert (await client.test(connection_id)).state == pb.CONNECTION_STATE_ACTIVE
        return
    request = message_service_pb2.FetchMessagesRequest(connection_id=connection_id, subscriber=f"agent-{number}")
    kinds = [event.WhichOneof("event") async for event in client.messages.FetchMessages(request)]
    assert kinds[-1] == "completed"


@pytest.mark.parametrize("make", ACCOUNTS.values(), ids=ACCOUNTS)
@pytest.mark.parametrize("lifetime", [SHORT, LONG], ids=["by the clock", "refused by the provider"])
async def test_fifty_callers_with_an_expired_token_make_one_refresh_and_none_fails(
    make: Make, lifetime: timedelta, shared: Installation, emulator: Emulator
) -> None:
    account = make(emulator)
    account.give(RefreshMode.STRICT, lifetime=lifetime)
    emulator.latencies[account.token_route] = 100
    one, other = Replica(shared, "one"), Replica(shared, "other")
    async with replicas(one, other), one.client() as first, other.client() as second:
        connection_id = (await first.link(account.provider, account.address)).connection_id
        account.give(RefreshMode.STRICT, lifetime=LONG)
        if lifetime is LONG:
            account.grants.expire_access()
        account.forget()

        await asyncio.gather(*(use((first, second)[number % 2], connection_id, number) for number in range(CALLERS)))

        assert account.token_calls == 1
        assert account.grants.grants_of(account.address)[0].refreshes == 1


@pytest.mark.parametrize("waits", [False, True] if FULL else [False])
@pytest.mark.parametrize("make", ACCOUNTS.values(), ids=ACCOUNTS)
async def test_when_the_replica_with_the_lease_is_killed_the_other_takes_over(
    make: Make, waits: bool, shared: Installation, emulator: Emulator
) -> None:
    account = make(emulator)
    account.give(RefreshMode.STRICT)
    one, other = Replica(shared, "one"), Replica(shared, "other")
    async with replicas(one, other), one.client() as first, other.client() as second:
        connection_id = (await first.link(account.provider, account.address)).connection_id
        account.give(RefreshMode.STRICT, lifetime=LONG)
        account.forget()
        held = emulator.faults.add(Fault(route=account.token_route, hold=True))

        async with asyncio.TaskGroup() as tasks:
            lost = tasks.create_task(_fails(first, connection_id))
            async with asyncio.timeout(20):
                await emulator.faults.until_held(held)
            leased = time.monotonic()
            waiting = [tasks.create_task(use(second, connection_id, number)) for number in range(10)]
            one.send_kill()
            assert await lost is grpc.StatusCode.UNAVAILABLE
            if not waits:
                end_leases(shared)
            await asyncio.gather(*waiting)
            took = time.monotonic() - leased

        assert took < LEASE_SECONDS + LOOK_SECONDS
        assert took > LEASE_SECONDS - LOOK_SECONDS or not waits
        # The one of the replica that died, which the provider never got to see, and one more.
        assert account.token_calls == 2
        await one.start()
        async with one.client() as again:
            await asyncio.gather(*(use(again, connection_id, number) for number in range(10)))
        assert account.token_calls == 2


async def _fails(client: Client, connection_id: str) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as gone:
        await client.test(connection_id)
    return gone.value.code()
