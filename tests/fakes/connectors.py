"""The connectors service on the real wire, doing what a test tells its mailboxes to.

async with ConnectorsServer(mailbox) as server:        # MessageService and ConnectionService on port 0
ConnectorMessages(server.channel)
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from adiuva.connectors.v1 import (
    connection_pb2,
    connection_service_pb2 as connection_pb,
    message_pb2,
    message_service_pb2 as pb,
)
from adiuva_rpc.identity import USER_HEADER
from adiuva_rpc.status import to_status
from orchestrator.agents.conversion import filter_from_proto
from orchestrator.runs.incoming import (
    Arrived,
    Begun,
    Ended,
    Fetch,
    FetchEvent,
    IncomingMessage,
    Mark,
    Participant,
    Unread,
    Waiting,
)
from tests.fakes.mailbox import FakeMailbox, Refused, mailbox_of

Context = grpc.aio.ServicerContext[Any, Any]


class ConnectorsServer:
    """The connectors service on the real wire, on port 0: the three methods that runs call."""

    def __init__(self, *mailboxes: FakeMailbox) -> None:
        self._mailboxes = mailboxes
        self._parts = AsyncExitStack()
        self.channel: grpc.aio.Channel
        self.target = ""

    async def __aenter__(self) -> Self:
        """Start it, and connect."""
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(self._handlers())
        self.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        self._parts.push_async_callback(server.stop, 0)
        self.channel = await self._parts.enter_async_context(grpc.aio.insecure_channel(self.target))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        await self._parts.aclose()

    def _handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        of_messages: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "FetchMessages": stream(
                self.fetch_messages,
                request_deserializer=pb.FetchMessagesRequest.FromString,
                response_serializer=pb.FetchMessagesResponse.SerializeToString,
            ),
            "CommitCursor": unary(
                self.commit_cursor,
                request_deserializer=pb.CommitCursorRequest.FromString,
                response_serializer=pb.CommitCursorResponse.SerializeToString,
            ),
        }
        of_connections = {
            "GetConnection": unary(
                self.get_connection,
                request_deserializer=connection_pb.GetConnectionRequest.FromString,
                response_serializer=connection_pb.GetConnectionResponse.SerializeToString,
            )
        }
        return (
            grpc.method_handlers_generic_handler("adiuva.connectors.v1.MessageService", of_messages),
            grpc.method_handlers_generic_handler("adiuva.connectors.v1.ConnectionService", of_connections),
        )

    async def get_connection(
        self, request: connection_pb.GetConnectionRequest, context: Context
    ) -> connection_pb.GetConnectionResponse:
        """Give a connection."""
        mailbox = mailbox_of(self._mailboxes, _user(context), request.connection_id)
        try:
            mailbox.check(_user(context), request.connection_id)
        except Refused as refused:
            await _abort(context, refused)
        connection = connection_pb2.Connection(connection_id=mailbox.connection_id, provider=mailbox.provider)
        return connection_pb.GetConnectionResponse(connection=connection)

    async def fetch_messages(self, request: pb.FetchMessagesRequest, context: Context) -> None:
        """Play the mailbox's script."""
        wanted = Fetch(
            user_id=_user(context),
            connection_id=request.connection_id,
            subscriber=request.subscriber,
            filter=filter_from_proto(request.filter),
            max_messages=request.max_messages,
            max_body_chars=request.max_body_chars,
            within=timedelta(seconds=context.time_remaining()),
        )
        mailbox = mailbox_of(self._mailboxes, wanted.user_id, wanted.connection_id)
        ended = False
        try:
            await context.write(pb.FetchMessagesResponse(started=pb.FetchStarted(mode=pb.FETCH_MODE_INCREMENTAL)))
            for event in mailbox.play(wanted):
                ended = isinstance(event, Ended)
                await context.write(_event_to_proto(event))
        except Refused as refused:
            ended = True
            await _abort(context, refused)
        finally:
            if not ended:
                mailbox.left.set()

    async def commit_cursor(self, request: pb.CommitCursorRequest, context: Context) -> pb.CommitCursorResponse:
        """Move a cursor."""
        mailbox = mailbox_of(self._mailboxes, _user(context), request.connection_id)
        try:
            mailbox.commit(_user(context), request.connection_id, request.cursor_token)
        except Refused as refused:
            await _abort(context, refused)
        return pb.CommitCursorResponse()


async def _abort(context: Context, refused: Refused) -> None:
    if refused.reason == "UNAVAILABLE":
        await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
    status = to_status(refused.as_error())
    await context.abort(status.code, status.message, status.trailing_metadata())


def _user(context: Context) -> str:
    return str(dict(context.invocation_metadata() or ()).get(USER_HEADER, ""))


def _event_to_proto(event: FetchEvent) -> pb.FetchMessagesResponse:
    match event:
        case Arrived(message=message):
            return pb.FetchMessagesResponse(message=message_to_proto(message))
        case Unread(key=key, reason=reason):
            return pb.FetchMessagesResponse(item_error=pb.ItemError(key=key, reason=reason, message="Broken."))
        case Waiting(until=until):
            return pb.FetchMessagesResponse(throttled=pb.Throttled(until=_time(until)))
        case Mark(cursor_token=token):
            return pb.FetchMessagesResponse(checkpoint=pb.Checkpoint(cursor_token=token))
        case Ended(cursor_token=token, more=more):
            return pb.FetchMessagesResponse(completed=pb.Completed(cursor_token=token, has_more=more))
        case Begun():
            raise AssertionError("not on the wire")


def message_to_proto(message: IncomingMessage) -> message_pb2.Message:
    """Return a message as the service sends it."""
    result = message_pb2.Message(
        key=message.key,
        provider_id=message.key,
        thread_id=message.thread_id,
        received_at=_time(message.received_at),
        to=[_participant(person) for person in message.to],
        cc=[_participant(person) for person in message.cc],
        subject=message.subject,
        text=message.text,
        text_truncated=message.truncated,
        full_chars=message.full_chars,
        new_text=message.new_text,
        quoted_text_present=message.quoted,
        source_format=message_pb2.SOURCE_FORMAT_TEXT,
        attachments=[
            message_pb2.Attachment(
                name=file.name, media_type=file.media_type, size_bytes=file.size_bytes, inline=file.inline
            )
            for file in message.attachments
        ],
        labels=message.labels,
    )
    getattr(result, "from").CopyFrom(_participant(message.sender))
    return result


def _participant(person: Participant) -> message_pb2.Participant:
    return message_pb2.Participant(address=person.address, name=person.name)


def _time(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    message = Timestamp()
    message.FromDatetime(at)
    return message
