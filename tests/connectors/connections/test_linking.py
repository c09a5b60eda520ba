"""Ending an authorization: one user, one use, one connection an account, nothing sent before the state is right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from adiuva_rpc.errors import AdiuvaError
from connectors.connections.authorizations import FLOW_LIFETIME
from connectors.connections.domain import AuditAction, Connection, ConnectionState, NoticeKind
from connectors.errors import (
    CodeRefused,
    ConsentRefused,
    OperatorFault,
    ProviderUnavailable,
    ProviderUnknown,
    ScopeMissing,
    StateInvalid,
)
from tests.connectors.connections.lab import ADDRESS, USER, Lab
from tests.fakes.connection_store import InMemoryConnections


async def all_connections(lab: Lab, user: str = USER) -> list[Connection]:
    return await lab.stores.connections.page(user, limit=100, after=None, include_disconnected=True)


class TestCompleting:
    async def test_a_consent_makes_the_connection_active(self, lab: Lab, store: InMemoryConnections) -> None:
        begun = await lab.begin()

        connection = await lab.complete(lab.answer(lab.identity.consent(ADDRESS)))

        assert connection.connection_id == begun.connection_id
        assert connection.state is ConnectionState.ACTIVE
        assert (connection.account, connection.account_id) == (ADDRESS, f"id of {ADDRESS}")
        assert connection.scopes >= lab.identity.required_scopes
        assert lab.identity.accepts(await lab.token(connection))
        assert store.actions(connection.connection_id) == [AuditAction.BEGUN, AuditAction.AUTHORIZED]
        assert {event.actor for event in store.events} == {USER}

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda answer: answer.replace("state=", "state=x"),
            lambda answer: answer.replace("state=", "other="),
            lambda answer: answer + "&state=again",
            lambda _answer: "code=c",
        ],
    )
    async def test_without_the_right_state_nothing_goes_out(self, lab: Lab, spoil: Callable[[str], str]) -> None:
        await lab.begin()
        answer = lab.answer(lab.identity.consent(ADDRESS))

        with pytest.raises(StateInvalid):
            await lab.complete(spoil(answer))

        assert lab.identity.exchanges == 0
        assert (await lab.complete(answer)).state is ConnectionState.ACTIVE

    async def test_a_flow_is_over_after_ten_minutes(self, lab: Lab) -> None:
        await lab.begin()
        answer = lab.answer(lab.identity.consent(ADDRESS))
        lab.clock.advance(FLOW_LIFETIME)

        with pytest.raises(StateInvalid):
            await lab.complete(answer)

        assert lab.identity.exchanges == 0

    async def test_another_user_can_neither_complete_a_flow_nor_use_it_up(self, lab: Lab) -> None:
        await lab.begin()
        answer = lab.answer(lab.identity.consent(ADDRESS))

        with pytest.raises(StateInvalid):
            await lab.complete(answer, user="ben")

        assert lab.identity.exchanges == 0
        assert (await lab.complete(answer)).user_id == USER
        assert await all_connections(lab, "ben") == []

    async def test_a_flow_is_completed_once(self, lab: Lab) -> None:
        await lab.begin()
        answer = lab.answer(lab.identity.consent(ADDRESS))

        outcomes = await asyncio.gather(*(lab.complete(answer) for _ in range(5)), return_exceptions=True)

        assert len([one for one in outcomes if isinstance(one, Connection)]) == 1
        assert len([one for one in outcomes if isinstance(one, StateInvalid)]) == 4
        assert lab.identity.exchanges == 1

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            (
                lambda lab: lab.answer("").replace("code=", "error=access_denied&error_description=%3Cb%3E"),
                ConsentRefused,
            ),
            (lambda lab: lab.answer("made up"), CodeRefused),
            (lambda lab: lab.answer(lab.identity.consent(ADDRESS, scopes=frozenset({"openid"}))), ScopeMissing),
            (lambda lab: lab.answer(lab.identity.consent(ADDRESS, offline=False)), ScopeMissing),
        ],
        ids=["error", "code", "scopes", "offline"],
    )
    async def test_a_consent_that_is_not_one_leaves_nothing(
        self, lab: Lab, store: InMemoryConnections, answer: Callable[[Lab], str], error: type[AdiuvaError]
    ) -> None:
        begun = await lab.begin()
        response = answer(lab)

        with pytest.raises(error) as refused:
            await lab.complete(response)

        assert "<b>" not in refused.value.message
        assert await all_connections(lab) == []
        assert store.actions(begun.connection_id) == [AuditAction.BEGUN, AuditAction.AUTHORIZATION_REFUSED]
        assert store.events[-1].reason == error.reason
        with pytest.raises(StateInvalid):
            await lab.complete(response)

    async def test_a_grant_of_too_little_is_ended_again(self, lab: Lab) -> None:
        await lab.begin()

        with pytest.raises(ScopeMissing):
            await lab.complete(lab.answer(lab.identity.consent(ADDRESS, scopes=frozenset({"openid"}))))

        assert len(lab.identity.revoked) == 1
        assert not lab.identity.grants[0].alive

    async def test_too_little_for_an_account_that_is_linked_leaves_its_grant_alone(self, lab: Lab) -> None:
        connection = await lab.link()
        before = await lab.grant(connection)
        await lab.reauthorize(connection)

        with pytest.raises(ScopeMissing):
            await lab.complete(lab.answer(lab.identity.consent(ADDRESS, scopes=frozenset({"openid"}))))

        assert lab.identity.revoked == []
        assert await lab.grant(connection) == before

    @pytest.mark.parametrize("fault", [ProviderUnavailable(), OperatorFault()])
    async def test_a_provider_in_trouble_ends_the_flow_too(
        self, lab: Lab, store: InMemoryConnections, fault: AdiuvaError
    ) -> None:
        begun = await lab.begin()
        answer = lab.answer(lab.identity.consent(ADDRESS))
        lab.identity.faults.append(fault)

        with pytest.raises(type(fault)):
            await lab.complete(answer)

        with pytest.raises(StateInvalid):
            await lab.complete(answer)
        assert await all_connections(lab) == []
        faults = store.actions(begun.connection_id).count(AuditAction.OPERATOR_FAULT)
        assert faults == isinstance(fault, OperatorFault)

    async def test_a_provider_that_was_taken_away_meanwhile_is_unknown(self, lab: Lab) -> None:
        await lab.begin()
        answer = lab.answer(lab.identity.consent(ADDRESS))
        lab.world.providers.remove("gmail")

        with pytest.raises(ProviderUnknown):
            await lab.complete(answer)

    async def test_a_flow_whose_key_is_gone_has_to_be_begun_again(self, lab: Lab) -> None:
        await lab.begin()
        answer = lab.answer(lab.identity.consent(ADDRESS))
        await lab.world.keys.add()
        await lab.world.keys.forget("key-1")

        with pytest.raises(StateInvalid):
            await lab.complete(answer)

        assert lab.identity.exchanges == 0


class TestLinkingAgain:
    async def test_an_account_that_is_linked_keeps_its_connection(self, lab: Lab, store: InMemoryConnections) -> None:
        first = await lab.link()
        old = await lab.grant(first)
        begun = await lab.begin()

        second = await lab.complete(lab.answer(lab.identity.consent(ADDRESS)))

        assert second.connection_id == first.connection_id != begun.connection_id
        assert [one.connection_id for one in await all_connections(lab)] == [first.connection_id]
        assert (await lab.grant(first)).grant_version == old.grant_version + 1
        assert (await lab.grant(first)).wrapped_key == old.wrapped_key
        assert store.rekeyed == []
        assert store.actions(first.connection_id)[-1] is AuditAction.REAUTHORIZED
        assert store.notices[-2].kind is NoticeKind.GONE
        assert lab.identity.accepts(await lab.token(second))

    async def test_two_consents_for_one_account_at_once_make_one_connection(self, lab: Lab) -> None:
        for _ in range(4):
            await lab.begin()
        answers = [lab.answer(lab.identity.consent(ADDRESS), begun=number) for number in range(4)]

        linked = await asyncio.gather(*(lab.complete(answer) for answer in answers))

        assert len({one.connection_id for one in linked}) == 1
        assert len(await all_connections(lab)) == 1

    async def test_other_accounts_users_and_providers_have_their_own(self, lab: Lab) -> None:
        connections = [await lab.link(), await lab.link("ben@example.org"), await lab.link(user="ben")]

        assert len({one.connection_id for one in connections}) == 3

    async def test_an_account_that_was_disconnected_gets_a_new_connection(self, lab: Lab) -> None:
        first = await lab.link()
        await lab.disconnecting.disconnect(USER, first.connection_id, actor=USER)

        second = await lab.link()

        assert second.connection_id != first.connection_id
        assert await lab.state(first) is ConnectionState.DISCONNECTED
