"""Beginning to link an account: what is asked is checked, and what is begun is sealed."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import pytest

from adiuva_rpc.errors import InvalidArgument
from connectors.connections.authorizations import FLOW_LIFETIME
from connectors.connections.authorizing import MAX_OPEN_FLOWS
from connectors.connections.domain import Connection, ConnectionState
from connectors.connections.errors import RequestIdReused, TooManyFlows
from connectors.errors import (
    FlowUnsupported,
    ProviderUnknown,
)
from connectors.providers.port import Flow
from tests.connectors.connections.lab import LOOPBACK, OURS, USER, Lab, asked
from tests.fakes.connection_store import InMemoryConnections


async def all_connections(lab: Lab, user: str = USER) -> list[Connection]:
    return await lab.stores.connections.page(user, limit=100, after=None, include_disconnected=True)


class TestBeginning:
    async def test_a_flow_makes_a_pending_connection_with_a_key_of_its_own(self, lab: Lab) -> None:
        first, second = await lab.begin(), await lab.begin()

        grants = [await lab.stores.grants.grant(one.connection_id) for one in (first, second)]
        assert [one.connection.state for one in grants] == [ConnectionState.PENDING] * 2
        assert None not in [one.wrapped_key for one in grants]
        assert grants[0].wrapped_key != grants[1].wrapped_key
        assert first.expires_at == lab.clock() + FLOW_LIFETIME
        assert first.url != second.url

    async def test_what_is_stored_of_a_flow_shows_neither_state_nor_secret(
        self, lab: Lab, store: InMemoryConnections
    ) -> None:
        await lab.begin()

        (new,) = store._flows.values()
        state = lab.identity.begun[0]["state"]
        assert len(state) >= 40
        for text in (state, "verifier", "login.example.test"):
            assert text not in repr(new)
            assert text.encode() not in new.flow.secret + new.flow.shown + (new.state_hash or b"")

    async def test_the_same_request_gets_the_same_flow(self, lab: Lab) -> None:
        request_id = str(uuid.uuid4())

        first = await lab.begin(request_id=request_id)
        lab.clock.advance(timedelta(minutes=1))
        second = await lab.begin(request_id=request_id)

        assert first == second
        assert len(await all_connections(lab)) == 1

    async def test_the_same_request_at_once_makes_one_flow(self, lab: Lab) -> None:
        request_id = str(uuid.uuid4())

        begun = await asyncio.gather(*(lab.begin(request_id=request_id) for _ in range(5)))

        assert len({one.flow_id for one in begun}) == 1
        assert len({one.url for one in begun}) == 1
        assert len(await all_connections(lab)) == 1

    async def test_a_request_id_is_for_one_request_of_one_user(self, lab: Lab) -> None:
        request_id = str(uuid.uuid4())
        await lab.begin(request_id=request_id, login_hint="one@example.org")

        with pytest.raises(RequestIdReused):
            await lab.begin(request_id=request_id, login_hint="two@example.org")
        with pytest.raises(RequestIdReused):
            await lab.begin(request_id=request_id, provider="outlook")
        await lab.begin(user="ben", request_id=request_id)

    async def test_a_user_has_ten_flows_open_at_the_most(self, lab: Lab) -> None:
        for _ in range(MAX_OPEN_FLOWS):
            await lab.begin()
        asked_before = len(lab.identity.begun)

        with pytest.raises(TooManyFlows) as refused:
            await lab.begin()

        assert refused.value.retry_after == 600.0
        assert len(lab.identity.begun) == asked_before
        await lab.begin(user="ben")
        lab.clock.advance(FLOW_LIFETIME)
        await lab.begin()

    async def test_the_operators_redirect_uri_is_allowed_too(self, lab: Lab) -> None:
        await lab.begin(redirect_uri=OURS)

        assert lab.identity.begun[0]["redirect_uri"] == OURS

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"request_id": ""}, "request_id"),
            ({"request_id": "not a uuid"}, "request_id"),
            ({"redirect_uri": "http://evil.test/"}, "redirect_uri"),
            ({"redirect_uri": ""}, "redirect_uri"),
            ({"flow": Flow.DEVICE_CODE, "redirect_uri": LOOPBACK}, "redirect_uri"),
            ({"login_hint": "a" * 321}, "login_hint"),
            ({"login_hint": "a\nb"}, "login_hint"),
        ],
    )
    async def test_a_request_that_is_not_well_formed_is_refused_by_its_field(
        self, lab: Lab, fields: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(InvalidArgument) as refused:
            await lab.begin(**fields)

        assert refused.value.field == field
        assert await all_connections(lab) == []

    async def test_an_unknown_provider_and_an_unsupported_flow_are_refused(self, lab: Lab) -> None:
        with pytest.raises(ProviderUnknown):
            await lab.begin(provider="yahoo")
        lab.identity.flows = frozenset({Flow.REDIRECT})
        with pytest.raises(FlowUnsupported):
            await lab.begin(flow=Flow.DEVICE_CODE)

    async def test_a_hint_goes_to_the_provider(self, lab: Lab) -> None:
        await lab.begin(login_hint="anna@example.org")

        assert lab.identity.begun[0]["login_hint"] == "anna@example.org"


async def test_a_request_says_nothing_of_the_hint_when_it_is_printed() -> None:
    assert "canary" not in repr(asked(login_hint="canary@example.org"))
