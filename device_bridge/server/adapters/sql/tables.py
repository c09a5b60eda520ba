"""The tables of the bridge. The migrations make them; a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Index,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    desc,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

SCHEMA = "device_bridge"

metadata = MetaData(schema=SCHEMA)

_NOW = func.now()

devices = Table(
    "devices",
    metadata,
    Column("device_id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("installation_id", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("credential_sha256", Text, nullable=False),
    # Until then the code that led to the credential may be redeemed again.
    Column("credential_used_at", DateTime(timezone=True)),
    Column("session_epoch", BigInteger, nullable=False, server_default=text("0")),
    Column("agent_version", Text, nullable=False, server_default=text("''")),
    Column("root_names", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("tools_hash", Text, nullable=False, server_default=text("''")),
    Column("enrolled_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Column("connected_at", DateTime(timezone=True)),
    Column("last_seen_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    Column("revoke_reason", Text),
    Index("devices_by_user", "user_id", desc("enrolled_at"), desc("device_id")),
    Index("devices_by_enrolment", desc("enrolled_at"), desc("device_id")),
    Index("devices_last_connected", "user_id", desc("connected_at")),
)

device_leases = Table(
    "device_leases",
    metadata,
    Column("device_id", Text, ForeignKey(devices.c.device_id, ondelete="CASCADE"), primary_key=True),
    Column("replica_address", Text, nullable=False),
    Column("session_id", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Index("device_leases_by_replica", "replica_address"),
    Index("device_leases_by_expiry", "expires_at"),
)

enrolment_codes = Table(
    "enrolment_codes",
    metadata,
    Column("code_sha256", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    # Set when the code is redeemed for the first time.
    Column("device_id", Text, ForeignKey(devices.c.device_id, ondelete="CASCADE")),
    UniqueConstraint("user_id", "request_id", name="enrolment_codes_request"),
)

tool_manifests = Table(
    "tool_manifests",
    metadata,
    # By device and not by hash alone: a hash is what a device says, and must not speak for another user's device.
    Column("device_id", Text, ForeignKey(devices.c.device_id, ondelete="CASCADE"), primary_key=True),
    Column("hash", Text, nullable=False),
    Column("tools", JSONB, nullable=False),
    Column("saved_at", DateTime(timezone=True), nullable=False, server_default=_NOW),
)
