"""P34 to P45: what is not an ordinary file, and disks that fail."""

from __future__ import annotations

import errno
import os
import socket
import stat
import threading
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from device_bridge.agent.sandbox.opening import Opener, Want
from device_bridge.agent.sandbox.pool import FilePool
from device_bridge.agent.sandbox.reading import MAX_TEXT_BYTES
from tests.device_bridge.agent.sandbox.cases import case
from tests.device_bridge.agent.sandbox.memory import memory_growth
from tests.device_bridge.agent.sandbox.stage import Stage, libc


@case(34, "a FIFO that nobody writes to")
async def _(stage: Stage) -> None:
    os.mkfifo(stage.root / "f.txt")

    with anyio.fail_after(2):
        assert await stage.read("root/f.txt") == "NOT_A_FILE"
        assert await stage.list("root/f.txt") == "NOT_A_DIRECTORY"
        assert await stage.tell("root/f.txt") == "OK"
    assert stage.answer["kind"] == "other"


@case(35, "a Unix socket")
async def _(stage: Stage) -> None:
    folder = os.open(stage.root, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as listener:
        # A socket's address is short, pytest's paths are not.
        listener.bind(f"/proc/self/fd/{folder}/s.txt")
        assert await stage.read("root/s.txt") == "NOT_A_FILE"
        assert await stage.tell("root/s.txt") == "OK"
    os.close(folder)
    assert stage.answer["kind"] == "other"


@case(36, "a character device")
async def _(stage: Stage) -> None:
    _make_device(stage.root / "zero.txt", stat.S_IFCHR, os.makedev(1, 5))
    stage.restart(pread=_never_read)

    assert await stage.read("root/zero.txt") == "NOT_A_FILE"


@case(37, "a block device and a terminal")
async def _(stage: Stage) -> None:
    _make_device(stage.root / "disk.txt", stat.S_IFBLK, os.makedev(7, 0))
    _make_device(stage.root / "tty.txt", stat.S_IFCHR, os.makedev(5, 0))
    stage.restart(pread=_never_read)

    assert await stage.read("root/disk.txt") == "NOT_A_FILE"
    assert await stage.read("root/tty.txt") == "NOT_A_FILE"
    assert Want.FILE.flags & os.O_NOCTTY


@case(38, "a folder read, a file listed")
async def _(stage: Stage) -> None:
    stage.write("sub/a.txt")

    assert await stage.read("root/sub") == "NOT_A_FILE"
    assert await stage.read("root") == "NOT_A_FILE"
    assert await stage.list("root/sub/a.txt") == "NOT_A_DIRECTORY"


@case(39, "a file of 1 TiB that is nearly all hole")
async def _(stage: Stage) -> None:
    stage.write("usual.txt", "x" * 2 * MAX_TEXT_BYTES)
    os.truncate(stage.write("huge.txt", "x" * 2 * MAX_TEXT_BYTES), 2**40)
    os.truncate(stage.write("hole.txt"), 2**40)
    for _ in range(10):
        # The same work on an ordinary file first, so that the growth below is the huge one's alone.
        with memory_growth() as usual:
            assert await stage.read("root/usual.txt") == "OK_TRUNCATED"

    with memory_growth() as huge:
        assert await stage.read("root/huge.txt") == "OK_TRUNCATED"
        assert await stage.read("root/hole.txt") == "BINARY"

    assert stage.answer["size_bytes"] == 2**40
    assert len(stage.answer["text"]) <= MAX_TEXT_BYTES
    assert huge.kept_bytes < 2 * MAX_TEXT_BYTES
    assert huge.peak_bytes < usual.peak_bytes + 2 * MAX_TEXT_BYTES


@case(40, "an offset near the end of 10 GiB, and one past every end")
async def _(stage: Stage) -> None:
    size = 10 * 2**30
    with stage.write("big.txt").open("r+b") as file:
        file.seek(size - 2000)
        file.write(b"tail " * 400)

    assert await stage.read("root/big.txt", size - 1000, 500) == "OK_TRUNCATED"
    assert stage.answer["text"] == "tail " * 100
    assert await stage.read("root/big.txt", size - 100) == "OK"
    assert await stage.read("root/big.txt", size + 5) == "OK"
    assert stage.answer["text"] == ""
    assert await stage.read("root/big.txt", 2**62) == "OK"
    for offset in (2**62 + 1, 2**63 - 1, 2**64, -1):
        assert await stage.read("root/big.txt", offset) == "INVALID_ARGUMENT"


@case(41, "a file that grows or shrinks while it is read")
async def _(stage: Stage) -> None:
    file = stage.write("log.txt", "x" * 100)

    def grow(descriptor: int, size: int, offset: int) -> bytes:
        with file.open("a", encoding="utf-8") as end:
            end.write("y" * MAX_TEXT_BYTES)
        return os.pread(descriptor, size, offset)

    stage.restart(pread=grow)
    assert await stage.read("root/log.txt") == "OK_TRUNCATED"
    assert stage.answer["changed_during_read"] is True
    assert len(stage.answer["text"]) <= MAX_TEXT_BYTES

    def shrink(descriptor: int, size: int, offset: int) -> bytes:
        os.truncate(file, 20)
        return os.pread(descriptor, size, offset)

    stage.restart(pread=shrink)
    assert await stage.read("root/log.txt") == "OK"
    assert stage.answer["changed_during_read"] is True
    assert len(stage.answer["text"]) == 20


@case(42, "a file deleted between opening and reading")
async def _(stage: Stage) -> None:
    file = stage.write("a.txt")

    def delete(descriptor: int, size: int, offset: int) -> bytes:
        file.unlink(missing_ok=True)
        return os.pread(descriptor, size, offset)

    stage.restart(pread=delete)
    assert await stage.read("root/a.txt") == "OK"
    assert await stage.read("root/a.txt") == "NOT_FOUND"


@case(43, "a file and a folder that the device's user may not open")
async def _(stage: Stage) -> None:
    stage.write("closed.txt").chmod(0)
    stage.write("shut/a.txt").parent.chmod(0o600)
    stage.restart(opener=_Unprivileged(stage.opener))

    assert await stage.read("root/closed.txt") == "PATH_DENIED"
    assert await stage.read("root/shut/a.txt") == "PATH_DENIED"


@case(44, "a disk that answers EIO")
async def _(stage: Stage) -> None:
    stage.write("a.txt")

    def fail(_descriptor: int, _size: int, _offset: int) -> bytes:
        raise OSError(errno.EIO, f"Input/output error on {stage.base}")

    stage.restart(pread=fail)
    assert await stage.read("root/a.txt") == "UNAVAILABLE"


@case(45, "a file system that never answers")
async def _(stage: Stage) -> None:
    stage.write("a.txt")
    answer = threading.Event()

    def hang(descriptor: int, size: int, offset: int) -> bytes:
        answer.wait(30)
        return os.pread(descriptor, size, offset)

    stage.restart(pread=hang, pool=FilePool(threads=8, deadline_seconds=0.3))
    codes: list[str] = []

    async def read() -> None:
        codes.append(await stage.read("root/a.txt"))

    before = threading.active_count()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for _ in range(12):
                group.start_soon(read)
        # Every thread hangs: there is nothing to wait for any more.
        codes.append(await stage.list("root"))
    assert codes == ["UNAVAILABLE"] * 13
    assert threading.active_count() <= before + 8

    answer.set()
    with anyio.fail_after(5):
        while await stage.read("root/a.txt") != "OK":
            await anyio.lowlevel.checkpoint()


def _make_device(path: Path, kind: int, device: int) -> None:
    if os.geteuid() != 0:
        pytest.skip("P36 and P37 need root: only root makes device files")
    try:
        os.mknod(path, 0o666 | kind, device)
    except PermissionError:
        pytest.skip("P36 and P37 need the right to make device files, which this container withholds")


def _never_read(_descriptor: int, _size: int, _offset: int) -> bytes:
    raise AssertionError("a device was read")


class _Unprivileged:
    """Opens as nobody, for tests that root runs: root may open everything."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener

    def open(self, root: int, names: Sequence[bytes], flags: int, *, cross_mounts: bool) -> int:
        if os.geteuid() != 0:
            return self._opener.open(root, names, flags, cross_mounts=cross_mounts)
        nobody = 65534
        # Of this thread alone.
        libc.setfsuid(nobody)
        try:
            return self._opener.open(root, names, flags, cross_mounts=cross_mounts)
        finally:
            libc.setfsuid(0)
