"""Device codes: asked for one at a time, never before the provider's interval, and never waited for."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from adiuva_rpc.errors import AdiuvaError
from connectors.connections.authorizations import Authorization
from connectors.connections.domain import AuditAction, ConnectionState
from connectors.connections.errors import PolledTooEarly
from connectors.connections.linking import POLL_HOLD, Polled
from connectors.errors import (
    ConsentRefused,
    OperatorFault,
    ProviderUnavailable,
    ScopeMissing,
    StateInvalid,
    Throttled,
)
from connectors.providers.port import Flow
from tests.connectors.connections.lab import ADDRESS, USER, Lab
from tests.fakes.connection_store import InMemoryConnections

INTERVAL = timedelta(seconds=5)


async def begin(lab: Lab) -> Authorization:
    """Begin a device flow, and wait for as long as its first poll has to."""
    begun = await lab.begin(flow=Flow.DEVICE_CODE)
    lab.clock.advance(INTERVAL)
    return begun


async def poll(lab: Lab, begun: Authorization, *, user: str = USER) -> Polled:
    return await lab.linking.poll(user, begun.flow_id, actor=user)


async def test_the_user_is_shown_a_code_and_where_to_type_it_in(lab: Lab) -> None:
    begun = await lab.begin(flow=Flow.DEVICE_CODE)

    assert begun.user_code
    assert begun.verification_uri == "https://login.example.test/device"
    assert (begun.interval, begun.url) == (INTERVAL, "")
    assert begun.expires_at == lab.clock() + timedelta(minutes=15)


async def test_a_poll_answers_at_once_and_says_when_to_ask_again(lab: Lab) -> None:
    begun = await begin(lab)

    polled = await poll(lab, begun)

    assert (polled.connection, polled.retry_after) == (None, INTERVAL)
    with pytest.raises(PolledTooEarly) as early:
        await poll(lab, begun)
    assert early.value.retry_after == 5.0
    assert lab.identity.polls == 1
    lab.clock.advance(INTERVAL)
    await poll(lab, begun)
    assert lab.identity.polls == 2


async def test_the_first_poll_waits_for_the_interval_too(lab: Lab) -> None:
    begun = await lab.begin(flow=Flow.DEVICE_CODE)

    with pytest.raises(PolledTooEarly):
        await poll(lab, begun)

    assert lab.identity.polls == 0


async def test_a_consent_makes_the_connection_active_and_the_answer_can_be_asked_for_again(
    lab: Lab, store: InMemoryConnections
) -> None:
    begun = await begin(lab)
    lab.identity.approve_device(begun.user_code, ADDRESS)

    first = await poll(lab, begun)
    second = await poll(lab, begun)

    assert first.connection is not None
    assert first == second
    assert first.connection.state is ConnectionState.ACTIVE
    assert lab.identity.polls == 1
    assert lab.identity.accepts(await lab.token(first.connection))
    assert store.actions(begun.connection_id) == [AuditAction.BEGUN, AuditAction.AUTHORIZED]


async def test_a_code_for_an_account_that_is_linked_renews_its_connection(lab: Lab) -> None:
    linked = await lab.link()
    begun = await begin(lab)
    lab.identity.approve_device(begun.user_code, ADDRESS)

    first = await poll(lab, begun)

    assert first.connection is not None
    assert first.connection.connection_id == linked.connection_id
    assert await poll(lab, begun) == first


async def test_many_polls_at_once_ask_the_provider_once(lab: Lab) -> None:
    begun = await begin(lab)
    lab.identity.approve_device(begun.user_code, ADDRESS)

    outcomes = await asyncio.gather(*(poll(lab, begun) for _ in range(6)), return_exceptions=True)

    assert lab.identity.polls == 1
    assert len([one for one in outcomes if isinstance(one, Polled)]) == 1
    assert len([one for one in outcomes if isinstance(one, PolledTooEarly)]) == 5


async def test_a_poll_that_was_lost_with_its_process_keeps_nobody_off_for_long(lab: Lab) -> None:
    begun = await begin(lab)
    now = lab.clock()
    await lab.stores.flows.take_poll(USER, begun.flow_id, now=now, hold=now + POLL_HOLD)
    with pytest.raises(PolledTooEarly):
        await poll(lab, begun)

    lab.clock.advance(POLL_HOLD)

    assert (await poll(lab, begun)).retry_after == INTERVAL


async def test_a_user_who_says_no_ends_the_flow(lab: Lab, store: InMemoryConnections) -> None:
    begun = await begin(lab)
    lab.identity.decline_device(begun.user_code)

    with pytest.raises(ConsentRefused):
        await poll(lab, begun)

    with pytest.raises(StateInvalid):
        await poll(lab, begun)
    assert await lab.stores.connections.page(USER, limit=9, after=None, include_disconnected=True) == []
    assert store.actions(begun.connection_id)[-1] is AuditAction.AUTHORIZATION_REFUSED


async def test_a_code_ends_with_its_time(lab: Lab) -> None:
    begun = await begin(lab)
    lab.identity.approve_device(begun.user_code, ADDRESS)
    lab.clock.advance(timedelta(minutes=15))

    with pytest.raises(StateInvalid):
        await poll(lab, begun)

    assert lab.identity.polls == 0


async def test_nobody_polls_the_flow_of_another_user_or_a_redirect(lab: Lab) -> None:
    begun, redirect = await begin(lab), await lab.begin()

    for flow, user in [(begun, "ben"), (redirect, USER)]:
        with pytest.raises(StateInvalid):
            await poll(lab, flow, user=user)

    assert lab.identity.polls == 0


async def test_too_little_is_refused_and_ended_again(lab: Lab) -> None:
    begun = await begin(lab)
    lab.identity.approve_device(begun.user_code, ADDRESS, scopes=frozenset({"openid"}))

    with pytest.raises(ScopeMissing):
        await poll(lab, begun)

    assert not lab.identity.grants[0].alive


@pytest.mark.parametrize(
    ("fault", "wait"), [(ProviderUnavailable(), 5.0), (OperatorFault(), 5.0), (Throttled(retry_after=30.0), 30.0)]
)
async def test_a_provider_in_trouble_can_be_asked_again_later(
    lab: Lab, store: InMemoryConnections, fault: AdiuvaError, wait: float
) -> None:
    begun = await begin(lab)
    lab.identity.approve_device(begun.user_code, ADDRESS)
    lab.identity.faults.append(fault)

    with pytest.raises(type(fault)):
        await poll(lab, begun)

    with pytest.raises(PolledTooEarly) as early:
        await poll(lab, begun)
    assert early.value.retry_after == wait
    lab.clock.advance(timedelta(seconds=wait))
    assert (await poll(lab, begun)).connection is not None
    faults = store.actions(begun.connection_id).count(AuditAction.OPERATOR_FAULT)
    assert faults == isinstance(fault, OperatorFault)


async def test_a_provider_that_refuses_to_give_a_code_says_so_and_nothing_is_left(
    lab: Lab, store: InMemoryConnections
) -> None:
    lab.identity.faults.append(OperatorFault())

    with pytest.raises(OperatorFault):
        await lab.begin(flow=Flow.DEVICE_CODE)

    assert [event.action for event in store.events] == [AuditAction.OPERATOR_FAULT]
    assert await lab.stores.connections.page(USER, limit=9, after=None, include_disconnected=True) == []
