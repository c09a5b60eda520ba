"""The bytes of a mail to its parts, within bounds of size, lines, parts and depth."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from email.message import Message
from email.parser import BytesParser
from email.policy import Compat32

from connectors.messages.text.headers import MAX_HEADER_CHARS, header, parameter
from connectors.messages.text.mail import Part, UnreadableCode, UnreadableMessage

MAX_RAW_BYTES = 48 * 1024 * 1024
"""Bytes of a whole mail. Providers take 25 to 35 MiB of files, which are a third longer in base64."""
MAX_LINES = 1_000_000
MAX_PARTS = 500
MAX_DEPTH = 30
MAX_COMPARISONS = 20_000_000
"""Lines times boundaries: the parser compares every line with the boundary of every multipart around it."""

_BASE64_LINE = re.compile(rb"[A-Za-z0-9+/]*={0,2}\s*")
_FIRST_BOUNDARY = re.compile(rb"^--([^\s][^\r\n]{0,69})[ \t]*\r?$", re.MULTILINE)


class _AsWritten(Compat32):
    """Header values as they are, and no more of each than is looked at.

    The library's newer policy reads a header's structure while it parses and raises on ids, charsets and parameters
    that real mails have; `headers` reads the values that are needed, and never raises.
    """

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[:MAX_HEADER_CHARS]

    def header_fetch_parse(self, name: str, value: str) -> str:
        return value


_POLICY = _AsWritten()


def parse(raw: bytes) -> Part:
    """Return the parts of the mail `raw`.

    Only parts of text carry their data. A multipart without a boundary is read by the first line that looks like one.

    Raises:
        UnreadableMessage: One of the bounds is passed, or the parser fails.
    """
    lines = raw.count(b"\n") if len(raw) <= MAX_RAW_BYTES else MAX_LINES + 1
    if lines > MAX_LINES:
        raise UnreadableMessage(UnreadableCode.TOO_LARGE)
    if lines * raw.lower().count(b"boundary") > MAX_COMPARISONS:
        raise UnreadableMessage(UnreadableCode.TOO_MANY_PARTS)
    try:
        return _part(_message(raw), depth=0)
    except UnreadableMessage:
        raise
    except RecursionError:
        raise UnreadableMessage(UnreadableCode.NESTED_TOO_DEEPLY) from None
    except Exception:  # noqa: BLE001 - the standard parser fails in many ways on damaged parameters
        raise UnreadableMessage(UnreadableCode.BROKEN) from None


def _message(raw: bytes) -> Message:
    made = 0

    def counted(policy: Compat32 = _POLICY) -> Message:
        nonlocal made
        made += 1
        if made > MAX_PARTS:
            raise UnreadableMessage(UnreadableCode.TOO_MANY_PARTS)
        return Message(policy=policy)

    return BytesParser(_class=counted, policy=_POLICY).parsebytes(raw)


def _part(message: Message, depth: int) -> Part:
    if depth > MAX_DEPTH:
        raise UnreadableMessage(UnreadableCode.NESTED_TOO_DEEPLY)
    content_type = message.get_content_type()
    headers = _headers(message)
    declared, disposition = header(headers, "content-type"), header(headers, "content-disposition")
    children = _children(message)
    encoded = content_type == "message/rfc822" and _encoding(message) in {"base64", "quoted-printable"}
    if encoded and children:
        # Against the rules (RFC 2046, 5.2.1), but some servers do: the mail within was not parsed, its code was.
        data, children = _content(children[0], _encoding(message)), []
    else:
        data = b"" if children else _content(message, _encoding(message))
    if content_type.startswith("multipart/") and not children:
        # Once: what is wrong again within may be anything.
        children = _without_boundary(content_type, data) if depth == 0 else []
        content_type = content_type if children else "text/plain"
    parts = tuple(_part(child, depth + 1) for child in children)
    kept = not children and (content_type.startswith("text/") or content_type == "message/rfc822")
    return Part(
        content_type=content_type,
        charset=parameter(declared, "charset"),
        filename=parameter(disposition, "filename") or parameter(declared, "name") or "",
        disposition=disposition.split(";", 1)[0].strip().lower(),
        headers=headers,
        data=data if kept else None,
        size=len(data) or sum(part.size for part in parts),
        parts=parts,
    )


def _headers(message: Message) -> dict[str, str]:
    """Return the first of each header, by its name in small letters, unfolded."""
    headers: dict[str, str] = {}
    for name, value in message.raw_items():
        headers.setdefault(name.lower(), re.sub(r"[\r\n]+[ \t]*", " ", value))
    return headers


def _children(message: Message) -> list[Message]:
    payload = message.get_payload()
    return [child for child in payload if isinstance(child, Message)] if isinstance(payload, list) else []


def _encoding(message: Message) -> str:
    return str(message.get("content-transfer-encoding", "")).strip().lower()


def _content(message: Message, encoding: str) -> bytes:
    if encoding in {"x-uuencode", "uuencode", "uue", "x-uue"}:
        return _bytes(message)
    # Without the header the parser gives the bytes as they came, which it has no other way to ask for.
    del message["content-transfer-encoding"]
    raw = _bytes(message)
    if encoding == "base64":
        return _base64(raw, is_text=message.get_content_maintype() == "text")
    return binascii.a2b_qp(raw) if encoding == "quoted-printable" else raw


def _bytes(message: Message) -> bytes:
    payload = message.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _base64(raw: bytes, *, is_text: bool) -> bytes:
    """Return the content; of a text, with what stands below its base64 as it is, such as the footer of a list."""
    below = b""
    if is_text:
        end = 0
        for line in raw.splitlines(keepends=True):
            if not _BASE64_LINE.fullmatch(line):
                break
            end += len(line)
        raw, below = raw[:end], raw[end:]
    digits = re.sub(rb"[^A-Za-z0-9+/]", b"", raw)
    digits = digits[: len(digits) - (len(digits) % 4 == 1)]
    return b64decode(digits + b"=" * (-len(digits) % 4)) + below


def _without_boundary(content_type: str, data: bytes) -> list[Message]:
    """Return the parts of a multipart that names no boundary, by the first line that looks like one."""
    found = _FIRST_BOUNDARY.search(data)
    if not found or data.count(b"\n--" + found[1]) + data.startswith(b"--" + found[1]) < 2 or b'"' in found[1]:
        return []
    named = b'Content-Type: %s; boundary="%s"\r\n\r\n' % (content_type.encode("ascii", "replace"), found[1].rstrip())
    return _children(_message(named + data))
