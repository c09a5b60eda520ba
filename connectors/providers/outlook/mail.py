"""A mail as Graph tells it, as a message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from connectors.messages.domain import (
    Attachment,
    JsonObject,
    Message,
    Participant,
    Ref,
    SourceFormat,
    Unreadable,
)
from connectors.messages.text.cleaning import one_line
from connectors.messages.text.clipping import clip
from connectors.messages.text.compose import compose
from connectors.messages.text.headers import message_id, message_ids
from connectors.messages.text.html import html_to_text
from connectors.messages.text.walking import MAX_TEXT_CHARS
from connectors.providers.outlook.harvest import moment

MAX_PEOPLE: Final = 200
MAX_CATEGORIES: Final = 50

_LONGEST_NAME = 320
_LONGEST_SUBJECT = 2_000
_LONGEST_LINK = 4_096


def message_of(mail: JsonObject, ref: Ref, attachments: tuple[Attachment, ...], *, max_body_chars: int) -> Message:
    """Return the message that a whole mail of Graph's is. It takes a while: run it in a thread.

    Raises:
        Unreadable: It is no mail.
    """
    received_at = moment(mail.get("receivedDateTime"))
    if received_at is None:
        raise Unreadable("The provider's answer is not a mail.")
    body, is_html = _text(mail.get("body"))
    unique, _ = _text(mail.get("uniqueBody"))
    subject = one_line(str(mail.get("subject") or ""))[:_LONGEST_SUBJECT]
    text = compose(body, subject=subject, unique_body=unique or None, max_chars=max_body_chars)
    headers = _headers(mail.get("internetMessageHeaders"))
    written = SourceFormat.HTML if is_html else SourceFormat.TEXT
    return Message(
        key=ref.key,
        provider_id=ref.provider_id,
        internet_message_id=message_id(str(mail.get("internetMessageId") or "")),
        thread_id=str(mail.get("conversationId") or ref.provider_id),
        in_reply_to=message_id(headers.get("in-reply-to", "")),
        references=message_ids(headers.get("references", "")),
        received_at=received_at,
        sent_at=moment(mail.get("sentDateTime")),
        sender=_person(mail.get("from")) or Participant(),
        to=_people(mail.get("toRecipients")),
        cc=_people(mail.get("ccRecipients")),
        subject=subject,
        text=text.text,
        text_truncated=text.text_truncated,
        full_chars=text.full_chars,
        new_text=text.new_text,
        quoted_text_present=text.quoted_text_present,
        source_format=written if body.strip() else SourceFormat.NONE,
        attachments=attachments,
        labels=_labels(ref.container, mail.get("categories")),
        web_link=str(mail.get("webLink") or "")[:_LONGEST_LINK],
    )


def attachment_of(told: Mapping[str, Any]) -> Attachment:
    """Return what Graph tells of an attachment."""
    is_mail = str(told.get("@odata.type") or "").endswith("itemAttachment")
    size = told.get("size")
    return Attachment(
        attachment_id=str(told.get("id") or ""),
        name=one_line(str(told.get("name") or ""))[:_LONGEST_NAME] or "attachment",
        media_type="message/rfc822" if is_mail else _media_type(told.get("contentType")),
        size_bytes=size if isinstance(size, int) and size > 0 else 0,
        inline=told.get("isInline") is True,
    )


def _text(body: object) -> tuple[str, bool]:
    """Return a body as text, and whether it came as HTML: Graph does not always do as it is asked to."""
    content = body.get("content") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(content, str):
        return "", False
    is_html = str(body.get("contentType") or "").lower() == "html"
    return clip(html_to_text(content) if is_html else content, MAX_TEXT_CHARS).text, is_html


def _headers(told: object) -> dict[str, str]:
    found: dict[str, str] = {}
    for header in told if isinstance(told, list) else []:
        if isinstance(header, dict):
            found.setdefault(str(header.get("name") or "").lower(), str(header.get("value") or ""))
    return found


def _people(told: object) -> tuple[Participant, ...]:
    people: Iterable[object] = told[:MAX_PEOPLE] if isinstance(told, list) else ()
    return tuple(person for person in map(_person, people) if person is not None)


def _person(told: object) -> Participant | None:
    found = told.get("emailAddress") if isinstance(told, dict) else None
    if not isinstance(found, dict):
        return None
    address = one_line(str(found.get("address") or ""))[:_LONGEST_NAME]
    name = one_line(str(found.get("name") or ""))[:_LONGEST_NAME]
    return Participant(address=address, name="" if name.casefold() == address.casefold() else name)


def _labels(folder: str, categories: object) -> tuple[str, ...]:
    named = [one_line(str(one))[:_LONGEST_NAME] for one in categories] if isinstance(categories, list) else []
    return tuple(label for label in (folder, *named[:MAX_CATEGORIES]) if label)


def _media_type(told: object) -> str:
    return one_line(told)[:255].lower() if isinstance(told, str) and told.strip() else "application/octet-stream"
