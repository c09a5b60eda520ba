"""What a device's workspace holds, without what differs from one run to another: ids and times."""

from __future__ import annotations

from collections import Counter
from typing import Any

Workspace = dict[str, list[dict[str, Any]]]

FIELDS = {
    "projects": ("name", "description", "client_name", "status", "source", "state"),
    "tasks": ("title", "description", "status", "due_date", "assignees", "priority", "project", "source", "state"),
    "comments": ("task", "author", "text", "source", "state"),
    "notes": ("title", "content", "project", "source", "state"),
    "timelines": ("title", "date", "end_date", "description", "is_completed", "project", "source", "state"),
    "suggestions": ("entity_type", "title", "changes", "source"),
}
ENTITY_SECTIONS = {"project": "projects", "task": "tasks", "note": "notes", "timeline": "timelines"}


def content(workspace: Workspace) -> dict[str, list[tuple[str, ...]]]:
    """Return the workspace's content, comparable with that of another device."""
    return {
        section: sorted(tuple(str(row[field]) for field in fields) for row in workspace[section])
        for section, fields in FIELDS.items()
    }


def created(workspace: Workspace, run_id: str) -> Counter[str]:
    """Return how many rows of each type the run created, by the rows themselves."""
    return Counter(
        {
            section: sum(row["created_by_run"] == run_id for row in workspace[section])
            for section in ENTITY_SECTIONS.values()
        }
    )
