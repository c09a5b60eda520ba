"""Tool calls: wire to domain and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration

from adiuva.device_bridge.v1 import tool_pb2, tool_service_pb2 as pb
from adiuva_rpc.errors import InvalidArgument
from adiuva_rpc.status import ErrorTable
from device_bridge.server.errors import CallBroken, ResultTooLong
from device_bridge.server.routing.domain import (
    DEFAULT_TIMEOUT,
    Call,
    Delivery,
    Finished,
    OfflinePolicy,
    Outcome,
    Rejected,
)

MAX_UNARY_RESULT_BYTES: Final = 3 << 20
"""The largest result in one message; longer ones need Execute."""

_POLICIES: Final[Mapping[int, OfflinePolicy]] = {
    tool_pb2.OFFLINE_POLICY_UNSPECIFIED: OfflinePolicy.FAIL_FAST,
    tool_pb2.OFFLINE_POLICY_FAIL_FAST: OfflinePolicy.FAIL_FAST,
    tool_pb2.OFFLINE_POLICY_WAIT: OfflinePolicy.WAIT,
}
_DELIVERIES: Final = {each: tool_pb2.Delivery.Value(f"DELIVERY_{each.name}") for each in Delivery}
_EFFECT_KINDS: Final = {
    kind: value for name, value in tool_pb2.EffectKind.items() if (kind := name.removeprefix("EFFECT_KIND_"))
}


def call_from_proto(message: tool_pb2.ToolCall, *, user_id: str, call_id: str = "") -> Call:
    """Return the call of a message.

    Args:
        message: The call.
        user_id: Whom it is for, as decided by who calls.
        call_id: Instead of the one in the message, if that is empty.

    Raises:
        InvalidArgument: The offline policy is none that this bridge knows, or the timeout is no duration.
    """
    policy = _POLICIES.get(message.offline_policy)
    if policy is None:
        raise InvalidArgument("call.offline_policy", "this bridge knows FAIL_FAST and WAIT")
    has_context = message.HasField("run_context")
    return Call(
        user_id=user_id,
        call_id=message.call_id or call_id,
        device_id=message.device_id,
        tool=message.tool,
        arguments_json=message.arguments_json or "{}",
        timeout=_seconds(message.timeout) if message.HasField("timeout") else DEFAULT_TIMEOUT,
        offline_policy=policy,
        run_context=message.run_context.SerializeToString() if has_context else b"",
        epoch=message.run_context.epoch if has_context else 0,
    )


def outcome_to_proto(outcome: Outcome) -> tool_pb2.ToolOutcome:
    """Return the outcome as its device sent it, the pieces of a chunked result left out."""
    return tool_pb2.ToolOutcome.FromString(outcome.encoded)


def whole_outcome_to_proto(outcome: Outcome) -> tool_pb2.ToolOutcome:
    """Return the outcome with its result in one piece.

    Raises:
        ResultTooLong: It is too long for one message.
        CallBroken: The pieces together are no text.
    """
    message = outcome_to_proto(outcome)
    if outcome.pieces:
        if outcome.size_bytes > MAX_UNARY_RESULT_BYTES:
            raise ResultTooLong(retry_after=None, metadata={"delivery": Delivery.COMPLETED.value})
        try:
            message.result_json = b"".join(outcome.pieces).decode()
        except UnicodeDecodeError:
            raise CallBroken(metadata={"delivery": Delivery.COMPLETED.value}) from None
    elif len(outcome.encoded) > MAX_UNARY_RESULT_BYTES:
        raise ResultTooLong(retry_after=None, metadata={"delivery": Delivery.COMPLETED.value})
    return message


def finished_to_proto(answer: Finished) -> pb.CallFinished:
    """Return the end of a call on its device."""
    message = pb.CallFinished(device_id=answer.device_id, session_epoch=answer.epoch)
    message.outcome.MergeFromString(answer.outcome.encoded)
    return message


def rejected_to_proto(answer: Rejected, table: ErrorTable) -> pb.CallRejected:
    """Return why a call did not complete."""
    error = answer.error
    message = pb.CallRejected(
        code=table[type(error)].value[0],
        reason=error.reason,
        message=error.message,
        delivery=_DELIVERIES[answer.delivery],
    )
    if error.retry_after is not None:
        message.retry_after.FromMilliseconds(round(error.retry_after * 1000))
    return message


def in_pieces(outcome: Outcome, piece_bytes: int) -> Outcome:
    """Return the outcome with a result of more than `piece_bytes` taken out of it, as if it had come in pieces."""
    if outcome.pieces or len(outcome.encoded) <= piece_bytes:
        return outcome
    message = outcome_to_proto(outcome)
    text = message.result_json.encode()
    if len(text) <= piece_bytes:
        return outcome
    message.chunked_bytes = len(text)
    return Outcome(message.SerializeToString(), (text,))


def recorded_outcome(text: str) -> tool_pb2.ToolOutcome | None:
    """Return the outcome that the device's control tool `get_call` told of; None when it knows no such call.

    Raises:
        CallBroken: The answer is not of the agreed shape.
    """
    try:
        answer = json.loads(text)
        if not answer["known"]:
            return None
        return _recorded(answer)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CallBroken("The device's answer about the call was malformed.") from None


def _recorded(answer: Mapping[str, Any]) -> tool_pb2.ToolOutcome:
    outcome = tool_pb2.ToolOutcome(replayed=True)
    if (failure := answer.get("failure")) is not None:
        outcome.failure.CopyFrom(
            tool_pb2.ToolFailure(
                reason=failure["reason"], message=failure["message"], retryable=bool(failure.get("retryable"))
            )
        )
    else:
        outcome.result_json = json.dumps(answer["result"], ensure_ascii=False)
    for effect in answer.get("effects") or ():
        outcome.effects.add(
            kind=_EFFECT_KINDS.get(effect["kind"], tool_pb2.EFFECT_KIND_UNSPECIFIED),
            entity_type=effect["entity_type"],
            entity_id=effect["entity_id"],
            title=effect.get("title", ""),
            source=effect.get("source", ""),
        )
    return outcome


def _seconds(duration: Duration) -> float:
    return float(duration.seconds + duration.nanos / 1e9)
