"""Key-encryption keys in a file, for installations without a key management service.

The file is JSON, readable by its owner only:

    {"current": "2026-11-3f9a1c04", "keys": {"2026-11-3f9a1c04": "…32 bytes in base64…", "2025-11-77d0b25e": "…"}}

An operator rotates while the service runs: `add_key`, a rotation, and `remove_key` of the old one a minute after a
rotation that leaves nothing under it. Where replicas have files of their own, a new key is added with `current=False`
and copied into every file before `use_key` makes it the current one anywhere: otherwise one replica wraps what another
cannot open yet.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from connectors.vault.domain import DATA_KEY, KeyMissing, Undecryptable, WrappedKey
from connectors.vault.key_content import KeyContent, KeyFileError, Version, read, version_of, write
from connectors.vault.sealing import FORMAT, Box, NotOpened, bound, new_key

LOOK_SECONDS = 1.0
"""To unwrap, the file is looked at no more often, unless the key is missing. To wrap, it is looked at each time."""

_WRAPPED = b"adiuva wrapped key"

__all__ = ["LOOK_SECONDS", "FileKeys", "KeyFileError", "add_key", "create_key_file", "remove_key", "use_key"]

_log = structlog.get_logger(__name__)


class FileKeys:
    """Implements `KeyProvider` with a key file, which is read again when it changes.

    A changed file that cannot be used leaves the last good one in force, with an error in the log.

    Raises:
        KeyFileError: At the start, the file is not usable.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._keys, self._version = _open(path)
        self._look_at = clock() + LOOK_SECONDS

    async def current_key_id(self) -> str:
        """Return the id of the key that wraps new keys."""
        self._reload()
        return self._keys.current

    async def wrap(self, dek: bytes, context: bytes) -> WrappedKey:
        """Encrypt a data key with the current key; see the port."""
        # Always with the newest key: one that was current a moment ago may be about to be removed.
        self._reload()
        keys = self._keys
        return WrappedKey(keys.current, keys.boxes[keys.current].seal(dek, _associated(keys.current, context)))

    async def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        """Return the data key; see the port."""
        if self._clock() >= self._look_at:
            self._reload()
        box = self._keys.boxes.get(wrapped.key_id)
        if box is None:
            # Another replica may have wrapped it with a key that came within the last second.
            self._reload()
            box = self._keys.boxes.get(wrapped.key_id)
        if box is None:
            raise KeyMissing(wrapped.key_id)
        try:
            return box.open(wrapped.blob, _associated(wrapped.key_id, context))
        except NotOpened:
            raise Undecryptable(wrapped.key_id, DATA_KEY) from None

    def _reload(self) -> None:
        self._look_at = self._clock() + LOOK_SECONDS
        version = version_of(self._path)
        if version == self._version:
            return
        self._version = version
        try:
            self._keys, self._version = _open(self._path)
        except KeyFileError as error:
            _log.error("key file not reloaded", fault=str(error))
            return
        _log.info("key file reloaded", current=self._keys.current, keys=sorted(self._keys.boxes))


def create_key_file(path: Path, *, now: datetime | None = None) -> str:
    """Make a key file with one key, and its directory if there is none.

    Args:
        path: Where.
        now: For the key's id, instead of the clock.

    Returns:
        The id of the key.

    Raises:
        KeyFileError: There is such a file, which is never replaced; or it cannot be written.
    """
    with contextlib.suppress(OSError):  # changing it tells what is wrong
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _changing(path):
        if path.exists() or path.is_symlink():
            raise KeyFileError(f"key file {path}: it exists; replacing it would lose all that its keys protect")
        key_id = _new_key_id(now)
        write(path, KeyContent(key_id, {key_id: new_key()}))
    return key_id


def add_key(path: Path, *, current: bool = True, now: datetime | None = None) -> str:
    """Add a new key to a key file.

    Args:
        path: The file.
        current: Whether it wraps new keys from now on.
        now: For the key's id, instead of the clock.

    Returns:
        The id of the key.

    Raises:
        KeyFileError: The file is not usable, or somebody else is changing it.
    """
    with _changing(path):
        content, _ = read(path)
        key_id = _new_key_id(now)
        keys = {**content.keys, key_id: new_key()}
        write(path, KeyContent(key_id if current else content.current, keys))
    return key_id


def use_key(path: Path, key_id: str) -> None:
    """Make a key of the file the current one.

    Raises:
        KeyFileError: The file is not usable, has no such key, or somebody else is changing it.
    """
    with _changing(path):
        content, _ = read(path)
        _demand(path, content, key_id)
        write(path, KeyContent(key_id, content.keys))


def remove_key(path: Path, key_id: str) -> None:
    """Remove a key from the file: what it still wraps cannot be opened any more, and is lost with the last copy of it.

    Raises:
        KeyFileError: The file is not usable, has no such key, it is the current one, or somebody else is changing it.
    """
    with _changing(path):
        content, _ = read(path)
        _demand(path, content, key_id)
        if key_id == content.current:
            raise KeyFileError(f"key file {path}: {key_id} is the current key; add another one first, and rotate")
        write(path, KeyContent(content.current, {name: key for name, key in content.keys.items() if name != key_id}))


@dataclass(frozen=True, slots=True)
class _Keys:
    current: str
    boxes: Mapping[str, Box]


def _associated(key_id: str, context: bytes) -> bytes:
    return bound(_WRAPPED, FORMAT, key_id.encode("utf-8", "surrogatepass"), context)


def _open(path: Path) -> tuple[_Keys, Version]:
    content, version = read(path)
    return _Keys(content.current, {key_id: Box(key) for key_id, key in content.keys.items()}), version


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[None]:
    """Keep others from changing the file at the same time, and make the change last: a lost key loses grants."""
    try:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise KeyFileError(f"key file {path}: its directory: {error.strerror}") from None
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise KeyFileError(f"key file {path}: somebody else is changing it; try again") from None
        yield
        os.fsync(directory)
    finally:
        os.close(directory)


def _demand(path: Path, content: KeyContent, key_id: str) -> None:
    if key_id not in content.keys:
        raise KeyFileError(f"key file {path}: it has no key {key_id!r}")


def _new_key_id(now: datetime | None) -> str:
    """Return an id that tells the month, and is never given again: an id that came back would hide a missing key."""
    return f"{now or datetime.now(UTC):%Y-%m}-{secrets.token_hex(4)}"
