"""What a message is, which messages are meant, and how a fetch goes. Pure data, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, unique
from typing import Any

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """Which messages are meant. Empty fields exclude nothing; the others must all hold. Its repr names nobody."""

    senders: tuple[str, ...] = field(default=(), repr=False)
    """Addresses, or domains with a leading `@`; case is ignored."""
    recipients: tuple[str, ...] = field(default=(), repr=False)
    """Of to and cc; written as senders."""
    subject_contains: tuple[str, ...] = field(default=(), repr=False)
    containers: tuple[str, ...] = ()
    """Labels, folders, `chat:<id>`, `channel:<team>/<channel>`; empty for the provider's default."""
    unread_only: bool = False
    has_attachment: bool = False
    include_sent: bool = False
    provider_query: str = field(default="", repr=False)


@unique
class SourceFormat(Enum):
    """How a body was written."""

    TEXT = "text"
    HTML = "html"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """Somebody who wrote or got a message."""

    address: str = field(default="", repr=False)
    name: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that came with a message."""

    attachment_id: str
    name: str = field(repr=False)
    media_type: str
    size_bytes: int
    inline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as text that a model can use. Its repr shows nothing that somebody wrote."""

    key: str
    """Names it for ever, at every fetch of its connection; an edited chat message has another."""
    provider_id: str
    internet_message_id: str = ""
    thread_id: str
    in_reply_to: str = ""
    references: tuple[str, ...] = ()
    received_at: datetime
    sent_at: datetime | None = None
    edited_at: datetime | None = None
    sender: Participant = Participant()
    to: tuple[Participant, ...] = ()
    cc: tuple[Participant, ...] = ()
    subject: str = field(default="", repr=False)
    text: str = field(repr=False)
    text_truncated: bool = False
    full_chars: int = 0
    new_text: str = field(default="", repr=False)
    quoted_text_present: bool = False
    source_format: SourceFormat = SourceFormat.TEXT
    attachments: tuple[Attachment, ...] = ()
    labels: tuple[str, ...] = ()
    web_link: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """A message that a listing found, without what it says."""

    provider_id: str
    """The provider's own id; with `version` it names what is delivered once."""
    received_at: datetime
    """What the round is sorted by."""
    container: str = ""
    """Where it lies, as far as the provider needs it to read the message: a folder, chat or channel."""
    version: str = ""
    """Of an edited chat message: when its text was last changed. Empty for the first."""
    alias: str = ""
    """Another id by which the same message is known, such as the Message-ID; empty for none."""
    carried: object = field(default=None, repr=False, compare=False)
    """What the listing has already read of the message, in the provider's own form; never stored."""

    @property
    def key(self) -> str:
        """The id under which it is delivered: the same at every listing."""
        return f"{self.provider_id}@{self.version}" if self.version else self.provider_id


@unique
class FetchMode(Enum):
    """How a listing looks for messages."""

    INCREMENTAL = "incremental"
    WINDOW = "window"
    RESYNC = "resync"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What a listing is asked for."""

    filter: MessageFilter
    state: JsonObject | None
    """What the last listing of this subscriber returned; None for a window."""
    since: datetime
    """Where a window begins: for one that is asked for, and for a resync."""
    now: datetime
    max_refs: int = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What is new. Everything that came in before the listing began is in it or was in an earlier one."""

    mode: FetchMode
    refs: tuple[Ref, ...]
    """In any order; the same message may be named twice."""
    state: JsonObject = field(repr=False)
    """What to ask with the next time. JSON; holds no token of a user."""
    left_out: int = 0
    """Messages that the filter excluded here and not at the provider."""


class Vanished(Exception):
    """The message is gone at the provider."""


class LeftOut(Exception):
    """The message does not match the filter after all, or is no message of a person."""


class Unreadable(Exception):
    """The message cannot be made into text.

    Attributes:
        reason: MESSAGE_UNREADABLE or MESSAGE_TOO_LARGE.
        message: A sentence that holds nothing of the message.
    """

    def __init__(self, message: str, *, reason: str = "MESSAGE_UNREADABLE") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
