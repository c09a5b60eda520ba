"""The swap race: reads while a hostile thread exchanges what they go through for a link out of the root."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from device_bridge.agent.domain import ToolError
from device_bridge.agent.sandbox.access import FileAccess
from device_bridge.agent.sandbox.listing import list_directory
from device_bridge.agent.sandbox.reading import Document, part, read_file
from tests.device_bridge.agent.sandbox.stage import Stage, Swapper

_WHOLE = part(0, None)


def race_folder_against_link(stage: Stage, *, calls: int) -> None:
    """Read and list `root/sub` while `sub` is now a folder, now a link to the folder outside; assert no escape."""
    stage.write("sub/s.txt")
    (stage.evil / "outside_only.txt").write_text("OUTSIDE", encoding="utf-8")
    stage.link("lure", "../root_evil")
    access = FileAccess(stage.roots, own_directory=stage.own, opener=stage.opener)
    answered = 0
    with Swapper(stage.root / "sub", stage.root / "lure") as swapper:
        for number in range(calls):
            if number % 10:
                answered += _read(stage, access, "root/sub/s.txt")
            else:
                _list(access, "root/sub")
    _assert_it_was_a_race(answered, calls - calls // 10, swapper)


def race_file_against_link(stage: Stage, *, calls: int) -> None:
    """Read `root/a.txt` while it is now a file, now a link to the file outside; assert no escape."""
    stage.write("a.txt")
    stage.link("lure", "../root_evil/s.txt")
    access = FileAccess(stage.roots, own_directory=stage.own, opener=stage.opener)
    with Swapper(stage.root / "a.txt", stage.root / "lure") as swapper:
        answered = sum(_read(stage, access, "root/a.txt") for _ in range(calls))
    _assert_it_was_a_race(answered, calls, swapper)


def naive_escapes(stage: Stage, *, calls: int) -> int:
    """Return how often checking the path first and opening it then reads the file outside in the same race."""
    stage.write("a.txt")
    stage.link("lure", "../root_evil/s.txt")
    file, root = stage.root / "a.txt", stage.root.resolve()
    escapes = 0
    with Swapper(file, stage.root / "lure"):
        for _ in range(calls):
            # The swap also breaks `resolve` itself now and then.
            with suppress(OSError):
                if file.resolve().is_relative_to(root):
                    escapes += "OUTSIDE" in _content(file)
    return escapes


def _content(file: Path) -> str:
    with file.open(encoding="utf-8") as stream:
        return stream.read()


def _read(stage: Stage, access: FileAccess, path: str) -> bool:
    try:
        answer = read_file(access, path, _WHOLE)
    except ToolError:
        return False
    assert not isinstance(answer, Document)
    assert answer["text"] == stage.nonce
    return True


def _list(access: FileAccess, path: str) -> None:
    try:
        answer = list_directory(access, path)
    except ToolError:
        return
    assert [entry["name"] for entry in answer["entries"]] == ["s.txt"]


def _assert_it_was_a_race(answered: int, calls: int, swapper: Swapper) -> None:
    """A race in which one side never moved, or always won, proves nothing."""
    assert swapper.swaps > calls // 100
    assert calls // 100 < answered < calls
