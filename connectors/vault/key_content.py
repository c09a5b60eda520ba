"""What a key file holds: how it is read, checked and written."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from adiuva_rpc.tls import write_private
from connectors.vault.sealing import KEY_BYTES

_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Version = tuple[int, ...]
"""Of a file: it is another one when its content or its mode has changed. Empty when there is no file."""


class KeyFileError(ValueError):
    """The key file is absent, open to others, or not as described. The text names the file and the fault, no key."""


@dataclass(frozen=True, slots=True)
class KeyContent:
    """The keys of a file."""

    current: str
    """The id of the key that wraps new data keys; one of `keys`."""
    keys: Mapping[str, bytes] = field(repr=False)
    """By their ids, 32 bytes each."""


def read(path: Path) -> tuple[KeyContent, Version]:
    """Read the file, and tell which version of it that was.

    Raises:
        KeyFileError: It is not usable.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            text = file.read()
    except OSError as error:
        raise KeyFileError(f"key file {path}: {error.strerror}") from None
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise KeyFileError(f"key file {path}: others may read it; run chmod 600 on it")
    return _parse(path, text), _stamp(status)


def _parse(path: Path, text: bytes) -> KeyContent:
    def fault(what: str) -> KeyFileError:
        return KeyFileError(f"key file {path}: {what}")

    try:
        content = json.loads(text, object_pairs_hook=_without_repeats)
    except _RepeatedName:
        raise fault("a name is there twice") from None
    except (ValueError, RecursionError):
        raise fault("not JSON") from None
    if not isinstance(content, dict) or content.keys() != {"current", "keys"}:
        raise fault("not an object with current and keys, and nothing else")
    current, keys = content["current"], content["keys"]
    if not isinstance(keys, dict):
        raise fault("keys is not an object")
    decoded: dict[str, bytes] = {}
    for number, (key_id, key) in enumerate(keys.items(), start=1):
        if not _KEY_ID.fullmatch(key_id):
            raise fault(f"the id of key {number} must be 1 to 64 letters, digits or ._-")
        decoded[key_id] = _decoded(key)
        if len(decoded[key_id]) != KEY_BYTES:
            raise fault(f"key {key_id} must be {KEY_BYTES} bytes in base64")
    if not isinstance(current, str) or current not in decoded:
        raise fault("current is not the id of one of the keys")
    return KeyContent(current, decoded)


def _decoded(key: object) -> bytes:
    """Return the bytes of a key; none for what is not base64."""
    if not isinstance(key, str):
        return b""
    try:
        return base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        return b""


class _RepeatedName(Exception):
    """A JSON object has a name twice: the parser would keep one of two keys and lose the other."""


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise _RepeatedName
    return names


def write(path: Path, content: KeyContent) -> None:
    """Replace the file as a whole; only its owner may read it.

    Raises:
        KeyFileError: It cannot be written.
    """
    keys = {key_id: base64.b64encode(key).decode() for key_id, key in content.keys.items()}
    text = json.dumps({"current": content.current, "keys": keys}, indent=2) + "\n"
    try:
        write_private(path, text.encode())
    except OSError as error:
        raise KeyFileError(f"key file {path}: {error.strerror}") from None


def version_of(path: Path) -> Version:
    """Return which version of the file is there."""
    try:
        return _stamp(path.stat())
    except OSError:
        return ()


def _stamp(status: os.stat_result) -> Version:
    return (status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode)
