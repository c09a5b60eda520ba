"""The commands for the key file."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from connectors.cli import app
from connectors.vault.domain import Owner
from connectors.vault.key_file import FileKeys
from connectors.vault.vault import Vault

OWNER = Owner(user_id="anna", connection_id="c-1")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "vault" / "keys.json"


def keys(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["keys", *map(str, arguments)])


def made(*arguments: object) -> Any:
    """Return what a command that succeeds answers."""
    done = keys(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def check_refused(done: Result, *words: str) -> None:
    text = " ".join(done.stderr.split())
    assert (done.exit_code, done.stdout) == (1, "")
    assert "error [KEY_FILE] " in text
    assert "Traceback" not in text
    assert not [word for word in words if word not in text], text


def test_a_file_is_made_that_only_its_owner_can_read(file: Path) -> None:
    assert made("create", file) == {"file": str(file)}

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(json.loads(file.read_text())["keys"]) == 1


def test_a_file_that_is_there_is_never_replaced(file: Path) -> None:
    keys("create", file)
    before = file.read_bytes()

    refused = keys("create", file)
    left = keys("create", file, "--if-missing")

    check_refused(refused, str(file), "it exists")
    assert (left.exit_code, left.stdout, left.stderr) == (0, "", "")
    assert file.read_bytes() == before


def test_a_missing_file_is_made_if_asked_for(file: Path) -> None:
    assert keys("create", file, "--if-missing").exit_code == 0
    assert file.exists()


async def test_a_new_key_is_used_at_once_and_the_old_one_goes_on_opening(file: Path) -> None:
    keys("create", file)
    wrapped = await Vault(FileKeys(file)).new_key(OWNER)

    new = made("add", file)["key_id"]

    vault = Vault(FileKeys(file))
    assert wrapped.key_id != new
    assert (await vault.new_key(OWNER)).key_id == new
    await vault.open_key(OWNER, wrapped)


def test_an_old_key_is_removed_and_the_current_one_is_not(file: Path) -> None:
    keys("create", file)
    old = json.loads(file.read_text())["current"]
    check_refused(keys("remove", file, old), old, "current key", "add another one first")

    new = made("add", file)["key_id"]
    removed = made("remove", file, old)

    assert removed == {"file": str(file), "removed": old}
    assert list(json.loads(file.read_text())["keys"]) == [new]
    check_refused(keys("remove", file, old), f"no key '{old}'")


def test_sentences_are_for_people(file: Path) -> None:
    said = [keys("create", file).stdout, keys("add", file).stdout]

    assert said[0] == f"made {file}\n"
    assert said[1].endswith(" is the current key now\n")


@pytest.mark.parametrize("command", [("add",), ("remove", "2026-01-00000000")], ids=lambda command: str(command[0]))
def test_a_file_that_cannot_be_used_is_named_with_what_is_wrong_with_it(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    missing, damaged, open_to_all = (tmp_path / name for name in ("missing.json", "damaged.json", "open.json"))
    damaged.touch(mode=0o600)
    damaged.write_text('{"current": "x", "keys": {"x": "canary-that-is-no-key"}}')
    keys("create", open_to_all)
    open_to_all.chmod(0o644)

    for file in (missing, damaged, open_to_all):
        done = keys(command[0], file, *command[1:])
        check_refused(done, str(file))
        assert "canary" not in done.stderr


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    check_refused(keys("create", tmp_path / "file" / "keys.json"), str(tmp_path))


@pytest.mark.parametrize("arguments", [[], ["create"], ["remove", "keys.json"], ["rotate", "keys.json"]], ids=str)
def test_a_wrong_command_is_a_usage_error(arguments: list[str]) -> None:
    assert keys(*arguments).exit_code == 2
