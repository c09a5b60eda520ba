"""Run records, the policy of each scope, and what each scope has used up."""

from __future__ import annotations

import json
import sqlite3

from device_bridge.agent.domain import JsonObject, RunContext
from device_bridge.agent.policy import (
    Policy,
    RunRecord,
    Usage,
    policy_from_json,
    policy_to_json,
)

RUNNING = "RUNNING"

_GET = "SELECT run_id, epoch, completed_at FROM runs WHERE run_id = ?"
_GET_SCOPE = """
    SELECT policy, calls, read_bytes, creates FROM run_policies WHERE run_id = ? AND phase = ? AND "group" = ?
"""
_OPEN = """
    INSERT INTO runs (run_id, epoch, agent_key, agent_name, "trigger", state, started_at)
    VALUES (:run_id, :epoch, :agent_key, :agent_name, :trigger, 'RUNNING', :now)
    ON CONFLICT (run_id) DO UPDATE SET epoch = max(epoch, excluded.epoch)
"""
_RAISE_EPOCH = "UPDATE runs SET epoch = :epoch WHERE run_id = :run_id AND epoch < :epoch"
_PUT_POLICY = 'INSERT INTO run_policies (run_id, phase, "group", policy) VALUES (?, ?, ?, ?)'
_USE = """
    UPDATE run_policies SET calls = calls + :calls, read_bytes = read_bytes + :read_bytes, creates = creates + :creates
    WHERE run_id = :run_id AND phase = :phase AND "group" = :group
"""
_COMPLETE = """
    UPDATE runs SET state = :state, completed_at = :now, summary = :summary, counts = :counts WHERE run_id = :run_id
"""
_PRUNE_POLICIES = """
    DELETE FROM run_policies
    WHERE run_id IN (SELECT run_id FROM runs WHERE completed_at IS NOT NULL AND completed_at < ?)
"""


def load(connection: sqlite3.Connection, context: RunContext) -> tuple[RunRecord | None, Policy | None]:
    """Return what is known of a call's run, and the policy of its scope; None for what is not there."""
    run = connection.execute(_GET, (context.run_id,)).fetchone()
    if run is None:
        return None, None
    scope = connection.execute(_GET_SCOPE, (context.run_id, context.phase, context.group)).fetchone()
    usage = Usage()
    policy = None
    if scope is not None:
        usage = Usage(calls=scope["calls"], read_bytes=scope["read_bytes"], creates=scope["creates"])
        policy = policy_from_json(scope["policy"])
    closed = run["completed_at"] is not None
    return RunRecord(run_id=run["run_id"], epoch=run["epoch"], closed=closed, usage=usage), policy


def begin(
    connection: sqlite3.Connection, context: RunContext, *, agent_name: str, trigger: str, policy: Policy, now: str
) -> bool:
    """Record a run and the policy of one of its scopes.

    The first policy of a scope stands: the same one again is fine, another one is refused.

    Returns:
        False when the scope has another policy already.
    """
    connection.execute(
        _OPEN,
        {
            "run_id": context.run_id,
            "epoch": context.epoch,
            "agent_key": context.agent_key,
            "agent_name": agent_name,
            "trigger": trigger,
            "now": now,
        },
    )
    scope = (context.run_id, policy.phase, policy.group)
    present = connection.execute(_GET_SCOPE, scope).fetchone()
    if present is not None:
        return bool(present["policy"] == policy_to_json(policy))
    connection.execute(_PUT_POLICY, (*scope, policy_to_json(policy)))
    return True


def raise_epoch(connection: sqlite3.Connection, context: RunContext) -> None:
    """Remember that a worker with this epoch has spoken: lower ones are over."""
    connection.execute(_RAISE_EPOCH, {"run_id": context.run_id, "epoch": context.epoch})


def use(
    connection: sqlite3.Connection, context: RunContext, *, calls: int = 0, read_bytes: int = 0, creates: int = 0
) -> None:
    """Add to what a call's scope has used up."""
    connection.execute(
        _USE,
        {
            "run_id": context.run_id,
            "phase": context.phase,
            "group": context.group,
            "calls": calls,
            "read_bytes": read_bytes,
            "creates": creates,
        },
    )


def complete(
    connection: sqlite3.Connection, context: RunContext, *, state: str, summary: str, counts: JsonObject, now: str
) -> None:
    """Close a run; one that this device has never heard of is recorded and closed at once."""
    connection.execute(
        _OPEN,
        {
            "run_id": context.run_id,
            "epoch": context.epoch,
            "agent_key": context.agent_key,
            "agent_name": context.agent_name,
            "trigger": context.trigger,
            "now": now,
        },
    )
    text = json.dumps(counts, sort_keys=True)
    connection.execute(
        _COMPLETE, {"run_id": context.run_id, "state": state, "summary": summary, "counts": text, "now": now}
    )


def prune_policies(connection: sqlite3.Connection, before: str) -> None:
    """Forget the policies of runs that were completed before a time."""
    connection.execute(_PRUNE_POLICIES, (before,))
