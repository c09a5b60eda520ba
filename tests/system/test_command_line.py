"""The command line by itself: what it says when there is no stack, or nothing that it could reach one with."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.system.local_stack import adiuva
from tests.system.users import at_once, check_refused, without_a_trace

pytestmark = pytest.mark.system

COMMANDS = ("demo", "up", "agents", "runs", "connections", "devices", "device", "workspace")
GOOD = {
    "orchestrator": {"target": "127.0.0.1:1"},
    "device_bridge": {"target": "127.0.0.1:1", "device_target": "127.0.0.1:1"},
    "token": "adv_made_up",
}


def command(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return without_a_trace(adiuva(*arguments, check=False, env={"ADIUVA_DATA": str(home)}))


def test_help_names_every_command_in_the_order_of_a_newcomer(tmp_path: Path) -> None:
    bare, asked = command(home=tmp_path), command("--help", home=tmp_path)

    listed = [line.split()[0] for line in asked.stdout.splitlines() if line.startswith("  ") and line[2] != " "]
    assert listed == list(COMMANDS)
    assert (bare.returncode, asked.returncode) == (2, 0)
    assert bare.stdout.strip() == asked.stdout.strip()


def test_every_command_explains_itself_without_a_stack(tmp_path: Path) -> None:
    helps = at_once(lambda name: command(name, "--help", home=tmp_path), COMMANDS)

    assert [done.returncode for done in helps] == [0] * len(COMMANDS)
    assert all(f"adiuva {name}" in done.stdout for name, done in zip(COMMANDS, helps, strict=True))
    assert not list(tmp_path.iterdir())


def test_a_command_that_is_asked_wrongly_ends_with_2_and_says_how_to_ask(tmp_path: Path) -> None:
    wrong = [
        ("nonsense",),
        ("runs", "nonsense"),
        ("runs", "start"),
        ("runs", "start", "some-agent", "--directory", "x"),
        ("agents", "create", "Nothing to look at"),
        ("agents", "create", "X", "--directory", "x", "--timezone", "UTC"),
        ("demo", "/no/such/folder", "--json"),
        ("up", "--root", "/no/such/folder"),
    ]

    for done in at_once(lambda arguments: command(*arguments, home=tmp_path), wrong):
        assert (done.returncode, done.stdout) == (2, ""), done.args
        assert "Try 'adiuva" in done.stderr


def test_without_a_client_file_one_is_told_to_start_a_stack(tmp_path: Path) -> None:
    for done in at_once(lambda name: command(name, "list", "--json", home=tmp_path), ("runs", "agents", "devices")):
        check_refused(done, "CLIENT_CONFIG", f"{tmp_path / 'client.json'} is not there", "adiuva up")
        assert done.stdout == ""


def test_a_client_file_that_cannot_be_used_is_refused_for_what_it_is(tmp_path: Path) -> None:
    contents: list[Any] = [
        "not JSON",
        [],
        GOOD | {"token": None},
        GOOD | {"token": "line\nbreak"},
        GOOD | {"token": "grüezi"},
        GOOD | {"orchestrator": {"target": "nonsense"}},
        GOOD | {"orchestrator": {"target": "far.example:7001"}},
        GOOD | {"ca_file": "/no/such/ca.pem"},
    ]

    def listing(number: int) -> subprocess.CompletedProcess[str]:
        file = tmp_path / f"{number}.json"
        content = contents[number]
        file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return command("runs", "list", "--client", str(file), home=tmp_path)

    for done in at_once(listing, range(len(contents))):
        check_refused(done, "CLIENT_CONFIG")


def test_when_nobody_answers_one_is_asked_whether_the_stack_runs(tmp_path: Path) -> None:
    (tmp_path / "client.json").write_text(json.dumps(GOOD), encoding="utf-8")

    asked = [("runs", "list"), ("agents", "list", "--json"), ("runs", "start", "-d", "x", "--watch")]
    for done in at_once(lambda arguments: command(*arguments, home=tmp_path), asked):
        check_refused(done, "UNAVAILABLE", "Is `adiuva up` running")
