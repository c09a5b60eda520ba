"""What became of each message, so that one which comes again is not processed again."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# A message's key holds for its connection only, and each agent processes messages for itself.
TABLES = """
CREATE TABLE processed_messages (
    user_id text NOT NULL,
    agent_key text NOT NULL,
    connection_id text NOT NULL,
    message_key text NOT NULL,
    run_id text NOT NULL,
    given_up boolean NOT NULL DEFAULT false,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (user_id, agent_key, connection_id, message_key)
);

CREATE TABLE message_failures (
    user_id text NOT NULL,
    agent_key text NOT NULL,
    connection_id text NOT NULL,
    message_key text NOT NULL,
    run_id text NOT NULL,
    blamed boolean NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (user_id, agent_key, connection_id, message_key, run_id)
);
"""


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(TABLES)


def downgrade() -> None:
    raise NotImplementedError("messages would be processed again")
