"""One refresh at a time over all replicas, and no token lost that may be the only good one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest

from adiuva_rpc import failpoints
from adiuva_rpc.failpoints import FailpointError, Failpoints
from connectors.connections.domain import AuditAction, ConnectionState
from connectors.connections.refreshing import COMMIT_ATTEMPTS, Timing
from connectors.errors import NeedsReauth, ProviderUnavailable, StoreUnavailable
from tests.connectors.connections.lab import USER, Lab, Stores, World, replica, until
from tests.fakes.connection_store import InMemoryConnections
from tests.fakes.identity import Rotation


@pytest.fixture
async def other(world: World, stores: Stores, store: InMemoryConnections) -> AsyncIterator[Lab]:
    """A second replica on the same store."""
    async with replica(world, stores) as made:
        store.listeners.append(made.keeper.noticed)
        yield made


def fail_at(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Let the process die at the first hit of a failpoint, as far as a test can: the error is raised past all."""
    monkeypatch.setattr(failpoints, "_ACTIVE", Failpoints(f"{place}=raise@1"))


async def test_many_callers_in_two_replicas_make_one_refresh(lab: Lab, other: Lab) -> None:
    connection = await lab.link()
    lab.expire()

    tokens = await asyncio.gather(*((lab, other)[number % 2].token(connection) for number in range(50)))

    assert len(set(tokens)) == 1
    assert (lab.identity.refreshes, lab.identity.together) == (1, 1)


async def test_fifty_expiries_in_two_replicas_make_fifty_refreshes(lab: Lab, other: Lab) -> None:
    connection = await lab.link()

    for _ in range(50):
        lab.expire()
        await asyncio.gather(lab.token(connection), other.token(connection))

    assert lab.identity.refreshes == 50
    assert await lab.state(connection) is ConnectionState.ACTIVE


async def test_connections_do_not_wait_for_each_other(lab: Lab) -> None:
    slow, quick = await lab.link("slow@example.org"), await lab.link("quick@example.org")
    lab.expire()
    lab.identity.may_begin.clear()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lab.token, slow)
        tasks.start_soon(lab.token, quick)
        with anyio.fail_after(10):
            await until(lambda: lab.identity.together == 2)
        lab.identity.may_begin.set()


async def test_a_replica_whose_provider_call_fails_lets_the_next_one_go(lab: Lab, other: Lab) -> None:
    connection = await lab.link()
    lab.expire()
    lab.identity.faults.append(ProviderUnavailable())
    lab.identity.may_begin.clear()
    found: list[str] = []

    async def fail() -> None:
        with pytest.raises(ProviderUnavailable):
            await lab.token(connection)

    async def wait() -> None:
        found.append(await other.token(connection))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fail)
        await lab.identity.arrived.wait()
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        lab.identity.may_begin.set()

    assert lab.identity.accepts(found[0])


async def test_a_waiter_gives_up_in_the_end(world: World, stores: Stores, lab: Lab) -> None:
    connection = await lab.link()
    lab.expire()
    assert await stores.grants.take_lease(connection.connection_id, grant_version=1, owner="hung", seconds=60)

    async with replica(world, stores, timing=Timing(wait=0.05, poll=0.01)) as impatient:
        with pytest.raises(ProviderUnavailable):
            await impatient.token(connection)

    assert lab.identity.refreshes == 0


async def test_the_lease_of_a_replica_that_died_runs_out(lab: Lab, store: InMemoryConnections) -> None:
    connection = await lab.link()
    lab.expire()
    assert await store.take_lease(connection.connection_id, grant_version=1, owner="dead", seconds=60)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lab.token, connection)
        await anyio.wait_all_tasks_blocked()
        store.expire_leases()

    assert lab.identity.refreshes == 1


