"""Connections: domain to wire, and what a user asks for back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from adiuva.connectors.v1 import connection_pb2, connection_service_pb2 as pb
from adiuva_rpc.errors import InvalidArgument
from connectors.connections.authorizations import Authorization
from connectors.connections.domain import Connection, ConnectionState, Event, EventKind
from connectors.providers.port import Flow

STATES: Final[Mapping[ConnectionState, connection_pb2.ConnectionState.ValueType]] = {
    state: connection_pb2.ConnectionState.Value(f"CONNECTION_STATE_{state.name}") for state in ConnectionState
}
EVENT_KINDS: Final[Mapping[EventKind, pb.ConnectionEventKind.ValueType]] = {
    kind: pb.ConnectionEventKind.Value(f"CONNECTION_EVENT_KIND_{kind.name}") for kind in EventKind
}
FLOWS: Final[Mapping[int, Flow]] = {
    pb.AUTHORIZATION_FLOW_UNSPECIFIED: Flow.REDIRECT,
    pb.AUTHORIZATION_FLOW_REDIRECT: Flow.REDIRECT,
    pb.AUTHORIZATION_FLOW_DEVICE_CODE: Flow.DEVICE_CODE,
}


def connection_to_proto(connection: Connection) -> connection_pb2.Connection:
    """Return the connection."""
    return connection_pb2.Connection(
        connection_id=connection.connection_id,
        user_id=connection.user_id,
        provider=connection.provider,
        account=connection.account,
        scopes=sorted(connection.scopes),
        state=STATES[connection.state],
        reason=connection.reason,
        message=connection.message,
        last_success_at=_timestamp(connection.last_success_at),
        next_allowed_at=_timestamp(connection.next_allowed_at),
        created_at=_timestamp(connection.created_at),
        updated_at=_timestamp(connection.updated_at),
        version=connection.version,
    )


def authorization_to_proto(authorization: Authorization) -> pb.Authorization:
    """Return the flow as its user sees it."""
    return pb.Authorization(
        flow_id=authorization.flow_id,
        connection_id=authorization.connection_id,
        expires_at=_timestamp(authorization.expires_at),
        authorization_url=authorization.url,
        user_code=authorization.user_code,
        verification_uri=authorization.verification_uri,
        poll_interval=duration_to_proto(authorization.interval) if authorization.interval else None,
    )


def event_to_proto(event: Event) -> pb.WatchConnectionsResponse:
    """Return the event."""
    return pb.WatchConnectionsResponse(
        kind=EVENT_KINDS[event.kind],
        connection=None if event.connection is None else connection_to_proto(event.connection),
    )


def flow_from_proto(flow: int) -> Flow:
    """Return how a user wants to consent.

    Raises:
        InvalidArgument: `flow` is none that is known here.
    """
    try:
        return FLOWS[flow]
    except KeyError:
        raise InvalidArgument("flow", "must be AUTHORIZATION_FLOW_REDIRECT or AUTHORIZATION_FLOW_DEVICE_CODE") from None


def duration_to_proto(span: timedelta) -> Duration:
    """Return the span."""
    message = Duration()
    message.FromTimedelta(span)
    return message


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message
