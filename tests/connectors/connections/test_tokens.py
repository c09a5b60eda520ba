"""Access tokens: the stored one while it is good, a new one when not, and none when there can be none."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import anyio
import pytest

from connectors.connections.domain import AuditAction, ConnectionState
from connectors.connections.errors import ConnectionUnknown, ConnectorsStopping
from connectors.connections.tokens import JITTER_SECONDS, MARGIN
from connectors.errors import (
    ConnectionPending,
    Disconnected,
    NeedsReauth,
    OperatorFault,
    ProviderUnavailable,
    Throttled,
)
from connectors.providers.port import GrantRefused
from tests.connectors.connections.lab import USER, Lab, Stores, World, replica, until
from tests.fakes.connection_store import InMemoryConnections
from tests.fakes.identity import Rotation


async def test_a_token_is_used_as_long_as_it_is_good(lab: Lab) -> None:
    connection = await lab.link()

    first = await lab.token(connection)
    lab.clock.advance(lab.identity.lifetime - MARGIN - timedelta(seconds=JITTER_SECONDS))
    second = await lab.token(connection)

    assert first == second
    assert lab.identity.accepts(first)
    assert lab.identity.refreshes == 0


async def test_a_token_that_is_about_to_expire_is_replaced_before_it_is_given_out(lab: Lab) -> None:
    connection = await lab.link()
    first = await lab.token(connection)

    lab.clock.advance(lab.identity.lifetime - MARGIN + timedelta(seconds=1))
    second = await lab.token(connection)

    assert first != second
    assert (lab.identity.refreshes, await lab.token(connection)) == (1, second)


async def test_new_tokens_are_stored_before_they_are_used(lab: Lab, store: InMemoryConnections) -> None:
    connection = await lab.link()
    lab.expire()
    before = await lab.grant(connection)

    token = await lab.token(connection)

    after = await lab.grant(connection)
    assert after.grant_version == before.grant_version + 1
    assert after.connection.version == before.connection.version + 1
    opened = await lab.opener.open(after)
    assert opened.access is not None
    assert (opened.access.token, opened.access.expires_at) == (token, lab.clock() + lab.identity.lifetime)
    assert store.actions(connection.connection_id)[-1] is AuditAction.REFRESHED


@pytest.mark.parametrize("rotation", list(Rotation))
async def test_a_grant_lives_on_with_every_kind_of_rotation(lab: Lab, rotation: Rotation) -> None:
    lab.identity.rotation = rotation
    connection = await lab.link()
    first = await lab.refresh_token(connection)

    for _ in range(3):
        lab.expire()
        assert lab.identity.accepts(await lab.token(connection))

    assert (await lab.refresh_token(connection) == first) is (rotation is Rotation.NONE)
    assert await lab.state(connection) is ConnectionState.ACTIVE


async def test_a_grant_that_is_used_every_week_never_dies(lab: Lab) -> None:
    connection = await lab.link()

    for _ in range(13 * 4):
        lab.clock.advance(timedelta(days=7))
        assert lab.identity.accepts(await lab.token(connection))

    assert await lab.state(connection) is ConnectionState.ACTIVE
    assert len(lab.identity.grants) == 1


async def test_without_use_a_grant_dies_and_says_so(lab: Lab) -> None:
    connection = await lab.link()
    lab.clock.advance(timedelta(days=91))

    with pytest.raises(NeedsReauth):
        await lab.token(connection)

    assert await lab.state(connection) is ConnectionState.NEEDS_REAUTH


async def test_a_refused_token_is_replaced_once_whoever_names_it(lab: Lab) -> None:
    connection = await lab.link()
    source = lab.keeper.source(connection)
    refused = await source.token()
    lab.identity.expire_access()

    replaced = await asyncio.gather(*(source.replace(refused) for _ in range(20)))

    assert set(replaced) == {await source.replace(refused)} == {await source.token()}
    assert lab.identity.accepts(replaced[0])
    assert lab.identity.refreshes == 1


async def test_when_the_provider_gives_the_refused_token_again_there_is_none(lab: Lab) -> None:
    connection = await lab.link()
    source = lab.keeper.source(connection)
    refused = await source.token()
    lab.identity.same_access_token = True

    for _ in range(5):
        with pytest.raises(NeedsReauth) as given_up:
            await source.replace(refused)
        assert given_up.value.metadata == {"cause": "ACCESS_REFUSED"}

    assert lab.identity.refreshes == 1
    assert await lab.state(connection) is ConnectionState.NEEDS_REAUTH


async def test_a_dead_grant_is_asked_for_once_and_never_again(lab: Lab, store: InMemoryConnections) -> None:
    connection = await lab.link()
    lab.identity.grants[0].alive = False
    lab.expire()

    for _ in range(5):
        with pytest.raises(NeedsReauth) as refused:
            await lab.token(connection)
        assert refused.value.metadata == {"cause": "GRANT_REVOKED"}

    stored = await lab.grant(connection)
    assert (stored.connection.state, stored.connection.reason) == (ConnectionState.NEEDS_REAUTH, "GRANT_REVOKED")
    assert stored.claims.startswith("{")
    assert lab.identity.refreshes == 1
    assert store.actions(connection.connection_id).count(AuditAction.REFRESH_REFUSED) == 1


async def test_a_reason_that_is_no_code_is_not_written_down(lab: Lab) -> None:
    connection = await lab.link()
    lab.identity.faults.append(GrantRefused("AADSTS: anna@example.org\n<b>"))
    lab.expire()

    with pytest.raises(NeedsReauth):
        await lab.token(connection)

    assert (await lab.stored(connection)).reason == "GRANT_REFUSED"


@pytest.mark.parametrize("fault", [OperatorFault(), ProviderUnavailable(), Throttled(retry_after=30.0)])
async def test_a_provider_in_trouble_says_nothing_about_the_grant(lab: Lab, fault: Exception) -> None:
    connection = await lab.link()
    before = await lab.grant(connection)
    lab.identity.faults += [fault] * 3
    lab.expire()

    for _ in range(3):
        with pytest.raises(type(fault)):
            await lab.token(connection)

    assert await lab.grant(connection) == before
    assert lab.identity.accepts(await lab.token(connection))


async def test_an_operators_fault_is_audited_and_an_alert(
    lab: Lab, store: InMemoryConnections, capsys: pytest.CaptureFixture[str]
) -> None:
    connection = await lab.link()
    lab.identity.faults += [OperatorFault()] * 2
    lab.expire()

    for _ in range(2):
        with pytest.raises(OperatorFault):
            await lab.token(connection)

    assert store.actions(connection.connection_id).count(AuditAction.OPERATOR_FAULT) == 1
    assert capsys.readouterr().out.count("OPERATOR_FAULT") == 1


async def test_a_token_with_a_little_left_does_while_the_provider_is_down(lab: Lab) -> None:
    connection = await lab.link()
    token = await lab.token(connection)
    lab.identity.faults += [ProviderUnavailable()] * 3
    lab.clock.advance(lab.identity.lifetime - timedelta(minutes=2))

    assert await lab.token(connection) == token

    with pytest.raises(ProviderUnavailable):
        await lab.keeper.source(connection).replace(token)
    lab.clock.advance(timedelta(minutes=2))
    with pytest.raises(ProviderUnavailable):
        await lab.token(connection)


async def test_tokens_that_hardly_live_are_given_out_all_the_same(lab: Lab) -> None:
    lab.identity.lifetime = timedelta(seconds=30)
    connection = await lab.link()

    tokens = await asyncio.gather(*(lab.token(connection) for _ in range(10)))

    assert len(set(tokens)) == 1
    assert lab.identity.refreshes == 1


async def test_a_connection_without_a_grant_has_no_token(lab: Lab) -> None:
    begun = await lab.begin()
    pending = await lab.stores.connections.get(USER, begun.connection_id)
    ended = await lab.link()
    await lab.disconnecting.disconnect(USER, ended.connection_id, actor=USER)

    with pytest.raises(ConnectionPending):
        await lab.token(pending)
    with pytest.raises(Disconnected):
        await lab.token(ended)
    with pytest.raises(ConnectionUnknown):
        await lab.keeper.access("nothing")


async def test_a_caller_who_leaves_does_not_end_the_refresh(lab: Lab) -> None:
    connection = await lab.link()
    lab.identity.may_answer.clear()
    lab.expire()

    with anyio.fail_after(10), anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lab.token, connection)
            await lab.identity.arrived.wait()
            scope.cancel()
    lab.identity.may_answer.set()

    async def stored() -> bool:
        return (await lab.grant(connection)).grant_version == 2

    await until(stored)
    assert lab.identity.accepts(await lab.token(connection))
    assert lab.identity.refreshes == 1


async def test_a_service_that_stops_lets_a_refresh_come_to_its_end(world: World, stores: Stores) -> None:
    async with replica(world, stores) as lab:
        connection = await lab.link()
        lab.expire()
        lab.identity.may_answer.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lab.token, connection)
            await lab.identity.arrived.wait()
            tasks.cancel_scope.cancel()
        asyncio.get_running_loop().call_later(0.05, lab.identity.may_answer.set)

    assert (await stores.grants.grant(connection.connection_id)).grant_version == 2
    with pytest.raises(ConnectorsStopping):
        lab.expire()
        await lab.token(connection)
