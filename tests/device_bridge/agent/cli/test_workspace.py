from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from device_bridge.agent.cli.workspace import app, printable
from tests.device_bridge.agent.workspace.support import ABSENT, Device, device, run_context, user_task

ESCAPE = "\x1b[2J\x1b]0;owned\x07 \u202e\u200b\x9b31m [red]x[/red]"


@pytest.fixture
async def laptop(tmp_path: Path) -> AsyncIterator[Device]:
    """A local stack's data directory, with a device in it that runs."""
    async with device(tmp_path / "device") as started:
        await started.begin()
        await started.begin("run-2")
        yield started


def adiuva(*arguments: str, expected: int = 0, **environment: str) -> Result:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200", **environment})
    assert result.exit_code == expected, result.output
    return result


def shown(tmp_path: Path, *arguments: str) -> Any:
    return json.loads(adiuva("show", "--data", str(tmp_path), "--json", *arguments).stdout)


async def test_tables_show_what_was_made_its_state_and_where_it_comes_from(laptop: Device, tmp_path: Path) -> None:
    project = await laptop.made("create_project", name="Website", client_name="Acme", source="sample/brief.md")
    await laptop.made("create_task", title="Send draft", project_id=project["id"], assignees=["Ada", "Bo"])
    laptop.as_user(user_task(ABSENT, "Mine"))

    output = adiuva("show", "--data", str(tmp_path)).stdout

    for text in ("Website", "Acme", "sample/brief.md", "Send draft", "Ada, Bo", "suggested", "own", project["id"][:8]):
        assert text in output
    assert "Notes" not in output


async def test_json_holds_everything_on_standard_output(laptop: Device, tmp_path: Path) -> None:
    task = await laptop.made("create_task", title="Send draft", assignees=["Ada"], source="sample/a.md")
    await laptop.made("add_task_comment", task_id=task["id"], text="Sent.")
    laptop.as_user(user_task(ABSENT, "Mine"))
    await laptop.made("update_task", task_id=ABSENT, status="Completed")

    found = shown(tmp_path)

    assert list(found) == ["projects", "tasks", "comments", "notes", "timelines", "suggestions", "runs"]
    first, mine = found["tasks"]
    assert (first["assignees"], first["source"], first["state"]) == (["Ada"], "sample/a.md", "suggested")
    assert (mine["state"], mine["is_approved"]) == ("own", True)
    assert [row["text"] for row in found["comments"]] == ["Sent."]
    assert [(row["title"], row["changes"]) for row in found["suggestions"]] == [("Mine", {"status": "Completed"})]
    assert [row["run_id"] for row in found["runs"]] == ["run-1", "run-2"]


async def test_one_part_or_one_run_is_shown_on_demand(laptop: Device, tmp_path: Path) -> None:
    await laptop.made("create_task", title="first")
    other = await laptop.made("create_task", title="second", context=run_context("run-2"))
    await laptop.made("create_note", title="n", content="c", context=run_context("run-2"))
    await laptop.made("update_task", task_id=other["id"], status="Completed")

    assert list(shown(tmp_path, "--what", "notes")) == ["notes"]
    assert [row["title"] for row in shown(tmp_path, "--run", "run-2")["tasks"]] == ["second"]
    assert [row["title"] for row in shown(tmp_path, "--run", "run-1")["tasks"]] == ["first", "second"]
    assert not any(shown(tmp_path, "--run", "run-9").values())


async def test_long_lists_are_cut_and_say_so(laptop: Device, tmp_path: Path) -> None:
    for number in range(3):
        await laptop.made("create_task", title=str(number))

    result = adiuva("show", "--data", str(tmp_path), "--json", "--limit", "2")

    assert len(json.loads(result.stdout)["tasks"]) == 2
    assert "first 2 rows" in result.stderr


async def test_stored_text_cannot_steer_the_terminal(laptop: Device, tmp_path: Path) -> None:
    made = await laptop.made("create_task", title=ESCAPE, source=ESCAPE)
    await laptop.made("add_task_comment", task_id=made["id"], text=ESCAPE, author=ESCAPE)
    await laptop.made("create_note", title="n", content=ESCAPE)
    laptop.as_user(("UPDATE tasks SET is_approved = 1", ()))
    await laptop.made("update_task", task_id=made["id"], description=ESCAPE, assignees=[ESCAPE])

    outputs = [
        adiuva("show", "--data", str(tmp_path)).output,
        adiuva("show", "--data", str(tmp_path), "--json").output,
        adiuva("approve", "--data", str(tmp_path), "--all").output,
    ]

    for output in outputs:
        strange = {character for character in output if not character.isprintable()} - {"\n"}
        assert strange == set()
    assert "[red]x[/red]" in outputs[0]


