"""Agents, runs with their journal, and the dispatch queue."""

from __future__ import annotations

from alembic import op
from procrastinate.schema import SchemaManager

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE agents (
    agent_id text PRIMARY KEY,
    user_id text NOT NULL,
    client_agent_id text,
    definition jsonb NOT NULL,
    schedule jsonb,
    etag text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    last_run_at timestamptz,
    paused boolean NOT NULL DEFAULT false,
    pause_reason text NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX agents_client_agent_id ON agents (user_id, client_agent_id) WHERE client_agent_id IS NOT NULL;
CREATE INDEX agents_of_user ON agents (user_id, created_at DESC, agent_id DESC);

CREATE TABLE requests (
    user_id text NOT NULL,
    request_id text NOT NULL,
    request_hash text NOT NULL,
    answer_id text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (user_id, request_id)
);
CREATE INDEX requests_by_age ON requests (at);

CREATE TABLE runs (
    run_id text PRIMARY KEY,
    user_id text NOT NULL,
    agent_id text NOT NULL,
    agent_key text NOT NULL,
    definition jsonb NOT NULL,
    trigger text NOT NULL,
    state text NOT NULL,
    epoch integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    ended_at timestamptz,
    slot_time timestamptz,
    cancel_requested boolean NOT NULL DEFAULT false,
    cancel_reason text NOT NULL DEFAULT '',
    device_informed boolean NOT NULL DEFAULT true,
    report jsonb
);
CREATE INDEX runs_of_user ON runs (user_id, created_at DESC, run_id DESC);
CREATE INDEX runs_waiting ON runs (user_id) WHERE state = 'QUEUED';
CREATE INDEX runs_uninformed ON runs (user_id, ended_at) WHERE NOT device_informed;

CREATE TABLE run_events (
    run_id text NOT NULL REFERENCES runs ON DELETE CASCADE,
    seq bigint NOT NULL,
    kind text NOT NULL,
    payload text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, seq)
);
"""

# The queue itself tells its workers of new jobs only. A job that comes back to the queue, or the next one of a user
# whose job has just ended, would wait for a poll.
WAKING = """
CREATE FUNCTION wake_workers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify(
        'procrastinate_queue_v1#' || OLD.queue_name,
        json_build_object('type', 'job_inserted', 'job_id', OLD.id)::text
    );
    RETURN NULL;
END;
$$;
CREATE TRIGGER wake_after_end AFTER DELETE ON procrastinate_jobs
    FOR EACH ROW WHEN (OLD.status = 'doing') EXECUTE FUNCTION wake_workers();
CREATE TRIGGER wake_after_return AFTER UPDATE OF status ON procrastinate_jobs
    FOR EACH ROW WHEN (OLD.status = 'doing') EXECUTE FUNCTION wake_workers();
"""


def upgrade() -> None:
    # The queue's own schema goes into ours: StartRun writes the run and its job in one transaction. A later version of
    # procrastinate brings its own migration files; a new step here runs them.
    cursor = op.get_bind().connection.cursor()
    cursor.execute(TABLES)
    cursor.execute(SchemaManager.get_schema())
    cursor.execute(WAKING)


def downgrade() -> None:
    raise NotImplementedError("the first step is undone by dropping the schema")
