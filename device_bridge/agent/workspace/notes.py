"""Notes: their fields and their SQL."""

from __future__ import annotations

import sqlite3

from device_bridge.agent.domain import JsonObject
from device_bridge.agent.workspace import rows

NOTE = rows.Entity(
    type="note",
    collection="notes",
    title_field="title",
    fields={"title": "", "content": "", "project_id": None},
    insert_sql="""
        INSERT INTO notes (id, title, content, project_id,
                           is_ai_suggested, is_approved, created_by_run, source, created_at, updated_at)
        VALUES (:id, :title, :content, :project_id, 1, 0, :run_id, :source, :now, :now)
    """,
    update_sql="""
        UPDATE notes SET title = :title, content = :content, project_id = :project_id, updated_at = :now WHERE id = :id
    """,
    get_sql="SELECT * FROM notes WHERE id = :id",
)

_LIST = """
    SELECT seq, id, title, project_id, is_ai_suggested, is_approved FROM notes
    WHERE seq > :after AND (:any_project OR project_id IS :project_id)
    ORDER BY seq LIMIT :limit
"""


def listed(
    connection: sqlite3.Connection, *, any_project: bool, project_id: str | None, page_token: str | None
) -> JsonObject:
    """Return a page of notes without their contents, oldest first.

    `project_id` is ignored when `any_project`; None stands for notes in no project.

    Raises:
        ToolError: NOT_FOUND for an unknown project, INVALID_ARGUMENT for a foreign token.
    """
    rows.require_project(connection, project_id)
    values = {
        "after": rows.after(page_token),
        "any_project": any_project,
        "project_id": project_id,
        "limit": rows.MAX_PAGE_ROWS + 1,
    }
    return rows.page(NOTE.collection, ((row["seq"], _headline(row)) for row in connection.execute(_LIST, values)))


def _headline(row: sqlite3.Row) -> JsonObject:
    return {
        "id": row["id"],
        "title": row["title"],
        "project_id": row["project_id"],
        "is_ai_suggested": bool(row["is_ai_suggested"]),
        "is_approved": bool(row["is_approved"]),
    }
