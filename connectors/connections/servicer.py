"""ConnectionService on the wire: parse, call, convert."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc.aio

from adiuva.connectors.v1 import connection_service_pb2 as pb, connection_service_pb2_grpc as pb_grpc
from adiuva_rpc.errors import InvalidArgument
from adiuva_rpc.identity import Role, current_caller, user_for
from connectors.connections import states
from connectors.connections.authorizations import Asked
from connectors.connections.authorizing import Authorizing
from connectors.connections.conversion import (
    authorization_to_proto,
    connection_to_proto,
    duration_to_proto,
    event_to_proto,
    flow_from_proto,
)
from connectors.connections.disconnecting import Disconnecting
from connectors.connections.domain import Connection, Event
from connectors.connections.errors import ConnectionUnknown
from connectors.connections.linking import Linking
from connectors.connections.ports import ConnectionStore, Now
from connectors.connections.testing import Testing
from connectors.connections.watching import ConnectionHub
from connectors.errors import StateInvalid
from connectors.paging import decode_token, encode_token, fitting, page_size

MAX_ID_CHARS = 128

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionUses:
    """What can be done with connections."""

    connections: ConnectionStore
    authorizing: Authorizing
    linking: Linking
    testing: Testing
    disconnecting: Disconnecting
    hub: ConnectionHub


class ConnectionServicer(pb_grpc.ConnectionServiceServicer):
    """Translates between the wire and the connections.

    Args:
        uses: What can be done.
        now: The present time.
    """

    def __init__(self, uses: ConnectionUses, *, now: Now) -> None:
        self._uses = uses
        self._now = now

    async def BeginAuthorization(
        self, request: pb.BeginAuthorizationRequest, context: Context
    ) -> pb.BeginAuthorizationResponse:
        """Start to link an account."""
        caller = current_caller()
        asked = Asked(
            user_id=user_for(caller),
            request_id=request.request_id.lower(),
            flow=flow_from_proto(request.flow),
            redirect_uri=request.redirect_uri,
            login_hint=request.login_hint,
            actor=caller.name,
        )
        begun = await self._uses.authorizing.begin(asked, provider=request.provider)
        return pb.BeginAuthorizationResponse(authorization=authorization_to_proto(begun))

    async def CompleteAuthorization(
        self, request: pb.CompleteAuthorizationRequest, context: Context
    ) -> pb.CompleteAuthorizationResponse:
        """End a flow with what the browser came back with."""
        caller = current_caller()
        connection = await self._uses.linking.complete(user_for(caller), request.redirect_response, actor=caller.name)
        return pb.CompleteAuthorizationResponse(connection=connection_to_proto(connection))

    async def PollDeviceAuthorization(
        self, request: pb.PollDeviceAuthorizationRequest, context: Context
    ) -> pb.PollDeviceAuthorizationResponse:
        """Ask for the outcome of a device code."""
        caller = current_caller()
        user_id = user_for(caller)
        if not _is_id(request.flow_id):
            raise StateInvalid
        polled = await self._uses.linking.poll(user_id, request.flow_id, actor=caller.name)
        if polled.connection is None:
            return pb.PollDeviceAuthorizationResponse(retry_after=duration_to_proto(polled.retry_after))
        return pb.PollDeviceAuthorizationResponse(connection=connection_to_proto(polled.connection))

    async def Reauthorize(self, request: pb.ReauthorizeRequest, context: Context) -> pb.ReauthorizeResponse:
        """Start a new consent for a connection."""
        caller = current_caller()
        asked = Asked(
            user_id=user_for(caller),
            request_id=request.request_id.lower(),
            flow=flow_from_proto(request.flow),
            redirect_uri=request.redirect_uri,
            actor=caller.name,
        )
        begun = await self._uses.authorizing.reauthorize(asked, connection_id=_connection_id(request.connection_id))
        return pb.ReauthorizeResponse(authorization=authorization_to_proto(begun))

    async def ListConnections(self, request: pb.ListConnectionsRequest, context: Context) -> pb.ListConnectionsResponse:
        """Give a page of the user's connections."""
        user_id = user_for(current_caller())
        size = page_size(request.page_size)
        query = f"{user_id}\0{request.include_disconnected}"
        found = await self._uses.connections.page(
            user_id,
            limit=size + 1,
            after=decode_token("connections", query, request.page_token),
            include_disconnected=request.include_disconnected,
        )
        shown = [self._shown(connection) for connection in found[:size]]
        fit = fitting(message.ByteSize() for message in shown)
        last = found[fit - 1] if fit < len(found) else None
        more = encode_token("connections", query, (last.created_at, last.connection_id)) if last else ""
        return pb.ListConnectionsResponse(connections=shown[:fit], next_page_token=more)

    async def GetConnection(self, request: pb.GetConnectionRequest, context: Context) -> pb.GetConnectionResponse:
        """Give one connection."""
        connection = await self._uses.connections.get(user_for(current_caller()), _connection_id(request.connection_id))
        return pb.GetConnectionResponse(connection=self._shown(connection))

    async def TestConnection(self, request: pb.TestConnectionRequest, context: Context) -> pb.TestConnectionResponse:
        """Ask the provider whose account it is."""
        tested = await self._uses.testing.test(user_for(current_caller()), _connection_id(request.connection_id))
        return pb.TestConnectionResponse(connection=self._shown(tested.connection), took=duration_to_proto(tested.took))

    async def Disconnect(self, request: pb.DisconnectRequest, context: Context) -> pb.DisconnectResponse:
        """End a connection."""
        caller = current_caller()
        ended = await self._uses.disconnecting.disconnect(
            user_for(caller), _connection_id(request.connection_id), actor=caller.name
        )
        return pb.DisconnectResponse(
            connection=connection_to_proto(ended.connection), revoked=ended.revoked, manage_url=ended.manage_url
        )

    async def WatchConnections(  # type: ignore[override]  # a coroutine that writes, where the stub knows generators only
        self, request: pb.WatchConnectionsRequest, context: Context
    ) -> None:
        """Stream the connections and what happens to them until the caller leaves."""
        caller = current_caller()
        everybody = caller.role is Role.SERVICE and caller.acting_for is None

        async def tell(event: Event) -> None:
            await context.write(event_to_proto(event))

        await self._uses.hub.watch(None if everybody else user_for(caller), tell)

    def _shown(self, connection: Connection) -> Any:
        return connection_to_proto(states.seen_at(connection, self._now()))


def _connection_id(named: str) -> str:
    if not named:
        raise InvalidArgument("connection_id", "is required")
    if not _is_id(named):
        # What cannot be an id is no connection either: the same answer, and the database is not asked.
        raise ConnectionUnknown
    return named


def _is_id(text: str) -> bool:
    return 0 < len(text) <= MAX_ID_CHARS and text.isascii() and text.isprintable()
