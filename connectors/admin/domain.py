"""What the operator sees. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedMessage:
    """A message that could not be read. It holds nothing of what it says."""

    quarantine_id: str
    user_id: str
    connection_id: str
    subscriber: str
    provider_id: str
    reason: str
    message: str
    attempts: int
    first_tried_at: datetime
    last_tried_at: datetime
    retry_requested: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUse:
    """How many grants a key protects."""

    key_id: str
    grants: int
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBack:
    """A grant that stayed under its old key."""

    connection_id: str
    reason: str
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """What a rotation did."""

    rewrapped: int
    failures: tuple[KeptBack, ...]
    keys: tuple[KeyUse, ...]
    """The keys in use now, and the current one even if nothing is under it yet."""
