"""MessageService on the wire: parse, call, convert."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final

import grpc.aio

from adiuva.connectors.v1 import message_service_pb2 as pb, message_service_pb2_grpc as pb_grpc
from adiuva_rpc.errors import DeadlineExceeded, InvalidArgument
from adiuva_rpc.identity import current_caller, user_for
from connectors.connections.errors import ConnectionUnknown
from connectors.messages.attachments import AttachmentRequest, AttachmentService
from connectors.messages.conversion import event_to_proto, fetch_from_proto
from connectors.messages.cursors import Cursors
from connectors.messages.events import Event
from connectors.messages.fetching import FetchService
from connectors.messages.ports import Now

MAX_STREAM_SECONDS: Final = 3_600.0
"""Longest a stream may take, whatever its caller asks for: one that nobody reads is not kept for ever."""
MARGIN_SECONDS: Final = 1.0
"""Before the end of a call nothing is waited for any more: the reason has to be on its way."""

_CONNECTION_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

Context = grpc.aio.ServicerContext[Any, Any]


class MessageServicer(pb_grpc.MessageServiceServicer):
    """Serves the messages of the caller's user.

    Args:
        fetches: Delivers messages.
        cursors: Moves cursors.
        attachments: Delivers attachments.
        now: The present time.
    """

    def __init__(self, *, fetches: FetchService, cursors: Cursors, attachments: AttachmentService, now: Now) -> None:
        self._fetches = fetches
        self._cursors = cursors
        self._attachments = attachments
        self._now = now

    # grpc.aio also takes coroutines that write: their clean-up runs where it was started.
    async def FetchMessages(self, request: pb.FetchMessagesRequest, context: Context) -> None:  # type: ignore[override]
        """Stream what is new for a subscriber."""
        _connection_id(request.connection_id)
        seconds = _seconds(context)
        wanted = fetch_from_proto(
            request, user_id=user_for(current_caller()), now=self._now(), deadline=self._deadline(seconds)
        )

        async def emit(event: Event) -> None:
            await context.write(event_to_proto(event))

        async with _within(seconds):
            await self._fetches.fetch(wanted, emit)

    async def CommitCursor(self, request: pb.CommitCursorRequest, context: Context) -> pb.CommitCursorResponse:
        """Move a cursor."""
        connection_id = _connection_id(request.connection_id)
        await self._cursors.commit(user_for(current_caller()), connection_id, request.cursor_token)
        return pb.CommitCursorResponse()

    async def GetAttachment(self, request: pb.GetAttachmentRequest, context: Context) -> None:  # type: ignore[override]
        """Stream an attachment."""
        seconds = _seconds(context)
        wanted = AttachmentRequest(
            user_id=user_for(current_caller()),
            connection_id=_connection_id(request.connection_id),
            provider_id=request.provider_id,
            attachment_id=request.attachment_id,
            deadline=self._deadline(seconds),
        )

        async def emit(data: bytes) -> None:
            await context.write(pb.GetAttachmentResponse(data=data))

        async with _within(seconds):
            await self._attachments.fetch(wanted, emit)

    def _deadline(self, seconds: float) -> datetime:
        return self._now() + timedelta(seconds=max(0.0, seconds - MARGIN_SECONDS))


def _seconds(context: Context) -> float:
    seconds, remaining = MAX_STREAM_SECONDS, context.time_remaining()
    if remaining is not None:
        seconds = min(remaining, seconds)
    return seconds


@asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds) as timeout:
            yield
    except (TimeoutError, asyncio.CancelledError) as error:
        # CancelledError: a task group inside may have left this task marked as cancelled (Python < 3.13), and then the
        # timeout does not dare to answer for the cancellation it made.
        if not timeout.expired():
            raise
        raise DeadlineExceeded("The call took too long. Commit the last checkpoint and fetch again.") from error


def _connection_id(named: str) -> str:
    if not named:
        raise InvalidArgument("connection_id", "is required")
    if not _CONNECTION_ID.fullmatch(named):
        # What cannot be an id is no connection either: the same answer, and the database is not asked.
        raise ConnectionUnknown
    return named
