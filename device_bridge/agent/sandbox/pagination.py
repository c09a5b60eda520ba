"""Pages: how large one may be, and tokens for the next, opaque to callers and checked when they come back."""

from __future__ import annotations

import base64
import binascii
import json

from device_bridge.agent.domain import JsonObject
from device_bridge.agent.sandbox.refusals import invalid

PAGE_TEXT_BYTES = 512 * 1024
"""JSON of the entries of one page, give or take one entry: long paths make pages of fewer entries, not larger ones."""

_MAX_TOKEN_CHARACTERS = 8192


def text_bytes(entry: JsonObject) -> int:
    """Return how many bytes of JSON `entry` is, with what parts it from the next."""
    return len(json.dumps(entry)) + 2


def encode_token(index: int, names: tuple[bytes, ...]) -> str:
    """Return a token for the place after `names` (file names, outermost first) in the part numbered `index`."""
    text = json.dumps([index, [name.hex() for name in names]], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_token(token: str | None) -> tuple[int, tuple[bytes, ...]] | None:
    """Return what `encode_token` was given, or None for the first page.

    Raises:
        ToolError: INVALID_ARGUMENT for what is no token of ours.
    """
    if not token:
        return None
    refusal = invalid("The page_token is not one of this tool's.")
    if len(token) > _MAX_TOKEN_CHARACTERS:
        raise refusal
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        index, names = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        place = int(index), tuple(map(bytes.fromhex, names))
    except (ValueError, TypeError, RecursionError, binascii.Error):
        raise refusal from None
    return place
