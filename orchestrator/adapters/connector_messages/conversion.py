"""Messages and failures between the domain and the connectors' contract. Total: nothing that is sent makes it fail."""

from __future__ import annotations

from datetime import UTC, datetime

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from adiuva.connectors.v1 import message_pb2, message_service_pb2 as pb
from adiuva_rpc.status import RpcFailure
from orchestrator.agents.conversion import filter_to_proto
from orchestrator.agents.domain import MessageFilter
from orchestrator.runs.connection_faults import (
    CONNECTION_NOT_FOUND,
    FILTER_INVALID,
    PROVIDER_UNKNOWN,
    SENTENCES,
    connection_fault,
)
from orchestrator.runs.domain import ConnectionFault, ConnectorsUnavailable, RunFault
from orchestrator.runs.incoming import (
    Arrived,
    Attachment,
    Ended,
    Fetch,
    FetchEvent,
    IncomingMessage,
    Mark,
    Participant,
    Unread,
    Waiting,
)

UNREACHABLE = "The connectors service cannot be reached. The operator has to start it; nothing is lost meanwhile."
TOO_SLOW = "The connectors service did not answer in time. Nothing is lost: the next run tries again."
REFUSED = (
    "The connectors service does not accept the orchestrator's credential ({code}). The operator has to check "
    "ADIUVA_CONNECTORS_TOKEN."
)


def request_to_proto(wanted: Fetch) -> pb.FetchMessagesRequest:
    """Return the request of a fetch, which begins at the subscriber's cursor."""
    return pb.FetchMessagesRequest(
        connection_id=wanted.connection_id,
        subscriber=wanted.subscriber,
        filter=None if wanted.filter == MessageFilter() else filter_to_proto(wanted.filter),
        max_messages=wanted.max_messages,
        max_body_chars=wanted.max_body_chars,
    )


def event_from_proto(response: pb.FetchMessagesResponse) -> FetchEvent | None:
    """Return an event of a fetch; None for one that is of no use here, or that this version does not know."""
    match response.WhichOneof("event"):
        case "message":
            return Arrived(message=message_from_proto(response.message))
        case "item_error":
            error = response.item_error
            return Unread(key=error.key or error.provider_id, reason=error.reason)
        case "throttled":
            return Waiting(until=time_from_proto(response.throttled, "until"))
        case "checkpoint":
            return Mark(cursor_token=response.checkpoint.cursor_token)
        case "completed":
            completed = response.completed
            return Ended(cursor_token=completed.cursor_token, more=completed.has_more)
        case _:
            return None


def message_from_proto(message: message_pb2.Message) -> IncomingMessage:
    """Return a message. One without `new_text` that quotes nothing is new as a whole."""
    return IncomingMessage(
        key=message.key or message.provider_id,
        thread_id=message.thread_id,
        received_at=time_from_proto(message, "received_at"),
        sender=_participant(getattr(message, "from")),
        to=tuple(map(_participant, message.to)),
        cc=tuple(map(_participant, message.cc)),
        subject=message.subject,
        text=message.text,
        new_text=message.new_text if message.quoted_text_present else message.text,
        quoted=message.quoted_text_present,
        truncated=message.text_truncated,
        full_chars=message.full_chars,
        attachments=tuple(
            Attachment(name=file.name, media_type=file.media_type, size_bytes=file.size_bytes, inline=file.inline)
            for file in message.attachments
        ),
        labels=tuple(message.labels),
    )


def time_from_proto(message: message_pb2.Message | pb.Throttled, field: str) -> datetime | None:
    """Return a time of a message; None when it is unset or out of range."""
    if not message.HasField(field):  # type: ignore[arg-type]  # the stubs know the fields of each class only
        return None
    value: Timestamp = getattr(message, field)
    try:
        return value.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def is_transient(failure: RpcFailure) -> bool:
    """Return whether the service itself was not there, so that asking again soon may help."""
    # A server that stops cancels what is under way.
    gone = failure.code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    return gone and failure.reason not in SENTENCES


def fault_of(failure: RpcFailure) -> RunFault:
    """Return what a failed call means for its run."""
    if is_transient(failure):
        return ConnectorsUnavailable(UNREACHABLE)
    match failure.code:
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return ConnectionFault(ConnectorsUnavailable.reason, TOO_SLOW)
        case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
            return ConnectionFault(ConnectorsUnavailable.reason, REFUSED.format(code=failure.code.name))
        case grpc.StatusCode.NOT_FOUND if failure.reason != PROVIDER_UNKNOWN:
            return connection_fault(CONNECTION_NOT_FOUND)
        case grpc.StatusCode.INVALID_ARGUMENT if failure.reason not in {*SENTENCES, "CURSOR_INVALID"}:
            return connection_fault(FILTER_INVALID, where=failure.message)
    return connection_fault(failure.reason, where=failure.message, retry_after=failure.retry_after)


def _participant(person: message_pb2.Participant) -> Participant:
    return Participant(address=person.address, name=person.name)
