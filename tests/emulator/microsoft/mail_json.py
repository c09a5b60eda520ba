"""How Graph writes messages, folders and attachments."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import getaddresses, parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from tests.emulator.mails import Mail, decoded, headers_of
from tests.emulator.microsoft.graph import Call
from tests.emulator.microsoft.mailbox import Folder, Mailbox, OutlookMessage
from tests.emulator.microsoft.mime import Attached
from tests.emulator.microsoft.odata import instant

_PREVIEW = 255


def received(message: OutlookMessage) -> datetime:
    """Return when a message came in, with all its digits: filters look at them, answers show whole seconds."""
    return message.mail.received_at


def sender_address(message: OutlookMessage) -> str:
    """Return the address that a message is from, or an empty string."""
    people = _people(message.mail, "From")
    return str(people[0]["emailAddress"]["address"]) if people else ""


def has_attachments(message: OutlookMessage) -> bool:
    """Return whether there are attachments that are not part of the body."""
    return any(not one.inline for one in message.contents.attachments)


def message_id(message: OutlookMessage, call: Call) -> str:
    """Return the id by which the caller knows a message."""
    return message.message_id if call.immutable_ids else message.default_id


def _people(mail: Mail, *names: str) -> list[dict[str, Any]]:
    wanted = {name.lower() for name in names}
    lines = [str(value) for known, value in mail.parsed.raw_items() if known.lower() in wanted]
    return [
        {"emailAddress": {"name": decoded(name) or decoded(address), "address": decoded(address)}}
        for name, address in getaddresses([line.replace("\r", "").replace("\n", "") for line in lines])
        if address
    ]


def _one(people: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    return people[0] if people else None


def _sent(message: OutlookMessage) -> datetime:
    try:
        sent = parsedate_to_datetime(message.mail.header("Date"))
    except (TypeError, ValueError):
        return received(message)
    return sent if sent.tzinfo else sent.replace(tzinfo=UTC)


def _body(message: OutlookMessage, call: Call, *, unique: bool) -> dict[str, str]:
    as_text = call.prefer.get("outlook.body-content-type", "").lower() == "text"
    content = message.contents.body(as_text=as_text, unique=unique)
    return {"contentType": "text" if as_text else "html", "content": content}


def _preview(message: OutlookMessage) -> str:
    return " ".join(message.contents.body(as_text=True, unique=True).split())[:_PREVIEW]


def _conversation_index(message: OutlookMessage) -> str:
    return base64.b64encode(hashlib.sha256(message.conversation_id.encode()).digest()[:22]).decode()


_Field = Callable[[OutlookMessage, Call], Any]
_FIELDS: Mapping[str, _Field] = {
    "id": message_id,
    "createdDateTime": lambda message, _: instant(received(message)),
    "lastModifiedDateTime": lambda message, _: instant(message.modified_at),
    "changeKey": lambda message, _: message.change_key,
    "categories": lambda message, _: list(message.mail.labels),
    "receivedDateTime": lambda message, _: instant(received(message)),
    "sentDateTime": lambda message, _: instant(_sent(message)),
    "hasAttachments": lambda message, _: has_attachments(message),
    "internetMessageId": lambda message, _: message.mail.message_id or f"<{message.sequence}@emulator.invalid>",
    "subject": lambda message, _: message.mail.header("Subject"),
    "bodyPreview": lambda message, _: _preview(message),
    "importance": lambda message, _: _importance(message.mail),
    "parentFolderId": lambda message, _: message.folder.folder_id,
    "conversationId": lambda message, _: message.conversation_id,
    "conversationIndex": lambda message, _: _conversation_index(message),
    "isDeliveryReceiptRequested": lambda message, _: False,
    "isReadReceiptRequested": lambda message, _: False,
    "isRead": lambda message, _: not message.unread,
    "isDraft": lambda message, _: message.folder.well_known == "drafts",
    "webLink": lambda message, _: (
        f"https://outlook.office365.com/owa/?ItemID={quote(message.default_id, safe='')}&viewmodel=ReadMessageItem"
    ),
    "inferenceClassification": lambda message, _: "focused",
    "body": lambda message, call: _body(message, call, unique=False),
    "sender": lambda message, _: _one(_people(message.mail, "Sender") or _people(message.mail, "From")),
    "from": lambda message, _: _one(_people(message.mail, "From")),
    "toRecipients": lambda message, _: _people(message.mail, "To"),
    "ccRecipients": lambda message, _: _people(message.mail, "Cc"),
    "bccRecipients": lambda message, _: _people(message.mail, "Bcc"),
    "replyTo": lambda message, _: _people(message.mail, "Reply-To"),
    "flag": lambda message, _: {"flagStatus": "notFlagged"},
    "uniqueBody": lambda message, call: _body(message, call, unique=True),
    "internetMessageHeaders": lambda message, _: [
        {"name": name, "value": value} for name, value in headers_of(message.mail.parsed)
    ],
}
MESSAGE_PROPERTIES = tuple(_FIELDS)
_ONLY_IF_SELECTED = ("uniqueBody", "internetMessageHeaders")


def _importance(mail: Mail) -> str:
    asked = mail.header("Importance").strip().lower()
    return asked if asked in {"low", "high"} else "normal"


def message_json(message: OutlookMessage, call: Call, select: Sequence[str] = ()) -> dict[str, Any]:
    """Return a message as the caller prefers it.

    Args:
        message: The message.
        call: Whose preferences count.
        select: The names of `$select`; without it all are told but for `uniqueBody` and the headers.
    """
    names = select or [name for name in _FIELDS if name not in _ONLY_IF_SELECTED]
    return {"@odata.etag": f'W/"{message.change_key}"', **{name: _FIELDS[name](message, call) for name in names}}


FOLDER_PROPERTIES = (
    "id",
    "displayName",
    "parentFolderId",
    "childFolderCount",
    "unreadItemCount",
    "totalItemCount",
    "isHidden",
)


def folder_json(folder: Folder, mailbox: Mailbox, select: Sequence[str] = ()) -> dict[str, Any]:
    """Return a folder."""
    inside = mailbox.inside(folder)
    whole = {
        "id": folder.folder_id,
        "displayName": folder.name,
        "parentFolderId": "AQMkADmsgfolderrootAAA=",
        "childFolderCount": 0,
        "unreadItemCount": sum(message.unread for message in inside),
        "totalItemCount": len(inside),
        "isHidden": False,
    }
    return {name: whole[name] for name in select or FOLDER_PROPERTIES}


ATTACHMENT_PROPERTIES = ("id", "name", "contentType", "size", "isInline", "lastModifiedDateTime")


def attachment_id(message: OutlookMessage, number: int) -> str:
    """Return the id of the attachment at a place."""
    digest = hashlib.sha256(f"{message.message_id}:{number}".encode()).digest()[:24]
    return f"AAMkADatt{base64.urlsafe_b64encode(digest).decode()}AAA="


def attachments_json(message: OutlookMessage, select: Sequence[str] = ()) -> Iterable[dict[str, Any]]:
    """Yield the attachments; without a `$select` those that are files come with their bytes."""
    for number, attached in enumerate(message.contents.attachments):
        yield _attachment_json(attached, attachment_id(message, number), instant(message.modified_at), select)


def _attachment_json(attached: Attached, known_as: str, modified: str, select: Sequence[str]) -> dict[str, Any]:
    whole = {
        "id": known_as,
        "name": attached.name,
        "contentType": None if attached.is_item else attached.media_type,
        "size": len(attached.content),
        "isInline": attached.inline,
        "lastModifiedDateTime": modified,
    }
    kind = "itemAttachment" if attached.is_item else "fileAttachment"
    answer = {"@odata.type": f"#microsoft.graph.{kind}", **{name: whole[name] for name in select or whole}}
    if not select and not attached.is_item:
        answer["contentId"] = attached.content_id or None
        answer["contentLocation"] = None
        answer["contentBytes"] = base64.b64encode(attached.content).decode()
    return answer
