"""Keys in a file: private, checked, followed when they change, and changed by one at a time."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import os
import re
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from connectors.vault.domain import KeyMissing, Undecryptable
from connectors.vault.key_content import read, write as write_content
from connectors.vault.key_file import FileKeys, KeyFileError, add_key, create_key_file, remove_key, use_key

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(bytes(range(32, 64))).decode()
KEYS = {"2026-11": KEY, "2025-11": OTHER}
GOOD = {"current": "2026-11", "keys": KEYS}
DEK = b"d" * 32

Write = Callable[[Any], Path]


class Clock:
    """Moves by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "keys.json"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: Any) -> Path:
        path = tmp_path / "keys.json"
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def ids(path: Path) -> set[str]:
    return set(read(path)[0].keys)


def test_a_new_file_has_one_key_and_is_its_owners_only(path: Path) -> None:
    key_id = create_key_file(path, now=datetime(2026, 11, 3, tzinfo=UTC))

    content = json.loads(path.read_text())
    assert re.fullmatch(r"2026-11-[0-9a-f]{8}", key_id)
    assert content["current"] == key_id
    assert [len(base64.b64decode(key)) for key in content["keys"].values()] == [32]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_file_that_is_there_is_never_replaced(path: Path) -> None:
    create_key_file(path)
    before = path.read_bytes()

    with pytest.raises(KeyFileError, match="it exists"):
        create_key_file(path)

    assert path.read_bytes() == before


def test_keys_are_never_the_same(tmp_path: Path) -> None:
    for number in range(20):
        create_key_file(tmp_path / f"{number}.json")

    made = [read(tmp_path / f"{number}.json")[0] for number in range(20)]

    assert len({content.current for content in made}) == 20
    assert len({key for content in made for key in content.keys.values()}) == 20


async def test_a_file_as_an_operator_writes_it_is_good(write: Write) -> None:
    assert await FileKeys(write(GOOD)).current_key_id() == "2026-11"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), "not JSON"),
        ([KEY], "not an object"),
        ({}, "not an object with current and keys"),
        ({"keys": KEYS}, "not an object with current and keys"),
        ({**GOOD, "next": "x"}, "nothing else"),
        ({**GOOD, "keys": [KEY]}, "keys is not an object"),
        ({**GOOD, "keys": {}}, "current is not the id"),
        ({**GOOD, "current": "2027-11"}, "current is not the id"),
        ({**GOOD, "current": ["2026-11"]}, "current is not the id"),
        ({**GOOD, "current": None}, "current is not the id"),
        ({"current": "", "keys": {"": KEY}}, "the id of key 1"),
        ({"current": "a b", "keys": {"a b": KEY}}, "the id of key 1"),
        ({"current": "a\n", "keys": {"a\n": KEY}}, "the id of key 1"),
        ({"current": "a" * 65, "keys": {"a" * 65: KEY}}, "the id of key 1"),
        ({**GOOD, "keys": {"2026-11": KEY, "2025-11": KEY[:-1]}}, "key 2025-11 must be 32 bytes"),
        ({**GOOD, "keys": {"2026-11": "*" + KEY}}, "key 2026-11 must be 32 bytes"),
        ({**GOOD, "keys": {"2026-11": KEY + "é"}}, "key 2026-11 must be 32 bytes"),
        ({**GOOD, "keys": {"2026-11": KEY[:24]}}, "key 2026-11 must be 32 bytes"),
        ({**GOOD, "keys": {"2026-11": 7}}, "key 2026-11 must be 32 bytes"),
        (f'{{"current": "a", "keys": {{"a": "{KEY}", "a": "{OTHER}"}}}}', "a name is there twice"),
    ],
)
def test_a_file_that_is_not_as_described_is_refused_without_showing_keys(
    write: Write, content: Any, fault: str
) -> None:
    path = write(content)

    with pytest.raises(KeyFileError, match=fault) as caught:
        FileKeys(path)

    assert str(path) in str(caught.value)
    assert KEY[:8] not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_may_read_is_refused(write: Write, mode: int) -> None:
    path = write(GOOD)
    path.chmod(mode)

    for attempt in (FileKeys, add_key, lambda file: remove_key(file, "2025-11"), lambda file: use_key(file, "2025-11")):
        with pytest.raises(KeyFileError, match="chmod 600"):
            attempt(path)


def test_a_file_or_a_directory_that_is_absent_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    for attempt in (FileKeys, add_key):
        with pytest.raises(KeyFileError, match=r"absent\.json: No such file"):
            attempt(tmp_path / "absent.json")
    with pytest.raises(KeyFileError, match=r"keys\.json: its directory: No such file"):
        add_key(tmp_path / "absent" / "keys.json")
    with pytest.raises(KeyFileError, match=r"keys\.json: its directory: Not a directory"):
        create_key_file(tmp_path / "file" / "keys.json")


def test_a_file_that_cannot_be_written_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_key_file(path)
    before = path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(KeyFileError, match=r"keys\.json: No space left on device"):
        add_key(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_change_is_on_the_disk_with_its_directory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(stat.S_ISDIR(os.fstat(descriptor).st_mode)))

    create_key_file(path)
    add_key(path)

    assert flushed == [False, True, False, True]


def test_a_new_key_is_the_current_one_and_the_old_one_stays(path: Path) -> None:
    old = create_key_file(path)

    new = add_key(path, now=datetime(2027, 1, 31, tzinfo=UTC))

    content, _ = read(path)
    assert new.startswith("2027-01-")
    assert (content.current, set(content.keys)) == (new, {old, new})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_can_be_in_every_file_before_it_is_the_current_one(path: Path) -> None:
    old = create_key_file(path)

    new = add_key(path, current=False)
    assert (read(path)[0].current, ids(path)) == (old, {old, new})
    use_key(path, new)

    assert (read(path)[0].current, ids(path)) == (new, {old, new})


