"""What to do next with a group of files or messages: read them, look at what is there, then change it.

Every answer is found anew from the whole conversation: all changes that they ask for are gone through in order, and
those that were not made yet, and whose records are known, come next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.adapters.offline_model.belonging import project_of
from orchestrator.adapters.offline_model.conversation import Call, Conversation
from orchestrator.adapters.offline_model.extraction import Extraction, Message, extract, extract_message
from orchestrator.adapters.offline_model.projects import creating, matching
from orchestrator.adapters.offline_model.reading import (
    MAX_TURNS,
    FileText,
    Listing,
    read_file,
    read_list,
    read_message,
    read_projects,
)
from orchestrator.adapters.offline_model.records import Notes, Tasks, Timelines
from orchestrator.adapters.offline_model.writing import Writing
from orchestrator.agents.domain import DataType
from orchestrator.runs.domain import JsonObject
from orchestrator.runs.messages import ProcessingBrief

MAX_NAME_CHARS = 100

_LISTS = {DataType.TASKS: "list_tasks", DataType.NOTES: "list_notes", DataType.TIMELINES: "list_timelines"}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the records of the group belong."""

    project_id: str | None
    missing: Call | None = None
    """The call to make before it is known."""
    new: bool = False
    """Whether the project was made in this conversation: there is nothing in it yet."""


def next_calls(conversation: Conversation, brief: ProcessingBrief, tools: frozenset[str]) -> list[Call]:
    """Return the calls to make next, in order; none when there is nothing left to do.

    Args:
        conversation: So far.
        brief: The group.
        tools: What may be called.
    """
    files = read_items(conversation, brief)
    looking = conversation.turns <= MAX_TURNS
    reads = _allowed([file.missing for file in files.values()], tools) if looking else []
    if reads:
        return reads
    found = found_in(brief, files)
    place = _place(conversation, brief, files, found)
    deciding = _allowed([place.missing], tools)
    if deciding:
        return deciding
    lists = {kind: _existing(conversation, kind, place) for kind in _kinds(found)}
    listings = _allowed([listing.missing for listing in lists.values()], tools) if looking else []
    if listings:
        return listings
    rows = {kind: listing.rows for kind, listing in lists.items() if not listing.failed}
    names = {path: _name_of(path, file.message) for path, file in files.items()}
    return _changes(Writing(conversation, tools), found, place.project_id, rows, names)


def read_items(conversation: Conversation, brief: ProcessingBrief) -> dict[str, FileText]:
    """Return what the conversation holds of the group's files, by path, or of its messages, oldest first."""
    if brief.messages:
        return {path: read_message(conversation, path) for path in brief.items}
    return {path: read_file(conversation, path) for path in sorted(brief.items)}


def found_in(brief: ProcessingBrief, files: dict[str, FileText]) -> dict[str, Extraction]:
    """Return what the rules find in each file or message, of the kinds that the agent works on."""
    return {path: _chosen(_extracted(path, file), brief.data_types) for path, file in files.items()}


def _extracted(path: str, file: FileText) -> Extraction:
    return extract(path, file.text) if file.message is None else extract_message(file.message)


def _name_of(path: str, message: Message | None) -> str:
    """Return how a comment names what it comes from: a message's id tells a person nothing."""
    if message is None:
        return path
    writer = message.sender or message.address
    return "".join(
        [
            "a message",
            f" of {message.sent.isoformat()}" if message.sent else "",
            f" by {' '.join(writer.split())[:MAX_NAME_CHARS]}" if writer.strip() else "",
        ]
    )


def _allowed(calls: Iterable[Call | None], tools: frozenset[str]) -> list[Call]:
    return [call for call in calls if call is not None and call.name in tools]


def _chosen(found: Extraction, data_types: frozenset[DataType]) -> Extraction:
    return Extraction(
        tasks=found.tasks if DataType.TASKS in data_types else (),
        milestones=found.milestones if DataType.TIMELINES in data_types else (),
        note=found.note if DataType.NOTES in data_types else None,
        cut=found.cut,
    )


def _kinds(found: dict[str, Extraction]) -> list[DataType]:
    extractions = found.values()
    there = {
        DataType.TASKS: any(extraction.tasks for extraction in extractions),
        DataType.NOTES: any(extraction.note for extraction in extractions),
        DataType.TIMELINES: any(extraction.milestones for extraction in extractions),
    }
    return [kind for kind, is_there in there.items() if is_there]


def _existing(conversation: Conversation, kind: DataType, place: _Place) -> Listing:
    if place.new:
        return Listing(rows=[])
    return read_list(conversation, _LISTS[kind], kind.value, place.project_id)


def _place(
    conversation: Conversation, brief: ProcessingBrief, files: dict[str, FileText], found: dict[str, Extraction]
) -> _Place:
    if brief.project is not None:
        return _Place(brief.project.project_id)
    if brief.messages:
        return _place_of_messages(conversation, files, found)
    if not brief.title or DataType.PROJECTS not in brief.data_types:
        return _Place(None)
    projects = read_projects(conversation)
    if projects.missing and conversation.turns <= MAX_TURNS:
        return _Place(None, projects.missing)
    if known := matching(brief.title, projects.rows):
        return _Place(known)
    texts = {path: file.text for path, file in files.items() if not file.failure}
    create = creating(brief.title, texts, found)
    # Without the list nobody knows whether there is such a project already.
    if create is None or projects.failed:
        return _Place(None)
    made = conversation.result(create)
    if made is None:
        return _Place(None, create)
    return _Place(made.text("id"), new=True) if made.text("id") else _Place(None)


def _place_of_messages(conversation: Conversation, files: dict[str, FileText], found: dict[str, Extraction]) -> _Place:
    if all(extraction.empty for extraction in found.values()):
        return _Place(None)
    projects = read_projects(conversation)
    if projects.missing and conversation.turns <= MAX_TURNS:
        return _Place(None, projects.missing)
    messages = [file.message for file in files.values() if file.message is not None]
    return _Place(project_of(messages, projects.rows) or None)


def _changes(
    writing: Writing,
    found: dict[str, Extraction],
    project_id: str | None,
    rows: dict[DataType, list[JsonObject]],
    names: Mapping[str, str],
) -> list[Call]:
    """Return the changes that come next. Of a kind that could not be listed nothing is made: it could be there."""
    tasks = Tasks(writing, project_id, rows.get(DataType.TASKS, []), names)
    notes = Notes(writing, project_id, rows.get(DataType.NOTES, []))
    timelines = Timelines(writing, project_id, rows.get(DataType.TIMELINES, []))
    for path, extraction in found.items():
        for task in extraction.tasks if DataType.TASKS in rows else ():
            tasks.take(path, task)
        if extraction.note and DataType.NOTES in rows:
            notes.take(path, extraction.note)
        if DataType.TIMELINES in rows:
            timelines.take(path, extraction.milestones)
    return writing.pending
