"""What the bridge knows of a device: who owns it, what it can do, whether it is there. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, unique


@unique
class EffectClass(Enum):
    """What repeating a call of a tool does."""

    READ_ONLY = "READ_ONLY"
    IDEMPOTENT = "IDEMPOTENT"
    EFFECT = "EFFECT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool as a device advertises it."""

    name: str
    description: str = ""
    toolset: str = ""
    effect_class: EffectClass = EffectClass.EFFECT
    input_schema_json: str = field(default="{}", repr=False)
    default_timeout: float = 0.0
    """Seconds; 0 when the device says nothing."""
    max_result_bytes: int = 0
    """0 when the device says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The tools of a device."""

    hash: str
    """SHA-256 of the descriptors, in hexadecimal, as the device computes it."""
    tools: tuple[Tool, ...] = field(default=(), repr=False)
    """Empty when the device assumes that the bridge knows the hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A laptop that a user has enrolled, as it stands in the store."""

    device_id: str
    user_id: str
    display_name: str
    online: bool
    """A session of it is live on some replica."""
    session_epoch: int
    """Of its newest session; 0 before the first."""
    agent_version: str
    root_names: tuple[str, ...]
    tools_hash: str
    enrolled_at: datetime
    connected_at: datetime | None
    last_seen_at: datetime | None
    revoked_at: datetime | None


@unique
class PresenceKind(Enum):
    """What a watcher is told. The names are those of the contract."""

    SNAPSHOT = "SNAPSHOT"
    SNAPSHOT_END = "SNAPSHOT_END"
    CONNECTED = "CONNECTED"
    DISCONNECTED = "DISCONNECTED"
    CHANGED = "CHANGED"
    HEARTBEAT = "HEARTBEAT"


@dataclass(frozen=True, slots=True)
class Presence:
    """A presence event; the device as it is now, or None for events about no device."""

    kind: PresenceKind
    device: Device | None = None


@unique
class NoticeKind(Enum):
    """What the replicas tell each other through the database."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    CHANGED = "changed"
    REVOKED = "revoked"
    """The device may not connect any more: whoever holds its session closes it."""
    RELEASE = "release"
    """Somebody asked for the end of the session with this epoch: whoever holds it closes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One such message."""

    kind: NoticeKind
    device_id: str
    user_id: str
    epoch: int
    """Of the session it is about."""