def test_a_key_is_removed_unless_it_is_the_current_one(path: Path) -> None:
    old = create_key_file(path)
    new = add_key(path)

    with pytest.raises(KeyFileError, match="is the current key"):
        remove_key(path, new)
    remove_key(path, old)

    assert ids(path) == {new}
    for attempt in (remove_key, use_key):
        with pytest.raises(KeyFileError, match=f"no key '{old}'"):
            attempt(path, old)


@pytest.mark.parametrize("lock", [fcntl.LOCK_EX, fcntl.LOCK_SH])
def test_two_cannot_change_a_file_at_once(path: Path, lock: int) -> None:
    key_id = create_key_file(path)
    held = os.open(path.parent, os.O_RDONLY)
    fcntl.flock(held, lock)

    try:
        with pytest.raises(KeyFileError, match="somebody else is changing it"):
            add_key(path)
    finally:
        os.close(held)

    assert ids(path) == {key_id}
    assert add_key(path) in ids(path)


async def test_a_change_is_seen_a_second_later_without_a_restart(path: Path) -> None:
    clock = Clock()
    old = create_key_file(path)
    keys = FileKeys(path, clock=clock)
    wrapped = await keys.wrap(DEK, b"")
    add_key(path)
    assert (await keys.wrap(DEK, b"")).key_id != old
    remove_key(path, old)

    clock.now += 0.5
    assert await keys.unwrap(wrapped, b"") == DEK
    clock.now += 0.5

    with pytest.raises(KeyMissing):
        await keys.unwrap(wrapped, b"")


async def test_what_another_replica_wrapped_with_a_newer_key_opens_at_once(path: Path) -> None:
    create_key_file(path)
    ours, theirs = FileKeys(path, clock=Clock()), FileKeys(path, clock=Clock())
    add_key(path)

    wrapped = await theirs.wrap(DEK, b"")

    assert await ours.unwrap(wrapped, b"") == DEK


async def test_nothing_is_wrapped_with_a_key_that_is_not_current_any_more(path: Path) -> None:
    create_key_file(path)
    keys = FileKeys(path, clock=Clock())

    new = add_key(path)

    assert (await keys.wrap(DEK, b"")).key_id == new
    assert await keys.current_key_id() == new


async def test_a_key_that_is_put_back_opens_again(path: Path) -> None:
    clock = Clock()
    old = create_key_file(path)
    keys = FileKeys(path, clock=clock)
    wrapped = await keys.wrap(DEK, b"")
    add_key(path)
    backup, _ = read(path)
    remove_key(path, old)
    clock.now += 1
    with pytest.raises(KeyMissing, match=old):
        await keys.unwrap(wrapped, b"")

    write_content(path, backup)

    assert await keys.unwrap(wrapped, b"") == DEK


async def test_what_a_key_wrapped_unwraps_under_its_own_name_only(write: Write) -> None:
    keys = FileKeys(write({"current": "a", "keys": {"a": KEY, "b": KEY}}))
    wrapped = await keys.wrap(DEK, b"")

    with pytest.raises(Undecryptable, match="'b'"):
        await keys.unwrap(replace(wrapped, key_id="b"), b"")


@pytest.mark.parametrize("damage", ["not JSON", '{"current": "x", "keys": {}}', "open to others", "absent"])
async def test_a_damaged_file_leaves_the_last_good_one_in_force(write: Write, damage: str) -> None:
    clock = Clock()
    path = write(GOOD)
    keys = FileKeys(path, clock=clock)
    wrapped = await keys.wrap(DEK, b"")
    match damage:
        case "absent":
            path.unlink()
        case "open to others":
            path.chmod(0o644)
        case _:
            write(damage)

    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            clock.now += 1
            assert await keys.unwrap(wrapped, b"") == DEK
            assert await keys.current_key_id() == "2026-11"
    with structlog.testing.capture_logs() as later:
        new = write({"current": "2027-01", "keys": {**KEYS, "2027-01": KEY}})
        assert await keys.current_key_id() == "2027-01"

    assert [line["event"] for line in logs] == ["key file not reloaded"]
    assert [(line["event"], line["current"]) for line in later] == [("key file reloaded", "2027-01")]
    assert new == path
    for line in [*logs, *later]:
        assert KEY not in str(line)
        assert OTHER not in str(line)


async def test_a_file_is_looked_at_once_a_second_however_much_is_unwrapped(path: Path) -> None:
    clock = Clock()
    old = create_key_file(path)
    keys = FileKeys(path, clock=clock)
    wrapped = await keys.wrap(DEK, b"")
    clock.now += 1
    await keys.unwrap(wrapped, b"")
    add_key(path)
    remove_key(path, old)

    for _ in range(9):
        clock.now += 0.1
        await asyncio.gather(*(keys.unwrap(wrapped, b"") for _ in range(10)))


def test_keys_show_nowhere(path: Path) -> None:
    create_key_file(path)
    add_key(path)
    content, _ = read(path)
    keys = FileKeys(path)

    shown = [repr(content), repr(keys), repr(keys._keys), str(vars(keys))]

    for key in content.keys.values():
        for text in shown:
            assert base64.b64encode(key).decode() not in text
            assert key.hex() not in text
            assert repr(key) not in text
