"""The tools of a device in memory: their specs, and what they do to a workspace of dictionaries."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.runs.domain import Effect, EffectClass, EffectKind, JsonObject, ToolSpec

PAGE_SIZE = 100
MAX_TEXT = 256 * 1024


class Refused(Exception):
    """Ends a tool with a failure."""

    def __init__(self, reason: str, message: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.message = message or reason


@dataclass(slots=True)
class FakeFile:
    """A file of the device; `failure` is how reading it fails."""

    text: str = ""
    mtime_ns: int = 1_772_000_000_000_000_000
    failure: str = ""
    size_bytes: int = -1

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return len(self.text.encode()) if self.size_bytes < 0 else self.size_bytes


@dataclass(slots=True)
class Workspace:
    """What the user would see, and the files."""

    files: dict[str, FakeFile] = field(default_factory=dict)
    rows: dict[str, dict[str, JsonObject]] = field(
        default_factory=lambda: {"project": {}, "task": {}, "note": {}, "timeline": {}}
    )
    comments: list[JsonObject] = field(default_factory=list)

    def add(self, entity_type: str, row_id: str, **fields: object) -> str:
        """Store a row as the user would have made it."""
        self.rows[entity_type][row_id] = {"id": row_id, "is_ai_suggested": False, "is_approved": True, **fields}
        return row_id

    def titles(self, entity_type: str) -> list[str]:
        """The titles of all rows of a type, sorted."""
        return sorted(str(row.get("title", row.get("name"))) for row in self.rows[entity_type].values())


@dataclass(slots=True)
class Call:
    """One call as a tool sees it."""

    workspace: Workspace
    arguments: JsonObject
    call_id: str
    known: Mapping[str, tuple[int, int]]
    """What the agent has processed: path to size and time."""
    directories: tuple[str, ...]
    effects: list[Effect] = field(default_factory=list)

    def did(self, kind: EffectKind, entity_type: str, row: JsonObject) -> None:
        """Report an effect."""
        self.effects.append(
            Effect(
                kind=kind,
                entity_type=entity_type,
                entity_id=row["id"],
                title=str(row.get("title", row.get("name", ""))),
                source=self.arguments.get("source", ""),
            )
        )


FakeTool = Callable[[Call], JsonObject]


def _text(**more: object) -> JsonObject:
    return {"type": "string", "maxLength": 10_000, **more}


def _schema(required: str = "", /, **properties: JsonObject) -> JsonObject:
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


_OPTIONAL_ID = {"type": ["string", "null"], "maxLength": 36}
_ID = _text(maxLength=36)
_STATUS = {"enum": ["ToDo", "In Progress", "Completed"]}


def _list_directory(call: Call) -> JsonObject:
    folder = call.arguments.get("path", ".")
    inside = [path for path in sorted(call.workspace.files) if path.startswith(f"{folder}/")]
    if not inside:
        raise Refused("NOT_FOUND")
    return {"path": folder, "entries": [{"name": path.rsplit("/", 1)[-1], "path": path} for path in inside]}


def _file(call: Call) -> FakeFile:
    file = call.workspace.files.get(call.arguments["path"])
    if file is None:
        raise Refused("NOT_FOUND")
    if file.failure:
        raise Refused(file.failure)
    return file


def _get_file_metadata(call: Call) -> JsonObject:
    return {"path": call.arguments["path"], "kind": "file", "size_bytes": _file(call).size}


def _read_file_content(call: Call) -> JsonObject:
    file = _file(call)
    offset = call.arguments.get("offset", 0)
    end = offset + call.arguments.get("max_bytes", MAX_TEXT)
    result: JsonObject = {"path": call.arguments["path"], "text": file.text[offset:end], "offset": offset}
    if end < len(file.text):
        result |= {"next_offset": end, "truncated": True}
    return result


def _find_changed_files(call: Call) -> JsonObject:
    files: list[JsonObject] = []
    unreadable: list[JsonObject] = []
    for folder in call.arguments["paths"]:
        if folder.split("/")[0] not in call.directories:
            raise Refused("PATH_DENIED")
        below = [path for path in sorted(call.workspace.files) if path.startswith(f"{folder}/")]
        if not below:
            raise Refused("NOT_FOUND")
        for path in below:
            file = call.workspace.files[path]
            if file.failure == "UNLISTED":
                unreadable.append({"path": path, "reason": "UNAVAILABLE"})
            elif call.known.get(path) != (file.size, file.mtime_ns) and _wanted(path, call.arguments["extensions"]):
                files.append({"path": path, "size_bytes": file.size, "mtime_ns": file.mtime_ns})
    start = int(call.arguments.get("page_token", "0"))
    end = start + call.arguments.get("page_size", 1000)
    page: JsonObject = {"files": files[start:end], "unreadable": unreadable if start == 0 else []}
    return page | ({"next_page_token": str(end)} if end < len(files) else {})


def _wanted(path: str, extensions: list[str]) -> bool:
    return not extensions or path.endswith(tuple(extensions))


def _lister(entity_type: str) -> FakeTool:
    def listed(call: Call) -> JsonObject:
        rows = list(call.workspace.rows[entity_type].values())
        if "project_id" in call.arguments:
            rows = [row for row in rows if row.get("project_id") == call.arguments["project_id"]]
        start = int(call.arguments.get("page_token", "0"))
        page: JsonObject = {f"{entity_type}s": rows[start : start + PAGE_SIZE]}
        return page | ({"next_page_token": str(start + PAGE_SIZE)} if start + PAGE_SIZE < len(rows) else {})

    return listed


def _getter(entity_type: str) -> FakeTool:
    return lambda call: _row(call, entity_type)


def _row(call: Call, entity_type: str) -> JsonObject:
    row = call.workspace.rows[entity_type].get(call.arguments[f"{entity_type}_id"])
    if row is None:
        raise Refused("NOT_FOUND")
    return row


def _maker(entity_type: str) -> FakeTool:
    def make(call: Call) -> JsonObject:
        # From the call's id: the same run makes the same rows, however often it is begun anew.
        row_id = str(uuid.uuid5(uuid.NAMESPACE_OID, call.call_id))
        values = {name: value for name, value in call.arguments.items() if name != "source"}
        project_id = values.get("project_id")
        if project_id and project_id not in call.workspace.rows["project"]:
            raise Refused("NOT_FOUND")
        row = {"project_id": None, **values, "id": row_id, "is_ai_suggested": True, "is_approved": False}
        call.workspace.rows[entity_type][row_id] = row
        call.did(EffectKind.CREATED, entity_type, row)
        return row

    return make


def _updater(entity_type: str) -> FakeTool:
    def change(call: Call) -> JsonObject:
        row = _row(call, entity_type)
        values = {name: value for name, value in call.arguments.items() if name not in {"source", f"{entity_type}_id"}}
        if row["is_approved"]:
            proposals = {**row.get("proposals", {}), **values}
            call.workspace.rows[entity_type][row["id"]] = {**row, "proposals": proposals}
            call.did(EffectKind.PROPOSED, entity_type, row)
            return {**row, "outcome": "proposed"}
        call.workspace.rows[entity_type][row["id"]] = {**row, **values}
        call.did(EffectKind.UPDATED, entity_type, row)
        return {**row, **values, "outcome": "updated"}

    return change


def _add_task_comment(call: Call) -> JsonObject:
    row = _row(call, "task")
    comment = {"task_id": row["id"], "text": call.arguments["text"], "author": call.arguments.get("author", "Adiuva")}
    call.workspace.comments.append(comment)
    call.did(EffectKind.COMMENTED, "task", row)
    return {"comment": comment}


def _spec(name: str, toolset: str, effect: EffectClass, schema: JsonObject) -> ToolSpec:
    return ToolSpec(name=name, description=f"{name}.", toolset=toolset, effect=effect, input_schema=schema)


_RO, _EFFECT = EffectClass.READ_ONLY, EffectClass.EFFECT
_PAGE = {"page_token": _text()}
_TASK: dict[str, Any] = {"title": _text(minLength=1), "status": _STATUS, "due_date": {"type": ["string", "null"]}}
_TASK |= {
    "project_id": _OPTIONAL_ID,
    "source": _text(),
    "assignees": {"type": "array", "items": _text(), "maxItems": 20},
}
_NOTE: dict[str, Any] = {"title": _text(minLength=1), "content": _text(), "source": _text()}
_TIMELINE: dict[str, Any] = {"title": _text(minLength=1), "date": _text(), "source": _text()}
_PROJECT: dict[str, Any] = {"name": _text(minLength=1), "description": _text(), "source": _text()}
_PATH = {"path": _text(minLength=1, maxLength=1024)}
_OFFSET = {"type": "integer", "minimum": 0}

TOOLS: Mapping[str, tuple[ToolSpec, FakeTool]] = {
    spec.name: (spec, run)
    for spec, run in (
        (_spec("list_directory", "filesystem", _RO, _schema(**_PATH, **_PAGE)), _list_directory),
        (_spec("get_file_metadata", "filesystem", _RO, _schema("path", **_PATH)), _get_file_metadata),
        (
            _spec("read_file_content", "filesystem", _RO, _schema("path", **_PATH, offset=_OFFSET, max_bytes=_OFFSET)),
            _read_file_content,
        ),
        (
            _spec(
                "find_changed_files",
                "filesystem",
                _RO,
                _schema(
                    "paths extensions",
                    paths={"type": "array"},
                    extensions={"type": "array"},
                    page_size={"type": "integer", "maximum": 1000},
                    **_PAGE,
                ),
            ),
            _find_changed_files,
        ),
        (_spec("list_projects", "projects", _RO, _schema(**_PAGE)), _lister("project")),
        (_spec("list_all_projects", "projects", _RO, _schema(**_PAGE)), _lister("project")),
        (_spec("get_project", "projects", _RO, _schema("project_id", project_id=_ID)), _getter("project")),
        (_spec("create_project", "projects", _EFFECT, _schema("name", **_PROJECT)), _maker("project")),
        (
            _spec("update_project", "projects", _EFFECT, _schema("project_id", project_id=_ID, **_PROJECT)),
            _updater("project"),
        ),
        (
            _spec("list_tasks", "tasks", _RO, _schema(project_id=_OPTIONAL_ID, status=_STATUS, **_PAGE)),
            _lister("task"),
        ),
        (_spec("create_task", "tasks", _EFFECT, _schema("title", **_TASK)), _maker("task")),
        (_spec("update_task", "tasks", _EFFECT, _schema("task_id", task_id=_ID, **_TASK)), _updater("task")),
        (
            _spec(
                "add_task_comment",
                "tasks",
                _EFFECT,
                _schema("task_id text", task_id=_ID, text=_text(), author=_text(), source=_text()),
            ),
            _add_task_comment,
        ),
        (_spec("list_notes", "notes", _RO, _schema(project_id=_OPTIONAL_ID, **_PAGE)), _lister("note")),
        (_spec("get_note", "notes", _RO, _schema("note_id", note_id=_ID)), _getter("note")),
        (
            _spec("create_note", "notes", _EFFECT, _schema("title content", project_id=_OPTIONAL_ID, **_NOTE)),
            _maker("note"),
        ),
        (_spec("update_note", "notes", _EFFECT, _schema("note_id", note_id=_ID, **_NOTE)), _updater("note")),
        (_spec("list_timelines", "timelines", _RO, _schema(project_id=_OPTIONAL_ID, **_PAGE)), _lister("timeline")),
        (
            _spec("create_timeline", "timelines", _EFFECT, _schema("title date", project_id=_OPTIONAL_ID, **_TIMELINE)),
            _maker("timeline"),
        ),
        (
            _spec("update_timeline", "timelines", _EFFECT, _schema("timeline_id", timeline_id=_ID, **_TIMELINE)),
            _updater("timeline"),
        ),
    )
}
"""Every tool of the built-in set but the control ones, by name."""