async def test_rows_are_approved_by_the_beginning_of_their_id(laptop: Device, tmp_path: Path) -> None:
    task = await laptop.made("create_task", title="Send draft")
    await laptop.made("create_task", title="Other")

    output = adiuva("approve", task["id"][:8], "--data", str(tmp_path)).stdout

    assert output == f"approved task {task['id']}: Send draft\n"
    assert [row["state"] for row in shown(tmp_path)["tasks"]] == ["approved", "suggested"]


async def test_everything_is_rejected_at_once_and_told_as_json(laptop: Device, tmp_path: Path) -> None:
    task = await laptop.made("create_task", title="Send draft")

    result = adiuva("reject", "--all", "--data", str(tmp_path), "--json")

    assert json.loads(result.stdout) == {
        "decisions": [{"verdict": "deleted", "type": "task", "id": task["id"], "title": "Send draft"}]
    }
    assert shown(tmp_path)["tasks"] == []
    assert "Nothing waits" in adiuva("reject", "--all", "--data", str(tmp_path)).stdout


async def test_an_id_that_waits_for_nothing_is_a_clear_error(laptop: Device, tmp_path: Path) -> None:
    result = adiuva("approve", ABSENT, "--data", str(tmp_path), expected=1)

    assert result.stdout == ""
    assert result.stderr.startswith("error: An id names nothing that waits")


@pytest.mark.parametrize("arguments", [[], ["--all", ABSENT]])
async def test_ids_or_all_must_be_named_and_not_both(laptop: Device, tmp_path: Path, arguments: list[str]) -> None:
    result = adiuva("approve", *arguments, "--data", str(tmp_path), expected=2)

    assert "--all" in result.stderr


async def test_a_database_that_is_held_is_a_clear_error(
    laptop: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("device_bridge.agent.workspace.connection.BUSY_TIMEOUT_SECONDS", 0.01)
    with closing(sqlite3.connect(laptop.path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")

        result = adiuva("approve", "--all", "--data", str(tmp_path), expected=1)

    assert "cannot be used as a workspace: database is locked" in result.stderr


def test_a_directory_without_a_workspace_is_a_clear_error(tmp_path: Path) -> None:
    result = adiuva("show", "--data", str(tmp_path), "--json", expected=1)

    assert result.stdout == ""
    assert result.stderr.startswith("error: There is no workspace at ")


def test_a_workspace_of_a_newer_program_is_a_clear_error(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "workspace.db")) as connection:
        connection.execute("PRAGMA user_version = 999")

    assert "update this one" in adiuva("show", "--data", str(tmp_path), expected=1).stderr


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "workspace.db").write_bytes(b"no database at all" * 100)

    assert "file is not a database" in adiuva("show", "--data", str(tmp_path), expected=1).stderr


async def test_the_data_directory_is_found_by_the_environment_or_at_home(laptop: Device, tmp_path: Path) -> None:
    await laptop.made("create_task", title="Send draft")
    home = tmp_path / "home"
    (home / ".local" / "share").mkdir(parents=True)
    (home / ".local" / "share" / "adiuva").symlink_to(tmp_path)

    assert "Send draft" in adiuva("show", ADIUVA_DATA=str(tmp_path)).stdout
    assert "Send draft" in adiuva("show", ADIUVA_DATA="", HOME=str(home)).stdout


async def test_a_device_by_itself_has_its_workspace_directly_in_the_data_directory(tmp_path: Path) -> None:
    async with device(tmp_path) as alone:
        await alone.begin()
        await alone.made("create_task", title="Send draft")

        assert [row["title"] for row in shown(tmp_path)["tasks"]] == ["Send draft"]


def test_an_empty_workspace_says_so(tmp_path: Path) -> None:
    (tmp_path / "workspace.db").touch()

    assert "Nothing here yet." in adiuva("show", "--data", str(tmp_path)).stdout


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Überweisung, 5 € 日本", "Überweisung, 5 € 日本"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\x9b", r"\x9b"),
        ("\u202e\u200b\ufeff", r"\u202e\u200b\ufeff"),
        ("\U000e0041", r"\U000e0041"),
        ("\ud800", r"\ud800"),
        ("a\u00a0b\u2028c", r"a\xa0b\u2028c"),
    ],
)
def test_only_harmless_characters_are_printed_as_they_are(text: str, expected: str) -> None:
    assert printable(text) == expected
