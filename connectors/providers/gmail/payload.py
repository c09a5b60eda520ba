"""A message as Gmail's API tells it, as the parts of a mail."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from connectors.messages.domain import JsonObject, Unreadable
from connectors.messages.text.headers import parameter
from connectors.messages.text.mail import Part

MAX_DEPTH: Final = 50
MAX_TEXTS: Final = 10
"""Of one message, that are fetched one by one."""
MAX_TEXT_BYTES: Final = 2 * 2**20
"""Of a text that Gmail does not send with its message, and that is fetched by itself."""

_TEXTS = frozenset({"text/plain", "text/html", "text/calendar"})
_SHIFTS = re.compile(rb"[\x00\x0e\x1b]|~\{")
"""What is ASCII to look at, and something else under some charsets: UTF-16, ISO-2022 and HZ."""


def part_of(payload: JsonObject, depth: int = 0) -> Part:
    """Return the parts of a `payload`. Headers come decoded from Gmail.

    Raises:
        Unreadable: It is no payload, or nested too deeply.
    """
    if depth > MAX_DEPTH:
        raise Unreadable("The mail is nested too deeply.")
    try:
        # From the last to the first: of several headers of a name the first counts.
        headers = {str(one["name"]).lower(): str(one["value"]) for one in reversed(payload.get("headers") or [])}
        body: Mapping[str, Any] = payload.get("body") or {}
        data = _decoded(body.get("data"))
        return Part(
            content_type=str(payload.get("mimeType") or "").lower(),
            charset=_charset(data, parameter(headers.get("content-type", ""), "charset")),
            filename=str(payload.get("filename") or ""),
            disposition=headers.get("content-disposition", "").partition(";")[0].strip().lower(),
            headers=headers,
            data=data,
            size=int(body.get("size") or 0),
            attachment_id=str(body.get("attachmentId") or ""),
            parts=tuple(part_of(part, depth + 1) for part in payload.get("parts") or []),
        )
    except (TypeError, KeyError, AttributeError, ValueError):
        raise Unreadable("The provider's answer is not a mail.") from None


def missing_texts(root: Part) -> Iterator[Part]:
    """Yield the texts of the body that did not come with the message, because they are long; at most MAX_TEXTS."""
    return islice((part for part in _all([root]) if _is_missing(part)), MAX_TEXTS)


def with_texts(root: Part, texts: Mapping[str, bytes]) -> Part:
    """Return the parts with the texts that were fetched, by attachment id."""
    parts = tuple(with_texts(part, texts) for part in root.parts)
    if not root.attachment_id or root.attachment_id not in texts:
        return replace(root, parts=parts)
    data = texts[root.attachment_id]
    # It is a body, and no attachment any more.
    return replace(root, parts=parts, data=data, charset=_charset(data, root.charset), attachment_id="")


def bytes_of(attachment: JsonObject) -> bytes:
    """Return what a `messages.attachments.get` gives.

    Raises:
        Unreadable: It is something else.
    """
    data = _decoded(attachment.get("data"))
    if data is None:
        raise Unreadable("The provider's answer is not an attachment.")
    return data


def _charset(data: bytes | None, declared: str | None) -> str | None:
    """Return the charset of a text. Gmail brings texts to UTF-8 and leaves their headers as they were, mostly."""
    if data is None or (data.isascii() and _SHIFTS.search(data)):
        return declared
    try:
        data.decode()
    except UnicodeDecodeError:
        return declared
    return "utf-8"


def _decoded(data: object) -> bytes | None:
    if not isinstance(data, str):
        return None
    try:
        # Padding is not guaranteed.
        return urlsafe_b64decode(data + "=" * (-len(data) % 4))
    except ValueError:
        raise Unreadable("The provider's answer is not well encoded.") from None


def _is_missing(part: Part) -> bool:
    return (
        part.content_type in _TEXTS
        and part.data is None
        and bool(part.attachment_id)
        and not part.filename
        and part.disposition != "attachment"
        and part.size <= MAX_TEXT_BYTES
    )


def _all(parts: Iterable[Part]) -> Iterator[Part]:
    for part in parts:
        yield part
        yield from _all(part.parts)
