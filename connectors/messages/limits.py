"""What there may be at the most. A message that is too large to be sent must not end the stream for all."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Final

from connectors.messages.domain import Attachment, Message, Participant

MAX_SUBSCRIBERS: Final = 200
"""Of one connection: each has a cursor, and remembers what it got."""
IDLE_SUBSCRIBER: Final = timedelta(days=180)
"""A cursor that no fetch has used for so long is forgotten when a new one is made."""
MAX_PEOPLE: Final = 200
"""In `to`, and in `cc`."""
MAX_REFERENCES: Final = 100
"""The last ones: they are the nearest."""
MAX_ATTACHMENTS: Final = 100
MAX_LABELS: Final = 100
MAX_NAME_CHARS: Final = 255
MAX_LINE_CHARS: Final = 1_000
MAX_ID_CHARS: Final = 2_048

_UNSENDABLE = re.compile(r"[\x00\ud800-\udfff]")
"""What the contract's strings cannot hold, or databases behind it."""


def within_limits(message: Message, *, max_body_chars: int) -> Message:
    """Return the message so that it can be sent: at most some 3.5 MB, and no text that is none."""
    return replace(
        message,
        key=_cut(message.key, MAX_ID_CHARS),
        provider_id=_cut(message.provider_id, MAX_ID_CHARS),
        internet_message_id=_cut(message.internet_message_id),
        thread_id=_cut(message.thread_id, MAX_ID_CHARS),
        in_reply_to=_cut(message.in_reply_to),
        references=tuple(map(_cut, message.references[-MAX_REFERENCES:])),
        sender=_participant(message.sender),
        to=tuple(map(_participant, message.to[:MAX_PEOPLE])),
        cc=tuple(map(_participant, message.cc[:MAX_PEOPLE])),
        subject=_cut(message.subject),
        text=_cut(message.text, max_body_chars),
        text_truncated=message.text_truncated or len(message.text) > max_body_chars,
        full_chars=min(max(message.full_chars, 0), 2**31 - 1),
        new_text=_cut(message.new_text, max_body_chars),
        attachments=tuple(map(_attachment, message.attachments[:MAX_ATTACHMENTS])),
        labels=tuple(_cut(one, MAX_NAME_CHARS) for one in message.labels[:MAX_LABELS]),
        web_link=_cut(message.web_link, MAX_ID_CHARS),
    )


def _participant(one: Participant) -> Participant:
    return Participant(address=_cut(one.address, MAX_NAME_CHARS), name=_cut(one.name, MAX_NAME_CHARS))


def _attachment(one: Attachment) -> Attachment:
    return replace(
        one,
        attachment_id=_cut(one.attachment_id, MAX_ID_CHARS),
        name=_cut(one.name, MAX_NAME_CHARS),
        media_type=_cut(one.media_type, MAX_NAME_CHARS),
        size_bytes=min(max(one.size_bytes, 0), 2**63 - 1),
    )


def _cut(text: str, limit: int = MAX_LINE_CHARS) -> str:
    return _UNSENDABLE.sub("\N{REPLACEMENT CHARACTER}", text[:limit])
