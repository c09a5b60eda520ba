"""The offline rules against the sample folder: everything on its list is found, and nothing else."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from orchestrator.adapters.offline_model.extraction import Extraction, extract, title_key
from orchestrator.adapters.offline_model.extraction.items import furthest, united
from orchestrator.runs.domain import EffectKind
from tests.orchestrator.adapters.offline_model.sample_texts import sample_texts
from tests.orchestrator.adapters.offline_model.talking import Desk
from tests.sample import Expected, load_expected

Row = tuple[Any, ...]


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return dict(sample_texts())


@pytest.fixture(scope="module")
def found(texts: dict[str, str]) -> dict[str, Extraction]:
    return {path: extract(path, text) for path, text in texts.items()}


@pytest.fixture(scope="module")
def expected() -> Expected:
    return load_expected()


def project_of(path: str, expected: Expected) -> str | None:
    return next((project.name for project in expected.projects if path.startswith(f"{project.folder}/")), None)


def test_every_task_of_the_list_is_found_and_no_other(found: dict[str, Extraction], expected: Expected) -> None:
    tasks: dict[tuple[str | None, str], dict[str, Any]] = {}
    for path, extraction in found.items():
        for task in extraction.tasks:
            key = (project_of(path, expected), title_key(task.title))
            known = tasks.setdefault(
                key, {"title": task.title, "status": task.status, "due": None, "who": (), "in": ()}
            )
            known["status"] = furthest(known["status"], task.status)
            known["due"] = str(task.due_date) if task.due_date else known["due"]
            known["who"] = united(known["who"], task.assignees)
            known["in"] += (path,)

    wanted = {
        (task.project, title_key(task.title)): {
            "title": task.title,
            "status": task.status,
            "due": task.due_date,
            "who": task.assignees,
            "in": task.sources,
        }
        for task in expected.tasks
    }
    for entry in (*tasks.values(), *wanted.values()):
        entry["who"] = sorted(name.casefold() for name in entry["who"])
    assert tasks == wanted


def test_every_note_of_the_list_is_found_and_no_other(found: dict[str, Extraction], expected: Expected) -> None:
    notes = {(path, extraction.note.title) for path, extraction in found.items() if extraction.note}

    assert notes == {(note.source, note.title) for note in expected.notes}


def test_every_timeline_of_the_list_is_found_and_no_other(found: dict[str, Extraction], expected: Expected) -> None:
    days: dict[Row, list[str]] = defaultdict(list)
    for path, extraction in found.items():
        for day in extraction.milestones:
            days[project_of(path, expected), day.title, day.day.isoformat()].append(path)

    assert days == {
        (entry.project, entry.title, entry.date): [entry.source, *entry.updated_by] for entry in expected.timelines
    }


def test_files_without_relevant_data_yield_nothing(found: dict[str, Extraction], expected: Expected) -> None:
    assert {path for path, extraction in found.items() if extraction.empty} == set(expected.nothing_from)


async def test_a_whole_run_makes_the_rows_of_the_list(texts: dict[str, str], expected: Expected) -> None:
    desk = Desk()
    desk.files({f"sample/{path}": text for path, text in texts.items()})

    await desk.process_all()

    names = {None: None, **{row["id"]: row["name"] for row in desk.rows("project")}}
    assert sorted(names.values(), key=str) == sorted([None, *(project.name for project in expected.projects)], key=str)
    assert sorted(_task_row(row, names) for row in desk.rows("task")) == sorted(
        (
            str(task.project),
            task.title,
            task.status,
            str(task.due_date),
            [name.casefold() for name in task.assignees],
        )
        for task in expected.tasks
    )
    assert sorted((str(names[row["project_id"]]), row["title"]) for row in desk.rows("note")) == sorted(
        (str(note.project), note.title) for note in expected.notes
    )
    assert sorted(
        (str(names[row["project_id"]]), row["title"], row["date"]) for row in desk.rows("timeline")
    ) == sorted((str(entry.project), entry.title, entry.date) for entry in expected.timelines)


async def test_a_second_mention_comments_on_the_task_from_its_own_file(
    texts: dict[str, str], expected: Expected
) -> None:
    desk = Desk()
    desk.files({f"sample/{path}": text for path, text in texts.items()})

    await desk.process_all()

    commented = sorted(
        (effect.title, effect.source.removeprefix("sample/"))
        for effect in desk.effects
        if effect.kind is EffectKind.COMMENTED
    )
    assert commented == sorted((task.title, path) for task in expected.tasks for path in task.updated_by)
    assert all(comment["author"] == "Adiuva" for comment in desk.workspace.comments)


async def test_running_over_all_files_again_changes_nothing(texts: dict[str, str]) -> None:
    desk = Desk()
    desk.files({f"sample/{path}": text for path, text in texts.items()})
    await desk.process_all()
    desk.effects.clear()

    await desk.process_all()

    assert desk.effects == []


def _task_row(row: dict[str, Any], names: dict[Any, Any]) -> Row:
    people = [name.casefold() for name in row.get("assignees", [])]
    return str(names[row["project_id"]]), row["title"], row["status"], str(row.get("due_date")), people
