"""The way to a connection: which states let a fetch through, and what its health hears."""

from __future__ import annotations

import pytest

from adiuva_rpc.errors import AdiuvaError, NotFound
from connectors.connections.domain import ConnectionState
from connectors.errors import (
    ConnectionPending,
    Disconnected,
    NeedsReauth,
    OperatorFault,
    ProviderUnavailable,
    ProviderUnknown,
)
from connectors.messages.events import Started
from tests.connectors.messages.lab import Lab


@pytest.fixture
async def lab() -> Lab:
    return await Lab.linked()


@pytest.mark.parametrize(
    "state", [ConnectionState.ACTIVE, ConnectionState.BLOCKED, ConnectionState.DECRYPT_FAILED], ids=lambda s: s.value
)
async def test_what_may_work_again_is_tried(lab: Lab, state: ConnectionState) -> None:
    ids = lab.mails(1)
    lab.connections.change("c-1", state=state)

    assert (await lab.fetch()).keys == ids


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (ConnectionState.PENDING, ConnectionPending),
        (ConnectionState.NEEDS_REAUTH, NeedsReauth),
        (ConnectionState.DISCONNECTED, Disconnected),
    ],
)
async def test_what_cannot_work_is_not_tried(lab: Lab, state: ConnectionState, error: type[AdiuvaError]) -> None:
    lab.connections.change("c-1", state=state)

    fetched = await lab.fetch()

    assert isinstance(fetched.error, error)
    assert (lab.fake.queries, lab.health.told, lab.store.steps) == ([], [], 0)


async def test_a_connection_of_another_user_is_none(lab: Lab) -> None:
    assert isinstance((await lab.fetch(user_id="berta")).error, NotFound)
    assert isinstance((await lab.fetch(connection_id="c-9")).error, NotFound)


async def test_a_provider_that_was_taken_away_is_told(lab: Lab) -> None:
    await lab.connections.add("c-2", provider="gone")

    assert isinstance((await lab.fetch(connection_id="c-2")).error, ProviderUnknown)


async def test_one_success_is_told_however_many_messages_come(lab: Lab) -> None:
    lab.mails(50)

    await lab.fetch()

    assert lab.health.told == ["succeeded"]


@pytest.mark.parametrize("error", [NeedsReauth(), OperatorFault(), ProviderUnavailable()], ids=lambda e: e.reason)
async def test_a_fault_of_the_listing_is_told_and_ends_the_fetch(lab: Lab, error: AdiuvaError) -> None:
    lab.fake.listing_script.append(error)

    fetched = await lab.fetch()

    assert fetched.error is error
    assert fetched.of(Started) == []
    assert lab.health.told == [error.reason]


async def test_a_listing_that_fails_for_an_unforeseen_reason_is_internal(lab: Lab) -> None:
    lab.fake.listing_script.append(ZeroDivisionError("of no interest"))

    fetched = await lab.fetch()

    assert fetched.error is not None
    assert fetched.error.reason == "INTERNAL"
    assert "interest" not in str(fetched.error)


async def test_the_session_has_what_the_provider_needs(lab: Lab) -> None:
    entered = await lab.access.enter("anna", "c-1")
    waits: list[object] = []

    session = entered.session(deadline=lab.clock.now(), on_wait=waits.append)
    session.on_wait(lab.clock.now())

    assert (session.connection_id, session.account.account_id) == ("c-1", "account")
    assert session.account.address == "anna@example.org"
    assert (await session.tokens.token(), session.calls, len(waits)) == ("an-access-token", 0, 1)
