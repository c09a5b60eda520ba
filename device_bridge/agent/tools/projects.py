"""The project tools."""

from __future__ import annotations

import sqlite3

from device_bridge.agent.domain import EffectClass, JsonObject, ToolSpec
from device_bridge.agent.policy import PROJECTS
from device_bridge.agent.tools.schemas import MAX_TITLE, PAGE_TOKEN, SOURCE, choice, closed, line, row_id, text
from device_bridge.agent.tools.tool import Change, Query
from device_bridge.agent.workspace import projects, rows
from device_bridge.agent.workspace.projects import PROJECT
from device_bridge.agent.workspace.writing import Done, Writing

_NAME = line("Short name of the project, as the user would call it.")
_DESCRIPTION = text("What the project is about, in a sentence or two.")
_CLIENT = text("For whom it is done; empty when unknown.", max_length=MAX_TITLE)
_STATUS = choice("State of the project.", [projects.ACTIVE, projects.ON_HOLD, projects.COMPLETED])


def _list_projects(connection: sqlite3.Connection, arguments: JsonObject) -> JsonObject:
    return projects.listed(connection, completed_too=False, page_token=arguments.get("page_token"))


def _list_all_projects(connection: sqlite3.Connection, arguments: JsonObject) -> JsonObject:
    return projects.listed(connection, completed_too=True, page_token=arguments.get("page_token"))


def _get_project(connection: sqlite3.Connection, arguments: JsonObject) -> JsonObject:
    return projects.with_counts(connection, arguments["project_id"])


def _create_project(writing: Writing, arguments: JsonObject) -> Done:
    return rows.create(writing, PROJECT, _values(arguments), arguments.get("source", ""))


def _update_project(writing: Writing, arguments: JsonObject) -> Done:
    return rows.change(writing, PROJECT, arguments["project_id"], _values(arguments), arguments.get("source", ""))


def _values(arguments: JsonObject) -> JsonObject:
    values = {name: arguments[name] for name in PROJECT.fields if name in arguments}
    for name in ("name", "client_name"):
        if name in values:
            values[name] = rows.one_line(values[name])
    return values


PROJECT_TOOLS = (
    Query(
        spec=ToolSpec(
            name="list_projects",
            description="List the user's projects that are not completed, with id, name, description and client.",
            toolset=PROJECTS,
            effect=EffectClass.READ_ONLY,
            input_schema=closed({"page_token": PAGE_TOKEN}),
        ),
        run=_list_projects,
    ),
    Query(
        spec=ToolSpec(
            name="list_all_projects",
            description="List all of the user's projects, completed ones too.",
            toolset=PROJECTS,
            effect=EffectClass.READ_ONLY,
            input_schema=closed({"page_token": PAGE_TOKEN}),
        ),
        run=_list_all_projects,
    ),
    Query(
        spec=ToolSpec(
            name="get_project",
            description="Return one project with the counts of its tasks, open tasks, notes and timelines.",
            toolset=PROJECTS,
            effect=EffectClass.READ_ONLY,
            input_schema=closed({"project_id": row_id("Id of the project.")}, required=["project_id"]),
        ),
        run=_get_project,
    ),
    Change(
        spec=ToolSpec(
            name="create_project",
            description=(
                "Suggest a new project. Only for a clearly significant piece of work that no project in the list "
                "matches. Returns the project with its id."
            ),
            toolset=PROJECTS,
            effect=EffectClass.EFFECT,
            input_schema=closed(
                {"name": _NAME, "description": _DESCRIPTION, "client_name": _CLIENT, "source": SOURCE},
                required=["name"],
            ),
        ),
        run=_create_project,
    ),
    Change(
        spec=ToolSpec(
            name="update_project",
            description=(
                "Change fields of a project; fields left out stay. A project that the user made or approved is not "
                "changed: the change is proposed to the user (outcome 'proposed')."
            ),
            toolset=PROJECTS,
            effect=EffectClass.EFFECT,
            input_schema=closed(
                {
                    "project_id": row_id("Id of the project."),
                    "name": _NAME,
                    "description": _DESCRIPTION,
                    "client_name": _CLIENT,
                    "status": _STATUS,
                    "source": SOURCE,
                },
                required=["project_id"],
            ),
        ),
        run=_update_project,
    ),
)
