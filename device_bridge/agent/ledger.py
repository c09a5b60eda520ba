"""The ledger: what became of every call of every run, written in the transaction of its effect.

A repeated call is answered from here and nothing is done again. A read leaves only its mark (its outcome may be
large and reading again is harmless), so that it is paid from the budgets once.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from dataclasses import dataclass
from datetime import timedelta

from device_bridge.agent.domain import Effect, EffectKind, Failure, JsonObject, Outcome, Reason, ToolCall, ToolError

KEEP = timedelta(days=7)
"""How long the entries of a completed run can still answer a repeat."""

RECORDED_REASONS = frozenset({Reason.INVALID_ARGUMENT, Reason.NOT_FOUND})
"""Failures that lie in the arguments: a repeat gets the same. All others may pass, so a repeat tries again."""

_FIND = "SELECT args_hash, outcome, read_bytes FROM ledger WHERE call_id = ?"
_RECORD = "INSERT INTO ledger (call_id, args_hash, outcome, run_id, at) VALUES (?, ?, ?, ?, ?)"
_MARK_READ = """
    INSERT INTO ledger (call_id, args_hash, read_bytes, run_id, at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (call_id) DO UPDATE SET read_bytes = max(read_bytes, excluded.read_bytes)
"""
_PRUNE = """
    DELETE FROM ledger
    WHERE run_id IN (SELECT run_id FROM runs WHERE completed_at IS NOT NULL AND completed_at < ?)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the ledger holds of a call that was made before, with the same arguments."""

    outcome: Outcome | None
    """None for a read."""
    read_bytes: int


def find(connection: sqlite3.Connection, call: ToolCall) -> Entry | None:
    """Return the entry of a call, or None when it is new.

    Raises:
        ToolError: CALL_ID_REUSED, when the id was used for another tool, other arguments or another scope.
    """
    row = connection.execute(_FIND, (call.call_id,)).fetchone()
    if row is None:
        return None
    if row["args_hash"] != fingerprint(call):
        raise ToolError(Reason.CALL_ID_REUSED, "This call_id was used for another call: nothing was done.")
    outcome = None if row["outcome"] is None else _outcome_from_json(row["outcome"])
    return Entry(outcome=outcome, read_bytes=row["read_bytes"])


def recorded(connection: sqlite3.Connection, call_id: str) -> JsonObject | None:
    """Return how a call ended, for whoever asks by its id alone: result, failure and effects.

    None when the call never came, changed nothing by its nature (a read), or is forgotten.
    """
    row = connection.execute(_FIND, (call_id,)).fetchone()
    if row is None or row["outcome"] is None:
        return None
    outcome: JsonObject = json.loads(row["outcome"])
    return outcome


def record(connection: sqlite3.Connection, call: ToolCall, outcome: Outcome, *, run_id: str, now: str) -> None:
    """Write how a call ended. Once only: the call_id is the key."""
    connection.execute(_RECORD, (call.call_id, fingerprint(call), _outcome_to_json(outcome), run_id, now))


def mark_read(connection: sqlite3.Connection, call: ToolCall, read_bytes: int, *, run_id: str, now: str) -> None:
    """Write that a reading call was made and what it was charged; a repeat keeps the larger charge."""
    connection.execute(_MARK_READ, (call.call_id, fingerprint(call), read_bytes, run_id, now))


def prune(connection: sqlite3.Connection, before: str) -> None:
    """Forget the entries of runs that were completed before a time."""
    connection.execute(_PRUNE, (before,))


def fingerprint(call: ToolCall) -> str:
    """Return the SHA-256 of what makes a call the same call: tool, arguments, run, phase and group; not the epoch."""
    context = call.context
    scope = None if context is None else [context.run_id, context.phase, context.group]
    text = json.dumps([call.tool, call.arguments, scope], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _outcome_to_json(outcome: Outcome) -> str:
    failure = outcome.failure
    return json.dumps(
        {
            "result": outcome.result,
            "failure": None
            if failure is None
            else {"reason": failure.reason.value, "message": failure.message, "retryable": failure.retryable},
            "effects": [
                {
                    "kind": effect.kind.value,
                    "entity_type": effect.entity_type,
                    "entity_id": effect.entity_id,
                    "title": effect.title,
                    "source": effect.source,
                }
                for effect in outcome.effects
            ],
        },
        ensure_ascii=False,
    )


def _outcome_from_json(text: str) -> Outcome:
    value: JsonObject = json.loads(text)
    failure = value["failure"]
    return Outcome(
        result=value["result"],
        failure=None
        if failure is None
        else Failure(reason=Reason(failure["reason"]), message=failure["message"], retryable=failure["retryable"]),
        effects=tuple(Effect(**{**effect, "kind": EffectKind(effect["kind"])}) for effect in value["effects"]),
        replayed=True,
    )
