"""The audit: every effect of every run, in order, appended in the transaction that made it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from device_bridge.agent.domain import Effect, EffectKind, JsonObject

_INSERT = """
    INSERT INTO changes (run_id, call_id, position, kind, entity_type, entity_id, title, source, at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_COUNTS = "SELECT kind, entity_type, count(*) AS n FROM changes WHERE run_id = ? GROUP BY kind, entity_type"


def record(connection: sqlite3.Connection, *, run_id: str, call_id: str, effects: Sequence[Effect], now: str) -> None:
    """Append the effects of one call. The database refuses a second time for the same call."""
    connection.executemany(
        _INSERT,
        [
            (
                run_id,
                call_id,
                position,
                effect.kind.value,
                effect.entity_type,
                effect.entity_id,
                effect.title,
                effect.source,
                now,
            )
            for position, effect in enumerate(effects)
        ],
    )


def counts(connection: sqlite3.Connection, run_id: str) -> JsonObject:
    """Return what a run did: {"created": {entity type: n}, "updated": {…}, "commented": {…}, "proposed": {…}}."""
    counted: JsonObject = {kind.value.lower(): {} for kind in EffectKind}
    for row in connection.execute(_COUNTS, (run_id,)):
        counted[row["kind"].lower()][row["entity_type"]] = row["n"]
    return counted
