"""Opening a file below a root so that no name, link or mount leads out of it, however the tree changes meanwhile.

Two back ends behind one interface. `KernelOpener` is one `openat2(2)` call: the kernel resolves the path and refuses
the step that leaves. `WalkOpener` is for kernels without it (and for macOS): it opens component by component below the
last open folder, never lets the kernel follow a link, and follows links itself. Both follow links that stay inside,
and both refuse absolute links, even those whose target is inside.

Source for the checks: openat2(2), and Linux' tools/testing/selftests/filesystems/openat2/resolve_test.c.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Sequence
from enum import Enum, auto, unique
from typing import Protocol

from device_bridge.agent.sandbox.descriptors import O_PATH, mount_identity

MAX_LINKS = 40
"""Links followed on the way to one file, as in the Linux kernel."""

# Non-blocking, so that a FIFO or a device opens at once and can be refused by its type; never a controlling terminal.
_COMMON = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


@unique
class Want(Enum):
    """What a path is opened for."""

    FILE = auto()
    """To read its content."""
    DIRECTORY = auto()
    """To read its entries."""
    ANYTHING = auto()
    """To ask what it is; opens nothing that would notice."""

    @property
    def flags(self) -> int:
        """The flags of open(2)."""
        return _FLAGS[self]


_FLAGS = {
    Want.FILE: os.O_RDONLY | _COMMON,
    Want.DIRECTORY: os.O_RDONLY | _COMMON | os.O_DIRECTORY,
    # openat2 refuses O_PATH together with flags that only matter to what is really opened.
    Want.ANYTHING: O_PATH | (os.O_CLOEXEC if hasattr(os, "O_PATH") else _COMMON),
}


class Opener(Protocol):
    """Opens what is below a root."""

    def open(self, root: int, names: Sequence[bytes], flags: int, *, cross_mounts: bool) -> int:
        """Return a new descriptor of what `names` leads to below the folder `root`; the caller closes it.

        Args:
            root: a descriptor of the folder.
            names: as in `WirePath.names`; empty for the root itself.
            flags: of open(2), with O_CLOEXEC.
            cross_mounts: whether the way may lead onto another file system.

        Raises:
            OSError: EXDEV when the way leads out of the root (or onto another mount), else what open(2) raises.
        """
        ...


class _OpenHow(ctypes.Structure):
    """`struct open_how` of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_SYS_OPENAT2 = 437  # the same on every architecture but alpha
_RESOLVE_NO_XDEV = 0x01
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_BENEATH = 0x08
_ATTEMPTS = 128


class KernelOpener:
    """Opens by `openat2(RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS [| RESOLVE_NO_XDEV])`."""

    def __init__(self) -> None:
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall

    def open(self, root: int, names: Sequence[bytes], flags: int, *, cross_mounts: bool) -> int:
        """As `Opener.open`."""
        path = b"/".join(names) or b"."
        if b"\0" in path:
            # C would open what stands before it.
            raise OSError(errno.EINVAL, "NUL in a name")
        resolve = _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS | (0 if cross_mounts else _RESOLVE_NO_XDEV)
        how = _OpenHow(flags, 0, resolve)
        for _ in range(_ATTEMPTS):
            descriptor = self._syscall(
                ctypes.c_long(_SYS_OPENAT2), ctypes.c_int(root), path, ctypes.byref(how), ctypes.c_size_t(24)
            )
            if descriptor >= 0:
                return int(descriptor)
            number = ctypes.get_errno()
            # EAGAIN: something was renamed while a `..` in a link was resolved, and the kernel will not vouch for it.
            if number not in {errno.EAGAIN, errno.EINTR}:
                raise OSError(number, os.strerror(number))
        raise OSError(errno.EAGAIN, "the tree kept changing")


class WalkOpener:
    """Opens one component after another, relative to the folder before it, with O_NOFOLLOW.

    `..` in a link goes back to the folder that was really passed through, never to the parent that the folder has by
    now: a folder that is moved out of the root in the middle of the walk leads nowhere.
    """

    def open(self, root: int, names: Sequence[bytes], flags: int, *, cross_mounts: bool) -> int:
        """As `Opener.open`."""
        folders = [os.open(b".", _FOLDER, dir_fd=root)]
        try:
            descriptor = _walk(folders, list(reversed(names)), flags)
        finally:
            for folder in folders:
                os.close(folder)
        if not cross_mounts and mount_identity(descriptor) != mount_identity(root):
            os.close(descriptor)
            raise OSError(errno.EXDEV, "another mount")
        return descriptor


_FOLDER = O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _walk(folders: list[int], todo: list[bytes], flags: int) -> int:
    """Go through `todo` (next name last), keeping the folders on the way in `folders`; return the end of the way."""
    links = 0
    while todo:
        name = todo.pop()
        if name in {b"", b"."}:
            continue
        if name == b"..":
            if len(folders) == 1:
                raise OSError(errno.EXDEV, "out of the root")
            os.close(folders.pop())
            continue
        target, descriptor = _step(folders[-1], name, _FOLDER if todo else flags | os.O_NOFOLLOW)
        if target is None:
            if not todo:
                return descriptor
            folders.append(descriptor)
            continue
        links += 1
        if links > MAX_LINKS:
            raise OSError(errno.ELOOP, "too many links")
        if target.startswith(b"/"):
            raise OSError(errno.EXDEV, "an absolute link")
        todo.extend(reversed(target.split(b"/")))
    return os.open(b".", flags, dir_fd=folders[-1])


def _step(folder: int, name: bytes, flags: int) -> tuple[bytes | None, int]:
    """Open `name` in `folder`. Return (None, its descriptor), or (its target, -1) when it is a link."""
    try:
        descriptor = os.open(name, flags, dir_fd=folder)
    except OSError as error:
        if error.errno not in {errno.ELOOP, errno.ENOTDIR, errno.EMLINK}:
            raise
        try:
            return os.readlink(name, dir_fd=folder), -1
        except OSError:
            raise error from None
    # O_PATH opens the link itself.
    if stat.S_ISLNK(os.fstat(descriptor).st_mode):
        try:
            return os.readlink(b"", dir_fd=descriptor), -1
        finally:
            os.close(descriptor)
    return None, descriptor


def choose_opener() -> Opener:
    """Return the best back end that this kernel has and lets us use. Windows would need one of its own."""
    if sys.platform != "linux":
        return WalkOpener()
    opener = KernelOpener()
    # Whatever the answer is on this harmless folder, a kernel or a seccomp profile without openat2 shows here.
    probe = os.open("/", O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(opener.open(probe, (), Want.ANYTHING.flags, cross_mounts=False))
    except OSError:
        return WalkOpener()
    finally:
        os.close(probe)
    return opener
