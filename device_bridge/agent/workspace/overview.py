"""Everything in the workspace, for the person at this device: rows with their state, proposals and runs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from device_bridge.agent.domain import JsonObject

SECTIONS = ("projects", "tasks", "comments", "notes", "timelines", "suggestions", "runs")

# `:run` NULL takes all; else what that run made or changed.
_SQL = {
    "projects": """
        SELECT id, name, description, client_name, status,
               is_ai_suggested, is_approved, created_by_run, source, created_at, updated_at
        FROM projects
        WHERE :run IS NULL OR created_by_run = :run OR id IN (SELECT entity_id FROM changes WHERE run_id = :run)
        ORDER BY seq LIMIT :limit
    """,
    "tasks": """
        SELECT tasks.id, title, tasks.description, tasks.status, due_date, assignees, priority,
               project_id, projects.name AS project,
               tasks.is_ai_suggested, tasks.is_approved, tasks.created_by_run, tasks.source,
               tasks.created_at, tasks.updated_at
        FROM tasks LEFT JOIN projects ON projects.id = project_id
        WHERE :run IS NULL OR tasks.created_by_run = :run
              OR tasks.id IN (SELECT entity_id FROM changes WHERE run_id = :run)
        ORDER BY tasks.seq LIMIT :limit
    """,
    "comments": """
        SELECT task_comments.id, task_id, title AS task, author, text,
               task_comments.is_ai_suggested, task_comments.is_approved, task_comments.created_by_run,
               task_comments.source, task_comments.created_at, task_comments.updated_at
        FROM task_comments JOIN tasks ON tasks.id = task_id
        WHERE :run IS NULL OR task_comments.created_by_run = :run
        ORDER BY task_comments.seq LIMIT :limit
    """,
    "notes": """
        SELECT notes.id, title, content, project_id, projects.name AS project,
               notes.is_ai_suggested, notes.is_approved, notes.created_by_run, notes.source,
               notes.created_at, notes.updated_at
        FROM notes LEFT JOIN projects ON projects.id = project_id
        WHERE :run IS NULL OR notes.created_by_run = :run
              OR notes.id IN (SELECT entity_id FROM changes WHERE run_id = :run)
        ORDER BY notes.seq LIMIT :limit
    """,
    "timelines": """
        SELECT timelines.id, title, date, end_date, timelines.description, is_completed,
               project_id, projects.name AS project,
               timelines.is_ai_suggested, timelines.is_approved, timelines.created_by_run, timelines.source,
               timelines.created_at, timelines.updated_at
        FROM timelines LEFT JOIN projects ON projects.id = project_id
        WHERE :run IS NULL OR timelines.created_by_run = :run
              OR timelines.id IN (SELECT entity_id FROM changes WHERE run_id = :run)
        ORDER BY timelines.seq LIMIT :limit
    """,
    "suggestions": """
        SELECT suggestions.id, entity_type, entity_id,
               coalesce(projects.name, tasks.title, notes.title, timelines.title) AS title,
               changes, suggestions.created_by_run, suggestions.source, suggestions.created_at
        FROM suggestions
        LEFT JOIN projects ON entity_type = 'project' AND projects.id = entity_id
        LEFT JOIN tasks ON entity_type = 'task' AND tasks.id = entity_id
        LEFT JOIN notes ON entity_type = 'note' AND notes.id = entity_id
        LEFT JOIN timelines ON entity_type = 'timeline' AND timelines.id = entity_id
        WHERE :run IS NULL OR suggestions.created_by_run = :run
        ORDER BY suggestions.seq LIMIT :limit
    """,
    "runs": """
        SELECT run_id, agent_key, agent_name, "trigger", state, started_at, completed_at, summary, counts
        FROM runs WHERE :run IS NULL OR run_id = :run
        ORDER BY started_at, run_id LIMIT :limit
    """,
}
_JSON = frozenset({"assignees", "changes", "counts"})
_FLAGS = frozenset({"is_ai_suggested", "is_approved", "is_completed"})


def read(
    connection: sqlite3.Connection, *, sections: Sequence[str] = SECTIONS, run_id: str | None = None, limit: int
) -> tuple[JsonObject, bool]:
    """Return {section: [row…]}, oldest first, and whether a section holds more than `limit` rows.

    Args:
        connection: Any but the tools' own.
        sections: Some of `SECTIONS`.
        run_id: Only what this run made or changed; None for everything.
        limit: Most rows of a section.
    """
    found: JsonObject = {}
    more = False
    for section in sections:
        selected = connection.execute(_SQL[section], {"run": run_id, "limit": limit + 1}).fetchall()
        more = more or len(selected) > limit
        found[section] = [_plain(row) for row in selected[:limit]]
    return found, more


def state(row: JsonObject) -> str:
    """Return the state of a row in a word: suggested, approved or own."""
    if not row["is_ai_suggested"]:
        return "own"
    return "approved" if row["is_approved"] else "suggested"


def _plain(row: sqlite3.Row) -> JsonObject:
    plain: JsonObject = dict(row)
    for name, value in plain.items():
        if name in _JSON:
            plain[name] = json.loads(value)
        elif name in _FLAGS:
            plain[name] = bool(value)
    if "is_ai_suggested" in plain:
        plain["state"] = state(plain)
    return plain
