"""The walk for changed files: what it finds, in which order, and page by page."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings, strategies as st

from device_bridge.agent.domain import JsonObject, Reason, ToolError
from device_bridge.agent.sandbox.access import FileAccess
from device_bridge.agent.sandbox.opening import WalkOpener
from device_bridge.agent.sandbox.pagination import PAGE_TEXT_BYTES
from device_bridge.agent.sandbox.walking import PAGE_SECONDS, find_changed_files
from tests.device_bridge.agent.sandbox.stage import Stage

Record = Callable[[str], tuple[int, int] | None]


def nothing(_: str) -> None:
    return None


async def found(
    stage: Stage, paths: Sequence[str], extensions: Sequence[str] = (), known: Record = nothing
) -> list[str]:
    page = await stage.sandbox.find_changed_files(paths, extensions, known)
    assert "next_page_token" not in page
    return [file["path"] for file in page["files"]]


async def test_files_are_found_below_folders_in_a_fixed_order(stage: Stage) -> None:
    for path in ("b.md", "a/z.md", "a/b/c.md", "a.md", "B.md"):
        stage.write(path)

    assert await found(stage, ["root"]) == ["root/B.md", "root/a/b/c.md", "root/a/z.md", "root/a.md", "root/b.md"]
    assert await found(stage, ["."]) == await found(stage, ["root"])
    assert await found(stage, ["root/b.md", "root/a"]) == ["root/b.md", "root/a/b/c.md", "root/a/z.md"]


async def test_a_file_says_what_will_be_recorded(stage: Stage) -> None:
    os.utime(stage.write("a.md"), ns=(0, 1_500_000_000))

    page = await stage.sandbox.find_changed_files(["root"], [], nothing)

    wanted = {"path": "root/a.md", "size_bytes": 16, "modified_at": "1970-01-01T00:00:01Z", "mtime_ns": 1_500_000_000}
    assert page == {"files": [wanted], "unreadable": []}


async def test_only_what_differs_from_the_record_is_found(stage: Stage) -> None:
    for name in ("same.md", "longer.md", "later.md", "new.md"):
        os.utime(stage.write(name), ns=(0, 7))
    known = {"root/same.md": (16, 7), "root/longer.md": (15, 7), "root/later.md": (16, 6)}

    assert await found(stage, ["root"], known=known.get) == ["root/later.md", "root/longer.md", "root/new.md"]


async def test_extensions_are_compared_without_case_and_dot(stage: Stage) -> None:
    for name in ("a.md", "b.MD", "c.txt", "d.tar.gz", "md", "e.docx"):
        stage.write(name)

    assert await found(stage, ["root"], [".md"]) == ["root/a.md", "root/b.MD"]
    assert await found(stage, ["root"], ["MD", "tar.gz"]) == ["root/a.md", "root/b.MD", "root/d.tar.gz"]


async def test_without_extensions_known_binaries_are_left_out(stage: Stage) -> None:
    for name in ("a.md", "b.png", "c.zip", "d.docx", "e", "f.unknown", "g.MP4"):
        stage.write(name)

    assert await found(stage, ["root"]) == ["root/a.md", "root/d.docx", "root/e", "root/f.unknown"]


async def test_hidden_denied_linked_and_special_entries_are_passed_over(stage: Stage) -> None:
    for path in (".hidden.md", ".git/notes.md", "server.key", "id_rsa.md", "a.md"):
        stage.write(path)
    stage.link("link.md", "a.md")
    stage.link("loop", ".")
    stage.link("out", "../root_evil")
    os.mkfifo(stage.root / "fifo.md")

    page = await stage.sandbox.find_changed_files(["root"], [], nothing)

    assert [file["path"] for file in page["files"]] == ["root/a.md"]
    assert page["unreadable"] == []


async def test_the_agents_own_data_is_passed_over(stage: Stage) -> None:
    (stage.own / "workspace.md").write_text("OUTSIDE", encoding="utf-8")
    stage.write("a.md")
    stage.restart(directories=[stage.base])
    name = stage.sandbox.root_names()[0]

    assert await found(stage, [name]) == [f"{name}/root/a.md", f"{name}/root_evil/s.txt"]


async def test_a_path_below_another_one_or_given_twice_is_walked_once(stage: Stage) -> None:
    stage.write("a/b/c.md")

    assert await found(stage, ["root/a/b", "root", "root/a/b/c.md", "root/a", "./root//"]) == ["root/a/b/c.md"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("root/missing", Reason.NOT_FOUND),
        ("other", Reason.PATH_DENIED),
        ("root/..", Reason.PATH_DENIED),
        ("root/out", Reason.PATH_DENIED),
        ("/etc", Reason.INVALID_ARGUMENT),
        ("root/.ssh", Reason.DENIED_BY_POLICY),
        ("root/fifo", Reason.NOT_A_FILE),
    ],
)
async def test_a_folder_that_cannot_be_walked_fails_the_call(stage: Stage, path: str, reason: Reason) -> None:
    stage.write("a.md")
    stage.link("out", "../root_evil")
    os.mkfifo(stage.root / "fifo")

    with pytest.raises(ToolError) as error:
        await stage.sandbox.find_changed_files(["root/a.md", path], [], nothing)

    assert error.value.reason is reason


@pytest.mark.parametrize(("paths", "size"), [([], None), (["root"], 0), (["root"], -1), (["root/a"] * 300, None)])
async def test_arguments_out_of_bounds_are_refused(stage: Stage, paths: list[str], size: int | None) -> None:
    with pytest.raises(ToolError) as error:
        await stage.sandbox.find_changed_files(paths, [], nothing, page_size=size)

    assert error.value.reason is Reason.INVALID_ARGUMENT


async def test_what_cannot_be_read_is_reported(stage: Stage) -> None:
    stage.write("a.md")
    deep = "/".join(["d"] * 63)
    stage.write(f"{deep}/too_deep.md")
    long = "/".join(["n" * 200] * 5)
    stage.write(f"{long}/{'n' * 200}.md")

    page = await stage.sandbox.find_changed_files(["root"], [], nothing)

    assert [file["path"] for file in page["files"]] == ["root/a.md"]
    assert {entry["reason"] for entry in page["unreadable"]} == {"INVALID_ARGUMENT"}
    assert len(page["unreadable"]) == 2


@settings(max_examples=25, deadline=None, database=None)
@given(
    tree=st.sets(
        st.lists(st.sampled_from(["a", "b", "c", ".h", "a.md", "b.txt"]), min_size=1, max_size=4).map("/".join),
        max_size=12,
    ),
    size=st.integers(1, 4),
)
def test_pages_together_are_the_whole(tmp_path_factory: pytest.TempPathFactory, tree: set[str], size: int) -> None:
    stage = Stage(tmp_path_factory.mktemp("walk"), WalkOpener())
    for path in sorted(tree):
        if not any((stage.root / parent).is_file() for parent in _parents(path)) and not (stage.root / path).exists():
            stage.write(path)
    access = FileAccess(stage.roots, own_directory=stage.own, opener=stage.opener)
    whole = find_changed_files(access, ["root/", "."], [], nothing)

    pages = _all_pages(access, size)

    assert [file for page in pages for file in page["files"]] == whole["files"]
    assert all(len(page["files"]) <= size for page in pages)


def test_long_paths_make_pages_of_fewer_files(stage: Stage) -> None:
    folder = "/".join(["n" * 200] * 4)
    for number in range(600):
        stage.write(f"{folder}/{number:04}{'x' * 190}")
    access = FileAccess(stage.roots, own_directory=stage.own, opener=stage.opener)

    pages = _all_pages(access, 1000)

    assert sum(len(page["files"]) for page in pages) == 600
    assert len(pages) == 2
    assert all(len(json.dumps(page)) < PAGE_TEXT_BYTES + 8192 for page in pages)


def test_a_page_ends_when_it_took_long_enough_and_always_gets_on(stage: Stage) -> None:
    for number in range(5):
        stage.write(f"f{number}.md")
        stage.write(f"g{number}/f.md")
    access = FileAccess(stage.roots, own_directory=stage.own, opener=stage.opener)

    def walk(token: str | None) -> JsonObject:
        # Every look at this clock finds the page's time over.
        clock = itertools.count(step=PAGE_SECONDS)
        return find_changed_files(access, ["root"], [], nothing, page_token=token, clock=lambda: next(clock))

    pages = [walk(None)]
    while token := pages[-1].get("next_page_token"):
        pages.append(walk(token))

    files = [file["path"] for page in pages for file in page["files"]]
    assert files == [f"root/f{number}.md" for number in range(5)] + [f"root/g{number}/f.md" for number in range(5)]
    assert len(pages) >= 10


def test_files_that_come_and_go_between_pages_break_nothing(stage: Stage) -> None:
    for number in range(6):
        stage.write(f"d{number}/f.md")
    access = FileAccess(stage.roots, own_directory=stage.own, opener=stage.opener)
    first = find_changed_files(access, ["root"], [], nothing, page_size=2)
    (stage.root / "d1/f.md").unlink()
    (stage.root / "d1").rmdir()
    stage.write("d0/late.md")
    stage.write("d3/e.md")

    second = find_changed_files(access, ["root"], [], nothing, page_token=first["next_page_token"])

    paths = [file["path"] for file in second["files"]]
    assert paths == ["root/d2/f.md", "root/d3/e.md", "root/d3/f.md", "root/d4/f.md", "root/d5/f.md"]


def _parents(path: str) -> list[str]:
    return ["/".join(path.split("/")[:depth]) for depth in range(1, path.count("/") + 1)]


def _all_pages(access: FileAccess, size: int) -> list[JsonObject]:
    pages = [find_changed_files(access, ["root"], [], nothing, page_size=size)]
    while token := pages[-1].get("next_page_token"):
        pages.append(find_changed_files(access, ["root"], [], nothing, page_size=size, page_token=token))
    return pages
