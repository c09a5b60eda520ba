"""The mails that both halves are seeded with, and how to write one."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import EmailMessage, Message
from email.utils import format_datetime
from functools import cached_property
from typing import Any, Literal, get_args

Folder = Literal["inbox", "sent", "archive", "junk", "deleted"]


@dataclass(frozen=True, kw_only=True)
class Mail:
    """A mail as it lies in a mailbox. The raw bytes may be as broken as real ones are."""

    raw: bytes
    """RFC 822: headers, empty line, body."""
    received_at: datetime
    """When the provider took it in (with a time zone): Gmail's `internalDate`, Graph's `receivedDateTime`."""
    folder: Folder = "inbox"
    labels: tuple[str, ...] = ()
    """Gmail: further labels, by id (`STARRED`) or by the name of a user's own. Graph: the categories."""
    unread: bool = True
    thread: str = ""
    """Mails with the same text here are one conversation; empty is a conversation of its own."""
    web_id: str = field(default="", compare=False)
    """The provider's id to give it; empty lets the emulator choose one."""

    @cached_property
    def parsed(self) -> Message[str, str]:
        """The parsed mail. Its policy is the one that raises on no header, however broken."""
        return message_from_bytes(self.raw, policy=policy.compat32)

    def header(self, name: str) -> str:
        """Return the first header of this name as text (RFC 2047 decoded, unfolded), or an empty string."""
        return next((value for known, value in headers_of(self.parsed) if known.lower() == name.lower()), "")

    @property
    def message_id(self) -> str:
        """The `Message-ID`, with its angle brackets, or an empty string."""
        return self.header("Message-ID").strip()

    def to_json(self) -> dict[str, Any]:
        """Return it as the control routes take it."""
        return {
            "raw": base64.b64encode(self.raw).decode(),
            "received_at": self.received_at.isoformat(),
            "folder": self.folder,
            "labels": list(self.labels),
            "unread": self.unread,
            "thread": self.thread,
            "web_id": self.web_id,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Mail:
        """Return what `to_json` made.

        Raises:
            KeyError: A field is missing.
            ValueError: A field is not what it must be.
        """
        if value["folder"] not in get_args(Folder):
            raise ValueError(f"no such folder: {value['folder']}")
        return cls(
            raw=base64.b64decode(value["raw"], validate=True),
            received_at=datetime.fromisoformat(value["received_at"]).astimezone(UTC),
            folder=value["folder"],
            labels=tuple(value["labels"]),
            unread=bool(value["unread"]),
            thread=str(value["thread"]),
            web_id=str(value["web_id"]),
        )


def headers_of(part: Message[str, str]) -> list[tuple[str, str]]:
    """Return the headers of a mail or of one of its parts as text, in their order; `Content-…` keep encoded words."""
    return [
        (name, _clean(unfolded) if name.lower().startswith("content-") else decoded(unfolded))
        for name, value in part.raw_items()
        for unfolded in [str(value).replace("\r", "").replace("\n", "")]
    ]


def decoded(value: str) -> str:
    """Return an unfolded header's value with its encoded words decoded; bytes that fit no charset are replaced."""
    try:
        words = decode_header(value)
    except (HeaderParseError, ValueError):
        return _clean(value)
    return "".join(_word(text, charset) for text, charset in words)


def _clean(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _word(text: str | bytes, charset: str | None) -> str:
    if isinstance(text, str):
        return _clean(text)
    try:
        return text.decode(charset or "utf-8", "replace")
    except LookupError:
        return text.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that a composed mail carries."""

    filename: str
    content: bytes
    media_type: str = "application/octet-stream"


def compose(
    *,
    sender: str = "Ada Lovelace <ada@example.com>",
    to: str = "me@example.com",
    cc: str = "",
    subject: str = "Hello",
    text: str | None = None,
    html: str | None = None,
    attachments: Sequence[Attachment] = (),
    message_id: str = "",
    sent_at: datetime | None = None,
    in_reply_to: str = "",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """Return the raw bytes of a well-formed mail.

    Args:
        sender: The `From` header.
        to: The `To` header.
        cc: The `Cc` header; empty leaves it out.
        subject: The `Subject` header.
        text: The plain text; without it and without `html` the body says Hello.
        html: The HTML alternative.
        attachments: What it carries.
        message_id: With angle brackets; empty leaves it out.
        sent_at: The `Date` header; None leaves it out.
        in_reply_to: The message id of what it answers; also becomes `References`.
        headers: Further headers.
    """
    mail = EmailMessage(policy=policy.SMTP)
    given = {
        "From": sender,
        "To": to,
        "Cc": cc,
        "Subject": subject,
        "Date": format_datetime(sent_at) if sent_at else "",
        "Message-ID": message_id,
        "In-Reply-To": in_reply_to,
        "References": in_reply_to,
        **(headers or {}),
    }
    for name, value in given.items():
        if value:
            mail[name] = value
    if text is not None or html is None:
        mail.set_content("Hello\n" if text is None else text)
        if html is not None:
            mail.add_alternative(html, subtype="html")
    else:
        mail.set_content(html, subtype="html")
    for attachment in attachments:
        main, _, sub = attachment.media_type.partition("/")
        mail.add_attachment(attachment.content, maintype=main, subtype=sub, filename=attachment.filename)
    return mail.as_bytes()
