"""What an open descriptor leads to: its present path and its mount. The kernel's word, not a path's."""

from __future__ import annotations

import fcntl
import os
import sys
import weakref
from pathlib import Path

O_PATH: int = getattr(os, "O_PATH", os.O_RDONLY)
"""Opens without reading where the kernel can (Linux), else for reading."""

_DELETED = b" (deleted)"


def close_with(owner: object, descriptor: int) -> None:
    """Close `descriptor` when nobody holds `owner` any more.

    Not earlier: a worker thread that hangs in a call may still use it, and a number that is closed under it could by
    then belong to a file outside the roots.
    """
    weakref.finalize(owner, os.close, descriptor)


def descriptor_path(descriptor: int) -> bytes:
    """Return the absolute path that `descriptor` has now, as the kernel tells it.

    Raises:
        OSError: the kernel cannot tell; a path longer than it can name is ENAMETOOLONG.
    """
    if sys.platform == "darwin":
        return fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0")
    return os.readlink(b"/proc/self/fd/%d" % descriptor)  # noqa: PTH115 - a name need not be text


def undeleted(path: bytes) -> bytes:
    """Return `path` without the mark that Linux appends to the path of a name that is gone."""
    return path.removesuffix(_DELETED)


def is_gone(descriptor: int) -> bool:
    """Return whether the folder that `descriptor` holds was deleted or can no longer be asked."""
    try:
        if os.fstat(descriptor).st_nlink > 0:
            return False
        # Some file systems count no links at all: Linux also marks the path.
        return sys.platform != "linux" or descriptor_path(descriptor).endswith(_DELETED)
    except OSError:
        return True


def mount_identity(descriptor: int) -> int:
    """Return a number that is equal for two descriptors on one mount.

    Linux tells the mount itself, which also tells a bind mount of the same file system apart; elsewhere the device
    number has to do.
    """
    if sys.platform == "linux":
        try:
            lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii").splitlines()
        except OSError:
            return os.fstat(descriptor).st_dev
        for line in lines:
            if line.startswith("mnt_id:"):
                return int(line.removeprefix("mnt_id:"))
    return os.fstat(descriptor).st_dev
