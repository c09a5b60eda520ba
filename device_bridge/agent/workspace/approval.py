"""The user's decisions at this device: approve or reject what runs have suggested.

Works on the local user's connection only. Every decision is one transaction, inside which the approval gate is
open; nobody else ever sees it open.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, unique

from device_bridge.agent.domain import JsonObject
from device_bridge.agent.workspace import rows, suggestions
from device_bridge.agent.workspace.errors import NothingToDecide
from device_bridge.agent.workspace.notes import NOTE
from device_bridge.agent.workspace.projects import PROJECT
from device_bridge.agent.workspace.tasks import TASK
from device_bridge.agent.workspace.timelines import TIMELINE

SUGGESTION = "suggestion"
COMMENT = "comment"
MIN_PREFIX = 6
"""How many characters of an id are enough, when they fit one thing only."""

_ENTITIES = {entity.type: entity for entity in (PROJECT, TASK, NOTE, TIMELINE)}

# Rows before changes to rows; projects before what is filed under them.
_PENDING = """
    SELECT 'project' AS type, id, name AS title FROM projects WHERE is_ai_suggested = 1 AND is_approved = 0
    UNION ALL SELECT 'task', id, title FROM tasks WHERE is_ai_suggested = 1 AND is_approved = 0
    UNION ALL SELECT 'comment', id, text FROM task_comments WHERE is_ai_suggested = 1 AND is_approved = 0
    UNION ALL SELECT 'note', id, title FROM notes WHERE is_ai_suggested = 1 AND is_approved = 0
    UNION ALL SELECT 'timeline', id, title FROM timelines WHERE is_ai_suggested = 1 AND is_approved = 0
"""
_APPROVE = {
    "project": "UPDATE projects SET is_approved = 1, updated_at = :now WHERE id = :id",
    "task": "UPDATE tasks SET is_approved = 1, updated_at = :now WHERE id = :id",
    "comment": "UPDATE task_comments SET is_approved = 1, updated_at = :now WHERE id = :id",
    "note": "UPDATE notes SET is_approved = 1, updated_at = :now WHERE id = :id",
    "timeline": "UPDATE timelines SET is_approved = 1, updated_at = :now WHERE id = :id",
}
_DELETE = {
    "project": "DELETE FROM projects WHERE id = ?",
    "task": "DELETE FROM tasks WHERE id = ?",
    "comment": "DELETE FROM task_comments WHERE id = ?",
    "note": "DELETE FROM notes WHERE id = ?",
    "timeline": "DELETE FROM timelines WHERE id = ?",
}


@unique
class Verdict(Enum):
    """What became of a suggestion."""

    APPROVED = "approved"
    """The row is the user's own now."""
    APPLIED = "applied"
    """The proposed change is in the row."""
    DELETED = "deleted"
    """The suggested row is gone."""
    DROPPED = "dropped"
    """The proposed change is gone and the row as it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One thing decided."""

    verdict: Verdict
    type: str
    """project, task, comment, note, timeline; or suggestion, for a proposed change."""
    id: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pending:
    type: str
    id: str
    title: str
    change: JsonObject | None = None
    """The proposed change, of a suggestion."""


def approve(connection: sqlite3.Connection, ids: Sequence[str] | None, *, now: str) -> list[Decision]:
    """Approve suggested rows and apply proposed changes; all that wait when `ids` is None.

    Args:
        connection: The local user's.
        ids: Of rows, comments or suggestions; a beginning of at least 6 characters will do when it fits one only.
        now: The time of the decision, as stored.

    Raises:
        NothingToDecide: An id fits nothing that waits, or several things. Then nothing is decided.
    """
    return _decide(connection, ids, now, _approve)


def reject(connection: sqlite3.Connection, ids: Sequence[str] | None, *, now: str) -> list[Decision]:
    """Delete suggested rows and drop proposed changes; all that wait when `ids` is None.

    A rejected project leaves its tasks, notes and timelines without a project. Arguments and errors as of `approve`.
    """
    return _decide(connection, ids, now, _reject)


@contextmanager
def local_user(connection: sqlite3.Connection, *, now: str) -> Iterator[None]:
    """Open the approval gate for one transaction, which is committed at the end and undone on an error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("INSERT INTO approval_gate (opened_at) VALUES (?)", (now,))
        yield
        connection.execute("DELETE FROM approval_gate")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _decide(
    connection: sqlite3.Connection,
    ids: Sequence[str] | None,
    now: str,
    verdict: Callable[[sqlite3.Connection, _Pending, str], Verdict],
) -> list[Decision]:
    decisions = []
    with local_user(connection, now=now):
        waiting = _pending(connection)
        for item in waiting if ids is None else _chosen(waiting, ids):
            decided = verdict(connection, item, now)
            decisions.append(Decision(verdict=decided, type=item.type, id=item.id, title=item.title))
    return decisions


def _approve(connection: sqlite3.Connection, item: _Pending, now: str) -> Verdict:
    change = item.change
    if change is None:
        connection.execute(_APPROVE[item.type], {"id": item.id, "now": now})
        return Verdict.APPROVED
    entity = _ENTITIES[change["entity_type"]]
    row = rows.get(connection, entity, change["entity_id"])
    try:
        rows.update(connection, entity, {**row, **change["changes"]}, now=now)
    except sqlite3.IntegrityError:
        raise NothingToDecide(
            "A proposed change names a project that is gone: reject it. Nothing was decided."
        ) from None
    suggestions.drop(connection, item.id)
    return Verdict.APPLIED


def _reject(connection: sqlite3.Connection, item: _Pending, _now: str) -> Verdict:
    if item.change is None:
        connection.execute(_DELETE[item.type], (item.id,))
        return Verdict.DELETED
    suggestions.drop(connection, item.id)
    return Verdict.DROPPED


def _pending(connection: sqlite3.Connection) -> list[_Pending]:
    waiting = [_Pending(type=row["type"], id=row["id"], title=row["title"]) for row in connection.execute(_PENDING)]
    for change in suggestions.pending(connection):
        entity = _ENTITIES[change["entity_type"]]
        title = rows.get(connection, entity, change["entity_id"])[entity.title_field]
        waiting.append(_Pending(type=SUGGESTION, id=change["id"], title=title, change=change))
    return waiting


def _chosen(waiting: Sequence[_Pending], ids: Sequence[str]) -> list[_Pending]:
    chosen: dict[str, _Pending] = {}
    for wanted in ids:
        fitting = [item for item in waiting if item.id == wanted]
        if not fitting and len(wanted) >= MIN_PREFIX:
            fitting = [item for item in waiting if item.id.startswith(wanted)]
        if not fitting:
            raise NothingToDecide("An id names nothing that waits for a decision. Nothing was decided.")
        if len(fitting) > 1:
            raise NothingToDecide("The beginning of an id fits several things. Nothing was decided.")
        chosen[fitting[0].id] = fitting[0]
    return list(chosen.values())
