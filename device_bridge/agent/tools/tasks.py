"""The task tools."""

from __future__ import annotations

import sqlite3

from device_bridge.agent.domain import EffectClass, JsonObject, ToolSpec
from device_bridge.agent.tools.schemas import (
    PAGE_TOKEN,
    SOURCE,
    array,
    choice,
    closed,
    line,
    optional_date,
    optional_row_id,
    row_id,
    text,
)
from device_bridge.agent.tools.tool import Change, Query
from device_bridge.agent.workspace import rows, tasks
from device_bridge.agent.workspace.tasks import TASK
from device_bridge.agent.workspace.writing import Done, Writing

TOOLSET = "tasks"
DEFAULT_AUTHOR = "Adiuva"

_STATUS = choice("State of the task.", ["ToDo", "In Progress", "Completed"])
_FIELDS = {
    "title": line("What is to be done, in one line."),
    "description": text("Details that help to do it; empty when the title says it all."),
    "status": _STATUS,
    "due_date": optional_date("Day it is due, YYYY-MM-DD; null when the source names none."),
    "assignees": array(line("Name of a person.", max_length=100), "Who is to do it.", max_items=20),
    "priority": choice("How much it presses; null when the source does not say.", ["Low", "Medium", "High", None]),
    "project_id": optional_row_id("Id of the project it belongs to; null for none."),
    "source": SOURCE,
}


def _list_tasks(connection: sqlite3.Connection, arguments: JsonObject) -> JsonObject:
    return tasks.listed(
        connection,
        any_project="project_id" not in arguments,
        project_id=arguments.get("project_id"),
        status=arguments.get("status"),
        page_token=arguments.get("page_token"),
    )


def _create_task(writing: Writing, arguments: JsonObject) -> Done:
    return rows.create(writing, TASK, _values(arguments), arguments.get("source", ""))


def _update_task(writing: Writing, arguments: JsonObject) -> Done:
    return rows.change(writing, TASK, arguments["task_id"], _values(arguments), arguments.get("source", ""))


def _add_task_comment(writing: Writing, arguments: JsonObject) -> Done:
    return tasks.comment(
        writing,
        arguments["task_id"],
        author=rows.one_line(arguments.get("author", DEFAULT_AUTHOR)),
        text=arguments["text"],
        source=arguments.get("source", ""),
    )


def _values(arguments: JsonObject) -> JsonObject:
    values = {name: arguments[name] for name in TASK.fields if name in arguments}
    if "title" in values:
        values["title"] = rows.one_line(values["title"])
    if "assignees" in values:
        values["assignees"] = [rows.one_line(name) for name in values["assignees"]]
    return values


TASK_TOOLS = (
    Query(
        spec=ToolSpec(
            name="list_tasks",
            description=(
                "List tasks with all their fields: of one project, of no project (project_id null), or all (leave "
                "project_id out). Look here before creating a task. Comes in pages."
            ),
            toolset=TOOLSET,
            effect=EffectClass.READ_ONLY,
            input_schema=closed(
                {
                    "project_id": optional_row_id("Only tasks of this project; null for those in no project."),
                    "status": _STATUS,
                    "page_token": PAGE_TOKEN,
                }
            ),
        ),
        run=_list_tasks,
    ),
    Change(
        spec=ToolSpec(
            name="create_task",
            description=(
                "Suggest a new task, when no task in the list is the same by title or context. Name only dates, "
                "people and priorities that the source names. Returns the task with its id."
            ),
            toolset=TOOLSET,
            effect=EffectClass.EFFECT,
            input_schema=closed(_FIELDS, required=["title"]),
        ),
        run=_create_task,
    ),
    Change(
        spec=ToolSpec(
            name="update_task",
            description=(
                "Change fields of a task; fields left out stay. A task that the user made or approved is not "
                "changed: the change is proposed to the user (outcome 'proposed')."
            ),
            toolset=TOOLSET,
            effect=EffectClass.EFFECT,
            input_schema=closed({"task_id": row_id("Id of the task."), **_FIELDS}, required=["task_id"]),
        ),
        run=_update_task,
    ),
    Change(
        spec=ToolSpec(
            name="add_task_comment",
            description="Add a comment to a task: what the source newly says about it. Works on every task.",
            toolset=TOOLSET,
            effect=EffectClass.EFFECT,
            input_schema=closed(
                {
                    "task_id": row_id("Id of the task."),
                    "text": line("The comment.", max_length=10_000),
                    "author": line("Who says it; Adiuva when left out.", max_length=100),
                    "source": SOURCE,
                },
                required=["task_id", "text"],
            ),
        ),
        run=_add_task_comment,
    ),
)
