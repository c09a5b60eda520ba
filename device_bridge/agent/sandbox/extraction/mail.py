"""The text of a mail: its main headers, its body, and the names of what is attached."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

from device_bridge.agent.sandbox.extraction.bounds import Fault, TextBuilder, Unconvertible
from device_bridge.agent.sandbox.extraction.markup import html_to_text

_HEADERS = ("Subject", "From", "To", "Cc", "Date")


def convert(data: bytes, into: TextBuilder) -> None:
    """Add the headers, then the plain body, or the HTML body as text when there is no plain one.

    Raises:
        Unconvertible: BROKEN when it has none of the headers of a mail. Any other exception means the same.
    """
    message = email.message_from_bytes(data, policy=email.policy.default)
    headers = [(name, _header(message, name)) for name in _HEADERS]
    if not any(value for _, value in headers):
        raise Unconvertible(Fault.BROKEN)
    for name, value in headers:
        if value:
            into.add(f"{name}: {value}")
    attachments = _attachments(message)
    if attachments:
        into.add("Attachments: " + ", ".join(attachments))
    into.add("")
    into.add(_body(message))


def _attachments(message: EmailMessage) -> list[str]:
    try:
        return [_one_line(part.get_filename() or "(unnamed)") for part in message.iter_attachments()]
    except Exception:  # noqa: BLE001 - as for headers; the body is still worth reading
        return []


def _header(message: EmailMessage, name: str) -> str:
    try:
        return _one_line(str(message.get(name, "")))
    except Exception:  # noqa: BLE001 - the standard parser fails in many ways on what is no mail
        return ""


def _one_line(value: str) -> str:
    return " ".join(value.split())


def _body(message: EmailMessage) -> str:
    part = message.get_body(preferencelist=("plain", "html"))
    if part is None:
        return ""
    raw = part.get_payload(decode=True)
    payload = raw if isinstance(raw, bytes) else b""
    try:
        text = payload.decode(part.get_content_charset("utf-8"))
    except (LookupError, UnicodeDecodeError):
        # Mail often lies about its charset; what cannot be read is shown as such.
        text = payload.decode("utf-8", "replace")
    if part.get_content_subtype() == "html":
        return html_to_text(text)
    return text.replace("\r\n", "\n").strip()
