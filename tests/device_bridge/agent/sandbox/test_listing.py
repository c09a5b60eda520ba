"""What a listing tells of each kind of entry, and of roots."""

from __future__ import annotations

import json
import os
from contextlib import suppress

import pytest

from device_bridge.agent.domain import Reason, ToolError
from device_bridge.agent.sandbox.pagination import PAGE_TEXT_BYTES
from tests.device_bridge.agent.sandbox.stage import Stage


async def test_each_entry_has_its_kind_and_facts(stage: Stage) -> None:
    os.utime(stage.write("a.txt"), (0, 0))
    stage.write("sub/b.txt")
    os.mkfifo(stage.root / "fifo")
    stage.link("to_file", "a.txt")
    stage.link("to_folder", "sub")
    stage.link("to_nothing", "missing")
    stage.link("to_outside", "../root_evil/s.txt")

    assert await stage.list("root") == "OK"

    entries = stage.entries()
    assert entries["a.txt"] == {
        "name": "a.txt",
        "path": "root/a.txt",
        "kind": "file",
        "size_bytes": 16,
        "modified_at": "1970-01-01T00:00:00Z",
    }
    kinds = {name: (entry["kind"], entry["size_bytes"]) for name, entry in entries.items()}
    assert kinds == {
        "a.txt": ("file", 16),
        "sub": ("directory", 0),
        "fifo": ("other", 0),
        "to_file": ("file", 16),
        "to_folder": ("directory", 0),
        "to_nothing": ("other", 0),
        "to_outside": ("other", 0),
    }


async def test_links_out_and_links_to_nothing_look_the_same(stage: Stage) -> None:
    stage.link("a", "../root_evil/s.txt")
    stage.link("b", "../root_evil/missing")
    stage.link("c", "missing")
    for name in "abc":
        os.utime(stage.root / name, (0, 0), follow_symlinks=False)

    assert await stage.list("root") == "OK"

    first, *others = ({**entry, "name": "", "path": ""} for entry in stage.answer["entries"])
    assert others == [first, first]


async def test_metadata_of_files_folders_and_the_list_of_roots(stage: Stage) -> None:
    os.utime(stage.write("Brief.PDF"), (0, 0))
    os.utime(stage.root, (0, 0))
    root = {
        "kind": "directory",
        "size_bytes": 0,
        "modified_at": "1970-01-01T00:00:00Z",
        "media_type": "inode/directory",
    }

    assert await stage.sandbox.get_file_metadata("root/Brief.PDF") == {
        "path": "root/Brief.PDF",
        "kind": "file",
        "size_bytes": 16,
        "modified_at": "1970-01-01T00:00:00Z",
        "media_type": "application/pdf",
    }
    assert await stage.sandbox.get_file_metadata("root/") == {"path": "root"} | root
    assert await stage.sandbox.get_file_metadata(".") == {"path": "."} | root


@pytest.mark.parametrize("token", ["x", "eyJ9", "W10", "WzAsWzFdXQ", "\N{EURO SIGN}", "A" * 10_000, "WzAsWyJ6eiJdXQ"])
async def test_a_token_that_is_none_is_refused(stage: Stage, token: str) -> None:
    assert await stage.list("root", token) == "INVALID_ARGUMENT"
    with pytest.raises(ToolError) as error:
        await stage.sandbox.find_changed_files(["root"], [], lambda _: None, page_token=token)
    assert error.value.reason is Reason.INVALID_ARGUMENT


async def test_long_paths_make_pages_of_fewer_entries(stage: Stage) -> None:
    folder = "/".join(["n" * 200] * 4)
    wanted = [f"{number:04}{'x' * 190}" for number in range(500)]
    for name in wanted:
        stage.write(f"{folder}/{name}")

    seen: list[str] = []
    token, pages = "", 0
    while token or not pages:
        answer = await stage.sandbox.list_directory(f"root/{folder}", token or None)
        assert len(json.dumps(answer)) < PAGE_TEXT_BYTES + 8192
        seen += [entry["name"] for entry in answer["entries"]]
        token, pages = answer.get("next_page_token", ""), pages + 1

    assert seen == wanted
    assert pages == 2


async def test_a_sandbox_without_roots_lists_none_and_opens_nothing(stage: Stage) -> None:
    sandbox = type(stage.sandbox)([], own_directory=stage.own, opener=stage.opener)

    assert (await sandbox.list_directory("."))["entries"] == []
    assert (await sandbox.get_file_metadata("."))["kind"] == "directory"
    with pytest.raises(ToolError) as error:
        await sandbox.list_directory("root")
    assert error.value.reason is Reason.PATH_DENIED


async def test_listing_leaves_no_descriptor_open(stage: Stage) -> None:
    stage.write("a.txt")
    stage.link("out", "../root_evil/s.txt")
    before = stage.open_descriptors()

    for path in ("root", "root/a.txt", "root/out", "root/missing") * 20:
        await _ask_everything(stage, path)

    assert stage.open_descriptors() == before


async def _ask_everything(stage: Stage, path: str) -> None:
    with suppress(ToolError):
        await stage.sandbox.find_changed_files([path], [], lambda _: None)
    await stage.read(path)
    await stage.list(path)
    await stage.tell(path)
