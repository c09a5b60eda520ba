"""The walk for changed files: regular files below some folders that are not as they were recorded.

The order is fixed (the given paths as given, below them each folder's entries by the bytes of their names, a folder's
content at its place), so a page token is only the last place looked at. A page ends when it is full, or when it has
looked at enough or long enough; then it may hold few files or none, and still has a token.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Collection, Sequence

from device_bridge.agent.domain import JsonObject, Reason, ToolError
from device_bridge.agent.sandbox.access import FileAccess, Opened
from device_bridge.agent.sandbox.listing import entry_names, names_after
from device_bridge.agent.sandbox.media import is_readable
from device_bridge.agent.sandbox.opening import Want
from device_bridge.agent.sandbox.pagination import PAGE_TEXT_BYTES, decode_token, encode_token, text_bytes
from device_bridge.agent.sandbox.paths import WirePath, parse
from device_bridge.agent.sandbox.reading import timestamp
from device_bridge.agent.sandbox.refusals import from_os_error, invalid, not_a_file

PAGE_FILES = 1000
"""The most files in one page, and the default."""
MAX_PATHS = 256
PAGE_NAMES = 20_000
"""Names that one page looks at; also the most names held at a time."""
PAGE_SECONDS = 2.0
"""How long one page looks, well below the deadline of the file system."""

Known = Callable[[str], tuple[int, int] | None]
"""Wire path -> (size in bytes, modification time in nanoseconds) as recorded, or None. Called in a worker thread."""

# A folder that goes away during the walk, or turns into something else, is no fault.
_VANISHED = {Reason.NOT_FOUND, Reason.NOT_A_DIRECTORY, Reason.DENIED_BY_POLICY}


def find_changed_files(
    access: FileAccess,
    paths: Sequence[str],
    extensions: Collection[str],
    known: Known,
    *,
    page_token: str | None = None,
    page_size: int | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> JsonObject:
    """Return the answer of `find_changed_files`. Blocks.

    Hidden entries (a leading dot), entries on the deny list and links are passed over. What the device cannot read is
    in `unreadable`, with a reason: PATH_DENIED, UNAVAILABLE, or INVALID_ARGUMENT for a path too deep or long to be
    named.

    Args:
        access: the files.
        paths: wire paths of folders or files; "." is all roots. One that lies below another is looked at once.
        extensions: with or without the dot, in any case; empty means all files that may hold text.
        known: tells what is recorded of a file.
        page_token: of the page before.
        page_size: at most PAGE_FILES.
        clock: seconds, for the end of a page.

    Raises:
        ToolError: as `FileAccess.opened` for each of `paths`; INVALID_ARGUMENT.
        OSError: the disk failed.
    """
    size = PAGE_FILES if page_size is None else min(page_size, PAGE_FILES)
    if size < 1:
        raise invalid("page_size must be 1 or more.")
    starts = _starts(access, paths)
    index, after = decode_token(page_token) or (0, None)
    page = _Page(access, known, _suffixes(extensions), size, clock)
    try:
        for number in range(max(index, 0), len(starts)):
            page.visit_start(number, starts[number], after if number == index else None)
    except _PageFull:
        return page.answer(more=True)
    return page.answer(more=False)


def _starts(access: FileAccess, paths: Sequence[str]) -> list[WirePath]:
    """Return the places to begin at: none twice, none below another one, each of them there."""
    if not 1 <= len(paths) <= MAX_PATHS:
        raise invalid(f"Give 1 to {MAX_PATHS} paths.")
    wanted: dict[WirePath, None] = {}
    for path in map(parse, paths):
        expanded = [path] if path.root else [WirePath(root.name) for root in access.roots]
        wanted |= dict.fromkeys(expanded)
    for path in wanted:
        with access.opened(path, Want.ANYTHING) as opened:
            if not (stat.S_ISDIR(opened.status.st_mode) or stat.S_ISREG(opened.status.st_mode)):
                raise not_a_file()
    return [path for path in wanted if not any(_is_below(path, other) for other in wanted)]


def _is_below(path: WirePath, other: WirePath) -> bool:
    size = len(other.names)
    return path.root == other.root and len(path.names) > size and path.names[:size] == other.names


def _suffixes(extensions: Collection[str]) -> tuple[str, ...]:
    return tuple("." + extension.removeprefix(".").lower() for extension in extensions if extension.strip("."))


class _PageFull(Exception):
    """The page ends here; the place that was looked at last is in its token."""


class _Page:
    """One page while it is filled."""

    def __init__(
        self, access: FileAccess, known: Known, suffixes: tuple[str, ...], size: int, clock: Callable[[], float]
    ) -> None:
        self._access = access
        self._known = known
        self._suffixes = suffixes
        self._size = size
        self._clock = clock
        self._end = clock() + PAGE_SECONDS
        self._looked_at = 0
        self._room = PAGE_TEXT_BYTES
        self._files: list[JsonObject] = []
        self._unreadable: list[JsonObject] = []
        self._start = WirePath("")
        self._place: tuple[int, tuple[bytes, ...]] = (0, ())

    def answer(self, *, more: bool) -> JsonObject:
        """Return the page."""
        answer: JsonObject = {"files": self._files, "unreadable": self._unreadable}
        return answer | ({"next_page_token": encode_token(*self._place)} if more else {})

    def visit_start(self, number: int, start: WirePath, after: tuple[bytes, ...] | None) -> None:
        """Look at one of the given paths; `after` is the last place of the page before, relative to it.

        Raises:
            _PageFull: there is more to look at.
        """
        self._start = start
        with self._access.opened(start, Want.ANYTHING) as opened:
            status = opened.status
        if stat.S_ISDIR(status.st_mode):
            self._visit_folder(number, start, after or ())
        elif after is None:
            self._look(number, ())
            self._consider(start, status)

    def _visit_folder(self, number: int, path: WirePath, after: tuple[bytes, ...]) -> None:
        with self._access.opened(path, Want.DIRECTORY) as folder:
            last = None
            if after:
                last = after[0]
                self._resume(number, folder, after)
            while True:
                names = names_after(entry_names(folder.descriptor), last, PAGE_NAMES)
                for name in names:
                    self._look(number, (*path.names[len(self._start.names) :], name))
                    self._visit_entry(number, folder, name, ())
                if len(names) < PAGE_NAMES:
                    return
                last = names[-1]

    def _resume(self, number: int, folder: Opened, after: tuple[bytes, ...]) -> None:
        """Finish the folder in which the page before ended, if it was one."""
        try:
            status = os.stat(after[0], dir_fd=folder.descriptor, follow_symlinks=False)
        except (OSError, ValueError):
            return
        if stat.S_ISDIR(status.st_mode):
            self._visit_entry(number, folder, after[0], after[1:])

    def _look(self, number: int, place: tuple[bytes, ...]) -> None:
        """Count one name as looked at, unless the page is full: then it is for the next one."""
        full = len(self._files) >= self._size or len(self._unreadable) >= self._size
        full = full or self._room <= 0
        if full or self._looked_at >= PAGE_NAMES or (self._looked_at and self._clock() >= self._end):
            raise _PageFull
        self._looked_at += 1
        self._place = (number, place)

    def _visit_entry(self, number: int, folder: Opened, name: bytes, after: tuple[bytes, ...]) -> None:
        if name.startswith(b".") or self._access.is_denied_child(folder, name):
            return
        path = folder.path.child(name)
        try:
            status = os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                self._visit_child(number, path, after)
            elif stat.S_ISREG(status.st_mode) and self._is_wanted(name):
                readable = os.access(name, os.R_OK, dir_fd=folder.descriptor, effective_ids=_EFFECTIVE)
                self._consider(path, status, readable=readable)
        except FileNotFoundError:
            return
        except OSError as error:
            self._report(path, from_os_error(error).reason)

    def _visit_child(self, number: int, path: WirePath, after: tuple[bytes, ...]) -> None:
        if not path.is_writable():
            self._report(path, Reason.INVALID_ARGUMENT)
            return
        try:
            self._visit_folder(number, path, after)
        except ToolError as error:
            if error.reason not in _VANISHED:
                self._report(path, error.reason)

    def _is_wanted(self, name: bytes) -> bool:
        if not self._suffixes:
            return is_readable(name)
        return name.decode("utf-8", "replace").lower().endswith(self._suffixes)

    def _consider(self, path: WirePath, status: os.stat_result, *, readable: bool = True) -> None:
        if not path.is_writable():
            self._report(path, Reason.INVALID_ARGUMENT)
        elif not readable:
            self._report(path, Reason.PATH_DENIED)
        elif self._known(str(path)) != (status.st_size, status.st_mtime_ns):
            facts = {
                "path": str(path),
                "size_bytes": status.st_size,
                "modified_at": timestamp(status.st_mtime_ns),
                "mtime_ns": status.st_mtime_ns,
            }
            self._add(self._files, facts)

    def _report(self, path: WirePath, reason: Reason) -> None:
        self._add(self._unreadable, {"path": str(path), "reason": reason.value})

    def _add(self, to: list[JsonObject], entry: JsonObject) -> None:
        to.append(entry)
        self._room -= text_bytes(entry)


_EFFECTIVE = os.access in os.supports_effective_ids
