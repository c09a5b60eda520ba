"""New messages of a mailbox or chat, as the connectors service gives them. Pure data, no I/O."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orchestrator.agents.domain import MessageFilter

MESSAGE_PREFIX = "message:"
"""What the id of a message begins with. No wire path does: a root's name holds no colon."""

UNREADABLE = "MESSAGE_UNREADABLE"
TOO_LARGE = "MESSAGE_TOO_LARGE"

_PLAIN = re.compile(r"[A-Za-z0-9._=+@/:~-]{1,800}")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """Somebody who wrote or got a message."""

    address: str = field(default="", repr=False)
    name: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that came with a message."""

    name: str = field(repr=False)
    media_type: str = ""
    size_bytes: int = 0
    """0 where unknown."""
    inline: bool = False
    """Whether the body shows it, such as a picture in a signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingMessage:
    """A message as text. Its repr shows nothing that somebody wrote."""

    key: str
    """Names it for ever within its connection."""
    thread_id: str = ""
    """The conversation that it belongs to; empty when the provider tells none."""
    received_at: datetime | None = None
    sender: Participant = Participant()
    to: tuple[Participant, ...] = ()
    cc: tuple[Participant, ...] = ()
    subject: str = field(default="", repr=False)
    text: str = field(default="", repr=False)
    """The whole text, quotes included."""
    new_text: str = field(default="", repr=False)
    """The text without what it quotes."""
    quoted: bool = False
    """Whether something is quoted."""
    truncated: bool = False
    """Whether `text` was cut."""
    full_chars: int = 0
    """How long the text is as a whole."""
    attachments: tuple[Attachment, ...] = ()
    labels: tuple[str, ...] = ()
    """Labels, folders, or the chat or channel that it is in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """What is asked for."""

    user_id: str
    connection_id: str
    subscriber: str
    """Who reads: each subscriber of a connection has a cursor of its own."""
    filter: MessageFilter
    max_messages: int
    max_body_chars: int
    within: timedelta
    """How long the whole fetch may take, the provider's wishes to wait included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The fetch has begun: it comes once, first."""

    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A message. They come oldest first."""

    message: IncomingMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A message that the connectors could not read; the others go on."""

    key: str
    reason: str
    """`MESSAGE_UNREADABLE` or `MESSAGE_TOO_LARGE`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The provider asked to wait; the fetch goes on by itself."""

    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A place in the stream: when all before it is done, the cursor may be moved here."""

    cursor_token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The fetch has ended well: it comes once, last. Its place is a mark, too."""

    cursor_token: str = field(repr=False)
    more: bool
    """Whether there is more than was asked for."""


FetchEvent = Begun | Arrived | Unread | Waiting | Mark | Ended


def message_id(provider: str, key: str) -> str:
    """Return what a message is called in a run, on the device and by models: `message:<provider>:<key>`.

    A key that is long, or holds characters that could mislead, is named by its hash.
    """
    name = _NOT_IN_NAMES.sub("-", provider.lower())[:32] or "unknown"
    if not _PLAIN.fullmatch(key):
        key = f"sha256.{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return f"{MESSAGE_PREFIX}{name}:{key}"
