"""What a fetch tells its caller, in order. Pure data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from connectors.messages.domain import FetchMode, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The fetch knows what is to come. Only `Waiting` may be before it."""

    mode: FetchMode
    since: datetime | None
    """Where the window begins; None for INCREMENTAL."""
    candidates: int
    """Messages to come in this round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemError:
    """A message that is left out because it cannot be read."""

    key: str
    provider_id: str
    reason: str
    message: str
    """Holds nothing of the message."""
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The provider asked to wait; the fetch goes on by itself."""

    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Everything before it may be committed."""

    cursor_token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """The fetch has ended well."""

    cursor_token: str = field(repr=False)
    delivered: int
    unreadable: int
    vanished: int
    skipped: int
    """Left out by the filter, or delivered before."""
    has_more: bool
    """Whether this round goes on: commit, and fetch again."""
    provider_calls: int


Event = Started | Message | ItemError | Waiting | Checkpoint | Completed

Emit = Callable[[Event], Awaitable[None]]
"""Takes one event and returns when there is room for another: the fetch waits for that, and so does the provider."""
