"""Tasks, notes and timelines: found again by their titles, then updated; created only when they are new."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.adapters.offline_model.conversation import Call, Result, text_of
from orchestrator.adapters.offline_model.extraction import Milestone, Note, Task, title_key
from orchestrator.adapters.offline_model.extraction.items import STATUSES, furthest, united
from orchestrator.adapters.offline_model.extraction.words import normal
from orchestrator.adapters.offline_model.reading import id_of
from orchestrator.adapters.offline_model.writing import Writing
from orchestrator.runs.domain import JsonObject

AUTHOR = "Adiuva"
MAX_ASSIGNEES = 20
MAX_NOTE_CHARS = 100_000
"""Of a note in the workspace; one that would grow longer is left as it is."""


@dataclass(slots=True, kw_only=True)
class _TaskRow:
    row_id: str
    """Empty while it is not made."""
    status: str
    due_date: str
    assignees: tuple[str, ...]
    listed: bool
    """Whether it was there before this conversation."""


class Tasks:
    """The tasks of one project."""

    def __init__(
        self, writing: Writing, project_id: str | None, rows: Iterable[JsonObject], names: Mapping[str, str]
    ) -> None:
        self._writing = writing
        self._project_id = project_id
        self._names = names
        """How comments name what they come from, by path."""
        self._rows: dict[str, _TaskRow] = {}
        for row in rows:
            self._rows.setdefault(title_key(text_of(row.get("title"))), _task_row(row))

    def take(self, path: str, task: Task) -> None:
        """Take in what a file says about a task."""
        key = title_key(task.title)
        row = self._rows.get(key)
        if row is None:
            self._rows[key] = self._create(path, task)
        elif row.row_id:
            self._update(path, task, row)

    def _create(self, path: str, task: Task) -> _TaskRow:
        arguments: JsonObject = {"title": task.title, "status": task.status, "source": path}
        if task.description:
            arguments["description"] = task.description
        if task.due_date:
            arguments["due_date"] = task.due_date.isoformat()
        if task.assignees:
            arguments["assignees"] = list(task.assignees[:MAX_ASSIGNEES])
        result = self._writing.do(Call("create_task", _placed(arguments, self._project_id)))
        return _TaskRow(
            row_id=_made_id(result),
            status=task.status,
            due_date=task.due_date.isoformat() if task.due_date else "",
            assignees=task.assignees,
            listed=False,
        )

    def _update(self, path: str, task: Task, row: _TaskRow) -> None:
        changes: JsonObject = {}
        news: list[str] = []
        if row.status in STATUSES and (status := furthest(row.status, task.status)) != row.status:
            changes["status"] = row.status = status
            news.append(f"now {status}")
        due_date = task.due_date.isoformat() if task.due_date else row.due_date
        if due_date != row.due_date:
            changes["due_date"] = row.due_date = due_date
            news.append(f"due {due_date}")
        assignees = _all_people(row.assignees, task.assignees)[:MAX_ASSIGNEES]
        if assignees != row.assignees:
            changes["assignees"] = list(assignees)
            row.assignees = assignees
            news.append(f"assigned to {', '.join(assignees)}")
        # A listed task of which the file tells nothing new may well come from this very file.
        if changes or not row.listed:
            text = f"From {self._names.get(path, path)}: {'; '.join(news) or 'mentioned again, nothing new'}."
            comment: JsonObject = {"task_id": row.row_id, "text": text, "author": AUTHOR, "source": path}
            self._writing.do(Call("add_task_comment", comment))
        if changes:
            self._writing.do(Call("update_task", {"task_id": row.row_id, **changes, "source": path}))


@dataclass(slots=True, kw_only=True)
class _NoteRow:
    row_id: str
    content: str | None
    """None while it is not read."""


class Notes:
    """The notes of one project."""

    def __init__(self, writing: Writing, project_id: str | None, rows: Iterable[JsonObject]) -> None:
        self._writing = writing
        self._project_id = project_id
        self._rows: dict[str, _NoteRow] = {}
        for row in rows:
            self._rows.setdefault(title_key(text_of(row.get("title"))), _NoteRow(row_id=id_of(row), content=None))

    def take(self, path: str, note: Note) -> None:
        """Take in the note that a file is."""
        key = title_key(note.title)
        row = self._rows.get(key)
        if row is None:
            arguments: JsonObject = {"title": note.title, "content": note.content, "source": path}
            result = self._writing.do(Call("create_note", _placed(arguments, self._project_id)))
            self._rows[key] = _NoteRow(row_id=_made_id(result), content=note.content)
        elif row.row_id:
            self._merge(path, note, row)

    def _merge(self, path: str, note: Note, row: _NoteRow) -> None:
        if row.content is None:
            result = self._writing.do(Call("get_note", {"note_id": row.row_id}))
            if result is None or not result.ok:
                return
            row.content = result.text("content")
        content = merged(row.content, note.content)
        if content != row.content and len(content) <= MAX_NOTE_CHARS:
            row.content = content
            self._writing.do(Call("update_note", {"note_id": row.row_id, "content": content, "source": path}))


def merged(old: str, new: str) -> str:
    """Return the old content, and after it those paragraphs of the new one that it does not hold."""
    known = " ".join(old.split())
    added = [part.strip("\n") for part in new.split("\n\n") if " ".join(part.split()) not in known]
    if not added:
        return old
    return "\n\n".join([old.rstrip(), *added]) if known else new


@dataclass(slots=True, kw_only=True)
class _TimelineRow:
    row_id: str
    key: str
    day: str
    path: str = ""
    """The file that named it last in this conversation."""


class Timelines:
    """The timelines of one project."""

    def __init__(self, writing: Writing, project_id: str | None, rows: Iterable[JsonObject]) -> None:
        self._writing = writing
        self._project_id = project_id
        self._rows = [
            _TimelineRow(row_id=id_of(row), key=title_key(text_of(row.get("title"))), day=text_of(row.get("date")))
            for row in rows
        ]

    def take(self, path: str, milestones: Iterable[Milestone]) -> None:
        """Take in all milestones of a file.

        One with the same title and day is known. Otherwise one with the same title that this file does not name with
        another day has moved: a file that names a title with two days means two.
        """
        unknown = [milestone for milestone in milestones if not self._is_known(path, milestone)]
        for milestone in unknown:
            key, day = title_key(milestone.title), milestone.day.isoformat()
            row = next((row for row in self._rows if row.key == key and row.path != path), None)
            if row is None:
                arguments: JsonObject = {"title": milestone.title, "date": day, "source": path}
                result = self._writing.do(Call("create_timeline", _placed(arguments, self._project_id)))
                self._rows.append(_TimelineRow(row_id=_made_id(result), key=key, day=day, path=path))
            elif row.row_id:
                row.day, row.path = day, path
                self._writing.do(Call("update_timeline", {"timeline_id": row.row_id, "date": day, "source": path}))

    def _is_known(self, path: str, milestone: Milestone) -> bool:
        key, day = title_key(milestone.title), milestone.day.isoformat()
        for row in self._rows:
            if (row.key, row.day) == (key, day):
                row.path = path
                return True
        return False


def _task_row(row: JsonObject) -> _TaskRow:
    people = row.get("assignees")
    return _TaskRow(
        row_id=id_of(row),
        status=text_of(row.get("status")),
        due_date=text_of(row.get("due_date")),
        assignees=tuple(name for name in people if isinstance(name, str)) if isinstance(people, list) else (),
        listed=True,
    )


def _all_people(known: tuple[str, ...], named: tuple[str, ...]) -> tuple[str, ...]:
    """Return the known people and those of the named ones who are not among them, accents and case aside."""
    there = {normal(name) for name in known}
    return united(known, tuple(name for name in named if normal(name) not in there))


def _placed(arguments: JsonObject, project_id: str | None) -> JsonObject:
    return {**arguments, "project_id": project_id} if project_id else arguments


def _made_id(result: Result | None) -> str:
    return id_of(result.data) if result is not None and result.ok else ""
