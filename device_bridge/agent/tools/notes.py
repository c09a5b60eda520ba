"""The note tools."""

from __future__ import annotations

import sqlite3

from device_bridge.agent.domain import EffectClass, JsonObject, ToolSpec
from device_bridge.agent.tools.schemas import MAX_CONTENT, PAGE_TOKEN, SOURCE, closed, line, optional_row_id, row_id
from device_bridge.agent.tools.tool import Change, Query
from device_bridge.agent.workspace import notes, rows
from device_bridge.agent.workspace.notes import NOTE
from device_bridge.agent.workspace.writing import Done, Writing

TOOLSET = "notes"

_NOTE_ID = row_id("Id of the note.")
_TITLE = line("What the note is about, in one line.")
_CONTENT = line("The note as plain text or Markdown.", max_length=MAX_CONTENT)


def _list_notes(connection: sqlite3.Connection, arguments: JsonObject) -> JsonObject:
    return notes.listed(
        connection,
        any_project="project_id" not in arguments,
        project_id=arguments.get("project_id"),
        page_token=arguments.get("page_token"),
    )


def _get_note(connection: sqlite3.Connection, arguments: JsonObject) -> JsonObject:
    return rows.get(connection, NOTE, arguments["note_id"])


def _create_note(writing: Writing, arguments: JsonObject) -> Done:
    return rows.create(writing, NOTE, _values(arguments), arguments.get("source", ""))


def _update_note(writing: Writing, arguments: JsonObject) -> Done:
    return rows.change(writing, NOTE, arguments["note_id"], _values(arguments), arguments.get("source", ""))


def _values(arguments: JsonObject) -> JsonObject:
    values = {name: arguments[name] for name in NOTE.fields if name in arguments}
    if "title" in values:
        values["title"] = rows.one_line(values["title"])
    return values


NOTE_TOOLS = (
    Query(
        spec=ToolSpec(
            name="list_notes",
            description=(
                "List notes by id and title, without their contents: of one project, of no project (project_id "
                "null), or all (leave project_id out). Look here before creating a note. Comes in pages."
            ),
            toolset=TOOLSET,
            effect=EffectClass.READ_ONLY,
            input_schema=closed(
                {
                    "project_id": optional_row_id("Only notes of this project; null for those in no project."),
                    "page_token": PAGE_TOKEN,
                }
            ),
        ),
        run=_list_notes,
    ),
    Query(
        spec=ToolSpec(
            name="get_note",
            description="Return one note with its content.",
            toolset=TOOLSET,
            effect=EffectClass.READ_ONLY,
            input_schema=closed({"note_id": _NOTE_ID}, required=["note_id"]),
        ),
        run=_get_note,
    ),
    Change(
        spec=ToolSpec(
            name="create_note",
            description="Suggest a new note, when no note in the list covers the matter. Returns the note with its id.",
            toolset=TOOLSET,
            effect=EffectClass.EFFECT,
            input_schema=closed(
                {
                    "title": _TITLE,
                    "content": _CONTENT,
                    "project_id": optional_row_id("Id of the project it belongs to; null for none."),
                    "source": SOURCE,
                },
                required=["title", "content"],
            ),
        ),
        run=_create_note,
    ),
    Change(
        spec=ToolSpec(
            name="update_note",
            description=(
                "Change a note. The content given replaces the old one, so read it with get_note first and merge. A "
                "note that the user made or approved is not changed: the change is proposed (outcome 'proposed')."
            ),
            toolset=TOOLSET,
            effect=EffectClass.EFFECT,
            input_schema=closed(
                {"note_id": _NOTE_ID, "title": _TITLE, "content": _CONTENT, "source": SOURCE}, required=["note_id"]
            ),
        ),
        run=_update_note,
    ),
)
