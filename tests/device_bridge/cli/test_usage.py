"""`adiuva devices` asked wrongly: no bridge is needed to say so."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from device_bridge.cli import app


def test_without_a_client_file_it_says_where_one_comes_from(tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["list", "--client", str(tmp_path / "none.json")])

    assert said.exit_code == 1
    assert "adiuva up" in said.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["call", "d", "t", "[]"],
        ["call", "d", "t", "{"],
        ["call", "d", "t", "@/nowhere/x.json"],
        ["call", "d", "t", "{}", "--timeout", "301"],
        ["call", "d"],
        ["enrol", "--minutes", "0"],
        ["show"],
        ["dance"],
    ],
)
def test_a_wrong_command_is_a_usage_error(arguments: list[str]) -> None:
    said = CliRunner().invoke(app, arguments)

    assert said.exit_code == 2
