"""The folders that the user shares: configured on the device, resolved once, and held open from then on.

A root is the folder that was there when it was opened, not the path: replaced by a link, the calls still go to the
original folder; deleted, they fail until someone on the device has it checked again.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, unique
from pathlib import Path

from device_bridge.agent.sandbox.descriptors import O_PATH, close_with, descriptor_path, is_gone
from device_bridge.agent.sandbox.refusals import unavailable

_SYSTEM = (Path("/proc"), Path("/sys"), Path("/dev"))


class RootRefused(ValueError):
    """A folder cannot be shared. Its text names the local path and is for the user at the device only."""


@unique
class RootHealth(Enum):
    """Whether a root still is what was configured."""

    OK = "OK"
    CHANGED = "CHANGED"
    """The configured path leads elsewhere now; calls still go to the folder that was there at the start."""
    GONE = "GONE"
    """The folder was deleted or its disk taken away; calls fail until the roots are opened again."""


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Root:
    """A shared folder, held open as long as the object is."""

    name: str
    """What callers call it. Lower case letters, digits, `.`, `_`, `-`; the only part of it that leaves the device."""
    path: Path = field(repr=False)
    """The resolved local path at the time of opening."""
    descriptor: int = field(repr=False)
    identity: tuple[int, int] = field(repr=False)
    """(device, inode)."""
    cross_mounts: bool = False
    """Whether other file systems mounted inside it are shared too."""

    def check_present(self) -> None:
        """Fail when the folder is gone, so that its absence is not told as a missing file.

        Raises:
            ToolError: UNAVAILABLE.
        """
        if is_gone(self.descriptor):
            raise unavailable("The shared folder is gone (ROOT_GONE); the user has to share it again.")

    def present_path(self) -> bytes:
        """Return the absolute local path that the folder has now; raises OSError when it has none."""
        return descriptor_path(self.descriptor)

    def health(self) -> RootHealth:
        """Return whether the configured path still leads to this folder."""
        if is_gone(self.descriptor):
            return RootHealth.GONE
        try:
            status = self.path.stat()
        except OSError:
            return RootHealth.CHANGED
        same = (status.st_dev, status.st_ino) == self.identity and self.path.resolve() == self.path
        return RootHealth.OK if same else RootHealth.CHANGED

    def reopened(self, *, own_directory: Path, home: Path | None = None) -> Root:
        """Return the folder that the configured path leads to now, under the same name; as `open_roots`."""
        home = _home() if home is None else home
        return open_root(self.path, self.name, own_directory=own_directory, home=home, cross_mounts=self.cross_mounts)


def open_roots(
    directories: Sequence[Path], *, own_directory: Path, home: Path | None = None, cross_mounts: Iterable[Path] = ()
) -> tuple[Root, ...]:
    """Open the folders that the user shares, each under a name of its own: its basename, as a slug.

    Args:
        directories: the configured folders. The order decides who gets the plain name when two have the same.
        own_directory: the agent's data directory; a root may contain it (it stays denied) but not lie in it.
        home: the user's home directory, which is too much to share; found by itself when None.
        cross_mounts: those of `directories` in which other mounted file systems are shared too.

    Raises:
        RootRefused: a folder does not exist, or is one that must not be shared.
    """
    home = _home() if home is None else home
    crossing = set(cross_mounts)
    roots: dict[str, Root] = {}
    for directory in directories:
        name = _unique(slug(directory.absolute().name), roots.keys())
        roots[name] = open_root(
            directory, name, own_directory=own_directory, home=home, cross_mounts=directory in crossing
        )
    return tuple(roots.values())


def open_root(directory: Path, name: str, *, own_directory: Path, home: Path, cross_mounts: bool = False) -> Root:
    """Resolve and open one folder; the arguments are those of `open_roots`.

    Raises:
        RootRefused: as there.
    """
    try:
        path = directory.resolve(strict=True)
        descriptor = os.open(path, O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, RuntimeError):
        message = f"{directory} is not a folder that can be opened"
        raise RootRefused(message) from None
    try:
        status = os.fstat(descriptor)
        _check_allowed(path, status, own_directory, home)
    except BaseException:
        os.close(descriptor)
        raise
    identity = (status.st_dev, status.st_ino)
    root = Root(name=name, path=path, descriptor=descriptor, identity=identity, cross_mounts=cross_mounts)
    close_with(root, descriptor)
    return root


def slug(name: str) -> str:
    """Return `name` as a root's name: lower case letters, digits, `.`, `_` and `-`; `root` when nothing is left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9._]+", "-", plain).strip("-._")[:64] or "root"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        # A service account without one.
        return Path("/")


def _unique(name: str, taken: Container[str]) -> str:
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}-{number}", number + 1
    return candidate


def _check_allowed(path: Path, status: os.stat_result, own_directory: Path, home: Path) -> None:
    home, own = home.resolve(), own_directory.resolve()
    if path == path.parent or _is(status, Path("/")):
        message = f"{path} is the whole file system; share a folder in it"
    elif home.is_relative_to(path) or _is(status, home):
        message = f"{path} holds the whole home directory; share a folder in it"
    elif any(path.is_relative_to(system) for system in _SYSTEM):
        message = f"{path} belongs to the operating system"
    elif path.is_relative_to(own):
        message = f"{path} is part of the agent's own data directory"
    else:
        return
    raise RootRefused(message)


def _is(status: os.stat_result, path: Path) -> bool:
    try:
        return os.path.samestat(status, path.stat())
    except OSError:
        return False
