"""What projects, tasks, notes and timelines have in common: making, reading, paging, and changing under protection.

The SQL of each entity stands in its own module; here are the rules.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from device_bridge.agent.domain import Effect, EffectKind, JsonObject, Reason, ToolError
from device_bridge.agent.policy import may_change
from device_bridge.agent.workspace import suggestions
from device_bridge.agent.workspace.writing import Done, Writing

MAX_PAGE_ROWS = 100
MAX_PAGE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """One kind of record: its names, its fields and its SQL."""

    type: str
    """project, task, note or timeline."""
    collection: str
    """The key of lists in results: projects, tasks, …"""
    title_field: str
    fields: Mapping[str, Any]
    """Field name to the value it has when the caller names none, in the order of results."""
    lists: frozenset[str] = frozenset()
    """Fields that are lists, stored as JSON text."""
    flags: frozenset[str] = frozenset()
    """Fields that are true or false, stored as 1 and 0."""
    insert_sql: str
    update_sql: str
    get_sql: str


def create(writing: Writing, entity: Entity, values: JsonObject, source: str) -> Done:
    """Store a new row as this run's unapproved suggestion, and return it."""
    fields = {name: values.get(name, default) for name, default in entity.fields.items()}
    require_project(writing.connection, fields.get("project_id"))
    row_id = writing.new_id()
    stored = _stored(entity, fields)
    writing.connection.execute(
        entity.insert_sql,
        {**stored, "id": row_id, "run_id": writing.context.run_id, "source": source, "now": writing.now},
    )
    row = get(writing.connection, entity, row_id)
    return Done(result=row, effects=(_effect(entity, row, EffectKind.CREATED, source),))


def change(writing: Writing, entity: Entity, row_id: str, values: JsonObject, source: str) -> Done:
    """Change a row in place when it is still a suggestion; else store the change as a proposal beside it.

    The result is the row as it now is, with `outcome`: "updated", "proposed", or "unchanged" when the row or a
    waiting proposal already says what was asked.
    """
    row = get(writing.connection, entity, row_id)
    differing = {name: value for name, value in values.items() if row[name] != value}
    if "project_id" in differing:
        require_project(writing.connection, differing["project_id"])
    if not differing:
        return Done(result={**row, "outcome": "unchanged"})
    if may_change(is_ai_suggested=row["is_ai_suggested"], is_approved=row["is_approved"]):
        update(writing.connection, entity, {**row, **differing}, now=writing.now)
        row = get(writing.connection, entity, row_id)
        effect = _effect(entity, row, EffectKind.UPDATED, source)
        return Done(result={**row, "outcome": "updated"}, effects=(effect,))
    made = suggestions.propose(writing, entity.type, row_id, differing, source)
    if not made:
        return Done(result={**row, "outcome": "unchanged"})
    return Done(result={**row, "outcome": "proposed"}, effects=(_effect(entity, row, EffectKind.PROPOSED, source),))


def get(connection: sqlite3.Connection, entity: Entity, row_id: str) -> JsonObject:
    """Return one row as results carry it.

    Raises:
        ToolError: NOT_FOUND.
    """
    row = connection.execute(entity.get_sql, {"id": row_id}).fetchone()
    if row is None:
        raise not_found(entity.type)
    return public(entity, row)


def update(connection: sqlite3.Connection, entity: Entity, row: JsonObject, *, now: str) -> None:
    """Write the fields of a row. The database refuses when the row is protected and the gate is shut."""
    stored = _stored(entity, {name: row[name] for name in entity.fields})
    connection.execute(entity.update_sql, {**stored, "id": row["id"], "now": now})


def public(entity: Entity, row: sqlite3.Row) -> JsonObject:
    """Return a stored row as results carry it: id, fields, is_ai_suggested, is_approved."""
    shown: JsonObject = {"id": row["id"]}
    for name in entity.fields:
        value = row[name]
        if name in entity.lists:
            value = json.loads(value)
        elif name in entity.flags:
            value = bool(value)
        shown[name] = value
    shown["is_ai_suggested"] = bool(row["is_ai_suggested"])
    shown["is_approved"] = bool(row["is_approved"])
    return shown


def page(collection: str, rows: Iterable[tuple[int, JsonObject]]) -> JsonObject:
    """Return as many rows as one answer holds, and the token of the next page when there are more.

    Args:
        collection: The key of the list in the answer.
        rows: (sequence number, row) in order; one more than `MAX_PAGE_ROWS` tells that there are more.
    """
    taken: list[JsonObject] = []
    size_bytes = 0
    last = 0
    for sequence, row in rows:
        size_bytes += len(json.dumps(row, ensure_ascii=False).encode())
        if taken and (len(taken) == MAX_PAGE_ROWS or size_bytes > MAX_PAGE_BYTES):
            return {collection: taken, "next_page_token": str(last)}
        taken.append(row)
        last = sequence
    return {collection: taken}


def after(page_token: str | None) -> int:
    """Return the sequence number after which a page begins.

    Raises:
        ToolError: INVALID_ARGUMENT, when the token is not one of ours.
    """
    if page_token is None:
        return 0
    if not (page_token.isascii() and page_token.isdigit() and len(page_token) <= 18):
        raise ToolError(Reason.INVALID_ARGUMENT, "page_token: must be the next_page_token of an earlier answer.")
    return int(page_token)


def require_project(connection: sqlite3.Connection, project_id: str | None) -> None:
    """Raise NOT_FOUND unless the project exists; None is no project and always fine."""
    if project_id is None:
        return
    if connection.execute("SELECT 1 FROM projects WHERE id = ?", (project_id,)).fetchone() is None:
        raise not_found("project")


def not_found(entity_type: str) -> ToolError:
    """Return the one answer for an id that names nothing here, whatever it looks like."""
    return ToolError(Reason.NOT_FOUND, f"There is no {entity_type} with this id: use an id from a list.")


def one_line(text: str) -> str:
    """Return a title or name with every run of white space as one space."""
    return " ".join(text.split())


def _stored(entity: Entity, fields: JsonObject) -> JsonObject:
    return {
        name: json.dumps(value, ensure_ascii=False) if name in entity.lists else value for name, value in fields.items()
    }


def _effect(entity: Entity, row: JsonObject, kind: EffectKind, source: str) -> Effect:
    return Effect(kind=kind, entity_type=entity.type, entity_id=row["id"], title=row[entity.title_field], source=source)
