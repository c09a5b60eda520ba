"""Schedules that fire: when an agent is due, up to when its slots are dealt with, and what became of them."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# A row that is written by other means than ours is looked at soon: next_due_at is the present time by default.
COLUMNS = """
ALTER TABLE agents
    ADD COLUMN next_due_at timestamptz DEFAULT now(),
    ADD COLUMN served_until timestamptz,
    ADD COLUMN waits_for_device boolean NOT NULL DEFAULT false,
    ADD COLUMN missed_slots bigint NOT NULL DEFAULT 0,
    ADD COLUMN missed_reason text NOT NULL DEFAULT '',
    ADD COLUMN missed_last timestamptz,
    ADD COLUMN skipped_slots bigint NOT NULL DEFAULT 0,
    ADD COLUMN skipped_reason text NOT NULL DEFAULT '',
    ADD COLUMN skipped_last timestamptz,
    ADD COLUMN failures_in_a_row integer NOT NULL DEFAULT 0;
UPDATE agents SET served_until = last_run_at;
UPDATE agents SET next_due_at = NULL WHERE schedule IS NULL OR paused;
CREATE INDEX agents_due ON agents (next_due_at) WHERE next_due_at IS NOT NULL;

ALTER TABLE runs ADD COLUMN outcome_counted boolean NOT NULL DEFAULT false;
UPDATE runs SET outcome_counted = true WHERE ended_at IS NOT NULL;
CREATE INDEX runs_under_way ON runs (agent_id) WHERE state IN ('QUEUED', 'RUNNING') AND agent_id <> '';
"""


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(COLUMNS)


def downgrade() -> None:
    raise NotImplementedError("what the columns tell cannot be kept without them")
