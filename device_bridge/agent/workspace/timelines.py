"""Timelines (dated milestones and spans): their fields and their SQL."""

from __future__ import annotations

import sqlite3

from device_bridge.agent.domain import JsonObject
from device_bridge.agent.workspace import rows

TIMELINE = rows.Entity(
    type="timeline",
    collection="timelines",
    title_field="title",
    fields={
        "title": "",
        "date": "",
        "end_date": None,
        "description": "",
        "project_id": None,
        "is_completed": False,
    },
    flags=frozenset({"is_completed"}),
    insert_sql="""
        INSERT INTO timelines (id, title, date, end_date, description, project_id, is_completed,
                               is_ai_suggested, is_approved, created_by_run, source, created_at, updated_at)
        VALUES (:id, :title, :date, :end_date, :description, :project_id, :is_completed,
                1, 0, :run_id, :source, :now, :now)
    """,
    update_sql="""
        UPDATE timelines SET title = :title, date = :date, end_date = :end_date, description = :description,
                             project_id = :project_id, is_completed = :is_completed, updated_at = :now
        WHERE id = :id
    """,
    get_sql="SELECT * FROM timelines WHERE id = :id",
)

_LIST = """
    SELECT * FROM timelines
    WHERE seq > :after AND (:any_project OR project_id IS :project_id)
    ORDER BY seq LIMIT :limit
"""


def listed(
    connection: sqlite3.Connection, *, any_project: bool, project_id: str | None, page_token: str | None
) -> JsonObject:
    """Return a page of timelines, oldest first.

    `project_id` is ignored when `any_project`; None stands for timelines in no project.

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
    found = connection.execute(_LIST, values)
    return rows.page(TIMELINE.collection, ((row["seq"], rows.public(TIMELINE, row)) for row in found))
