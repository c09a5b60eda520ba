"""What a mail is made of, and what is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum, unique

from connectors.messages.domain import Participant, SourceFormat, Unreadable


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a mail as its provider or a MIME parser tells it. The root's headers are the mail's."""

    content_type: str
    """Media type in small letters; '' is text/plain."""
    charset: str | None = None
    """The label that the part names, believed or not."""
    filename: str = field(default="", repr=False)
    """Decoded; '' for none."""
    disposition: str = ""
    """`inline`, `attachment` or ''."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """As they came, encoded words and all; names in any case, the first of several."""
    data: bytes | None = field(default=None, repr=False)
    """The content without its transfer encoding; None for what is not read, such as an attachment's."""
    size: int = 0
    """Bytes of the content; of a part with parts, what they come to as far as it is known."""
    attachment_id: str = ""
    """By which the provider gives the content; '' for none."""
    parts: tuple[Part, ...] = ()
    """Of a multipart, its parts; of a message/rfc822, the one root of that message."""


@dataclass(frozen=True, slots=True)
class AttachmentInfo:
    """A file that came with a mail."""

    name: str = field(repr=False)
    """Decoded, without folders and controls; never empty."""
    media_type: str
    size_bytes: int
    attachment_id: str
    """By which the provider gives it; '' when the mail was read from its bytes."""
    inline: bool
    """Whether it belongs to the body, as a picture in it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailText:
    """A mail as text. Its repr shows nothing that somebody wrote."""

    subject: str = field(repr=False)
    from_: Participant
    """The author; empty when the mail names none."""
    to: tuple[Participant, ...]
    cc: tuple[Participant, ...]
    sent_at: datetime | None
    """By the sender's clock, in UTC; None when the Date header tells no time."""
    message_id: str
    """With angle brackets; '' for none."""
    in_reply_to: str
    references: tuple[str, ...]
    """The ids of the thread, the oldest first."""
    text: str = field(repr=False)
    """The whole body with its quotations, at most `walking.MAX_TEXT_CHARS` characters."""
    source_format: SourceFormat
    """HTML when anything of the text was, NONE when the mail has no text."""
    attachments: tuple[AttachmentInfo, ...]


@unique
class UnreadableCode(StrEnum):
    """Why nothing can be made of a mail."""

    NOT_A_MAIL = "NOT_A_MAIL"
    """It has none of the headers of a mail."""
    TOO_LARGE = "TOO_LARGE"
    TOO_MANY_PARTS = "TOO_MANY_PARTS"
    NESTED_TOO_DEEPLY = "NESTED_TOO_DEEPLY"
    BROKEN = "BROKEN"
    """The parser cannot make anything of it."""


class UnreadableMessage(Unreadable):
    """A mail cannot be read at all. What it says about that holds nothing of the mail.

    Attributes:
        code: Why.
    """

    def __init__(self, code: UnreadableCode) -> None:
        reason = "MESSAGE_TOO_LARGE" if code is UnreadableCode.TOO_LARGE else "MESSAGE_UNREADABLE"
        super().__init__(f"The mail cannot be read: {code.value}.", reason=reason)
        self.code = code
