"""A chat message as Graph tells it: what counts as one, when it last changed, and what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from connectors.messages.domain import (
    Attachment,
    JsonObject,
    LeftOut,
    Message,
    Participant,
    Ref,
    SourceFormat,
    Unreadable,
)
from connectors.messages.text.compose import compose
from connectors.messages.text.html import html_to_text
from connectors.providers.teams.places import label_of, thread_of

_QUOTES: Final = frozenset({"messagereference", "forwardedmessagereference"})
_CARDS: Final = "application/vnd.microsoft."
_LONGEST_QUOTE: Final = 300


@dataclass(frozen=True, slots=True)
class Times:
    """When a message was posted, last changed in any way, and last changed in what it says."""

    created: datetime
    modified: datetime
    edited: datetime | None

    @property
    def said(self) -> datetime:
        """When what it says now was written."""
        return self.edited or self.created


def time_of(value: object) -> datetime | None:
    """Return a time of Graph's; None for none."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def times_of(item: JsonObject) -> Times | None:
    """Return a message's times; None when it has none and so is no message."""
    created = time_of(item.get("createdDateTime"))
    if created is None:
        return None
    modified = time_of(item.get("lastModifiedDateTime")) or created
    return Times(created, modified, time_of(item.get("lastEditedDateTime")))


def is_deleted(item: JsonObject) -> bool:
    """Return whether only its place is left."""
    return item.get("deletedDateTime") is not None


def is_written(item: JsonObject) -> bool:
    """Return whether a person or an app wrote it and it is still there: events of the system are no messages."""
    return (
        item.get("messageType") == "message"
        and isinstance(item.get("from"), dict)
        and not is_deleted(item)
        and "<systemEventMessage" not in str(_object(item.get("body")).get("content"))
    )


def author_id(item: JsonObject) -> str:
    """Return the Graph id of the user who wrote it; empty for an app."""
    return str(_object(_object(item.get("from")).get("user")).get("id") or "")


def version_of(times: Times) -> str:
    """Return what tells one wording of a message from the next: reactions move only `modified`."""
    return times.edited.isoformat(timespec="milliseconds") if times.edited is not None else ""


def message_of(item: JsonObject, ref: Ref, *, max_body_chars: int) -> Message:
    """Return the message. Takes a while for long HTML: call it in a thread.

    Raises:
        LeftOut: It was deleted, or nobody wrote it.
        Unreadable: It is not what Graph documents.
    """
    times, body = times_of(item), item.get("body")
    if times is None or not isinstance(body, dict):
        raise Unreadable("The provider's answer is not a message.")
    if not is_written(item):
        raise LeftOut
    attached = [_object(one) for one in _list(item.get("attachments"))]
    quotes = {str(one.get("id")): _quoted(one) for one in attached if _kind(one) in _QUOTES}
    files = tuple(_file(one) for one in attached if _kind(one) not in _QUOTES and not _kind(one).startswith(_CARDS))
    content = str(body.get("content") or "")
    is_html = str(body.get("contentType")).lower() == "html"
    names = {**{one.attachment_id: one.name for one in files}, **quotes}
    subject = str(item.get("subject") or "")
    said = compose(
        html_to_text(content, attachments=names) if is_html else content, subject=subject, max_chars=max_body_chars
    )
    return Message(
        key=ref.key,
        provider_id=ref.provider_id,
        thread_id=thread_of(ref.provider_id),
        in_reply_to=_answered(item, attached, ref.container),
        received_at=times.created,
        sent_at=times.created,
        edited_at=times.edited,
        sender=_sender(item),
        subject=subject,
        text=said.text,
        text_truncated=said.text_truncated,
        full_chars=said.full_chars,
        new_text=said.new_text,
        quoted_text_present=said.quoted_text_present,
        source_format=SourceFormat.HTML if is_html else SourceFormat.TEXT if content else SourceFormat.NONE,
        attachments=files,
        labels=(label_of(ref.provider_id),),
        web_link=str(item.get("webUrl") or ""),
    )


def _sender(item: JsonObject) -> Participant:
    identities = _object(item.get("from"))
    for kind in ("user", "application"):
        if isinstance(identities.get(kind), dict):
            return Participant(name=str(identities[kind].get("displayName") or ""))
    return Participant()


def _file(attached: JsonObject) -> Attachment:
    return Attachment(
        attachment_id=str(attached.get("id") or ""),
        name=str(attached.get("name") or "file"),
        media_type=str(attached.get("contentType") or ""),
        size_bytes=0,
    )


def _quoted(attached: JsonObject) -> str:
    """Return the beginning of the message that this one answers or forwards, for the place where it is shown."""
    quoted = _reference(attached)
    sender = _object(_object(_object(quoted.get("messageSender")).get("user")))
    words = " ".join(str(quoted.get("messagePreview") or "").split())[:_LONGEST_QUOTE]
    name = str(sender.get("displayName") or "")
    return f"an earlier message{f' of {name}' if name else ''}{f': {words}' if words else ''}"


def _answered(item: JsonObject, attached: list[JsonObject], container: str) -> str:
    """Return the id of the message that this one answers; empty for none."""
    first = str(item.get("replyToId") or "")
    if first:
        # The container of an answer in a channel is what it answers.
        return container
    ids: Iterator[str] = (
        str(_reference(one).get("messageId") or "") for one in attached if _kind(one) == "messagereference"
    )
    found = next((one for one in ids if one), "")
    return f"{container}/{found}" if found else ""


def _reference(attached: JsonObject) -> JsonObject:
    try:
        return _object(json.loads(str(attached.get("content"))))
    except (ValueError, RecursionError):
        return {}


def _kind(attached: JsonObject) -> str:
    return str(attached.get("contentType") or "").lower()


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
