"""What the operator sees: domain to wire."""

from __future__ import annotations

from adiuva.connectors.v1 import admin_service_pb2 as pb
from connectors.admin.domain import QuarantinedMessage, Rotated
from connectors.connections.domain import AuditEvent
from connectors.messages.conversion import timestamp_to_proto


def rotated_to_proto(rotated: Rotated) -> pb.RotateKeysResponse:
    """Return what a rotation did."""
    return pb.RotateKeysResponse(
        rewrapped=rotated.rewrapped,
        failures=[
            pb.RotationFailure(connection_id=one.connection_id, reason=one.reason, key_id=one.key_id)
            for one in rotated.failures
        ],
        keys=[pb.KeyUse(key_id=one.key_id, grants=one.grants, current=one.current) for one in rotated.keys],
    )


def quarantined_to_proto(message: QuarantinedMessage) -> pb.QuarantinedMessage:
    """Return a message in quarantine."""
    return pb.QuarantinedMessage(
        quarantine_id=message.quarantine_id,
        user_id=message.user_id,
        connection_id=message.connection_id,
        subscriber=message.subscriber,
        provider_id=message.provider_id,
        reason=message.reason,
        message=message.message,
        attempts=message.attempts,
        first_tried_at=timestamp_to_proto(message.first_tried_at),
        last_tried_at=timestamp_to_proto(message.last_tried_at),
        retry_requested=message.retry_requested,
    )


def event_to_proto(event: AuditEvent) -> pb.AuditEvent:
    """Return a line of the audit trail."""
    return pb.AuditEvent(
        event_id=event.event_id,
        user_id=event.user_id,
        connection_id=event.connection_id,
        action=event.action.value,
        actor=event.actor,
        reason=event.reason,
        at=timestamp_to_proto(event.at),
    )
