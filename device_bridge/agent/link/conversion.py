"""Between the wire and the link's own words. Total: an item of a newer bridge is left out, an unknown value has a name.

A fault inside one call becomes a `MalformedCall`; only a frame that makes no sense as a whole raises.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from google.protobuf.duration_pb2 import Duration

from adiuva.device_bridge.v1 import session_service_pb2 as pb, tool_pb2
from device_bridge.agent.domain import Effect, EffectClass, EffectKind, RunContext, ToolCall, ToolError, ToolSpec
from device_bridge.agent.link.domain import (
    PROTOCOL_REVISION,
    Answer,
    Call,
    Cancel,
    Closed,
    CloseReason,
    Frame,
    HeartbeatAck,
    InFlight,
    Item,
    MalformedCall,
    ProtocolViolation,
    ResultAck,
    Welcome,
)
from device_bridge.agent.tools.arguments import parse_arguments

WireItem = pb.DeviceItem
WireFrame = pb.ConnectRequest

DEFAULT_HEARTBEAT_SECONDS = 20.0
DEFAULT_FRAME_BYTES = 1 << 20
DEFAULT_CHUNK_BYTES = 256 << 10
LEAST_FRAME_BYTES = 64 << 10
MOST_FRAME_BYTES = 3 << 20
"""Below the 4 MiB at which gRPC ends a stream, whatever a bridge allows."""
FRAME_OVERHEAD = 16
"""Bytes of a frame that belong to no item: its number."""
ITEM_OVERHEAD = 8
"""Bytes that an item costs in a frame beyond its own: tag and length."""
CHUNK_OVERHEAD = 256
"""Bytes that a chunk costs beyond its data: call key, offset, tags and lengths."""
MAX_CALL_KEY = 256

CLOSE_REASONS: Mapping[int, CloseReason] = MappingProxyType(
    {
        pb.CLOSE_REASON_SUPERSEDED: CloseReason.SUPERSEDED,
        pb.CLOSE_REASON_SHUTDOWN: CloseReason.SHUTDOWN,
        pb.CLOSE_REASON_REVOKED: CloseReason.REVOKED,
        pb.CLOSE_REASON_PROTOCOL_ERROR: CloseReason.PROTOCOL_ERROR,
        pb.CLOSE_REASON_UNRESPONSIVE: CloseReason.UNRESPONSIVE,
        pb.CLOSE_REASON_DISCONNECTED: CloseReason.DISCONNECTED,
        pb.CLOSE_REASON_OVERLOADED: CloseReason.OVERLOADED,
    }
)
EFFECT_CLASSES: Mapping[EffectClass, tool_pb2.EffectClass.ValueType] = MappingProxyType(
    {
        EffectClass.READ_ONLY: tool_pb2.EFFECT_CLASS_READ_ONLY,
        EffectClass.IDEMPOTENT: tool_pb2.EFFECT_CLASS_IDEMPOTENT,
        EffectClass.EFFECT: tool_pb2.EFFECT_CLASS_EFFECT,
    }
)
EFFECT_KINDS: Mapping[EffectKind, tool_pb2.EffectKind.ValueType] = MappingProxyType(
    {
        EffectKind.CREATED: tool_pb2.EFFECT_KIND_CREATED,
        EffectKind.UPDATED: tool_pb2.EFFECT_KIND_UPDATED,
        EffectKind.COMMENTED: tool_pb2.EFFECT_KIND_COMMENTED,
        EffectKind.PROPOSED: tool_pb2.EFFECT_KIND_PROPOSED,
    }
)


# ---- what the bridge says


def frame_from_proto(message: pb.ConnectResponse) -> Frame:
    """Read a frame of the bridge.

    Raises:
        ProtocolViolation: An item names no call where it must.
    """
    items = (_item_from_proto(item) for item in message.items)
    return Frame(message.seq, tuple(item for item in items if item is not None))


def _item_from_proto(message: pb.BridgeItem) -> Item | None:
    kind = message.WhichOneof("item")
    return _READERS[kind](message) if kind in _READERS else None


def welcome_from_proto(message: pb.Welcome) -> Welcome:
    """Read the terms of a session; missing or absurd limits become usable ones."""
    frame_bytes = min(max(message.max_frame_bytes or DEFAULT_FRAME_BYTES, LEAST_FRAME_BYTES), MOST_FRAME_BYTES)
    largest_chunk = frame_bytes - FRAME_OVERHEAD - CHUNK_OVERHEAD - MAX_CALL_KEY
    chunk_bytes = message.chunk_bytes if message.chunk_bytes > 0 else DEFAULT_CHUNK_BYTES
    return Welcome(
        session_id=message.session_id,
        epoch=message.epoch,
        user_id=message.user_id,
        device_id=message.device_id,
        issued_credential=message.issued_credential,
        heartbeat_interval=_seconds(message.heartbeat_interval) or DEFAULT_HEARTBEAT_SECONDS,
        max_frame_bytes=frame_bytes,
        chunk_bytes=min(chunk_bytes, largest_chunk),
        max_calls=max(0, message.max_calls),
        need_tools=message.need_tools,
        resend=frozenset(message.resend_call_keys),
        forget=frozenset(message.forget_call_keys),
    )


def call_from_proto(message: pb.CallRequest) -> Call | MalformedCall:
    """Read a call; one that cannot be run as it is written is a `MalformedCall`."""
    key = _call_key(message.call_key)
    call = message.call
    if not call.call_id or not call.tool:
        return MalformedCall(call_key=key, message="The call names no call_id or no tool.")
    context = _context_from_proto(call.run_context) if call.HasField("run_context") else None
    if context is not None and not context.run_id:
        return MalformedCall(call_key=key, message="The run_context names no run_id.")
    try:
        arguments = parse_arguments(call.arguments_json)
    except ToolError as error:
        return MalformedCall(call_key=key, message=error.message)
    tool_call = ToolCall(call_id=call.call_id, tool=call.tool, arguments=arguments, context=context)
    return Call(call_key=key, tool_call=tool_call, timeout=_seconds(call.timeout) if call.HasField("timeout") else None)


def _context_from_proto(message: tool_pb2.RunContext) -> RunContext:
    return RunContext(
        run_id=message.run_id,
        epoch=message.epoch,
        agent_key=message.client_agent_id or message.agent_id,
        agent_name=message.agent_name,
        trigger=message.trigger,
        phase=message.phase,
        group=message.group,
    )


def closed_from_proto(message: pb.Closed) -> Closed:
    """Read why the bridge ends the session."""
    reason = CLOSE_REASONS.get(message.reason, CloseReason.UNKNOWN)
    return Closed(
        reason=reason,
        retry_after=_seconds(message.retry_after) if message.HasField("retry_after") else None,
        permanent=message.permanent,
        message=message.message,
    )


def _call_key(key: str) -> str:
    if not 0 < len(key) <= MAX_CALL_KEY:
        raise ProtocolViolation("an item names no call, or one with an endless key")
    return key


def _seconds(duration: Duration) -> float:
    return float(duration.seconds) + duration.nanos / 1e9


_READERS: Mapping[str | None, Callable[[pb.BridgeItem], Item]] = MappingProxyType(
    {
        "call": lambda item: call_from_proto(item.call),
        "result_ack": lambda item: ResultAck(tuple(item.result_ack.call_keys)),
        "heartbeat_ack": lambda item: HeartbeatAck(),
        "cancel": lambda item: Cancel(_call_key(item.cancel.call_key)),
        "welcome": lambda item: welcome_from_proto(item.welcome),
        "closed": lambda item: closed_from_proto(item.closed),
    }
)


# ---- what the device says


def frame_to_proto(seq: int, items: Sequence[WireItem]) -> WireFrame:
    """Make a frame."""
    return pb.ConnectRequest(seq=seq, items=items)


def size_in_frame(item: WireItem) -> int:
    """Return what an item costs in a frame, in bytes."""
    return item.ByteSize() + ITEM_OVERHEAD


def manifest_to_proto(manifest_hash: str, tools: Iterable[ToolSpec]) -> pb.ToolManifest:
    """Advertise tools; none when the bridge knows the hash."""
    return pb.ToolManifest(hash=manifest_hash, tools=[_tool_to_proto(tool) for tool in tools])


def _tool_to_proto(tool: ToolSpec) -> tool_pb2.ToolDescriptor:
    return tool_pb2.ToolDescriptor(
        name=tool.name,
        description=tool.description,
        toolset=tool.toolset,
        effect_class=EFFECT_CLASSES[tool.effect],
        input_schema_json=json.dumps(dict(tool.input_schema), separators=(",", ":")),
        default_timeout=_duration(tool.timeout_seconds),
        max_result_bytes=tool.max_result_bytes,
    )


def hello_item(
    *,
    instance_id: str,
    installation_id: str,
    agent_version: str,
    display_name: str,
    tools: pb.ToolManifest,
    root_names: Iterable[str],
    calls: Iterable[InFlight],
) -> WireItem:
    """Say who calls and what it can do."""
    hello = pb.Hello(
        protocol_min=PROTOCOL_REVISION,
        protocol_max=PROTOCOL_REVISION,
        instance_id=instance_id,
        installation_id=installation_id,
        agent_version=agent_version,
        display_name=display_name,
        tools=tools,
        root_names=list(root_names),
        calls=[pb.CallInFlight(call_key=call.call_key, finished=call.finished) for call in calls],
    )
    return pb.DeviceItem(hello=hello)


def tools_changed_item(manifest: pb.ToolManifest) -> WireItem:
    """Send the descriptors that the bridge asked for."""
    return pb.DeviceItem(tools_changed=manifest)


def heartbeat_item(*, running_calls: int, loop_lag: float) -> WireItem:
    """Say that the device is alive."""
    return pb.DeviceItem(heartbeat=pb.Heartbeat(running_calls=running_calls, loop_lag=_duration(loop_lag)))


def goodbye_item(reason: str) -> WireItem:
    """Say that the device leaves on purpose."""
    return pb.DeviceItem(goodbye=pb.Goodbye(reason=reason))


def done_item(answer: Answer) -> WireItem:
    """Say how a call ended, with its result in the item."""
    outcome = _outcome_to_proto(answer)
    if answer.failure is None:
        outcome.result_json = answer.body.decode()
    return pb.DeviceItem(call_done=pb.CallDone(call_key=answer.call_key, outcome=outcome))


def chunked_items(answer: Answer, chunk_bytes: int) -> Iterator[WireItem]:
    """Yield a long result in chunks, and then how the call ended. Nothing is copied before its turn comes."""
    for offset in range(0, len(answer.body), chunk_bytes):
        data = answer.body[offset : offset + chunk_bytes]
        yield pb.DeviceItem(result_chunk=pb.ResultChunk(call_key=answer.call_key, offset=offset, data=data))
    outcome = _outcome_to_proto(answer)
    outcome.chunked_bytes = len(answer.body)
    yield pb.DeviceItem(call_done=pb.CallDone(call_key=answer.call_key, outcome=outcome))


def _outcome_to_proto(answer: Answer) -> tool_pb2.ToolOutcome:
    outcome = tool_pb2.ToolOutcome(
        effects=[_effect_to_proto(effect) for effect in answer.effects],
        replayed=answer.replayed,
        execution_time=_duration(answer.execution_seconds),
    )
    if (failure := answer.failure) is not None:
        outcome.failure.reason = failure.reason.value
        outcome.failure.message = _text(failure.message)
        outcome.failure.retryable = failure.retryable
    return outcome


def _effect_to_proto(effect: Effect) -> tool_pb2.Effect:
    return tool_pb2.Effect(
        kind=EFFECT_KINDS[effect.kind],
        entity_type=effect.entity_type,
        entity_id=effect.entity_id,
        title=_text(effect.title),
        source=_text(effect.source),
    )


def _text(text: str) -> str:
    # Titles and paths may hold lone surrogates, which no proto string can carry.
    return text.encode("utf-8", "replace").decode("utf-8")


def _duration(seconds: float) -> Duration:
    whole, rest = divmod(max(0.0, seconds), 1.0)
    return Duration(seconds=int(whole), nanos=int(rest * 1e9))
