"""The one way to a file: parse the wire path, open it below its root, ask the deny list about where it really led.

Everything here blocks and belongs in a worker thread. What is handed out is an open descriptor and never a path, so
nothing that happens to the tree afterwards changes what is read.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from device_bridge.agent.sandbox.descriptors import close_with, descriptor_path, undeleted
from device_bridge.agent.sandbox.escapes import to_text
from device_bridge.agent.sandbox.names import fold, is_denied
from device_bridge.agent.sandbox.opening import Opener, Want
from device_bridge.agent.sandbox.paths import WirePath
from device_bridge.agent.sandbox.refusals import denied, from_os_error, not_a_directory, not_a_file, outside
from device_bridge.agent.sandbox.roots import Root

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Something below a root, open and checked."""

    path: WirePath
    descriptor: int
    status: os.stat_result
    real_path: bytes
    """The absolute local path it really has. Never leaves this package."""
    real_names: tuple[str, ...]
    """The names it really has below its root, after links."""


class FileAccess:
    """Opens what is below the roots. Safe to use from several threads."""

    def __init__(self, roots: Sequence[Root], *, own_directory: Path, opener: Opener) -> None:
        """Hold `own_directory` open, so that it is known wherever it is moved.

        Raises:
            OSError: `own_directory` is no folder that can be opened.
        """
        self._roots = {root.name: root for root in roots}
        self._opener = opener
        self._own = os.open(own_directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        close_with(self, self._own)

    @property
    def roots(self) -> tuple[Root, ...]:
        """The roots, in the order of their configuration."""
        return tuple(self._roots.values())

    def replace(self, root: Root) -> None:
        """Use `root` from now on instead of the one of the same name; calls under way end on the old one."""
        self._roots[root.name] = root

    @contextmanager
    def opened(self, path: WirePath, want: Want) -> Iterator[Opened]:
        """Open `path` for `want`, for as long as the context lasts.

        Raises:
            ToolError: PATH_DENIED, DENIED_BY_POLICY, NOT_FOUND, NOT_A_FILE, NOT_A_DIRECTORY or UNAVAILABLE.
        """
        root = self._roots.get(path.root)
        if root is None:
            raise outside()
        root.check_present()
        flags = want.flags | (os.O_DIRECTORY if path.must_be_directory else 0)
        try:
            descriptor = self._opener.open(root.descriptor, path.names, flags, cross_mounts=root.cross_mounts)
        except OSError as error:
            raise from_os_error(error) from None
        try:
            yield self._checked(root, path, descriptor, want)
        finally:
            os.close(descriptor)

    def is_denied_child(self, folder: Opened, name: bytes) -> bool:
        """Return whether the entry `name` of `folder` is on the deny list, without opening it."""
        text = to_text(name)
        if is_denied([*folder.path.texts(), text]) or is_denied([*folder.real_names, text]):
            return True
        return self._is_own(folder.real_path + b"/" + name)

    def _checked(self, root: Root, path: WirePath, descriptor: int, want: Want) -> Opened:
        try:
            status = os.fstat(descriptor)
            real_path = descriptor_path(descriptor)
            below = _below(root.present_path(), real_path)
        except OSError as error:
            raise from_os_error(error) from None
        if below is None:
            # It (or the root) was moved in between; what cannot be placed is not handed out.
            raise outside()
        if is_denied(below) or self._is_own(real_path) or self._is_own_by_link(status):
            raise denied()
        _check_type(status, want)
        if status.st_nlink > 1 and stat.S_ISREG(status.st_mode):
            # A second name may stand outside the root; it cannot be told, so it is kept for the user to see.
            _log.info("a file with %d hard links was opened: %s", status.st_nlink, path)
        return Opened(path=path, descriptor=descriptor, status=status, real_path=real_path, real_names=tuple(below))

    def _is_own(self, real_path: bytes) -> bool:
        """Return whether a path is the agent's data directory or below it, on any file system's terms."""
        own = _folded(descriptor_path(self._own))
        names = _folded(real_path)
        return names[: len(own)] == own

    def _is_own_by_link(self, status: os.stat_result) -> bool:
        """Return whether a file with several names has one of them in the agent's data directory."""
        if status.st_nlink < 2 or not stat.S_ISREG(status.st_mode):
            return False
        for _, _, names, folder in os.fwalk(".", dir_fd=self._own):
            for name in names:
                try:
                    own = os.stat(name, dir_fd=folder, follow_symlinks=False)
                except OSError:
                    continue
                if os.path.samestat(own, status):
                    return True
        return False


def _below(root: bytes, path: bytes) -> list[str] | None:
    """Return the names of `path` below `root`, or None when it is not below it."""
    if path == root:
        return []
    if not path.startswith(root + b"/"):
        return None
    # The mark of a deleted name would hide a denied one; without it, a file that is really called so is judged as well.
    return [to_text(name) for name in undeleted(path)[len(root) + 1 :].split(b"/")]


def _folded(path: bytes) -> list[str]:
    return [fold(to_text(name)) for name in undeleted(path).split(b"/")]


def _check_type(status: os.stat_result, want: Want) -> None:
    if want is Want.FILE and not stat.S_ISREG(status.st_mode):
        raise not_a_file()
    if want is Want.DIRECTORY and not stat.S_ISDIR(status.st_mode):
        raise not_a_directory()
