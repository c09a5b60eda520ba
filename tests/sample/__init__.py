"""The sample folder of `make demo`, and the list of what a careful person would extract from it.

The rules by which the list was written are in README.md beside this file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILES = Path(__file__).parent / "files"
"""The folder itself: six project folders, and loose files at the top."""

EXPECTED = Path(__file__).parent / "expected.json"
"""The list. Paths in it are relative to `FILES`, with `/`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedProject:
    """A project to be found, and the folder directly below `FILES` that it stands for."""

    name: str
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedTask:
    """A task as it must stand after one run over all files."""

    title: str
    project: str | None
    """Name of the project; None for a task of a loose file."""
    status: str
    """ToDo, In Progress or Completed."""
    due_date: str | None
    """YYYY-MM-DD."""
    assignees: tuple[str, ...]
    sources: tuple[str, ...]
    """Every file that mentions the task, in path order; at least one."""
    updated_by: tuple[str, ...]
    """The sources after the first: when files are read in path order, these update and do not create."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedNote:
    """A note: one for each record of a meeting."""

    title: str
    project: str | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedTimeline:
    """A dated milestone."""

    title: str
    date: str
    """YYYY-MM-DD."""
    project: str | None
    source: str
    """The first file, in path order, that names it."""
    updated_by: tuple[str, ...]
    """Further files that name it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Everything that is to be found: nothing is missing from it, and nothing else may be made."""

    projects: tuple[ExpectedProject, ...]
    tasks: tuple[ExpectedTask, ...]
    notes: tuple[ExpectedNote, ...]
    timelines: tuple[ExpectedTimeline, ...]
    nothing_from: tuple[str, ...]
    """Files without relevant data: no item may name one of them as its source."""


def load_expected() -> Expected:
    """Read the list.

    Raises:
        KeyError: an entry lacks a field.
        TypeError: an entry has a field that is not known here.
    """
    data: dict[str, Any] = json.loads(EXPECTED.read_text(encoding="utf-8"))
    return Expected(
        projects=tuple(ExpectedProject(**entry) for entry in data["projects"]),
        tasks=tuple(_task(entry) for entry in data["tasks"]),
        notes=tuple(ExpectedNote(**entry) for entry in data["notes"]),
        timelines=tuple(_timeline(entry) for entry in data["timelines"]),
        nothing_from=tuple(data["nothing_from"]),
    )


def _task(entry: dict[str, Any]) -> ExpectedTask:
    lists = {name: tuple(entry[name]) for name in ("assignees", "sources")}
    return ExpectedTask(**{**entry, **lists, "updated_by": tuple(entry.get("updated_by", ()))})


def _timeline(entry: dict[str, Any]) -> ExpectedTimeline:
    return ExpectedTimeline(**{**entry, "updated_by": tuple(entry.get("updated_by", ()))})
