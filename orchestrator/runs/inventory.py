"""The inventory: which files changed since they were last processed, and which projects there are.

The run asks the device itself, before any model is asked: what did not change costs nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from orchestrator.agents.domain import LocalDirectory
from orchestrator.runs.answers import ChangedFiles, Projects, UnreadableEntry, parse_answer
from orchestrator.runs.domain import (
    DirectoryDenied,
    DirectoryNotFound,
    Item,
    JsonObject,
    Phase,
    RunError,
    RunFault,
    ToolFailure,
)
from orchestrator.runs.events import ItemsFound
from orchestrator.runs.messages import ProjectSummary
from orchestrator.runs.together import together
from orchestrator.runs.workbench import DeviceRefused, Workbench, error_of

PAGE_SIZE = 1_000
MAX_PAGES = 200
"""Of one folder: a list that does not end ends here."""
MAX_PROJECTS = 2_000
MAX_NAMED = 100
"""How many files one error names."""
FOLDERS_AT_A_TIME = 4

TOO_MANY_FILES = "TOO_MANY_FILES"


@dataclass(slots=True)
class _Folder:
    """What was found below one folder of the agent."""

    items: list[Item] = field(default_factory=list)
    errors: list[RunError] = field(default_factory=list)


async def take_inventory(bench: Workbench, source: LocalDirectory) -> None:
    """Find the changed files and the projects, and journal them with whatever could not be looked at.

    A folder that is missing or closed is an error of the run; the other folders are looked through all the same.

    Raises:
        DeviceRefused: the device does not let the run look at all.
        DeviceOffline, DeviceUnknown, ToolTimedOut, RunCancelled, Fenced: as `Workbench.ask_device`.
    """
    projects: list[ProjectSummary] = []
    folders = [_Folder() for _ in source.directory_paths]

    async def look_at_projects() -> None:
        projects.extend(await _projects(bench))

    works: list[Callable[[], Awaitable[None]]] = [
        look_at_projects,
        *(
            partial(_look_through, bench, source, number, path, folder)
            for number, (path, folder) in enumerate(zip(source.directory_paths, folders, strict=True))
        ),
    ]
    await together(works, at_most=FOLDERS_AT_A_TIME)
    # Folders may lie inside each other.
    found = {item.path: item for folder in folders for item in folder.items}
    items = tuple(found[path] for path in sorted(found))
    errors = [error for folder in folders for error in folder.errors]
    most = bench.limits.items
    if len(items) > most:
        errors.append(_too_many(most))
    # The inventory comes last: a takeover that does not find it takes it again, with its errors.
    await bench.journal.append(*bench.new_errors(*errors), ItemsFound(items=items[:most], projects=tuple(projects)))


async def _look_through(bench: Workbench, source: LocalDirectory, number: int, path: str, folder: _Folder) -> None:
    try:
        await _changed_files(bench, source, number, path, folder)
    except DeviceRefused as fault:
        folder.errors.append(error_of(_folder_fault(path, fault), bench.run.run_id, items=(path,)))


async def _changed_files(bench: Workbench, source: LocalDirectory, number: int, path: str, folder: _Folder) -> None:
    unreadable: list[UnreadableEntry] = []
    token: str | None = None
    for page in range(MAX_PAGES):
        arguments: JsonObject = {
            "paths": [path],
            "extensions": sorted(source.file_extensions),
            "page_size": PAGE_SIZE,
            **({"page_token": token} if token else {}),
        }
        answer = parse_answer(ChangedFiles, await _ask(bench, "find_changed_files", arguments, f"files{number}", page))
        folder.items.extend(
            Item(path=file.path, size_bytes=file.size_bytes, mtime_ns=file.mtime_ns) for file in answer.files
        )
        unreadable.extend(answer.unreadable)
        token = answer.next_page_token
        if not token or len(folder.items) > bench.limits.items:
            break
    if token and len(folder.items) <= bench.limits.items:
        folder.errors.append(_too_many(bench.limits.items))
    if unreadable:
        folder.errors.append(_unreadable(path, sorted(entry.path for entry in unreadable)))


async def _projects(bench: Workbench) -> list[ProjectSummary]:
    summaries: list[ProjectSummary] = []
    token: str | None = None
    for page in range(MAX_PAGES):
        arguments: JsonObject = {"page_token": token} if token else {}
        answer = parse_answer(Projects, await _ask(bench, "list_all_projects", arguments, "projects", page))
        summaries.extend(
            ProjectSummary(
                project_id=row.id,
                name=row.name,
                description=row.description or "",
                client_name=row.client_name or "",
                status=row.status or "",
            )
            for row in answer.projects
        )
        token = answer.next_page_token
        if not token or len(summaries) >= MAX_PROJECTS:
            break
    return summaries[:MAX_PROJECTS]


async def _ask(bench: Workbench, tool: str, arguments: JsonObject, what: str, page: int) -> str:
    # A takeover may find other pages than the worker before it, so its calls are calls of their own.
    step = f"{what}.{bench.run.epoch}"
    return await bench.ask_device(tool, arguments, step=step, index=page, phase=Phase.TRIAGE)


def _folder_fault(path: str, fault: DeviceRefused) -> RunFault:
    """Return what to tell the user of a folder that could not be looked through.

    Raises:
        DeviceRefused: it is not about the folder.
    """
    match fault.failure:
        case ToolFailure(reason="NOT_FOUND"):
            return DirectoryNotFound(
                f"The folder “{path}” is not on the device. Restore it, or take it out of the agent's folders."
            )
        case ToolFailure(reason="NOT_A_DIRECTORY" | "NOT_A_FILE"):
            return DirectoryNotFound(f"“{path}” is not a folder. Name a folder in the agent's settings.")
        case ToolFailure(reason="PATH_DENIED" | "DENIED_BY_POLICY" | "INVALID_ARGUMENT"):
            return DirectoryDenied(
                f"The device does not share the folder “{path}”. Share it there, or choose another one."
            )
        case ToolFailure(reason="UNAVAILABLE" | "RESULT_TOO_LARGE"):
            return FolderUnreadable(f"The folder “{path}” could not be read on the device. Look at its permissions.")
    raise fault


class FolderUnreadable(RunFault):
    """A folder of the agent could not be looked through."""

    reason = "FILE_UNREADABLE"


def _unreadable(folder: str, paths: list[str]) -> RunError:
    return RunError(
        reason=FolderUnreadable.reason,
        message=f"Not all that is below “{folder}” could be looked at on the device. Entries left out: {len(paths)}.",
        items=tuple(paths[:MAX_NAMED]),
    )


def _too_many(most: int) -> RunError:
    return RunError(
        reason=TOO_MANY_FILES,
        message=f"More files changed than one run takes. This run takes at most {most}, and the next run the rest.",
    )
