"""Small JSON files of the agent's own: readable by the user alone, whole or not at all, on the disk when written."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from pathlib import Path

import structlog

from device_bridge.agent.domain import JsonObject

MAX_BYTES = 1 << 20

log = structlog.get_logger(__name__)


class DamagedFile(Exception):
    """A file of the agent's own cannot be read as what it is. The message names it and says what to do."""


def read_json(path: Path) -> JsonObject | None:
    """Return the object in a file, or None when there is no file. Rights that others have on it are taken away.

    Raises:
        DamagedFile: It holds no JSON object, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                log.warning("file_was_open_to_others", file=path.name)
                path.chmod(stat.S_IRUSR | stat.S_IWUSR)
            content = json.loads(file.read(MAX_BYTES))
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}."
        raise DamagedFile(message) from error
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise damaged(path)
    return content


def write_json(path: Path, content: JsonObject) -> None:
    """Write an object to a file (0600). After a crash at any point either the old or the new content is there.

    Raises:
        OSError: It could not be written; the old content is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    # The rename itself must survive a power cut too.
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def damaged(path: Path) -> DamagedFile:
    """Return the error for a file that is not what it should be; raise it."""
    return DamagedFile(f"{path} is damaged. Restore it, or delete it and set the device up again.")
