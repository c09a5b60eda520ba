"""The main job through real processes: the sample folder becomes what a careful person would write down."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sample import load_expected
from tests.system.local_stack import LocalStack
from tests.system.workspaces import ENTITY_SECTIONS, Workspace, created

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def first_run(stack: LocalStack) -> dict[str, Any]:
    agent = stack.json("agents", "create", "Clients", "--directory", "sample")
    run: dict[str, Any] = stack.json("runs", "start", agent["agent_id"], "--watch")
    return run


@pytest.fixture(scope="module")
def workspace(stack: LocalStack, first_run: dict[str, Any]) -> Workspace:
    found: Workspace = stack.json("workspace", "show")
    return found


def test_the_run_succeeds_and_processes_every_file(first_run: dict[str, Any]) -> None:
    assert first_run["state"] == "RUN_STATE_SUCCEEDED", first_run["errors"]
    assert first_run["errors"] == []
    assert first_run["counts"]["items_processed"] == first_run["counts"]["items_found"] > 35
    assert first_run["device_informed"]


def test_every_project_is_found_and_none_is_invented(workspace: Workspace) -> None:
    expected = load_expected()

    assert sorted(row["name"] for row in workspace["projects"]) == sorted(one.name for one in expected.projects)


def test_every_task_is_found_in_its_project_with_its_state_and_dates_and_none_is_invented(workspace: Workspace) -> None:
    expected = load_expected()

    found = sorted(
        (
            row["title"].casefold(),
            row["project"] or "",
            row["status"],
            row["due_date"] or "",
            sorted(name.casefold() for name in row["assignees"]),
        )
        for row in workspace["tasks"]
    )

    assert found == sorted(
        (
            one.title.casefold(),
            one.project or "",
            one.status,
            one.due_date or "",
            sorted(name.casefold() for name in one.assignees),
        )
        for one in expected.tasks
    )


def test_every_timeline_is_found_and_none_is_invented(workspace: Workspace) -> None:
    expected = load_expected()

    found = sorted((row["title"].casefold(), row["date"], row["project"] or "") for row in workspace["timelines"])

    assert found == sorted((one.title.casefold(), one.date, one.project or "") for one in expected.timelines)


def test_every_note_is_found_and_none_is_invented(workspace: Workspace) -> None:
    expected = load_expected()

    found = sorted((row["title"].casefold(), row["project"] or "") for row in workspace["notes"])

    assert found == sorted((one.title.casefold(), one.project or "") for one in expected.notes)


def test_everything_is_a_suggestion_that_nobody_has_approved(workspace: Workspace) -> None:
    rows = [row for section in ENTITY_SECTIONS.values() for row in workspace[section]]

    assert rows
    assert {row["state"] for row in rows} == {"suggested"}


def test_the_counts_of_the_run_are_the_rows_of_the_device(first_run: dict[str, Any], workspace: Workspace) -> None:
    counted = first_run["counts"]["created"]

    assert dict(created(workspace, first_run["run_id"])) == counted


def test_the_device_closed_its_own_record_of_the_run(first_run: dict[str, Any], workspace: Workspace) -> None:
    record = next(row for row in workspace["runs"] if row["run_id"] == first_run["run_id"])

    assert record["state"] == "SUCCEEDED"
    assert record["completed_at"]


def test_a_second_run_finds_nothing_changed_and_asks_no_model(stack: LocalStack, first_run: dict[str, Any]) -> None:
    second = stack.json("runs", "start", first_run["agent_id"], "--watch")

    assert second["state"] == "RUN_STATE_SUCCEEDED"
    assert second["counts"]["items_found"] == 0
    assert second["usage"]["model_calls"] == 0


def test_one_changed_file_is_the_only_one_that_is_looked_at_again(stack: LocalStack, first_run: dict[str, Any]) -> None:
    changed = stack.root / "loose-thought.md"
    changed.write_text("# Loose thought\n\n- [ ] Renew the parking permit @due(2026-12-04)\n", encoding="utf-8")

    third = stack.json("runs", "start", first_run["agent_id"], "--watch")
    tasks = stack.json("workspace", "show", "--run", third["run_id"])["tasks"]

    assert third["counts"]["items_found"] == 1
    assert [(task["title"], task["due_date"]) for task in tasks] == [("Renew the parking permit", "2026-12-04")]


def test_approved_rows_are_only_ever_proposed_a_change(stack: LocalStack, first_run: dict[str, Any]) -> None:
    stack.adiuva("workspace", "approve", "--all")
    (stack.root / "loose-thought.md").write_text(
        "# Loose thought\n\n- [x] Renew the parking permit @due(2026-12-05)\n", encoding="utf-8"
    )

    run = stack.json("runs", "start", first_run["agent_id"], "--watch")
    shown = stack.json("workspace", "show")
    permit = next(task for task in shown["tasks"] if task["title"] == "Renew the parking permit")

    assert run["counts"]["proposed"]["tasks"] == 1
    assert (permit["status"], permit["due_date"]) == ("ToDo", "2026-12-04")
    assert [one["title"] for one in shown["suggestions"]] == ["Renew the parking permit"]


def test_no_text_of_a_file_is_in_a_log(stack: LocalStack, first_run: dict[str, Any]) -> None:
    titles = [one.title for one in load_expected().tasks if len(one.title) > 20]
    logs = stack.logs()

    assert "run_claimed" in logs
    assert not [title for title in titles if title in logs]
    assert stack.client["token"] not in logs
