"""Tasks and their comments: fields and SQL."""

from __future__ import annotations

import sqlite3

from device_bridge.agent.domain import Effect, EffectKind, JsonObject
from device_bridge.agent.workspace import rows
from device_bridge.agent.workspace.writing import Done, Writing

TASK = rows.Entity(
    type="task",
    collection="tasks",
    title_field="title",
    fields={
        "title": "",
        "description": "",
        "project_id": None,
        "status": "ToDo",
        "due_date": None,
        "assignees": [],
        "priority": None,
    },
    lists=frozenset({"assignees"}),
    insert_sql="""
        INSERT INTO tasks (id, title, description, project_id, status, due_date, assignees, priority,
                           is_ai_suggested, is_approved, created_by_run, source, created_at, updated_at)
        VALUES (:id, :title, :description, :project_id, :status, :due_date, :assignees, :priority,
                1, 0, :run_id, :source, :now, :now)
    """,
    update_sql="""
        UPDATE tasks SET title = :title, description = :description, project_id = :project_id, status = :status,
                         due_date = :due_date, assignees = :assignees, priority = :priority, updated_at = :now
        WHERE id = :id
    """,
    get_sql="SELECT * FROM tasks WHERE id = :id",
)

_LIST = """
    SELECT * FROM tasks
    WHERE seq > :after AND (:any_project OR project_id IS :project_id) AND (:status IS NULL OR status = :status)
    ORDER BY seq LIMIT :limit
"""
_INSERT_COMMENT = """
    INSERT INTO task_comments (id, task_id, author, text,
                               is_ai_suggested, is_approved, created_by_run, source, created_at, updated_at)
    VALUES (:id, :task_id, :author, :text, 1, 0, :run_id, :source, :now, :now)
"""


def listed(
    connection: sqlite3.Connection,
    *,
    any_project: bool,
    project_id: str | None,
    status: str | None,
    page_token: str | None,
) -> JsonObject:
    """Return a page of tasks, oldest first.

    Args:
        connection: To read from.
        any_project: Whether `project_id` is to be ignored.
        project_id: Only this project's tasks; None for those in no project.
        status: Only tasks of this state; None for all.
        page_token: From the page before.

    Raises:
        ToolError: NOT_FOUND for an unknown project, INVALID_ARGUMENT for a foreign token.
    """
    rows.require_project(connection, project_id)
    values = {
        "after": rows.after(page_token),
        "any_project": any_project,
        "project_id": project_id,
        "status": status,
        "limit": rows.MAX_PAGE_ROWS + 1,
    }
    found = connection.execute(_LIST, values)
    return rows.page(TASK.collection, ((row["seq"], rows.public(TASK, row)) for row in found))


def comment(writing: Writing, task_id: str, *, author: str, text: str, source: str) -> Done:
    """Add a comment to any task, also to one that the user made or approved.

    Raises:
        ToolError: NOT_FOUND.
    """
    task = rows.get(writing.connection, TASK, task_id)
    values = {"id": writing.new_id(), "task_id": task_id, "author": author, "text": text}
    writing.connection.execute(
        _INSERT_COMMENT, {**values, "run_id": writing.context.run_id, "source": source, "now": writing.now}
    )
    effect = Effect(
        kind=EffectKind.COMMENTED, entity_type=TASK.type, entity_id=task_id, title=task["title"], source=source
    )
    return Done(result={**values, "is_ai_suggested": True, "is_approved": False}, effects=(effect,))
