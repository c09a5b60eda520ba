"""The tables of the schema `connectors`. What is secret is sealed before it gets here."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

SCHEMA = "connectors"

metadata = MetaData(schema=SCHEMA)


def _time(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


connections = Table(
    "connections",
    metadata,
    Column("connection_id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("account_id", Text, nullable=False, server_default=""),
    Column("account", Text, nullable=False, server_default=""),
    Column("scopes", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("message", Text, nullable=False, server_default=""),
    _time("last_success_at", nullable=True),
    _time("next_allowed_at", nullable=True),
    _time("created_at"),
    _time("updated_at"),
    Column("version", BigInteger, nullable=False, server_default=text("0")),
    # The data key of this connection, wrapped. Without it nothing of the connection can be opened: disconnecting
    # erases it.
    Column("key_id", Text),
    Column("wrapped_key", LargeBinary),
    # The tokens, sealed with grant_version.
    Column("grant_version", BigInteger, nullable=False, server_default=text("0")),
    Column("refresh_token", LargeBinary),
    Column("access_token", LargeBinary),
    _time("access_expires_at", nullable=True),
    Column("claims", Text, nullable=False, server_default=""),
    # Who is at the provider for a new access token, and until when nobody else goes.
    Column("refresh_owner", Text),
    _time("refresh_until", nullable=True),
    Index("connections_of_user", "user_id", "created_at", "connection_id"),
    Index("connections_under_key", "key_id", "user_id", "connection_id"),
    # An account is linked once: linking it again renews its connection.
    Index(
        "connections_of_account",
        "user_id",
        "provider",
        "account_id",
        unique=True,
        postgresql_where=text("account_id <> '' AND state <> 'DISCONNECTED'"),
    ),
)

flows = Table(
    "flows",
    metadata,
    Column("flow_id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column(
        "connection_id",
        Text,
        ForeignKey(connections.c.connection_id, ondelete="CASCADE"),
        nullable=False,
    ),
    Column("flow", Text, nullable=False),
    Column("reauthorizes", Boolean, nullable=False),
    # The hash of the state, which is what the browser brings back.
    Column("state_hash", LargeBinary, unique=True),
    Column("request_id", Text, nullable=False),
    Column("request_hash", Text, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("shown", LargeBinary, nullable=False),
    # What these two are sealed under when the connection's own data key cannot be opened.
    Column("key_id", Text),
    Column("wrapped_key", LargeBinary),
    _time("created_at"),
    _time("expires_at"),
    _time("used_at", nullable=True),
    _time("next_poll_at", nullable=True),
    UniqueConstraint("user_id", "request_id"),
    Index("flows_expiring", "expires_at"),
)

cursors = Table(
    "cursors",
    metadata,
    Column(
        "connection_id",
        Text,
        ForeignKey(connections.c.connection_id, ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("subscriber", Text, primary_key=True),
    # How often a fetch has begun; a commit names the one that it is of.
    Column("epoch", BigInteger, nullable=False),
    Column("filter_hash", Text, nullable=False),
    # What the provider is asked with the next time; sealed.
    Column("state", LargeBinary),
    # When the listing began that `state` is from.
    _time("listed_at", nullable=True),
    # The round under way; sealed. Its first `position` messages are committed.
    Column("round_id", Text),
    Column("round", LargeBinary),
    Column("position", Integer, nullable=False, server_default=text("0")),
    _time("updated_at"),
)

seen = Table(
    "seen",
    metadata,
    Column("connection_id", Text, ForeignKey(connections.c.connection_id, ondelete="CASCADE"), primary_key=True),
    Column("subscriber", Text, primary_key=True),
    # Of a message's id, or of its alias.
    Column("digest", LargeBinary, primary_key=True),
    _time("received_at"),
    Index("seen_by_age", "connection_id", "subscriber", "received_at"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("quarantine_id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("connection_id", Text, ForeignKey(connections.c.connection_id, ondelete="CASCADE"), nullable=False),
    Column("subscriber", Text, nullable=False),
    Column("provider_id", Text, nullable=False),
    Column("version", Text, nullable=False, server_default=""),
    Column("container", Text, nullable=False, server_default=""),
    Column("alias", Text, nullable=False, server_default=""),
    _time("received_at"),
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    _time("first_tried_at"),
    _time("last_tried_at"),
    Column("retry_requested", Boolean, nullable=False, server_default=text("false")),
    UniqueConstraint("connection_id", "subscriber", "provider_id", "version"),
    Index("quarantine_newest", "first_tried_at", "quarantine_id"),
)

audit = Table(
    "audit",
    metadata,
    Column("event_id", BigInteger, Identity(), primary_key=True),
    Column("user_id", Text, nullable=False, server_default=""),
    Column("connection_id", Text, nullable=False, server_default=""),
    Column("action", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    _time("at"),
    Index("audit_of_connection", "connection_id", "event_id"),
)
