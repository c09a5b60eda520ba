"""Changes that runs propose to approved and user-made rows, until the user decides."""

from __future__ import annotations

import json
import sqlite3

from device_bridge.agent.domain import JsonObject
from device_bridge.agent.workspace.writing import Writing

_SAME = "SELECT 1 FROM suggestions WHERE entity_type = ? AND entity_id = ? AND changes = ?"
_INSERT = """
    INSERT INTO suggestions (id, entity_type, entity_id, changes, created_by_run, source, created_at)
    VALUES (:id, :entity_type, :entity_id, :changes, :run_id, :source, :now)
"""
_PENDING = "SELECT id, entity_type, entity_id, changes FROM suggestions ORDER BY seq"
_DELETE = "DELETE FROM suggestions WHERE id = ?"


def propose(writing: Writing, entity_type: str, entity_id: str, changes: JsonObject, source: str) -> bool:
    """Store a proposed change; return False when the very same one waits already."""
    text = json.dumps(changes, ensure_ascii=False, sort_keys=True)
    if writing.connection.execute(_SAME, (entity_type, entity_id, text)).fetchone() is not None:
        return False
    writing.connection.execute(
        _INSERT,
        {
            "id": writing.new_id(),
            "entity_type": entity_type,
            "entity_id": entity_id,
            "changes": text,
            "run_id": writing.context.run_id,
            "source": source,
            "now": writing.now,
        },
    )
    return True


def pending(connection: sqlite3.Connection) -> list[JsonObject]:
    """Return every proposed change, oldest first: id, entity_type, entity_id, changes."""
    return [{**dict(row), "changes": json.loads(row["changes"])} for row in connection.execute(_PENDING)]


def drop(connection: sqlite3.Connection, suggestion_id: str) -> None:
    """Forget a proposed change. Only the local user's connection may."""
    connection.execute(_DELETE, (suggestion_id,))
