"""The values of headers: encoded words, parameters, message ids and dates, read from whatever was sent.

None of these functions raises. The standard library's structured headers do, on ids and charsets that real mail has.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime

from connectors.messages.text.charsets import decode
from connectors.messages.text.cleaning import one_line

MAX_HEADER_CHARS = 16_384
"""Characters of one header that are looked at."""
MAX_REFERENCES = 100
"""Message ids taken from a References header: the first one, which began the thread, and the newest."""

_MAX_PARAMETERS_CHARS = 4_096
_MAX_ID_CHARS = 998
_WORD = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?(.*?)\?=(?!=)", re.DOTALL)
_HEX = re.compile(rb"=([0-9A-Fa-f]{2})")
_ID = re.compile(r"<[^<>\s]{1,996}>")
_NO_BASE64 = re.compile(r"[^A-Za-z0-9+/]")


def header(headers: Mapping[str, str], name: str) -> str:
    """Return the value of `name`, in whatever case it is written, as it came; '' when there is none."""
    value = headers.get(name)
    if value is None:
        wanted = name.lower()
        value = next((value for key, value in headers.items() if key.lower() == wanted), "")
    return value[:MAX_HEADER_CHARS]


def decode_words(value: str) -> str:
    """Return a header's value as one line of text, with its encoded words (RFC 2047) decoded.

    Bytes that stand in the header unencoded, as surrogates, are decoded too.
    """
    value = _raw_bytes_as_text(value[:MAX_HEADER_CHARS])
    parts: list[str] = []
    pending: tuple[str, bytes] | None = None
    position = 0
    for word in _WORD.finditer(value):
        between = value[position : word.start()]
        charset, data = word[1].split("*")[0], _word_bytes(word[2], word[3])
        if pending is not None and not between.strip():
            # The space between two encoded words is none, and a character may be cut between them.
            if pending[0].lower() == charset.lower():
                pending = (charset, pending[1] + data)
                position = word.end()
                continue
            between = ""
        if pending is not None:
            parts.append(decode(pending[1], pending[0]).text)
        parts.append(between)
        pending = (charset, data)
        position = word.end()
    if pending is not None:
        parts.append(decode(pending[1], pending[0]).text)
    parts.append(value[position:])
    return one_line("".join(parts))


def parameter(value: str, name: str) -> str | None:
    """Return a parameter of a Content-Type or Content-Disposition value, decoded (RFC 2231, or RFC 2047 as many do)."""
    message = Message()
    message["x"] = re.sub(r"[\r\n]+", " ", _raw_bytes_as_text(value[:_MAX_PARAMETERS_CHARS]))
    try:
        found = message.get_param(name, header="x")
    except Exception:  # noqa: BLE001 - the standard parser fails in many ways on damaged parameters
        return None
    if isinstance(found, tuple):
        charset, _, text = found
        return one_line(decode(text.encode("latin-1", "replace"), charset or "utf-8").text)
    return None if found is None else decode_words(str(found))


def media_type(value: str) -> str:
    """Return the media type of a Content-Type value in small letters, text/plain when it has none (RFC 2045, 5.2)."""
    found = value[:_MAX_PARAMETERS_CHARS].split(";", 1)[0].strip().lower()
    return found if re.fullmatch(r"[a-z0-9!#$&^_.+-]{1,100}/[a-z0-9!#$&^_.+-]{1,100}", found) else "text/plain"


def message_id(value: str) -> str:
    """Return the first message id of a header with its angle brackets, or the whole value when none is in it."""
    found = _ID.search(value)
    return found[0] if found else one_line(value)[:_MAX_ID_CHARS]


def message_ids(value: str) -> tuple[str, ...]:
    """Return the message ids of a References header, the oldest first, at most MAX_REFERENCES."""
    ids = tuple(dict.fromkeys(_ID.findall(value)))
    return ids if len(ids) <= MAX_REFERENCES else (ids[0], *ids[1 - MAX_REFERENCES :])


def date(value: str) -> datetime | None:
    """Return the time that a Date header tells, in UTC, or None when it tells none. Without a zone it is UTC."""
    try:
        told = parsedate_to_datetime(one_line(value))
        return told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)
    except Exception:  # noqa: BLE001 - out of range, no date at all, a zone of 99 hours, a tuple that is too short
        return None


def _raw_bytes_as_text(value: str) -> str:
    """Return `value` with the bytes that a mail parser kept as surrogates decoded."""
    if value.isascii():
        return value
    try:
        return decode(value.encode("utf-8", "surrogateescape"), "utf-8").text
    except UnicodeEncodeError:
        return value


def _word_bytes(encoding: str, text: str) -> bytes:
    if encoding in "bB":
        digits = _NO_BASE64.sub("", text)
        digits = digits[: len(digits) - (len(digits) % 4 == 1)]
        try:
            return base64.b64decode(digits + "=" * (-len(digits) % 4))
        except binascii.Error:
            return b""
    raw = text.replace("_", " ").encode("utf-8", "replace")
    return _HEX.sub(lambda code: bytes([int(code[1], 16)]), raw)
