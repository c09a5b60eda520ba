"""What can be found in one file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

TODO = "ToDo"
IN_PROGRESS = "In Progress"
COMPLETED = "Completed"

STATUSES = (TODO, IN_PROGRESS, COMPLETED)
"""In the order in which work goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Something to do."""

    title: str
    status: str = TODO
    due_date: date | None = None
    assignees: tuple[str, ...] = ()
    description: str = ""
    """The whole text, when it is too long for a title."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Milestone:
    """Something that has a day."""

    title: str
    day: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """The record of a meeting."""

    title: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """Everything that was found in a file, in the order of its text; a title occurs once."""

    tasks: tuple[Task, ...] = ()
    milestones: tuple[Milestone, ...] = ()
    """A title may occur more than once, with another day each time."""
    note: Note | None = None
    cut: bool = False
    """Whether there was more than is taken from one file."""

    @property
    def empty(self) -> bool:
        """Whether nothing was found."""
        return not self.tasks and not self.milestones and self.note is None


def furthest(first: str, second: str) -> str:
    """Return the later one of two task states: a plan that was written earlier does not undo what is done."""
    return max(first, second, key=STATUSES.index)


def united(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """Return the people of both, each once without regard to case, as written first."""
    result: dict[str, str] = {}
    for name in (*first, *second):
        result.setdefault(name.casefold(), name)
    return tuple(result.values())
