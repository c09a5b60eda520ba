"""The stage of the sandbox tests: a root, a folder beside it that must never be read, and a sandbox over the root.

Every file that is written through the stage holds the stage's nonce, and every text that the sandbox hands out is
checked for it: text without it came from elsewhere.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from device_bridge.agent.domain import JsonObject, ToolError
from device_bridge.agent.sandbox.opening import KernelOpener, Opener, WalkOpener, choose_opener
from device_bridge.agent.sandbox.pool import FilePool
from device_bridge.agent.sandbox.reading import PositionalRead
from device_bridge.agent.sandbox.roots import Root, open_roots
from device_bridge.agent.sandbox.sandbox import Sandbox

BACK_ENDS = ("openat2", "walk")

libc = ctypes.CDLL(None, use_errno=True)


def make_opener(back_end: str) -> Opener:
    """Return the back end of that name, or skip when this kernel does not have it."""
    if back_end == "walk":
        return WalkOpener()
    if not isinstance(choose_opener(), KernelOpener):
        pytest.skip("this kernel (or its seccomp profile) has no openat2")
    return KernelOpener()


class Stage:
    """A root called `root`, its evil neighbour, and what the sandbox answers about them."""

    def __init__(self, base: Path, opener: Opener) -> None:
        self.base = base
        self.root = base / "root"
        self.evil = base / "root_evil"
        self.own = base / "own"
        for folder in (self.root, self.evil, self.own):
            folder.mkdir()
        (self.evil / "s.txt").write_text("OUTSIDE", encoding="utf-8")
        self.nonce = secrets.token_hex(8)
        self.opener = opener
        self.answer: JsonObject = {}
        self.message = ""
        self.restart()

    def restart(
        self,
        *,
        directories: Sequence[Path] = (),
        opener: Opener | None = None,
        pool: FilePool | None = None,
        pread: PositionalRead = os.pread,
        cross_mounts: bool = False,
    ) -> Sandbox:
        """Open the roots anew, with other parts in the sandbox's seams."""
        folders = directories or [self.root]
        self.roots: tuple[Root, ...] = open_roots(
            folders,
            own_directory=self.own,
            home=Path("/home/somebody-else"),
            cross_mounts=folders if cross_mounts else (),
        )
        self.sandbox = Sandbox(self.roots, own_directory=self.own, opener=opener or self.opener, pool=pool, pread=pread)
        return self.sandbox

    def write(self, path: str | bytes, text: str = "") -> Path:
        """Write a file with the nonce and `text` below the root, and the folders it needs."""
        file = self.root / os.fsdecode(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self.nonce + text, encoding="utf-8")
        return file

    def link(self, path: str, target: str | Path) -> None:
        """Make a symbolic link below the root."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.symlink_to(target)

    async def read(self, path: str, offset: int = 0, max_bytes: int | None = None) -> str:
        """Return the result code of reading `path`; the answer is in `answer`, a refusal's sentence in `message`."""
        try:
            self.answer = await self.sandbox.read_file_content(path, offset, max_bytes)
        except ToolError as error:
            return self._refused(error)
        text = self.answer["text"]
        assert "OUTSIDE" not in text
        assert offset or not text or self.nonce in text
        return "OK_TRUNCATED" if self.answer["truncated"] else "OK"

    async def list(self, path: str = "root", page_token: str | None = None) -> str:
        """Return the result code of listing `path`."""
        try:
            self.answer = await self.sandbox.list_directory(path, page_token)
        except ToolError as error:
            return self._refused(error)
        return "OK"

    async def tell(self, path: str) -> str:
        """Return the result code of asking what `path` is."""
        try:
            self.answer = await self.sandbox.get_file_metadata(path)
        except ToolError as error:
            return self._refused(error)
        return "OK"

    def entries(self) -> dict[str, JsonObject]:
        """Return the entries of the last listing by name."""
        return {entry["name"]: entry for entry in self.answer["entries"]}

    def open_descriptors(self) -> int:
        """Return how many descriptors this process holds of anything below the stage."""
        count = 0
        for descriptor in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                count += descriptor.readlink().is_relative_to(self.base)
        return count

    def _refused(self, error: ToolError) -> str:
        assert str(self.base) not in error.message
        assert "Errno" not in error.message
        self.message = error.message
        return error.reason.value


class Swapper:
    """A hostile thread: exchanges two names as fast as it can while the context lasts."""

    def __init__(self, first: Path, second: Path) -> None:
        self._names = (os.fsencode(first), os.fsencode(second))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._swap, name="swapper")
        self.swaps = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def _swap(self) -> None:
        at_fdcwd, rename_exchange = -100, 2
        while not self._stop.is_set():
            assert libc.renameat2(at_fdcwd, self._names[0], at_fdcwd, self._names[1], rename_exchange) == 0
            self.swaps += 1
