"""Tokens of pages, bound to their query: a token of another query is refused instead of skipping devices silently."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta

from adiuva_rpc.errors import InvalidArgument
from device_bridge.server.devices.ports import DeviceCursor
from device_bridge.server.errors import PageTokenInvalid

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000
MAX_TOKEN_CHARS = 512

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def page_size_of(asked: int) -> int:
    """Return how many devices a page holds.

    Raises:
        InvalidArgument: The number is negative.
    """
    if asked < 0:
        raise InvalidArgument("page_size", "must not be negative")
    return min(asked or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def token_of(cursor: DeviceCursor, *, query: str) -> str:
    """Return the token of the page that begins after `cursor`."""
    micros = (cursor.enrolled_at - _EPOCH) // timedelta(microseconds=1)
    text = json.dumps([_binding(query), micros, cursor.device_id], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode()


def cursor_of(token: str, *, query: str) -> DeviceCursor | None:
    """Return where the page begins; None for the first one.

    Raises:
        PageTokenInvalid: The token belongs to another query, or is none.
    """
    if not token:
        return None
    if len(token) > MAX_TOKEN_CHARS:
        raise PageTokenInvalid
    try:
        binding, micros, device_id = json.loads(base64.urlsafe_b64decode(token.encode()))
        enrolled_at = _EPOCH + timedelta(microseconds=int(micros))
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise PageTokenInvalid from None
    if binding != _binding(query) or not isinstance(device_id, str) or "\0" in device_id:
        raise PageTokenInvalid
    return DeviceCursor(enrolled_at, device_id)


def _binding(query: str) -> str:
    return hashlib.sha256(query.encode()).hexdigest()[:16]
