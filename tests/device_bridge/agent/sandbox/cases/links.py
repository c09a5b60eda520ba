"""P18 to P33: links, swaps, and roots that change."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from device_bridge.agent.sandbox.roots import RootHealth
from tests.device_bridge.agent.sandbox.cases import case
from tests.device_bridge.agent.sandbox.race import race_file_against_link, race_folder_against_link
from tests.device_bridge.agent.sandbox.stage import Stage, libc

QUICK_RACE = 20_000


@case(18, "a link to /etc/passwd")
async def _(stage: Stage) -> None:
    stage.link("l", "/etc/passwd")

    assert await stage.read("root/l") == "PATH_DENIED"
    assert await stage.tell("root/l") == "PATH_DENIED"


@case(19, "a relative link out of the root, whether or not it leads to something")
async def _(stage: Stage) -> None:
    stage.link("l", "../root_evil/s.txt")
    stage.link("nothing", "../root_evil/missing.txt")

    assert await stage.read("root/l") == "PATH_DENIED"
    there = stage.message
    assert await stage.read("root/nothing") == "PATH_DENIED"
    assert stage.message == there


@case(20, "a relative link that stays inside is followed")
async def _(stage: Stage) -> None:
    stage.write("sub/b.txt")
    stage.link("l", "sub/b.txt")
    stage.link("sub/back", "../sub/./b.txt")
    stage.link("folder", "sub/")

    for path in ("root/l", "root/sub/back", "root/folder/b.txt", "root/folder/back"):
        assert await stage.read(path) == "OK"
        assert stage.answer["path"] == path
    assert await stage.list("root/folder") == "OK"


@case(21, "an absolute link is refused even when its target is inside")
async def _(stage: Stage) -> None:
    stage.link("l", stage.write("a.txt"))

    assert await stage.read("root/l") == "PATH_DENIED"


@case(22, "a link to a folder, and dot dot in links through it")
async def _(stage: Stage) -> None:
    stage.write("a.txt")
    stage.write("one/two/b.txt")
    stage.link("deep", "one/two")
    stage.link("inside", "deep/../../a.txt")
    stage.link("outside", "deep/../../../root_evil/s.txt")

    assert await stage.read("root/deep/../a.txt") == "PATH_DENIED"
    assert await stage.read("root/inside") == "OK"
    assert await stage.read("root/outside") == "PATH_DENIED"


@case(23, "a link to the whole file system")
async def _(stage: Stage) -> None:
    stage.link("l_root", "/")
    stage.link("climb", "../" * 30)

    assert await stage.read("root/l_root/etc/passwd") == "PATH_DENIED"
    assert await stage.list("root/l_root") == "PATH_DENIED"
    assert await stage.read("root/climb/etc/passwd") == "PATH_DENIED"


@case(24, "links to the kernel's own files")
async def _(stage: Stage) -> None:
    for number, target in enumerate(("/proc/self/environ", "/proc/self/fd/3", "/dev/fd/0", "/proc/self/root")):
        stage.link(f"l{number}", target)

        assert await stage.read(f"root/l{number}") == "PATH_DENIED"


@case(25, "links in a circle")
async def _(stage: Stage) -> None:
    stage.link("one", "two")
    stage.link("two", "one")
    stage.link("self", "self/self")

    with anyio.fail_after(2):
        for path in ("root/one", "root/self", "root/one/x"):
            assert await stage.read(path) == "NOT_FOUND"


@case(26, "a link to nothing")
async def _(stage: Stage) -> None:
    stage.link("l", "missing.txt")

    assert await stage.read("root/l") == "NOT_FOUND"


@case(27, "41 links in a row")
async def _(stage: Stage) -> None:
    stage.write("l0")
    for number in range(1, 42):
        stage.link(f"l{number}", f"l{number - 1}")

    assert await stage.read("root/l40") == "OK"
    assert await stage.read("root/l41") == "NOT_FOUND"


@case(28, "a folder and a link that are swapped all the time")
async def _(stage: Stage) -> None:
    race_folder_against_link(stage, calls=QUICK_RACE)


@case(29, "a file and a link that are swapped all the time")
async def _(stage: Stage) -> None:
    race_file_against_link(stage, calls=QUICK_RACE)


@case(30, "the root itself replaced by a link")
async def _(stage: Stage) -> None:
    stage.write("a.txt")
    (stage.evil / "a.txt").write_text("OUTSIDE", encoding="utf-8")
    stage.root.rename(stage.base / "moved")
    stage.root.symlink_to(stage.evil)

    assert await stage.read("root/a.txt") == "OK"
    assert await stage.sandbox.health() == {"root": RootHealth.CHANGED}


@case(31, "the root deleted and made again")
async def _(stage: Stage) -> None:
    stage.write("a.txt")
    shutil.rmtree(stage.root)
    assert await stage.read("root/a.txt") == "UNAVAILABLE"
    assert "ROOT_GONE" in stage.message

    stage.write("a.txt")
    assert await stage.read("root/a.txt") == "UNAVAILABLE"
    assert await stage.sandbox.health() == {"root": RootHealth.GONE}

    await stage.sandbox.reopen_roots()
    assert await stage.read("root/a.txt") == "OK"
    assert await stage.sandbox.health() == {"root": RootHealth.OK}


@case(32, "a hard link to a file outside is read, and noted on the device")
async def _(stage: Stage) -> None:
    outside = stage.base / "elsewhere.txt"
    outside.write_text(stage.nonce, encoding="utf-8")
    os.link(outside, stage.root / "h.txt")

    assert await stage.read("root/h.txt") == "OK"


@case(33, "another mount inside the root, of the same file system or another one")
async def _(stage: Stage) -> None:
    if os.geteuid() != 0:
        pytest.skip("P33 needs root: only root mounts")
    stage.write("bind/below.txt")
    stage.write("memory/below.txt")
    stage.write("a.txt")
    stage.link("memory_link", "memory/x.txt")

    with _mounted(stage.evil, stage.root / "bind"), _mounted(None, stage.root / "memory"):
        (stage.root / "memory/x.txt").write_text(stage.nonce, encoding="utf-8")
        for path in ("root/bind/s.txt", "root/memory/x.txt", "root/memory_link"):
            assert await stage.read(path) == "PATH_DENIED"
        assert await stage.list("root/bind") == "PATH_DENIED"
        assert await stage.list("root") == "OK"

        stage.restart(cross_mounts=True)
        assert await stage.read("root/memory/x.txt") == "OK"


@contextmanager
def _mounted(source: Path | None, target: Path) -> Iterator[None]:
    """Bind `source` to `target`, or mount an empty file system in memory there."""
    bind = 4096
    kind = None if source else b"tmpfs"
    done = libc.mount(os.fsencode(source or "none"), os.fsencode(target), kind, bind if source else 0, None)
    if done != 0:
        pytest.skip("P33 needs the right to mount, which this container withholds")
    try:
        yield
    finally:
        detach = 2
        libc.umount2(os.fsencode(target), detach)
