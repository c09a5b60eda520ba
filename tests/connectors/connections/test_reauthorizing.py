"""A new consent for a connection: it keeps its id, its account and its cursors, whatever comes in between."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from adiuva_rpc.errors import AdiuvaError
from connectors.connections.domain import AuditAction, Connection, ConnectionState
from connectors.connections.errors import ConnectionUnknown, RequestIdReused
from connectors.errors import (
    AccountMismatch,
    ConnectionPending,
    Disconnected,
    StateInvalid,
)
from tests.connectors.connections.lab import ADDRESS, USER, Lab
from tests.fakes.connection_store import InMemoryConnections


class TestReauthorizing:
    async def test_a_new_consent_keeps_the_connection_and_takes_up_what_the_provider_asked_for(self, lab: Lab) -> None:
        connection = await lab.link()
        lab.identity.grants[0].alive = False
        lab.expire()
        with pytest.raises(AdiuvaError):
            await lab.token(connection)
        claims = (await lab.grant(connection)).claims

        begun = await lab.reauthorize(connection)
        renewed = await lab.complete(lab.answer(lab.identity.consent(ADDRESS)))

        assert begun.connection_id == renewed.connection_id == connection.connection_id
        assert lab.identity.begun[-1]["claims"] == claims != ""
        assert lab.identity.begun[-1]["login_hint"] == ADDRESS
        assert (renewed.state, renewed.reason, renewed.message) == (ConnectionState.ACTIVE, "", "")
        assert (await lab.grant(connection)).claims == ""
        assert lab.identity.accepts(await lab.token(connection))

    async def test_the_old_grant_works_until_the_new_one_is_there(self, lab: Lab) -> None:
        connection = await lab.link()

        await lab.reauthorize(connection)

        assert await lab.state(connection) is ConnectionState.ACTIVE
        lab.expire()
        assert lab.identity.accepts(await lab.token(connection))

    async def test_another_account_is_refused_and_its_grant_ended(self, lab: Lab, store: InMemoryConnections) -> None:
        connection = await lab.link()
        before = await lab.grant(connection)
        await lab.reauthorize(connection)

        with pytest.raises(AccountMismatch):
            await lab.complete(lab.answer(lab.identity.consent("other@example.org")))

        assert await lab.grant(connection) == before
        assert [grant.alive for grant in lab.identity.grants] == [True, False]
        assert store.actions(connection.connection_id)[-1] is AuditAction.AUTHORIZATION_REFUSED

    async def test_another_account_that_is_linked_itself_keeps_its_grant(self, lab: Lab) -> None:
        connection, other = await lab.link(), await lab.link("other@example.org", user="ben")
        await lab.reauthorize(connection)

        with pytest.raises(AccountMismatch):
            await lab.complete(lab.answer(lab.identity.consent("other@example.org")))

        assert lab.identity.revoked == []
        assert await lab.token(other)

    async def test_the_accounts_id_counts_and_not_its_address(self, lab: Lab) -> None:
        connection = await lab.link("old@example.org", account_id="7")
        await lab.reauthorize(connection)

        renewed = await lab.complete(lab.answer(lab.identity.consent("new@example.org", account_id="7")))

        assert (renewed.connection_id, renewed.account) == (connection.connection_id, "new@example.org")

    async def test_the_same_request_gets_the_same_flow(self, lab: Lab) -> None:
        connection = await lab.link()
        request_id = str(uuid.uuid4())

        first = await lab.reauthorize(connection, request_id=request_id)

        assert await lab.reauthorize(connection, request_id=request_id) == first
        with pytest.raises(RequestIdReused):
            await lab.begin(request_id=request_id)

    async def test_what_is_not_there_or_not_ones_own_or_over_is_refused(self, lab: Lab) -> None:
        connection = await lab.link()
        begun = await lab.begin()
        pending = await lab.stores.connections.get(USER, begun.connection_id)

        with pytest.raises(ConnectionUnknown):
            await lab.reauthorize(replace(connection, user_id="ben"))
        with pytest.raises(ConnectionPending):
            await lab.reauthorize(pending)
        await lab.disconnecting.disconnect(USER, connection.connection_id, actor=USER)
        with pytest.raises(Disconnected):
            await lab.reauthorize(connection)

    async def test_a_connection_that_ends_meanwhile_stays_ended(self, lab: Lab) -> None:
        connection = await lab.link()
        await lab.reauthorize(connection)
        answer = lab.answer(lab.identity.consent(ADDRESS))

        await lab.disconnecting.disconnect(USER, connection.connection_id, actor=USER)

        with pytest.raises(StateInvalid):
            await lab.complete(answer)
        assert await lab.state(connection) is ConnectionState.DISCONNECTED

    async def test_a_connection_whose_key_is_lost_comes_back_with_a_new_one(
        self, lab: Lab, store: InMemoryConnections
    ) -> None:
        connection = await lab.link()
        await lab.world.keys.add()
        await lab.world.keys.forget("key-1")
        with pytest.raises(AdiuvaError):
            await lab.token(connection)
        assert await lab.state(connection) is ConnectionState.DECRYPT_FAILED

        await lab.reauthorize(connection)
        renewed = await lab.complete(lab.answer(lab.identity.consent(ADDRESS)))

        assert (renewed.connection_id, renewed.state) == (connection.connection_id, ConnectionState.ACTIVE)
        assert store.rekeyed == [connection.connection_id]
        assert lab.identity.accepts(await lab.token(renewed))
        lab.expire()
        assert lab.identity.accepts(await lab.token(renewed))

    async def test_a_refresh_in_the_midst_of_it_does_not_spoil_what_is_sealed(
        self, lab: Lab, store: InMemoryConnections
    ) -> None:
        connection = await lab.link()
        lab.expire()
        await lab.reauthorize(connection)
        store.before_settling = lambda: lab.token(connection)

        await lab.complete(lab.answer(lab.identity.consent(ADDRESS)))

        assert (await lab.grant(connection)).grant_version == 3
        assert lab.identity.accepts(await lab.token(connection))
        assert await lab.state(connection) is ConnectionState.ACTIVE

    @pytest.mark.parametrize("again", [True, False], ids=["reauthorized", "linked again"])
    async def test_a_connection_that_ends_in_the_midst_of_it_stays_ended_or_is_a_new_one(
        self, lab: Lab, store: InMemoryConnections, again: bool
    ) -> None:
        connection = await lab.link()
        await (lab.reauthorize(connection) if again else lab.begin())
        store.before_settling = lambda: lab.disconnecting.disconnect(USER, connection.connection_id, actor=USER)
        answer = lab.answer(lab.identity.consent(ADDRESS))

        if again:
            with pytest.raises((Disconnected, StateInvalid)):
                await lab.complete(answer)
            assert not lab.identity.grants[-1].alive
        else:
            assert (await lab.complete(answer)).connection_id != connection.connection_id

        assert await lab.state(connection) is ConnectionState.DISCONNECTED

    async def test_an_account_that_is_linked_in_the_midst_of_it_keeps_that_connection(
        self, lab: Lab, store: InMemoryConnections
    ) -> None:
        await lab.begin()
        await lab.begin()
        first, second = (lab.answer(lab.identity.consent(ADDRESS), begun=number) for number in range(2))
        linked: list[Connection] = []

        async def link() -> None:
            linked.append(await lab.complete(first))

        store.before_settling = link

        assert (await lab.complete(second)).connection_id == linked[0].connection_id

    async def test_beginning_such_a_consent_does_not_give_up_the_old_key(self, lab: Lab) -> None:
        connection = await lab.link()
        old = await lab.grant(connection)
        box = lab.world.keys._boxes["key-1"]
        await lab.world.keys.add()
        await lab.world.keys.forget("key-1")

        await lab.reauthorize(connection)
        lab.world.keys._boxes["key-1"] = box

        assert (await lab.grant(connection)).wrapped_key == old.wrapped_key
        assert lab.identity.accepts(await lab.token(connection))
