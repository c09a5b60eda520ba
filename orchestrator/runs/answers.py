"""What the device answers to the run's own calls, read from JSON and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from orchestrator.runs.domain import RunFault

T = TypeVar("T")

Path = Annotated[str, Field(min_length=1, max_length=4096)]
Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file of `find_changed_files`."""

    path: Path
    size_bytes: Count
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class UnreadableEntry:
    """Something below the folders that could not be looked at."""

    path: Path
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ChangedFiles:
    """A page of `find_changed_files`."""

    files: list[ChangedFile]
    unreadable: list[UnreadableEntry] = field(default_factory=list)
    next_page_token: str | None = None


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """A project of `list_all_projects`."""

    id: Annotated[str, Field(min_length=1, max_length=128)]
    name: str
    description: str | None = None
    client_name: str | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Projects:
    """A page of `list_all_projects`."""

    projects: list[ProjectRow]
    next_page_token: str | None = None


@dataclass(frozen=True, slots=True)
class CompletedRun:
    """The answer of `complete_run`: what the device counted, by kind in lower case and entity type."""

    effects: dict[str, dict[str, Count]]


@dataclass(frozen=True, slots=True)
class ReadFile:
    """The part of an answer of `read_file_content` that says how much of the file was read."""

    path: str = ""
    next_offset: int | None = None


_ADAPTERS: Mapping[type, TypeAdapter[Any]] = {
    kind: TypeAdapter(kind) for kind in (ChangedFiles, Projects, CompletedRun, ReadFile)
}


def parse_answer(kind: type[T], result_json: str) -> T:
    """Return a result as an object of one of the kinds above; fields that the kind does not know are passed over.

    Raises:
        RunFault: it is something else.
    """
    try:
        answer: T = _ADAPTERS[kind].validate_json(result_json)
    except ValidationError:
        # Its own text would repeat what the device sent.
        raise RunFault(
            f"The device's answer ({kind.__name__}) could not be read. Update the app on the device."
        ) from None
    return answer
