from __future__ import annotations

from datetime import date

import pytest

from orchestrator.adapters.offline_model.extraction.dates import Dates
from orchestrator.adapters.offline_model.extraction.items import Task
from orchestrator.adapters.offline_model.extraction.lines import line_tasks, readable_lines


def tasks(text: str, language: str = "en") -> list[Task]:
    return list(line_tasks(readable_lines(text), Dates(languages=(language,))))


def titles(text: str, language: str = "en") -> list[str]:
    return [task.title for task in tasks(text, language)]


@pytest.mark.parametrize(
    "line", ["- [ ] Call", "* [ ] Call", "+ [ ] Call", "  - [ ] Call", "[ ] Call", "1. [ ] Call", "☐ Call"]
)
def test_an_open_box_is_a_task(line: str) -> None:
    assert tasks(line) == [Task(title="Call")]


@pytest.mark.parametrize("line", ["- [x] Call", "- [X] Call", "[✓] Call", "- ☑ Call", "✅ Call"])
def test_a_ticked_box_is_a_task_that_is_done(line: str) -> None:
    assert tasks(line) == [Task(title="Call", status="Completed")]


def test_a_half_ticked_box_is_in_progress() -> None:
    assert tasks("- [~] Call\n- [/] Write") == [
        Task(title="Call", status="In Progress"),
        Task(title="Write", status="In Progress"),
    ]


@pytest.mark.parametrize(
    "marker",
    [
        "TODO:",
        "todo:",
        "To-do:",
        "- TODO:",
        "ACTION:",
        "Action item:",
        "AP:",
        "Da fare:",
        "Azione:",
        "Aufgabe:",
        "Zu erledigen:",
        "À faire :",
        "A faire:",
        "Pendiente:",
        "Por hacer:",
        "Tarea:",
    ],
)
def test_a_line_that_begins_with_a_marker_is_a_task(marker: str) -> None:
    assert tasks(f"{marker} Call") == [Task(title="Call")]


@pytest.mark.parametrize("marker", ["DONE:", "Erledigt:", "Fatto:", "Terminé :", "Hecho:"])
def test_a_line_that_begins_with_done_is_a_task_that_is_done(marker: str) -> None:
    assert tasks(f"{marker} Call") == [Task(title="Call", status="Completed")]


def test_a_marker_may_name_a_person() -> None:
    assert tasks("TODO(tom): Call") == [Task(title="Call", assignees=("tom",))]


@pytest.mark.parametrize(
    "line",
    [
        "Todo el equipo prefiere el boceto",
        "Todo: el equipo está de acuerdo",
        "TODO",
        "TODO:",
        "The TODO: list is long",
        "ap: nothing",
        "Taking action: yes",
        "[link](http://x.test)",
        "- [docs] Call",
        "- [ ]",
        "- [] Call",
        "array[x] = 3",
        "> - [ ] Call",
        "- Call",
    ],
)
def test_other_lines_are_none(line: str) -> None:
    assert tasks(line, "es") == []


def test_a_bullet_that_goes_on_indented_is_one_task() -> None:
    text = "- [ ] Write the redirects for\n      the old pages\n- [ ] Test them\n\n      code\n"

    assert titles(text) == ["Write the redirects for the old pages", "Test them"]


def test_code_is_not_read_and_an_open_fence_hides_nothing() -> None:
    text = "```\n- [ ] In code\n```\n- [ ] Outside\n```\n- [ ] Behind an open fence\n"

    assert titles(text) == ["Outside", "Behind an open fence"]


@pytest.mark.parametrize(
    "heading", ["## Next steps", "Action items:", "**Azioni**", "# Aufgaben", "À faire", "## Próximos pasos"]
)
def test_bullets_below_a_heading_of_tasks_are_tasks(heading: str) -> None:
    text = f"{heading}\n\n- Call Ada\n1. Write\n\n- Pay by 2026-03-20\n"

    assert tasks(text) == [Task(title="Call Ada"), Task(title="Write"), Task(title="Pay", due_date=date(2026, 3, 20))]


@pytest.mark.parametrize("between", ["## Decisions", "That is all.\n"])
def test_bullets_after_the_end_of_that_section_are_not(between: str) -> None:
    assert titles(f"## Actions\n- Call Ada\n{between}\n- Direction B\n") == ["Call Ada"]
