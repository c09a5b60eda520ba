"""The sandbox's refusals: one sentence each, and one table from the operating system's errors to reasons.

No sentence holds a path, a name or the operating system's text: what a caller learns about anything outside the roots
is one uniform refusal, whether or not there is something to find.
"""

from __future__ import annotations

import errno

from device_bridge.agent.domain import Reason, ToolError


def outside() -> ToolError:
    """Return the refusal for everything that is not below a root, existing or not."""
    return ToolError(Reason.PATH_DENIED, "This path is not below a folder that the user shared; list '.' to see them.")


def denied() -> ToolError:
    """Return the refusal for a name on the deny list."""
    return ToolError(
        Reason.DENIED_BY_POLICY, "This name is on the device's deny list (credentials, keys, the agent's own files)."
    )


def invalid(message: str) -> ToolError:
    """Return the refusal for an argument that no file could satisfy; `message` must not quote the argument."""
    return ToolError(Reason.INVALID_ARGUMENT, message)


def not_found() -> ToolError:
    """Return the refusal for a path below a root that leads to nothing."""
    return ToolError(Reason.NOT_FOUND, "There is no file or folder at this path.")


def not_a_file() -> ToolError:
    """Return the refusal to read something that is no regular file."""
    return ToolError(Reason.NOT_A_FILE, "This path is not a regular file; list_directory shows what it is.")


def not_a_directory() -> ToolError:
    """Return the refusal to look inside something that is no folder."""
    return ToolError(Reason.NOT_A_DIRECTORY, "A part of this path that must be a folder is not one.")


def unavailable(message: str = "The device's file system could not answer now.") -> ToolError:
    """Return the refusal for a fault of the device that may pass."""
    return ToolError(Reason.UNAVAILABLE, message, retryable=True)


def from_os_error(error: OSError) -> ToolError:
    """Return what a caller is told of `error`: never its text, and UNAVAILABLE for a number we do not know."""
    number = error.errno
    if number in {errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG}:
        # A link that turns in circles and a name too long to exist lead to nothing, like a missing file.
        return not_found()
    if number == errno.ENOTDIR:
        return not_a_directory()
    if number in {errno.ENXIO, errno.ENODEV, errno.EISDIR, errno.EOPNOTSUPP}:
        return not_a_file()
    if number == errno.EXDEV:
        return outside()
    if number in {errno.EACCES, errno.EPERM}:
        return ToolError(Reason.PATH_DENIED, "The device's user may not open this file or folder.")
    return unavailable()