async def test_a_stalled_holder_cannot_overwrite_what_came_after_it(
    lab: Lab, other: Lab, store: InMemoryConnections
) -> None:
    lab.identity.rotation = Rotation.KEEP_OLD
    connection = await lab.link()
    lab.expire()
    stalled, tokens = lab.identity, []
    stalled.may_answer.clear()

    async def ask(replica: Lab) -> None:
        tokens.append(await replica.token(connection))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, lab)
        await stalled.arrived.wait()
        await anyio.wait_all_tasks_blocked()
        # Its lease has passed while it stands still, and another replica goes to the provider and back.
        store.expire_leases()
        hold, stalled.may_answer = stalled.may_answer, asyncio.Event()
        stalled.may_answer.set()
        await ask(other)
        newest = await lab.grant(connection)
        hold.set()

    assert stalled.refreshes == 2
    assert await lab.grant(connection) == newest
    assert tokens[0] == tokens[1] == await lab.token(connection)


async def test_a_stalled_holders_tokens_are_kept_when_nobody_else_got_any(lab: Lab, store: InMemoryConnections) -> None:
    connection = await lab.link()
    lab.expire()
    lab.identity.may_answer.clear()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lab.token, connection)
        await lab.identity.arrived.wait()
        store.expire_leases()
        assert await store.take_lease(connection.connection_id, grant_version=1, owner="next", seconds=60)
        lab.identity.may_answer.set()

    assert (await lab.grant(connection)).grant_version == 2
    lab.expire()
    assert lab.identity.accepts(await lab.token(connection))


async def test_a_stalled_holders_tokens_revive_a_grant_that_was_given_up_without_them(
    lab: Lab, other: Lab, store: InMemoryConnections
) -> None:
    connection = await lab.link()
    lab.expire()
    lab.identity.may_answer.clear()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lab.token, connection)
        await lab.identity.arrived.wait()
        await anyio.wait_all_tasks_blocked()
        store.expire_leases()
        with pytest.raises(NeedsReauth):
            await other.token(connection)
        assert await lab.state(connection) is ConnectionState.NEEDS_REAUTH
        lab.identity.may_answer.set()

    assert await lab.state(connection) is ConnectionState.ACTIVE
    assert (await lab.grant(connection)).grant_version == 2


async def test_a_process_that_stood_still_with_the_lease_does_not_go_to_the_provider_with_it(
    world: World, stores: Stores, lab: Lab
) -> None:
    connection = await lab.link()
    lab.expire()

    # Whatever time has passed is too much for a lease that is no longer than a call.
    async with replica(world, stores, timing=Timing(call=5.0, lease=5.0, wait=0.05, poll=0.01)) as stalled:
        with pytest.raises(ProviderUnavailable):
            await stalled.token(connection)

    assert lab.identity.refreshes == 0
    assert lab.identity.accepts(await lab.token(connection))


async def test_who_is_refused_because_a_sibling_has_rotated_uses_the_siblings_tokens(
    lab: Lab, other: Lab, store: InMemoryConnections
) -> None:
    connection = await lab.link()
    lab.expire()
    lab.identity.may_begin.clear()
    late, tokens = lab.identity, []

    async def ask(replica: Lab) -> None:
        tokens.append(await replica.token(connection))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, lab)
        await late.arrived.wait()
        await anyio.wait_all_tasks_blocked()
        store.expire_leases()
        hold, late.may_begin = late.may_begin, asyncio.Event()
        late.may_begin.set()
        await ask(other)
        # A provider that forgives the use of a spent token, but does not take it.
        late.grants[0].spent.clear()
        hold.set()

    assert late.refreshes == 2
    assert tokens[0] == tokens[1]
    assert await lab.state(connection) is ConnectionState.ACTIVE
    assert AuditAction.REFRESH_REFUSED not in store.actions(connection.connection_id)


@pytest.mark.parametrize("rotation", [Rotation.STRICT, Rotation.KEEP_OLD, Rotation.NONE])
async def test_a_crash_before_new_tokens_are_stored_survives_or_ends_the_grant_and_never_loops(
    lab: Lab, other: Lab, store: InMemoryConnections, monkeypatch: pytest.MonkeyPatch, rotation: Rotation
) -> None:
    lab.identity.rotation = rotation
    connection = await lab.link()
    lab.expire()
    fail_at(monkeypatch, "connectors.before_refresh_commit")
    with pytest.raises(FailpointError):
        await lab.token(connection)
    assert (await lab.grant(connection)).grant_version == 1

    store.expire_leases()

    if rotation is Rotation.STRICT:
        for replica_ in (other, lab, other):
            with pytest.raises(NeedsReauth):
                await replica_.token(connection)
        assert lab.identity.refreshes == 2
        assert store.actions(connection.connection_id).count(AuditAction.REFRESH_REFUSED) == 1
    else:
        assert lab.identity.accepts(await other.token(connection))
        assert await lab.state(connection) is ConnectionState.ACTIVE


