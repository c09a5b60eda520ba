"""Ending a connection: nothing keeps it alive, and nothing of it is left."""

from __future__ import annotations

import asyncio

import pytest

from adiuva_rpc.errors import AdiuvaError
from connectors.connections import revoking
from connectors.connections.disconnecting import Ended
from connectors.connections.domain import AuditAction, Connection, ConnectionState
from connectors.connections.errors import ConnectionUnknown
from connectors.errors import Disconnected, ProviderUnavailable
from tests.connectors.connections.lab import USER, Lab
from tests.fakes.connection_store import InMemoryConnections


async def disconnect(lab: Lab, connection: Connection) -> Ended:
    return await lab.disconnecting.disconnect(connection.user_id, connection.connection_id, actor="ops")


async def erased(lab: Lab, connection: Connection) -> bool:
    """Tell whether nothing is left that could be opened."""
    grant = await lab.grant(connection)
    secret = (grant.wrapped_key, grant.refresh_token, grant.access_token, grant.access_expires_at)
    return secret == (None, None, None, None) and grant.connection.state is ConnectionState.DISCONNECTED


async def test_a_grant_is_ended_at_the_provider_and_destroyed_here(lab: Lab, store: InMemoryConnections) -> None:
    connection = await lab.link()
    refresh_token = await lab.refresh_token(connection)

    ended = await disconnect(lab, connection)

    assert (ended.revoked, ended.manage_url) == (True, "")
    assert (ended.connection.state, ended.connection.reason) == (ConnectionState.DISCONNECTED, "REVOKED")
    assert lab.identity.revoked == [refresh_token]
    assert await erased(lab, connection)
    assert store.erased == [connection.connection_id]
    assert store.events[-1].action is AuditAction.DISCONNECTED
    assert (store.events[-1].actor, store.events[-1].reason) == ("ops", "REVOKED")
    with pytest.raises(Disconnected):
        await lab.token(connection)


async def test_the_second_time_changes_nothing_and_answers_the_same(lab: Lab, store: InMemoryConnections) -> None:
    connection = await lab.link()
    first = await disconnect(lab, connection)
    stored, events = await lab.grant(connection), len(store.events)

    assert await disconnect(lab, connection) == first

    assert await lab.grant(connection) == stored
    assert (len(store.events), len(lab.identity.revoked)) == (events, 1)


async def test_ended_many_times_at_once_it_is_audited_once(lab: Lab, store: InMemoryConnections) -> None:
    connection = await lab.link()

    await asyncio.gather(*(disconnect(lab, connection) for _ in range(5)))

    assert store.actions(connection.connection_id).count(AuditAction.DISCONNECTED) == 1
    assert await erased(lab, connection)


@pytest.mark.parametrize("fault", [ProviderUnavailable(), RuntimeError("canary: refused the token")])
async def test_a_provider_that_fails_keeps_nothing_alive(
    lab: Lab, fault: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    connection = await lab.link()
    lab.identity.faults.append(fault)

    ended = await disconnect(lab, connection)

    assert (ended.revoked, ended.manage_url) == (False, lab.identity.manage_url)
    assert ended.connection.reason == "NOT_REVOKED"
    assert await erased(lab, connection)
    assert "canary" not in capsys.readouterr().out


async def test_a_provider_that_hangs_is_not_waited_for(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = await lab.link()
    lab.identity.revoke_hangs = True
    monkeypatch.setattr(revoking, "REVOKE_SECONDS", 0.05)

    ended = await disconnect(lab, connection)

    assert not ended.revoked
    assert await erased(lab, connection)


@pytest.mark.parametrize("trouble", ["key forgotten", "key service away", "provider taken away"])
async def test_a_grant_that_cannot_be_revoked_is_destroyed_all_the_same(lab: Lab, trouble: str) -> None:
    connection = await lab.link()
    match trouble:
        case "key forgotten":
            await lab.world.keys.add()
            await lab.world.keys.forget("key-1")
        case "key service away":
            lab.world.keys.lost = True
        case _:
            lab.world.providers.remove("gmail")

    ended = await disconnect(lab, connection)

    assert not ended.revoked
    assert bool(ended.manage_url) is (trouble != "provider taken away")
    assert await erased(lab, connection)


async def test_a_dead_grant_can_be_ended_too(lab: Lab) -> None:
    connection = await lab.link()
    lab.identity.grants[0].alive = False
    lab.expire()
    with pytest.raises(AdiuvaError):
        await lab.token(connection)

    assert (await disconnect(lab, connection)).revoked

    assert await erased(lab, connection)


async def test_an_authorization_that_waits_ends_with_its_connection(lab: Lab) -> None:
    begun = await lab.begin()
    answer = lab.answer(lab.identity.consent("anna@example.org"))
    pending = await lab.stores.connections.get(USER, begun.connection_id)

    ended = await disconnect(lab, pending)

    assert (ended.revoked, ended.manage_url) == (False, "")
    assert ended.connection.reason == "AUTHORIZATION_ENDED"
    assert lab.identity.revoked == []
    with pytest.raises(AdiuvaError):
        await lab.complete(answer)
    assert lab.identity.exchanges == 0


async def test_nobody_ends_the_connection_of_another_user(lab: Lab) -> None:
    connection = await lab.link()

    for user, connection_id in [("ben", connection.connection_id), (USER, "nothing")]:
        with pytest.raises(ConnectionUnknown):
            await lab.disconnecting.disconnect(user, connection_id, actor=user)

    assert await lab.state(connection) is ConnectionState.ACTIVE
