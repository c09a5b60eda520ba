"""Which project a file belongs to: the one whose name stands in its folders, or in the name of the file itself."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

from orchestrator.adapters.offline_model.extraction.words import normal
from orchestrator.runs.messages import ProjectSummary, TriageBrief

STANDALONE = "standalone"

_MIN_CHARS = 4
"""A shorter name has to be the whole name of a folder or file: "Go" stands in too many others."""


def triage_answer(brief: TriageBrief) -> str:
    """Return the JSON object that triage asks for: every project's id with its files, and the rest standalone."""
    answer: dict[str, list[str]] = {project.project_id: [] for project in brief.projects}
    answer[STANDALONE] = []
    named = [(project, normal(project.name)) for project in brief.projects]
    for item in brief.items:
        project_id = _project_of(item.path, [entry for entry in named if entry[1]])
        answer[project_id or STANDALONE].append(item.path)
    return json.dumps(answer, ensure_ascii=False)


def _project_of(path: str, named: list[tuple[ProjectSummary, str]]) -> str:
    """Return the id of the project with the longest name that the path holds; empty for none, or when two fit alike.

    Of projects with the same name it is the first one that is not completed.
    """
    *folders, file = PurePosixPath(path).parts
    parts = [normal(part) for part in (*folders, PurePosixPath(file).stem)]
    found = [(project, name) for project, name in named if any(_holds(part, name) for part in parts)]
    longest = max((len(name) for _, name in found), default=0)
    best = [(project, name) for project, name in found if len(name) == longest]
    if len({name for _, name in best}) != 1:
        return ""
    return min((project for project, _ in best), key=lambda project: project.status == "Completed").project_id


def _holds(part: str, name: str) -> bool:
    return part == name or (len(name) >= _MIN_CHARS and f" {name} " in f" {part} ")