async def test_a_crash_after_new_tokens_are_stored_costs_nothing(
    lab: Lab, other: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await lab.link()
    lab.expire()
    fail_at(monkeypatch, "connectors.after_refresh_commit")
    with pytest.raises(FailpointError):
        await lab.token(connection)

    assert lab.identity.accepts(await other.token(connection))
    assert lab.identity.refreshes == 1


async def test_an_answer_that_got_lost_after_the_rotation_ends_the_grant_once(
    lab: Lab, store: InMemoryConnections
) -> None:
    connection = await lab.link()
    lab.expire()
    lab.identity.lose_answers = 1
    with pytest.raises(ProviderUnavailable):
        await lab.token(connection)
    assert await lab.state(connection) is ConnectionState.ACTIVE

    for _ in range(3):
        with pytest.raises(NeedsReauth):
            await lab.token(connection)

    assert lab.identity.refreshes == 2
    assert store.actions(connection.connection_id).count(AuditAction.REFRESH_REFUSED) == 1


@pytest.mark.parametrize("trouble", ["failing_changes", "lost_answers"])
async def test_tokens_in_hand_outlast_a_database_that_is_away(
    lab: Lab, store: InMemoryConnections, trouble: str
) -> None:
    connection = await lab.link()
    lab.expire()
    setattr(store, trouble, 3)

    token = await lab.token(connection)

    assert lab.identity.accepts(token)
    assert token == await lab.token(connection)
    assert lab.identity.refreshes == 1
    assert store.actions(connection.connection_id).count(AuditAction.REFRESHED) == 1


async def test_a_database_that_stays_away_is_told_to_the_callers(
    world: World, stores: Stores, store: InMemoryConnections
) -> None:
    async with replica(world, stores, sleep=world.clock.sleep) as lab:
        connection = await lab.link()
        lab.expire()
        store.failing_changes = COMMIT_ATTEMPTS

        with pytest.raises(StoreUnavailable):
            await lab.token(connection)

    assert await lab.state(connection) is ConnectionState.ACTIVE


async def test_a_connection_that_ends_during_a_refresh_ends_its_new_tokens_too(lab: Lab) -> None:
    connection = await lab.link()
    lab.expire()
    lab.identity.rotation = Rotation.KEEP_OLD
    lab.identity.may_answer.clear()

    async def ask() -> None:
        with pytest.raises(Exception, match="ended"):
            await lab.token(connection)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await lab.identity.arrived.wait()
        await anyio.wait_all_tasks_blocked()
        await lab.disconnecting.disconnect(USER, connection.connection_id, actor=USER)
        lab.identity.may_answer.set()

    assert len(lab.identity.revoked) == 2
    assert len(set(lab.identity.revoked)) == 2
    assert (await lab.grant(connection)).refresh_token is None


async def test_a_new_consent_during_a_refresh_is_not_overwritten(lab: Lab) -> None:
    connection = await lab.link()
    lab.expire()
    lab.identity.may_answer.clear()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lab.token, connection)
        await lab.identity.arrived.wait()
        await anyio.wait_all_tasks_blocked()
        await lab.link()
        consented = await lab.grant(connection)
        lab.identity.may_answer.set()

    assert await lab.grant(connection) == consented
    assert await lab.token(connection)


async def test_a_refresh_in_vain_is_over_in_time(lab: Lab, world: World, stores: Stores) -> None:
    connection = await lab.link()
    lab.expire()
    lab.identity.may_answer.clear()

    async with replica(world, stores, timing=Timing(call=0.05, lease=60.0, wait=0.2, poll=0.01)) as hasty:
        with pytest.raises(ProviderUnavailable):
            await hasty.token(connection)

    # It is not known whether the provider rotates after all: until the lease has passed nobody goes there.
    assert not await stores.grants.take_lease(connection.connection_id, grant_version=1, owner="next", seconds=1.0)
