"""Connections and flows on the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from adiuva.connectors.v1 import connection_pb2, connection_service_pb2 as pb
from adiuva_rpc.errors import InvalidArgument
from connectors.connections.authorizations import Authorization
from connectors.connections.conversion import (
    EVENT_KINDS,
    FLOWS,
    STATES,
    authorization_to_proto,
    connection_to_proto,
    event_to_proto,
    flow_from_proto,
)
from connectors.connections.domain import Connection, ConnectionState, Event, EventKind

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CONNECTION = Connection(
    connection_id="c",
    user_id="anna",
    provider="gmail",
    account_id="7",
    account="anna@example.org",
    scopes=frozenset({"b", "a"}),
    state=ConnectionState.THROTTLED,
    reason="THROTTLED",
    message="Wait.",
    last_success_at=NOW,
    next_allowed_at=NOW + timedelta(minutes=1),
    created_at=NOW,
    updated_at=NOW,
    version=3,
)


def test_every_value_of_the_contracts_enums_has_its_own() -> None:
    states, kinds = set(connection_pb2.ConnectionState.values()), set(pb.ConnectionEventKind.values())
    assert set(STATES) == set(ConnectionState)
    assert set(STATES.values()) == states - {connection_pb2.CONNECTION_STATE_UNSPECIFIED}
    assert set(EVENT_KINDS) == set(EventKind)
    assert set(EVENT_KINDS.values()) == kinds - {pb.CONNECTION_EVENT_KIND_UNSPECIFIED}
    assert set(FLOWS) == set(pb.AuthorizationFlow.values())


def test_a_connection_shows_all_but_what_is_the_services_own() -> None:
    message = connection_to_proto(CONNECTION)

    assert (message.connection_id, message.user_id, message.provider) == ("c", "anna", "gmail")
    assert (message.account, list(message.scopes), message.version) == ("anna@example.org", ["a", "b"], 3)
    assert message.state == connection_pb2.CONNECTION_STATE_THROTTLED
    assert (message.reason, message.message) == ("THROTTLED", "Wait.")
    assert message.last_success_at.ToDatetime(UTC) == NOW
    assert message.next_allowed_at.ToDatetime(UTC) == NOW + timedelta(minutes=1)


def test_what_is_not_known_is_not_set() -> None:
    fresh = Connection(
        connection_id="c",
        user_id="anna",
        provider="gmail",
        state=ConnectionState.PENDING,
        created_at=NOW,
        updated_at=NOW,
    )

    message = connection_to_proto(fresh)

    assert not message.HasField("last_success_at")
    assert not message.HasField("next_allowed_at")
    assert message.account == ""


def test_a_flow_shows_what_its_kind_has() -> None:
    redirect = authorization_to_proto(
        Authorization(flow_id="f", connection_id="c", expires_at=NOW, url="https://login.example.test/")
    )
    device = authorization_to_proto(
        Authorization(
            flow_id="f",
            connection_id="c",
            expires_at=NOW,
            user_code="ABCD",
            verification_uri="https://login.example.test/device",
            interval=timedelta(seconds=5),
        )
    )

    assert (redirect.authorization_url, redirect.user_code) == ("https://login.example.test/", "")
    assert not redirect.HasField("poll_interval")
    assert (device.authorization_url, device.user_code) == ("", "ABCD")
    assert device.poll_interval.ToTimedelta() == timedelta(seconds=5)
    assert device.expires_at.ToDatetime(UTC) == NOW


def test_an_event_about_no_connection_has_none() -> None:
    assert not event_to_proto(Event(EventKind.HEARTBEAT)).HasField("connection")
    assert event_to_proto(Event(EventKind.CHANGED, CONNECTION)).connection.connection_id == "c"


def test_a_flow_of_a_newer_client_is_refused_by_name() -> None:
    with pytest.raises(InvalidArgument) as refused:
        flow_from_proto(99)
    assert refused.value.field == "flow"
