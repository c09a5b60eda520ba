"""What the commands say: to people, to programs, and when something is wrong with their own files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from adiuva.connectors.v1 import connection_pb2
from connectors.cli import app
from connectors.cli.output import as_dict, cell, fail, print_json, printable

COMMANDS = [
    ["link", "gmail"],
    ["list"],
    ["show", "c-1"],
    ["test", "c-1"],
    ["reauthorize", "c-1"],
    ["disconnect", "c-1", "--yes"],
]


def test_text_from_elsewhere_cannot_move_the_cursor_or_turn_the_line_around() -> None:
    shown = printable("a\x1b[2Jb\x07c\u202ed\ne")

    assert shown == "a\\x1b[2Jb\\x07c\\x202ed\\x0ae"


def test_text_from_elsewhere_is_no_markup() -> None:
    assert cell("[bold]x[/]\x1b") == "\\[bold]x\\[/]\\x1b"


def test_an_error_is_one_line_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        fail("SOME_REASON", "It [red]cannot[/] be\ndone.")

    said = capsys.readouterr()
    assert ended.value.exit_code == 1
    assert (said.out, said.err) == ("", "error [SOME_REASON] It [red]cannot[/] be\\x0adone.\n")


def test_json_has_the_contracts_names_and_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    connection = connection_pb2.Connection(
        connection_id="c-1", account="zoë@example.org", state=connection_pb2.CONNECTION_STATE_NEEDS_REAUTH
    )

    print_json(as_dict(connection))

    shown = json.loads(capsys.readouterr().out)
    assert shown["account"] == "zoë@example.org"
    assert shown["state"] == "CONNECTION_STATE_NEEDS_REAUTH"
    assert (shown["reason"], shown["scopes"]) == ("", [])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command[0]))
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "start `adiuva up` first"),
        ("{", "holds no JSON"),
        ("{}", "is not a client configuration"),
        (
            '{"orchestrator": {"target": "127.0.0.1:1"}, "device_bridge": {"target": "127.0.0.1:1"}, "token": "t"}',
            "names no connectors",
        ),
        (
            '{"orchestrator": {"target": "127.0.0.1:1"}, "device_bridge": {"target": "127.0.0.1:1"}, "token": "t",'
            ' "connectors": {"target": "127.0.0.1:1"}, "ca_file": "/nowhere/ca.pem"}',
            "/nowhere/ca.pem",
        ),
    ],
    ids=["missing", "no JSON", "empty", "no connectors", "no authority"],
)
def test_a_client_file_that_cannot_be_used_is_one_clear_error(
    command: list[str], content: str | None, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "client.json"
    if content is not None:
        file.write_text(content)

    done = CliRunner().invoke(app, [*command, "--client", str(file), "--json"])

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("error [CLIENT_CONFIG] ")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [["link"], ["link", "gmail", "--by", "post"], ["show"], ["test"], ["disconnect"], ["reauthorize"], ["dance"]],
    ids=str,
)
def test_a_wrong_command_is_a_usage_error(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_an_end_that_is_not_confirmed_does_not_happen() -> None:
    # Without a client file it would fail: it is not even looked for.
    done = CliRunner().invoke(app, ["disconnect", "c-1", "--client", "/nowhere.json"], input="n\n")

    assert done.exit_code == 1
    assert "Aborted" in done.stderr
    assert "CLIENT_CONFIG" not in done.stderr
