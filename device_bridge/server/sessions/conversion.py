"""Frames of a session: wire to domain and back. Total functions: what a newer peer knows becomes an unknown item."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from adiuva.device_bridge.v1 import session_service_pb2 as pb, tool_pb2
from device_bridge.server.devices.domain import EffectClass, Manifest, Tool
from device_bridge.server.routing.domain import Outcome
from device_bridge.server.sessions.domain import (
    PROTOCOL,
    BridgeItem,
    CallDone,
    CallInFlight,
    Cancel,
    Closed,
    CloseReason,
    Deliver,
    DeviceItem,
    Frame,
    Goodbye,
    Heartbeat,
    HeartbeatAck,
    Hello,
    Limits,
    OutcomeKind,
    ResultAck,
    ResultChunk,
    ToolsChanged,
    UnknownItem,
    Welcome,
)

CLOSE_REASONS: Final[Mapping[CloseReason, pb.CloseReason.ValueType]] = {
    reason: pb.CloseReason.Value(f"CLOSE_REASON_{reason.name}") for reason in CloseReason
}
_EFFECT_CLASSES: Final = {effect: tool_pb2.EffectClass.Value(f"EFFECT_CLASS_{effect.name}") for effect in EffectClass}
_EFFECT_CLASSES_BY_VALUE: Final = {value: effect for effect, value in _EFFECT_CLASSES.items()}
_OUTCOME_KINDS: Final = {
    "result_json": OutcomeKind.RESULT,
    "failure": OutcomeKind.FAILURE,
    "chunked_bytes": OutcomeKind.CHUNKED,
    None: OutcomeKind.NONE,
}


# --- what the device says


def frame_from_proto(message: pb.ConnectRequest) -> Frame:
    """Return the frame. Nothing of the message stays referenced, so its memory is free when the frame is."""
    return Frame(message.seq, tuple(_item_from_proto(item) for item in message.items))


def _item_from_proto(item: pb.DeviceItem) -> DeviceItem:
    kind = item.WhichOneof("item")
    return UnknownItem() if kind is None else _READERS[kind](getattr(item, kind))


def hello_from_proto(message: pb.Hello) -> Hello:
    """Return the Hello."""
    return Hello(
        protocol_min=message.protocol_min,
        protocol_max=message.protocol_max,
        instance_id=message.instance_id,
        installation_id=message.installation_id,
        agent_version=message.agent_version,
        display_name=message.display_name,
        manifest=manifest_from_proto(message.tools),
        root_names=tuple(message.root_names),
        capabilities=tuple(message.capabilities),
        calls=tuple(CallInFlight(call.call_key, call.finished) for call in message.calls),
    )


def manifest_from_proto(message: pb.ToolManifest) -> Manifest:
    """Return the manifest."""
    return Manifest(hash=message.hash, tools=tuple(map(tool_from_proto, message.tools)))


def tool_from_proto(message: tool_pb2.ToolDescriptor) -> Tool:
    """Return the tool. An effect class that is not set or not known counts as EFFECT, the careful reading."""
    return Tool(
        name=message.name,
        description=message.description,
        toolset=message.toolset,
        effect_class=_EFFECT_CLASSES_BY_VALUE.get(message.effect_class, EffectClass.EFFECT),
        input_schema_json=message.input_schema_json,
        default_timeout=seconds_from_proto(message.default_timeout),
        max_result_bytes=message.max_result_bytes,
    )


def tool_to_proto(tool: Tool) -> tool_pb2.ToolDescriptor:
    """Return the descriptor of a tool."""
    return tool_pb2.ToolDescriptor(
        name=tool.name,
        description=tool.description,
        toolset=tool.toolset,
        effect_class=_EFFECT_CLASSES[tool.effect_class],
        input_schema_json=tool.input_schema_json,
        default_timeout=duration_to_proto(tool.default_timeout) if tool.default_timeout else None,
        max_result_bytes=tool.max_result_bytes,
    )


def _done_from_proto(message: pb.CallDone) -> CallDone:
    outcome = message.outcome
    kind = _OUTCOME_KINDS[outcome.WhichOneof("outcome")]
    size = 0
    if kind is OutcomeKind.RESULT:
        size = len(outcome.result_json.encode())
    elif kind is OutcomeKind.CHUNKED:
        size = outcome.chunked_bytes
    return CallDone(message.call_key, kind, size, outcome.SerializeToString())


_READERS: Final[Mapping[str, Callable[[Any], DeviceItem]]] = {
    "hello": hello_from_proto,
    "heartbeat": lambda message: Heartbeat(message.running_calls, seconds_from_proto(message.loop_lag)),
    "result_chunk": lambda message: ResultChunk(message.call_key, message.offset, message.data),
    "call_done": _done_from_proto,
    "tools_changed": lambda message: ToolsChanged(manifest_from_proto(message)),
    "goodbye": lambda message: Goodbye(message.reason),
}


# --- what the bridge says


def frame_to_proto(seq: int, items: Iterable[BridgeItem], *, limits: Limits, now: float) -> pb.ConnectResponse:
    """Return a frame.

    Args:
        seq: Its number.
        items: What it holds.
        limits: Told in Welcome.
        now: Monotonic seconds, from which the remaining time of calls is counted.
    """
    return pb.ConnectResponse(seq=seq, items=[_item_to_proto(item, limits, now) for item in items])


def _item_to_proto(item: BridgeItem, limits: Limits, now: float) -> pb.BridgeItem:
    match item:
        case Deliver():
            return pb.BridgeItem(call=_call_to_proto(item, now))
        case ResultAck(keys):
            return pb.BridgeItem(result_ack=pb.ResultAck(call_keys=keys))
        case HeartbeatAck():
            return pb.BridgeItem(heartbeat_ack=pb.HeartbeatAck())
        case Cancel(key):
            return pb.BridgeItem(cancel=pb.CallCancel(call_key=key))
        case Welcome():
            return pb.BridgeItem(welcome=_welcome_to_proto(item, limits))
        case Closed():
            return pb.BridgeItem(closed=_closed_to_proto(item))


def _call_to_proto(item: Deliver, now: float) -> pb.CallRequest:
    call = item.parcel.call
    message = pb.CallRequest(
        call_key=item.parcel.key,
        call=tool_pb2.ToolCall(
            call_id=call.call_id,
            user_id=call.user_id,
            device_id=call.device_id,
            tool=call.tool,
            arguments_json=call.arguments_json,
            timeout=duration_to_proto(max(0.001, item.parcel.deadline - now)),
        ),
        redelivery=item.redelivery,
    )
    if call.run_context:
        message.call.run_context.MergeFromString(call.run_context)
    return message


def _welcome_to_proto(item: Welcome, limits: Limits) -> pb.Welcome:
    terms = item.terms
    return pb.Welcome(
        session_id=terms.session_id,
        epoch=terms.epoch,
        protocol=PROTOCOL,
        user_id=terms.user_id,
        device_id=terms.device_id,
        issued_credential=terms.issued_credential,
        heartbeat_interval=duration_to_proto(limits.heartbeat_interval),
        max_frame_bytes=limits.max_frame_bytes,
        chunk_bytes=limits.chunk_bytes,
        max_calls=limits.max_calls,
        need_tools=terms.need_tools,
        resend_call_keys=item.resend,
        forget_call_keys=item.forget,
        server_time=timestamp_to_proto(datetime.now(UTC)),
    )


def _closed_to_proto(item: Closed) -> pb.Closed:
    return pb.Closed(
        reason=CLOSE_REASONS[item.reason],
        retry_after=duration_to_proto(item.retry_after),
        permanent=item.permanent,
        message=item.message,
    )


# --- outcomes that the bridge makes itself


def failed_outcome(reason: str, message: str, *, retryable: bool) -> Outcome:
    """Return the outcome of a call that failed as a tool fails: an answer, not an error."""
    failure = tool_pb2.ToolFailure(reason=reason, message=message, retryable=retryable)
    return Outcome(tool_pb2.ToolOutcome(failure=failure).SerializeToString())


# --- time


def duration_to_proto(seconds: float) -> Duration:
    """Return a duration of so many seconds."""
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))


def seconds_from_proto(duration: Duration) -> float:
    """Return the seconds of a duration."""
    return float(duration.seconds + duration.nanos / 1e9)


def timestamp_to_proto(moment: datetime) -> Timestamp:
    """Return a timestamp; `moment` has a time zone."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message
