"""Filters, events and attachments: between the wire and the domain."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import singledispatch
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from adiuva.connectors.v1 import message_pb2, message_service_pb2 as pb
from adiuva_rpc.errors import InvalidArgument
from connectors.errors import CursorInvalid
from connectors.messages.domain import Attachment, FetchMode, Message, MessageFilter, Participant, SourceFormat
from connectors.messages.events import Checkpoint, Completed, Event, ItemError, Started, Waiting
from connectors.messages.fetching import (
    DEFAULT_BODY_CHARS,
    DEFAULT_MESSAGES,
    MAX_BODY_CHARS,
    MAX_MESSAGES,
    FetchRequest,
)

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""No mail is older; providers count time from here."""

FORMATS: Final[Mapping[SourceFormat, message_pb2.SourceFormat.ValueType]] = {
    form: message_pb2.SourceFormat.Value(f"SOURCE_FORMAT_{form.name}") for form in SourceFormat
}
MODES: Final[Mapping[FetchMode, pb.FetchMode.ValueType]] = {
    mode: pb.FetchMode.Value(f"FETCH_MODE_{mode.name}") for mode in FetchMode
}


def fetch_from_proto(
    request: pb.FetchMessagesRequest, *, user_id: str, now: datetime, deadline: datetime
) -> FetchRequest:
    """Return what is asked for.

    Args:
        request: As it came.
        user_id: Whom the caller acts for.
        now: No window begins later.
        deadline: When the caller stops waiting.

    Raises:
        InvalidArgument: with the field.
    """
    start = request.WhichOneof("start")
    if start == "cursor_token" and not request.cursor_token:
        raise CursorInvalid
    return FetchRequest(
        user_id=user_id,
        connection_id=request.connection_id,
        subscriber=request.subscriber,
        filter=filter_from_proto(request.filter),
        since=min(max(_time("since", request.since), EARLIEST), now) if start == "since" else None,
        cursor_token=request.cursor_token,
        max_messages=_bounded("max_messages", request.max_messages, DEFAULT_MESSAGES, MAX_MESSAGES),
        max_body_chars=_bounded("max_body_chars", request.max_body_chars, DEFAULT_BODY_CHARS, MAX_BODY_CHARS),
        deadline=deadline,
    )


def filter_from_proto(message: message_pb2.MessageFilter) -> MessageFilter:
    """Return the filter as it was sent; `filters.normal` checks it."""
    return MessageFilter(
        senders=tuple(message.senders),
        recipients=tuple(message.recipients),
        subject_contains=tuple(message.subject_contains),
        containers=tuple(message.containers),
        unread_only=message.unread_only,
        has_attachment=message.has_attachment,
        include_sent=message.include_sent,
        provider_query=message.provider_query,
    )


@singledispatch
def event_to_proto(event: Event) -> pb.FetchMessagesResponse:
    """Return an event of a fetch."""
    raise TypeError(f"not an event of a fetch: {type(event).__name__}")


@event_to_proto.register
def _started(event: Started) -> pb.FetchMessagesResponse:
    started = pb.FetchStarted(
        mode=MODES[event.mode], since=timestamp_to_proto(event.since), candidates=event.candidates
    )
    return pb.FetchMessagesResponse(started=started)


@event_to_proto.register
def _message(event: Message) -> pb.FetchMessagesResponse:
    return pb.FetchMessagesResponse(message=message_to_proto(event))


@event_to_proto.register
def _item_error(event: ItemError) -> pb.FetchMessagesResponse:
    error = pb.ItemError(
        key=event.key,
        provider_id=event.provider_id,
        reason=event.reason,
        message=event.message,
        received_at=timestamp_to_proto(event.received_at),
    )
    return pb.FetchMessagesResponse(item_error=error)


@event_to_proto.register
def _waiting(event: Waiting) -> pb.FetchMessagesResponse:
    return pb.FetchMessagesResponse(throttled=pb.Throttled(until=timestamp_to_proto(event.until)))


@event_to_proto.register
def _checkpoint(event: Checkpoint) -> pb.FetchMessagesResponse:
    return pb.FetchMessagesResponse(checkpoint=pb.Checkpoint(cursor_token=event.cursor_token))


@event_to_proto.register
def _completed(event: Completed) -> pb.FetchMessagesResponse:
    completed = pb.Completed(
        cursor_token=event.cursor_token,
        delivered=event.delivered,
        unreadable=event.unreadable,
        vanished=event.vanished,
        skipped=event.skipped,
        has_more=event.has_more,
        provider_calls=event.provider_calls,
    )
    return pb.FetchMessagesResponse(completed=completed)


def message_to_proto(message: Message) -> message_pb2.Message:
    """Return the message. Its texts are within limits: see `limits.within_limits`."""
    converted = message_pb2.Message(
        key=message.key,
        provider_id=message.provider_id,
        internet_message_id=message.internet_message_id,
        thread_id=message.thread_id,
        in_reply_to=message.in_reply_to,
        references=message.references,
        received_at=timestamp_to_proto(message.received_at),
        sent_at=timestamp_to_proto(message.sent_at),
        edited_at=timestamp_to_proto(message.edited_at),
        to=map(_participant, message.to),
        cc=map(_participant, message.cc),
        subject=message.subject,
        text=message.text,
        text_truncated=message.text_truncated,
        full_chars=message.full_chars,
        new_text=message.new_text,
        quoted_text_present=message.quoted_text_present,
        source_format=FORMATS[message.source_format],
        attachments=map(_attachment, message.attachments),
        labels=message.labels,
        web_link=message.web_link,
    )
    # `from` is a word of Python's own: it cannot be named as the others are.
    getattr(converted, "from").CopyFrom(_participant(message.sender))
    return converted


def timestamp_to_proto(moment: datetime | None) -> Timestamp | None:
    """Return a time; None stays unset."""
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def _participant(one: Participant) -> message_pb2.Participant:
    return message_pb2.Participant(address=one.address, name=one.name)


def _attachment(one: Attachment) -> message_pb2.Attachment:
    return message_pb2.Attachment(
        attachment_id=one.attachment_id,
        name=one.name,
        media_type=one.media_type,
        size_bytes=one.size_bytes,
        inline=one.inline,
    )


def _time(field: str, message: Timestamp) -> datetime:
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidArgument(field, "is not a time") from None


def _bounded(field: str, asked: int, default: int, most: int) -> int:
    if asked < 0:
        raise InvalidArgument(field, "must not be negative")
    return min(asked or default, most)
