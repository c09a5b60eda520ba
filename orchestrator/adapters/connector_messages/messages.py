"""Fetches and commits at the connectors service, in the name of the run's user."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import grpc.aio
import structlog

from adiuva.connectors.v1 import (
    connection_service_pb2,
    connection_service_pb2_grpc,
    message_service_pb2 as pb,
    message_service_pb2_grpc as pb_grpc,
)
from adiuva_rpc.identity import USER_HEADER
from adiuva_rpc.status import from_rpc_error
from orchestrator.adapters.connector_messages.conversion import (
    UNREACHABLE,
    event_from_proto,
    fault_of,
    is_transient,
    request_to_proto,
)
from orchestrator.runs.domain import ConnectorsUnavailable
from orchestrator.runs.incoming import Begun, Ended, Fetch, FetchEvent

PATIENCE_SECONDS = 20.0
"""How long to wait for a connectors service that restarts."""
RETRY_SECONDS = 0.5
CALL_SECONDS = 5.0
"""Of one unary call."""

_log = structlog.get_logger(__name__)


class ConnectorMessages:
    """Implements `runs.ports.Messages`."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        """Use the channel of a SERVICE credential; it stays the caller's."""
        self._messages = pb_grpc.MessageServiceStub(channel)
        self._connections = connection_service_pb2_grpc.ConnectionServiceStub(channel)
        self._patience = patience_seconds
        self._retry = retry_seconds

    async def fetch(self, wanted: Fetch) -> AsyncGenerator[FetchEvent, None]:
        """Yield what is new; the service is waited for as long as nothing has come."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + wanted.within.total_seconds()
        give_up = min(loop.time() + self._patience, ends_at)
        yield Begun(provider=await self._provider(wanted, give_up))
        request = request_to_proto(wanted)
        came = False
        while True:
            stream = self._messages.FetchMessages(
                request, metadata=((USER_HEADER, wanted.user_id),), timeout=max(ends_at - loop.time(), 0.001)
            )
            try:
                async for response in stream:
                    event = event_from_proto(response)
                    if event is None:
                        continue
                    came = True
                    yield event
                    if isinstance(event, Ended):
                        return
            except grpc.aio.AioRpcError as error:
                failure = from_rpc_error(error)
                _log.info("fetch_ended", status=failure.code.name, reason=failure.reason)
                if came or not is_transient(failure) or loop.time() > give_up:
                    raise fault_of(failure) from None
            else:
                raise ConnectorsUnavailable(UNREACHABLE)
            finally:
                stream.cancel()
            await asyncio.sleep(self._retry)

    async def commit(self, user_id: str, connection_id: str, cursor_token: str) -> None:
        """Move the cursor to a mark, within seconds."""
        request = pb.CommitCursorRequest(connection_id=connection_id, cursor_token=cursor_token)
        try:
            await self._messages.CommitCursor(request, metadata=((USER_HEADER, user_id),), timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise fault_of(from_rpc_error(error)) from None

    async def _provider(self, wanted: Fetch, give_up: float) -> str:
        """Return which provider the connection is of: the name stands in the ids of its messages."""
        request = connection_service_pb2.GetConnectionRequest(connection_id=wanted.connection_id)
        while True:
            try:
                answer = await self._connections.GetConnection(
                    request, metadata=((USER_HEADER, wanted.user_id),), timeout=CALL_SECONDS
                )
            except grpc.aio.AioRpcError as error:
                failure = from_rpc_error(error)
                if not is_transient(failure) or asyncio.get_running_loop().time() > give_up:
                    raise fault_of(failure) from None
            else:
                return answer.connection.provider
            await asyncio.sleep(self._retry)
