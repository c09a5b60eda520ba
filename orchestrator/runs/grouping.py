"""From sorted files to groups: what is processed together. Pure, and the same for the same input."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.runs.domain import Group, Item
from orchestrator.runs.messages import ProjectSummary

MAX_ITEMS = 25
MAX_BYTES = 512 * 1024
"""Of one group; a single file that is larger is a group by itself."""

_SEPARATORS = re.compile(r"[-_\s]+")


def make_groups(
    items: Sequence[Item],
    project_of: Mapping[str, str],
    projects: Sequence[ProjectSummary],
    directories: Sequence[str],
) -> tuple[Group, ...]:
    """Return the groups `g1`, `g2` …: one a project, then one a folder of standalone files, then loose files.

    The groups of projects come by name; folders are those directly below the agent's own ones. What is more than
    `MAX_ITEMS` files or `MAX_BYTES` becomes several groups of the same title.

    Args:
        items: The files.
        project_of: A file's project id by its path; empty or absent for standalone.
        projects: The existing projects. A file of any other id is standalone.
        directories: The agent's folders.
    """
    folders = ["/".join(part for part in path.split("/") if part not in {"", "."}) for path in directories]
    of_project: dict[str, list[Item]] = {project.project_id: [] for project in projects}
    of_folder: dict[tuple[str, str], list[Item]] = {}
    for item in sorted(items, key=lambda item: item.path):
        project_id = project_of.get(item.path, "")
        if project_id in of_project:
            of_project[project_id].append(item)
        else:
            of_folder.setdefault(_folder(item.path, folders), []).append(item)
    parts = [
        (project.project_id, project.name, part)
        for project in sorted(projects, key=lambda project: (project.name.casefold(), project.project_id))
        for part in _parts(of_project.pop(project.project_id, []))
    ]
    # Folders by name, loose files (no folder) last.
    for directory, folder in sorted(of_folder, key=lambda key: (not key[1], key)):
        parts.extend(("", human_title(folder), part) for part in _parts(of_folder[directory, folder]))
    return tuple(
        Group(group_id=f"g{number}", project_id=project_id, title=title, items=part)
        for number, (project_id, title, part) in enumerate(parts, start=1)
    )


def human_title(folder: str) -> str:
    """Return the name of a folder as a person would write it: `acme-website_2026` is `Acme Website 2026`.

    Words that hold capitals already stay as they are. The result is empty only for an empty name.
    """
    words = [word for word in _SEPARATORS.split(folder) if word]
    return " ".join(word.capitalize() if word.islower() else word for word in words) or folder


def _folder(path: str, directories: Sequence[str]) -> tuple[str, str]:
    """Return the agent's folder that holds a file, and the folder directly below it; empty for a loose file.

    `directories` are in normal form; empty stands for all roots.
    """
    holding = [directory for directory in directories if _is_below(path, directory)]
    directory = max(holding, key=len, default="")
    rest = path[len(directory) + 1 :] if directory else path
    folder, slash, _ = rest.partition("/")
    return directory, folder if slash else ""


def _is_below(path: str, directory: str) -> bool:
    return not directory or path.startswith(f"{directory}/")


def _parts(items: Sequence[Item]) -> Iterator[tuple[Item, ...]]:
    part: list[Item] = []
    size = 0
    for item in items:
        if part and (len(part) == MAX_ITEMS or size + item.size_bytes > MAX_BYTES):
            yield tuple(part)
            part, size = [], 0
        part.append(item)
        size += item.size_bytes
    if part:
        yield tuple(part)
