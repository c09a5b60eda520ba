"""Pages of lists: how many rows, and where the next page begins.

Lists are ordered by (time, id), newest first, and read from a key on, never by an offset. A page token holds the key of
the last row and is bound to its query: a token of another query is refused instead of skipping rows silently. It is
opaque, not secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from adiuva_rpc.errors import InvalidArgument

DEFAULT_PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 1000
MAX_PAGE_BYTES: Final = 3 << 20
"""Rows of one page together: a response has to stay below the 4 MiB of a message."""
MAX_TOKEN_CHARS: Final = 512

Key = tuple[datetime, str]
"""The time, with its zone, and the id of the last row of a page."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MICROSECOND = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


def page_size(asked: int) -> int:
    """Return how many rows a page has: 50 when 0 is asked for, never more than 1000.

    Raises:
        InvalidArgument: It is negative.
    """
    if asked < 0:
        raise InvalidArgument("page_size", "must not be negative")
    return min(asked or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def fitting(sizes: Iterable[int]) -> int:
    """Return how many of the first rows go into one page, by their sizes in bytes: one at least, unless there is none.

    A page that is cut here ends with a token, as a full one does.
    """
    total = count = 0
    for size in sizes:
        total += size
        if count and total > MAX_PAGE_BYTES:
            break
        count += 1
    return count


def encode_token(kind: str, query: str, key: Key) -> str:
    """Return the token of the page that begins after `key`.

    Args:
        kind: What is listed, such as "connections": a token of one list is none of another.
        query: Everything that decides which rows are in the list, the user included; not the page size.
        key: Of the last row of this page.
    """
    time, row_id = key
    micros = (time - _EPOCH) // timedelta(microseconds=1)
    text = json.dumps([_binding(kind, query), micros, row_id], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_token(kind: str, query: str, token: str) -> Key | None:
    """Return the key after which the page begins; None for an empty token, which is that of the first page.

    Raises:
        InvalidArgument: `page_token` is not a token of this query.
    """
    if not token:
        return None
    try:
        binding, micros, row_id = _parts(token)
    except (ValueError, binascii.Error, RecursionError):
        raise _refused() from None
    if binding != _binding(kind, query):
        raise _refused()
    return _EPOCH + timedelta(microseconds=micros), row_id


def _parts(token: str) -> tuple[str, int, str]:
    if len(token) > MAX_TOKEN_CHARS:
        raise ValueError("too long")
    padded = token + "=" * (-len(token) % 4)
    match json.loads(base64.b64decode(padded, altchars=b"-_", validate=True)):
        case [str(binding), int(micros), str(row_id)] if 0 <= micros <= _LAST_MICROSECOND and row_id.isprintable():
            return binding, micros, row_id
    raise ValueError("not a token")


def _binding(kind: str, query: str) -> str:
    return hashlib.sha256(f"{kind}\0{query}".encode()).hexdigest()[:16]


def _refused() -> InvalidArgument:
    return InvalidArgument("page_token", "this is no token of this query; begin again without one")
