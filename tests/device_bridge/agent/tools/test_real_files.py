"""The file tools over the real sandbox: policy, paths, bytes and what was processed, end to end on a real folder."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from device_bridge.agent.domain import Reason
from device_bridge.agent.sandbox.roots import open_roots
from device_bridge.agent.sandbox.sandbox import Sandbox
from device_bridge.agent.tools.ports import Files
from tests.device_bridge.agent.workspace.support import Device, device, reason, run_context


@pytest.fixture
async def laptop(tmp_path: Path) -> AsyncIterator[Device]:
    data = tmp_path / "data"
    shared = tmp_path / "Sample"
    for folder in (data, shared / "acme", shared / "private"):
        folder.mkdir(parents=True)
    (shared / "acme" / "brief.md").write_text("Brief: è")
    (shared / "acme" / "list.txt").write_text("one\ntwo\n")
    (shared / "acme" / ".env").write_text("KEY=secret")
    (shared / "private" / "diary.md").write_text("mine")
    files: Files = Sandbox(open_roots([shared], own_directory=data, home=tmp_path / "home"), own_directory=data)
    async with device(data, files=files) as started:
        await started.begin(directories=["sample/acme"])
        yield started


async def test_a_run_finds_reads_marks_and_finds_no_more(laptop: Device, tmp_path: Path) -> None:
    found = await laptop.made("find_changed_files", paths=["sample/acme"])
    assert [file["path"] for file in found["files"]] == ["sample/acme/brief.md", "sample/acme/list.txt"]
    read = await laptop.made("read_file_content", path="sample/acme/brief.md")
    assert read["text"] == "Brief: è"
    fields = ("path", "size_bytes", "mtime_ns")
    marked = await laptop.control("mark_processed", files=[{name: f[name] for name in fields} for f in found["files"]])
    assert marked.result == {"marked": 2}

    assert (await laptop.made("find_changed_files", paths=["sample/acme"]))["files"] == []
    os.utime(tmp_path / "Sample" / "acme" / "list.txt", ns=(1, 1))
    changed = (await laptop.made("find_changed_files", paths=["sample/acme"]))["files"]

    assert [file["path"] for file in changed] == ["sample/acme/list.txt"]
    (used,) = laptop.rows("SELECT calls, read_bytes FROM run_policies")
    assert used == {"calls": 4, "read_bytes": len("Brief: è".encode())}


@pytest.mark.parametrize("tool", ["read_file_content", "get_file_metadata"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("sample/acme//./brief.md", None),
        ("sample/acme/none.md", Reason.NOT_FOUND),
        ("sample/private/diary.md", Reason.POLICY_DENIED),
        ("sample/acme/../private/diary.md", Reason.PATH_DENIED),
        ("sample/acme/.env", Reason.DENIED_BY_POLICY),
        ("/etc/passwd", Reason.INVALID_ARGUMENT),
        ("data/workspace.db", Reason.POLICY_DENIED),
        ("sample/acme/brief.md\0", Reason.INVALID_ARGUMENT),
    ],
)
async def test_a_path_is_read_only_below_the_agents_folder(
    laptop: Device, tool: str, path: str, expected: Reason | None
) -> None:
    assert reason(await laptop.call(tool, path=path)) is expected


async def test_a_group_reads_only_its_own_files_however_their_paths_are_written(laptop: Device) -> None:
    await laptop.begin("run-2", files=["sample/acme/./brief.md"], directories=["sample"])
    context = run_context("run-2")

    for path in ("sample/acme/brief.md", "sample//acme/brief.md"):
        assert reason(await laptop.call("read_file_content", path=path, context=context)) is None
    for path in ("sample/acme/list.txt", "sample/private/diary.md"):
        assert reason(await laptop.call("read_file_content", path=path, context=context)) is Reason.POLICY_DENIED


async def test_a_folder_is_listed_in_pages_of_the_sandbox(laptop: Device) -> None:
    listed = await laptop.made("list_directory", path="sample/acme")

    names = {entry["name"]: entry["kind"] for entry in listed["entries"]}
    assert names["brief.md"] == names["list.txt"] == "file"


async def test_without_a_run_the_shared_folders_can_be_looked_at(laptop: Device) -> None:
    listed = await laptop.raw("list_directory", {})

    assert listed.result is not None
    assert [entry["path"] for entry in listed.result["entries"]] == ["sample"]
