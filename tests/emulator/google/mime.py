"""A raw mail as Gmail shows it: the tree of parts, its text, its attachments.

Nothing here raises on a broken mail, because Gmail does not either.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import policy
from email.message import Message
from typing import Any, TypeAlias

from tests.emulator.google.mailbox import GmailMessage
from tests.emulator.mails import Mail, decoded, headers_of

Part: TypeAlias = "Message[str, str]"

_ATTACHMENT_PREFIX = "ANGjdJ"
_SNIPPET = 200
_AS_SENT = policy.compat32.clone(mangle_from_=False)
_TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)


def base64url(data: bytes) -> str:
    """Return bytes as Gmail writes them: URL-safe, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """Return the bytes of an unpadded text.

    Raises:
        ValueError: It is not URL-safe base64.
    """
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError("not base64url") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How the bodies of a reply are written."""

    message_id: str
    nonce: int
    """Makes the attachment ids of each reply new, as the real ones are; all of them go on working."""
    utf8: bool
    largest_inline: int


def payload(message: GmailMessage, shape: Shape) -> dict[str, Any]:
    """Return the `payload` of a message in full format."""
    return _part(message.mail.parsed, "", shape)


def headers_only(mail: Mail, wanted: list[str]) -> dict[str, Any]:
    """Return the `payload` of a message in metadata format: of the top-level headers, those that are wanted, or all."""
    names = {name.lower() for name in wanted}
    return {
        "mimeType": mail.parsed.get_content_type(),
        "headers": [one for one in _headers(mail.parsed) if not names or one["name"].lower() in names],
    }


def attachment(mail: Mail, message_id: str, attachment_id: str) -> bytes | None:
    """Return the content that an attachment id stands for, or None when it is not one of this message's."""
    try:
        text = from_base64url(attachment_id.removeprefix(_ATTACHMENT_PREFIX)).decode()
    except ValueError:
        return None
    owner, _, rest = text.partition("/")
    part_id = rest.partition("/")[0]
    if owner != message_id or not attachment_id.startswith(_ATTACHMENT_PREFIX):
        return None
    return next((_content(part) for known, part in parts_of(mail.parsed) if known == part_id), None)


def parts_of(part: Part, part_id: str = "") -> Iterator[tuple[str, Part]]:
    """Yield a part and all below it, with their `partId`s; the top's is empty."""
    yield part_id, part
    for number, child in enumerate(_children(part)):
        yield from parts_of(child, f"{part_id}.{number}" if part_id else str(number))


def filename_of(part: Part) -> str:
    """Return the decoded filename of a part, or an empty string."""
    return decoded(part.get_filename() or "")


def text_of(mail: Mail) -> str:
    """Return the words of a mail, for snippets and searches: its first plain text, else its first HTML without tags."""
    for wanted in ("text/plain", "text/html"):
        for _, part in parts_of(mail.parsed):
            if part.get_content_type() == wanted and not filename_of(part):
                text = _utf8(part, _content(part)).decode("utf-8", "replace")
                return " ".join((text if wanted == "text/plain" else html.unescape(_TAGS.sub(" ", text))).split())
    return ""


def snippet(mail: Mail) -> str:
    """Return the beginning of a mail's words, HTML-escaped as Gmail does it."""
    return html.escape(text_of(mail)[:_SNIPPET])


def _part(part: Part, part_id: str, shape: Shape) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "partId": part_id,
        "mimeType": part.get_content_type(),
        "filename": filename_of(part),
        "headers": _headers(part),
        "body": _body(part, part_id, shape),
    }
    children = _children(part)
    if children:
        shown["parts"] = [
            _part(child, f"{part_id}.{number}" if part_id else str(number), shape)
            for number, child in enumerate(children)
        ]
    return shown


def _body(part: Part, part_id: str, shape: Shape) -> dict[str, Any]:
    if part.get_content_maintype() == "multipart" and part.is_multipart():
        return {"size": 0}
    content = _content(part)
    is_text = part.get_content_maintype() == "text" and not filename_of(part)
    if is_text and shape.utf8:
        content = _utf8(part, content)
    if filename_of(part) or part.is_multipart() or len(content) > shape.largest_inline:
        text = f"{shape.message_id}/{part_id}/{shape.nonce}"
        return {"attachmentId": _ATTACHMENT_PREFIX + base64url(text.encode()), "size": len(content)}
    return {"size": len(content), "data": base64url(content)} if content else {"size": 0}


def _headers(part: Part) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers_of(part)]


def _children(part: Part) -> list[Part]:
    below = part.get_payload()
    return [child for child in below if isinstance(child, Message)] if isinstance(below, list) else []


def _content(part: Part) -> bytes:
    """Return a part's bytes without their transfer encoding; an attached mail is the mail."""
    if part.is_multipart():
        return b"".join(child.as_bytes(policy=_AS_SENT) for child in _children(part))
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _utf8(part: Part, content: bytes) -> bytes:
    """Return text in UTF-8 if its declared charset is known and true, else as it was sent."""
    try:
        return content.decode(part.get_content_charset() or "us-ascii").encode()
    except (LookupError, UnicodeError):
        return content
