"""Tool calls and devices between the domain and the bridge's contract."""

from __future__ import annotations

import json

from google.protobuf.duration_pb2 import Duration

from adiuva.device_bridge.v1 import device_pb2, tool_pb2, tool_service_pb2
from orchestrator.runs.domain import (
    DeviceCall,
    DeviceOffline,
    DeviceUnknown,
    Effect,
    EffectClass,
    EffectKind,
    RunFault,
    ToolFailure,
    ToolOutcome,
    ToolSpec,
    ToolTimedOut,
)
from orchestrator.runs.ports import DeviceInfo

_EFFECTS = {
    tool_pb2.EFFECT_KIND_CREATED: EffectKind.CREATED,
    tool_pb2.EFFECT_KIND_UPDATED: EffectKind.UPDATED,
    tool_pb2.EFFECT_KIND_COMMENTED: EffectKind.COMMENTED,
    tool_pb2.EFFECT_KIND_PROPOSED: EffectKind.PROPOSED,
}
_CLASSES = {
    tool_pb2.EFFECT_CLASS_READ_ONLY: EffectClass.READ_ONLY,
    tool_pb2.EFFECT_CLASS_IDEMPOTENT: EffectClass.IDEMPOTENT,
}


def call_to_proto(call: DeviceCall, *, seconds: float) -> tool_pb2.ToolCall:
    """Return the call with the time that remains. It waits for its device: the run's own deadline bounds it."""
    timeout = Duration()
    timeout.FromMilliseconds(max(1, round(seconds * 1000)))
    context = call.context
    return tool_pb2.ToolCall(
        call_id=call.call_id,
        user_id=call.user_id,
        device_id=call.device_id,
        tool=call.tool,
        arguments_json=call.arguments_json,
        timeout=timeout,
        offline_policy=tool_pb2.OFFLINE_POLICY_WAIT,
        run_context=tool_pb2.RunContext(
            run_id=context.run_id,
            epoch=context.epoch,
            agent_id=context.agent_id,
            client_agent_id=context.client_agent_id,
            agent_name=context.agent_name,
            trigger=context.trigger,
            phase=context.phase,
            group=context.group,
        ),
    )


def outcome_from_proto(message: tool_pb2.ToolOutcome, chunks: bytes) -> ToolOutcome:
    """Return how a call ended; `chunks` is the result of one that came in pieces.

    Raises:
        ValueError: the pieces are not the whole result, or an outcome says nothing.
    """
    effects = tuple(
        Effect(
            kind=_EFFECTS[effect.kind],
            entity_type=effect.entity_type,
            entity_id=effect.entity_id,
            title=effect.title,
            source=effect.source,
        )
        for effect in message.effects
        if effect.kind in _EFFECTS
    )
    match message.WhichOneof("outcome"):
        case "failure":
            failure = message.failure
            return ToolOutcome(
                failure=ToolFailure(reason=failure.reason, message=failure.message, retryable=failure.retryable),
                effects=effects,
            )
        case "result_json":
            return ToolOutcome(result_json=message.result_json, effects=effects)
        case "chunked_bytes" if message.chunked_bytes == len(chunks):
            return ToolOutcome(result_json=chunks.decode("utf-8"), effects=effects)
        case _:
            raise ValueError("an outcome without a whole result")


def fault_of(rejected: tool_service_pb2.CallRejected, tool: str) -> RunFault:
    """Return what a rejected call means for its run."""
    match rejected.reason:
        case "DEVICE_UNKNOWN":
            return DeviceUnknown("The device is not one of this user's. Choose another device for the agent.")
        case "CALL_TIMEOUT" if rejected.delivery != tool_pb2.DELIVERY_NOT_DELIVERED:
            return ToolTimedOut(f"The device did not answer {tool} in time.")
        case "DEVICE_OFFLINE" | "DEVICE_LOST" | "CALL_TIMEOUT":
            return DeviceOffline(
                "The device is not connected. Start the Adiuva client there, then run the agent again."
            )
        case "CALL_CANCELLED":
            return ToolTimedOut(f"The call of {tool} was cancelled.")
        case reason:
            return RunFault(f"The call of {tool} was refused by the device bridge ({reason or 'no reason given'}).")


def device_from_proto(message: device_pb2.Device) -> DeviceInfo:
    """Return a device as presence tells it."""
    connected = message.connected_at.ToDatetime() if message.HasField("connected_at") else None
    return DeviceInfo(
        device_id=message.device_id, user_id=message.user_id, online=message.online, connected_at=connected
    )


def tool_from_proto(message: tool_pb2.ToolDescriptor) -> ToolSpec:
    """Return a tool as its device advertised it; an effect class that we do not know counts as EFFECT."""
    return ToolSpec(
        name=message.name,
        description=message.description,
        toolset=message.toolset,
        effect=_CLASSES.get(message.effect_class, EffectClass.EFFECT),
        input_schema=json.loads(message.input_schema_json),
    )
