"""What a connection is and the states that it can be in. Pure data, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, unique

from connectors.providers.port import Flow
from connectors.vault.domain import Owner, WrappedKey


@unique
class ConnectionState(Enum):
    """How well a connection works."""

    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    THROTTLED = "THROTTLED"
    NEEDS_REAUTH = "NEEDS_REAUTH"
    BLOCKED = "BLOCKED"
    DECRYPT_FAILED = "DECRYPT_FAILED"
    DISCONNECTED = "DISCONNECTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A user's grant at a provider, without what is secret about it."""

    connection_id: str
    user_id: str
    provider: str
    account_id: str = field(default="", repr=False)
    """The account's id at the provider; empty while PENDING."""
    account: str = field(default="", repr=False)
    scopes: frozenset[str] = frozenset()
    state: ConnectionState
    reason: str = ""
    message: str = ""
    last_success_at: datetime | None = None
    next_allowed_at: datetime | None = None
    created_at: datetime
    updated_at: datetime
    version: int = 0
    """Grows with each change of the grant or of the state; every write names the one that it knew."""

    @property
    def owner(self) -> Owner:
        """Whose data key its secrets are under."""
        return Owner(user_id=self.user_id, connection_id=self.connection_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredGrant:
    """A connection's tokens as they lie in the database: sealed."""

    connection: Connection
    wrapped_key: WrappedKey | None = field(repr=False)
    """None after a disconnect: nothing can be opened any more."""
    grant_version: int
    """Grows with each consent and each refresh; part of what the tokens are sealed with."""
    refresh_token: bytes | None = field(repr=False)
    access_token: bytes | None = field(repr=False)
    access_expires_at: datetime | None
    claims: str = field(default="", repr=False)
    """What the next consent must ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFlow:
    """An authorization that waits for its user."""

    flow_id: str
    user_id: str
    connection_id: str
    provider: str
    flow: Flow
    reauthorizes: bool
    """Whether the connection had a grant before."""
    secret: bytes = field(repr=False)
    """Sealed under the connection's data key, as field `flow:<flow_id>`."""
    shown: bytes = field(repr=False)
    """Sealed likewise, as field `shown:<flow_id>`: what the user was shown, for a repeated request."""
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
    """When it was completed; None while it waits."""
    next_poll_at: datetime | None = None
    wrapped_key: WrappedKey | None = field(default=None, repr=False)
    """What it is sealed under instead, when the connection's own data key could not be opened; None otherwise."""


@unique
class NoticeKind(Enum):
    """What the replicas tell each other through the database."""

    CHANGED = "changed"
    """The connection's state or grant is another one."""
    RESYNCED = "resynced"
    """A cursor of it was too old for its provider."""
    RELEASED = "released"
    """Whoever was at the provider for a new token has come back without one."""
    GONE = "gone"
    """The connection was never completed, and is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One such message."""

    kind: NoticeKind
    connection_id: str
    user_id: str
    provider: str = ""
    """Of a connection that is GONE and cannot be looked up any more."""
    created_at: datetime | None = None
    """Likewise."""


@unique
class EventKind(Enum):
    """What a watcher is told. The names are those of the contract."""

    SNAPSHOT = "SNAPSHOT"
    SNAPSHOT_END = "SNAPSHOT_END"
    CHANGED = "CHANGED"
    RESYNCED = "RESYNCED"
    HEARTBEAT = "HEARTBEAT"


@dataclass(frozen=True, slots=True)
class Event:
    """An event for a watcher; the connection as it is now, or None for events about no connection."""

    kind: EventKind
    connection: Connection | None = None


@unique
class AuditAction(Enum):
    """What was done to a grant."""

    BEGUN = "BEGUN"
    AUTHORIZED = "AUTHORIZED"
    AUTHORIZATION_REFUSED = "AUTHORIZATION_REFUSED"
    REAUTHORIZED = "REAUTHORIZED"
    REFRESHED = "REFRESHED"
    REFRESH_REFUSED = "REFRESH_REFUSED"
    OPERATOR_FAULT = "OPERATOR_FAULT"
    DECRYPT_FAILED = "DECRYPT_FAILED"
    DISCONNECTED = "DISCONNECTED"
    KEYS_ROTATED = "KEYS_ROTATED"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One line of the audit trail. It holds no secret and no address."""

    event_id: str = ""
    """Given by the store."""
    user_id: str = ""
    connection_id: str = ""
    action: AuditAction
    actor: str
    """The caller's name, or `connectors` for what the service does by itself."""
    reason: str = ""
    at: datetime
