"""The timeline tools: dated milestones and spans."""

from __future__ import annotations

import sqlite3

from device_bridge.agent.domain import EffectClass, JsonObject, Reason, ToolError, ToolSpec
from device_bridge.agent.tools.schemas import (
    PAGE_TOKEN,
    SOURCE,
    closed,
    date,
    flag,
    line,
    optional_date,
    optional_row_id,
    row_id,
    text,
)
from device_bridge.agent.tools.tool import Change, Query
from device_bridge.agent.workspace import rows, timelines
from device_bridge.agent.workspace.timelines import TIMELINE
from device_bridge.agent.workspace.writing import Done, Writing

TOOLSET = "timelines"

_FIELDS = {
    "title": line("What happens then, in one line."),
    "date": date("Day it happens or begins, YYYY-MM-DD."),
    "end_date": optional_date("Last day of a span, YYYY-MM-DD; null for a single day."),
    "description": text("What else the source says about it."),
}


def _list_timelines(connection: sqlite3.Connection, arguments: JsonObject) -> JsonObject:
    return timelines.listed(
        connection,
        any_project="project_id" not in arguments,
        project_id=arguments.get("project_id"),
        page_token=arguments.get("page_token"),
    )


def _create_timeline(writing: Writing, arguments: JsonObject) -> Done:
    values = _values(arguments)
    _check_span(values)
    return rows.create(writing, TIMELINE, values, arguments.get("source", ""))


def _update_timeline(writing: Writing, arguments: JsonObject) -> Done:
    values = _values(arguments)
    _check_span({**rows.get(writing.connection, TIMELINE, arguments["timeline_id"]), **values})
    return rows.change(writing, TIMELINE, arguments["timeline_id"], values, arguments.get("source", ""))


def _values(arguments: JsonObject) -> JsonObject:
    values = {name: arguments[name] for name in TIMELINE.fields if name in arguments}
    if "title" in values:
        values["title"] = rows.one_line(values["title"])
    return values


def _check_span(values: JsonObject) -> None:
    # Days written as YYYY-MM-DD compare as text.
    end_date = values.get("end_date")
    if end_date is not None and end_date < values["date"]:
        raise ToolError(Reason.INVALID_ARGUMENT, "end_date: must not be before date.")


TIMELINE_TOOLS = (
    Query(
        spec=ToolSpec(
            name="list_timelines",
            description=(
                "List milestones and spans with all their fields: of one project, of no project (project_id null), "
                "or all (leave project_id out). Look here before creating one. Comes in pages."
            ),
            toolset=TOOLSET,
            effect=EffectClass.READ_ONLY,
            input_schema=closed(
                {
                    "project_id": optional_row_id("Only those of this project; null for those in no project."),
                    "page_token": PAGE_TOKEN,
                }
            ),
        ),
        run=_list_timelines,
    ),
    Change(
        spec=ToolSpec(
            name="create_timeline",
            description=(
                "Suggest a new milestone, deadline, meeting or span whose date the source names, when none in the "
                "list matches by title or date. Returns it with its id."
            ),
            toolset=TOOLSET,
            effect=EffectClass.EFFECT,
            input_schema=closed(
                {
                    **_FIELDS,
                    "project_id": optional_row_id("Id of the project it belongs to; null for none."),
                    "source": SOURCE,
                },
                required=["title", "date"],
            ),
        ),
        run=_create_timeline,
    ),
    Change(
        spec=ToolSpec(
            name="update_timeline",
            description=(
                "Change fields of a milestone or span, or mark it completed; fields left out stay. One that the user "
                "made or approved is not changed: the change is proposed to the user (outcome 'proposed')."
            ),
            toolset=TOOLSET,
            effect=EffectClass.EFFECT,
            input_schema=closed(
                {
                    "timeline_id": row_id("Id of the milestone or span."),
                    **_FIELDS,
                    "is_completed": flag("Whether it is done or past."),
                    "source": SOURCE,
                },
                required=["timeline_id"],
            ),
        ),
        run=_update_timeline,
    ),
)
