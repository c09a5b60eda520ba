"""Projects: their fields and their SQL."""

from __future__ import annotations

import sqlite3

from device_bridge.agent.domain import JsonObject
from device_bridge.agent.workspace import rows

ACTIVE = "Active"
ON_HOLD = "On Hold"
COMPLETED = "Completed"

PROJECT = rows.Entity(
    type="project",
    collection="projects",
    title_field="name",
    fields={"name": "", "description": "", "client_name": "", "status": ACTIVE},
    insert_sql="""
        INSERT INTO projects (id, name, description, client_name, status,
                              is_ai_suggested, is_approved, created_by_run, source, created_at, updated_at)
        VALUES (:id, :name, :description, :client_name, :status, 1, 0, :run_id, :source, :now, :now)
    """,
    update_sql="""
        UPDATE projects SET name = :name, description = :description, client_name = :client_name, status = :status,
                            updated_at = :now
        WHERE id = :id
    """,
    get_sql="SELECT * FROM projects WHERE id = :id",
)

_LIST = """
    SELECT * FROM projects WHERE seq > :after AND (:all OR status <> 'Completed') ORDER BY seq LIMIT :limit
"""
_COUNTS = """
    SELECT (SELECT count(*) FROM tasks WHERE project_id = :id) AS tasks,
           (SELECT count(*) FROM tasks WHERE project_id = :id AND status <> 'Completed') AS open_tasks,
           (SELECT count(*) FROM notes WHERE project_id = :id) AS notes,
           (SELECT count(*) FROM timelines WHERE project_id = :id) AS timelines
"""


def listed(connection: sqlite3.Connection, *, completed_too: bool, page_token: str | None) -> JsonObject:
    """Return a page of projects, oldest first; those not completed unless `completed_too`."""
    values = {"after": rows.after(page_token), "all": completed_too, "limit": rows.MAX_PAGE_ROWS + 1}
    found = connection.execute(_LIST, values)
    return rows.page(PROJECT.collection, ((row["seq"], rows.public(PROJECT, row)) for row in found))


def with_counts(connection: sqlite3.Connection, project_id: str) -> JsonObject:
    """Return one project with `counts` of its tasks, open tasks, notes and timelines.

    Raises:
        ToolError: NOT_FOUND.
    """
    project = rows.get(connection, PROJECT, project_id)
    counts = connection.execute(_COUNTS, {"id": project_id}).fetchone()
    return {**project, "counts": dict(counts)}
