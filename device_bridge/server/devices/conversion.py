"""Devices: domain to wire."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from adiuva.device_bridge.v1 import device_pb2, device_service_pb2 as pb
from device_bridge.server.devices.domain import Device, Presence, PresenceKind

_PRESENCE_KINDS: Final[Mapping[PresenceKind, pb.PresenceKind.ValueType]] = {
    kind: pb.PresenceKind.Value(f"PRESENCE_KIND_{kind.name}") for kind in PresenceKind
}


def device_to_proto(device: Device) -> device_pb2.Device:
    """Return the device."""
    return device_pb2.Device(
        device_id=device.device_id,
        user_id=device.user_id,
        display_name=device.display_name,
        online=device.online,
        session_epoch=device.session_epoch,
        agent_version=device.agent_version,
        root_names=device.root_names,
        tools_hash=device.tools_hash,
        enrolled_at=_timestamp(device.enrolled_at),
        connected_at=_timestamp(device.connected_at),
        last_seen_at=_timestamp(device.last_seen_at),
        revoked_at=_timestamp(device.revoked_at),
    )


def presence_to_proto(presence: Presence) -> pb.WatchDevicesResponse:
    """Return the presence event."""
    return pb.WatchDevicesResponse(
        kind=_PRESENCE_KINDS[presence.kind],
        device=None if presence.device is None else device_to_proto(presence.device),
    )


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message
