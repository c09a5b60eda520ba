"""Devices, their leases and tools, and enrolment codes."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE device_bridge.devices (
        device_id text PRIMARY KEY,
        user_id text NOT NULL,
        installation_id text NOT NULL,
        display_name text NOT NULL,
        credential_sha256 text NOT NULL,
        credential_used_at timestamptz,
        session_epoch bigint NOT NULL DEFAULT 0,
        agent_version text NOT NULL DEFAULT '',
        root_names text[] NOT NULL DEFAULT '{}',
        tools_hash text NOT NULL DEFAULT '',
        enrolled_at timestamptz NOT NULL DEFAULT now(),
        connected_at timestamptz,
        last_seen_at timestamptz,
        revoked_at timestamptz,
        revoke_reason text
    )
    """,
    "CREATE INDEX devices_by_user ON device_bridge.devices (user_id, enrolled_at DESC, device_id DESC)",
    "CREATE INDEX devices_by_enrolment ON device_bridge.devices (enrolled_at DESC, device_id DESC)",
    "CREATE INDEX devices_last_connected ON device_bridge.devices (user_id, connected_at DESC)",
    """
    CREATE TABLE device_bridge.device_leases (
        device_id text PRIMARY KEY REFERENCES device_bridge.devices ON DELETE CASCADE,
        replica_address text NOT NULL,
        session_id text NOT NULL,
        epoch bigint NOT NULL,
        expires_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX device_leases_by_replica ON device_bridge.device_leases (replica_address)",
    "CREATE INDEX device_leases_by_expiry ON device_bridge.device_leases (expires_at)",
    """
    CREATE TABLE device_bridge.enrolment_codes (
        code_sha256 text PRIMARY KEY,
        user_id text NOT NULL,
        request_id text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL,
        device_id text REFERENCES device_bridge.devices ON DELETE CASCADE,
        CONSTRAINT enrolment_codes_request UNIQUE (user_id, request_id)
    )
    """,
    """
    CREATE TABLE device_bridge.tool_manifests (
        device_id text PRIMARY KEY REFERENCES device_bridge.devices ON DELETE CASCADE,
        hash text NOT NULL,
        tools jsonb NOT NULL,
        saved_at timestamptz NOT NULL DEFAULT now()
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("the first step is undone by dropping the schema")
