"""The tables of the orchestrator, in a schema of its own. `migrations` makes them; this module only names them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Integer, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

SCHEMA = "orchestrator"
metadata = MetaData(schema=SCHEMA)

agents = Table(
    "agents",
    metadata,
    Column("agent_id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("client_agent_id", Text),  # null when the client gave none; unique for the user otherwise
    Column("definition", JSONB, nullable=False),
    Column("schedule", JSONB),
    Column("etag", Text, nullable=False),
    Column("created_at", TIMESTAMP(timezone=True), nullable=False),
    Column("updated_at", TIMESTAMP(timezone=True), nullable=False),
    Column("last_run_at", TIMESTAMP(timezone=True)),
    Column("paused", Boolean, nullable=False),
    Column("pause_reason", Text, nullable=False),
    Column("next_due_at", TIMESTAMP(timezone=True)),  # when the ticker looks at it next; null for never
    Column("served_until", TIMESTAMP(timezone=True)),  # slots up to here are dealt with; null while it has never run
    Column("waits_for_device", Boolean, nullable=False),  # it is due, and next_due_at is null until a device connects
    Column("missed_slots", BigInteger, nullable=False),
    Column("missed_reason", Text, nullable=False),
    Column("missed_last", TIMESTAMP(timezone=True)),
    Column("skipped_slots", BigInteger, nullable=False),
    Column("skipped_reason", Text, nullable=False),
    Column("skipped_last", TIMESTAMP(timezone=True)),
    Column("failures_in_a_row", Integer, nullable=False),
)

requests = Table(
    "requests",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("request_hash", Text, nullable=False),
    Column("answer_id", Text, nullable=False),  # the run's or agent's id that the request made or changed
    Column("at", TIMESTAMP(timezone=True), nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("agent_id", Text, nullable=False),
    Column("agent_key", Text, nullable=False),
    Column("definition", JSONB, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("created_at", TIMESTAMP(timezone=True), nullable=False),
    Column("started_at", TIMESTAMP(timezone=True)),
    Column("ended_at", TIMESTAMP(timezone=True)),
    Column("slot_time", TIMESTAMP(timezone=True)),
    Column("cancel_requested", Boolean, nullable=False),
    Column("cancel_reason", Text, nullable=False),
    Column("device_informed", Boolean, nullable=False),
    Column("report", JSONB),  # the folded journal of a terminal run, made when it is first asked for
    Column("outcome_counted", Boolean, nullable=False),  # whether the agent's failures in a row know of its end
)

run_events = Table(
    "run_events",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("at", TIMESTAMP(timezone=True), nullable=False),
)

processed_messages = Table(
    "processed_messages",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("agent_key", Text, primary_key=True),
    Column("connection_id", Text, primary_key=True),
    Column("message_key", Text, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("given_up", Boolean, nullable=False),  # it failed too often, and is done with all the same
    Column("at", TIMESTAMP(timezone=True), nullable=False),
)

message_failures = Table(
    "message_failures",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("agent_key", Text, primary_key=True),
    Column("connection_id", Text, primary_key=True),
    Column("message_key", Text, primary_key=True),
    Column("run_id", Text, primary_key=True),  # a run fails once on a message, however often it is taken over
    Column("blamed", Boolean, nullable=False),
    Column("at", TIMESTAMP(timezone=True), nullable=False),
)
