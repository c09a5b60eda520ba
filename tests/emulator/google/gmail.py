"""The methods of the Gmail API: each takes a checked call and returns the JSON of its reply."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tests.emulator.google import mime
from tests.emulator.google.errors import GmailError
from tests.emulator.google.mailbox import SYSTEM_LABELS, Change, GmailMessage, Mailbox, Record
from tests.emulator.google.query import Query, understood
from tests.emulator.google.state import GoogleState
from tests.emulator.google.tables import FULL, MODIFY, READONLY

_PAGE = 100
_ESTIMATE = 201
_HISTORY_KEYS = {
    Change.MESSAGE_ADDED: "messagesAdded",
    Change.MESSAGE_DELETED: "messagesDeleted",
    Change.LABEL_ADDED: "labelsAdded",
    Change.LABEL_REMOVED: "labelsRemoved",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One call, after its token, scopes, parameters and quota were found in order."""

    google: GoogleState
    mailbox: Mailbox
    path: Mapping[str, str]
    """The variables of the path."""
    query: Mapping[str, list[str]]
    scopes: frozenset[str]

    def one(self, name: str, default: str = "") -> str:
        """Return a parameter that is given once, or the default."""
        return self.query.get(name, [default])[0]

    @property
    def page_size(self) -> int:
        """The parameter `maxResults`."""
        return int(self.one("maxResults", str(_PAGE)))

    @property
    def metadata_only(self) -> bool:
        """Whether the token may not see bodies."""
        return not self.scopes & {FULL, MODIFY, READONLY}


def get_profile(asked: Asked) -> dict[str, Any]:
    """`gmail.users.getProfile`."""
    messages = asked.mailbox.messages.values()
    return {
        "emailAddress": asked.mailbox.email,
        "messagesTotal": len(messages),
        "threadsTotal": len({message.thread_id for message in messages}),
        "historyId": str(asked.mailbox.history_id()),
    }


def list_labels(asked: Asked) -> dict[str, Any]:
    """`gmail.users.labels.list`."""
    return {"labels": [_label(asked.mailbox, label_id) for label_id in (*SYSTEM_LABELS, *asked.mailbox.user_labels)]}


def get_label(asked: Asked) -> dict[str, Any]:
    """`gmail.users.labels.get`."""
    label_id = asked.path["id"]
    if label_id not in SYSTEM_LABELS and label_id not in asked.mailbox.user_labels:
        raise _not_found()
    labelled = [message for message in asked.mailbox.messages.values() if label_id in message.label_ids]
    unread = [message for message in labelled if "UNREAD" in message.label_ids]
    return {
        **_label(asked.mailbox, label_id),
        "messagesTotal": len(labelled),
        "messagesUnread": len(unread),
        "threadsTotal": len({message.thread_id for message in labelled}),
        "threadsUnread": len({message.thread_id for message in unread}),
    }


def list_messages(asked: Asked) -> dict[str, Any]:
    """`gmail.users.messages.list`: newest first, without `messages` when there are none."""
    if asked.metadata_only and "q" in asked.query:
        raise GmailError(403, "forbidden", "Metadata scope does not support 'q' parameter")
    found = _matching(asked)
    signature = [asked.one("q"), *asked.query.get("labelIds", []), asked.one("includeSpamTrash")]
    before = _page_of(asked, signature)
    rest = (message for message in found if before is None or list(message.order) < before)
    page = list(islice(rest, asked.page_size))
    reply: dict[str, Any] = {"resultSizeEstimate": min(len(found), _ESTIMATE)}
    if page:
        reply["messages"] = [{"id": message.message_id, "threadId": message.thread_id} for message in page]
    if page and page[-1] is not found[-1]:
        reply["nextPageToken"] = _page_token(list(page[-1].order), signature)
    return reply


def get_message(asked: Asked) -> dict[str, Any]:
    """`gmail.users.messages.get`."""
    message = _message(asked, asked.path["id"])
    form = asked.one("format", "full")
    if asked.metadata_only and form in {"full", "raw"}:
        raise GmailError(403, "forbidden", f"Metadata scope doesn't allow format {form.upper()}")
    reply: dict[str, Any] = {
        "id": message.message_id,
        "threadId": message.thread_id,
        "snippet": mime.snippet(message.mail),
        "historyId": str(message.history_id),
        "internalDate": str(message.internal_date),
        "sizeEstimate": len(message.mail.raw),
    }
    if message.label_ids:
        reply["labelIds"] = list(message.label_ids)
    if form == "raw":
        reply["raw"] = mime.base64url(message.mail.raw)
    elif form == "metadata":
        reply["payload"] = mime.headers_only(message.mail, asked.query.get("metadataHeaders", []))
    elif form == "full":
        switches = asked.google.switches
        shape = mime.Shape(
            message_id=message.message_id,
            nonce=asked.google.core.number(),
            utf8=switches.bodies == "utf-8",
            largest_inline=switches.largest_inline_body,
        )
        reply["payload"] = mime.payload(message, shape)
    return reply


def get_attachment(asked: Asked) -> dict[str, Any]:
    """`gmail.users.messages.attachments.get`."""
    message = _message(asked, asked.path["messageId"])
    content = mime.attachment(message.mail, message.message_id, asked.path["id"])
    if content is None:
        raise GmailError(400, "invalidArgument", "Invalid attachment token")
    return {"size": len(content), "data": mime.base64url(content)}


def list_history(asked: Asked) -> dict[str, Any]:
    """`gmail.users.history.list`: oldest first, without `history` when a page has none."""
    if "startHistoryId" not in asked.query:
        raise GmailError(400, "invalidArgument", "Missing required parameter: startHistoryId")
    start, label_id = int(asked.one("startHistoryId")), asked.one("labelId")
    changes = [Change(name) for name in asked.query.get("historyTypes", [])]
    present = asked.mailbox.history_id()
    if asked.mailbox.history_is_gone(start):
        raise _not_found()
    signature = [str(start), label_id, *changes]
    last, was_empty = _page_of(asked, signature) or [start, 0]
    reply: dict[str, Any] = {"historyId": str(present)}
    records = asked.mailbox.records_after(last, changes, label_id)
    if asked.google.switches.empty_history_pages and not was_empty:
        return {**reply, "nextPageToken": _page_token([last, 1], signature)}
    page = records[: asked.page_size]
    if page:
        reply["history"] = [_record(record) for record in page]
    if len(records) > len(page):
        reply["nextPageToken"] = _page_token([page[-1].history_id, 0], signature)
    return reply


def _matching(asked: Asked) -> list[GmailMessage]:
    by_date_header = asked.google.switches.after_compares == "Date"
    query = understood(asked.one("q"), asked.mailbox, by_date_header=by_date_header)
    label_ids = set(asked.query.get("labelIds", []))
    hidden = set() if asked.one("includeSpamTrash") == "true" else {"SPAM", "TRASH"} - query.looks_into
    return [message for message in asked.mailbox.newest_first() if _fits(message, query, label_ids, hidden)]


def _fits(message: GmailMessage, query: Query, label_ids: set[str], hidden: set[str]) -> bool:
    return label_ids <= set(message.label_ids) and not hidden & set(message.label_ids) and query.matches(message)


def _record(record: Record) -> dict[str, Any]:
    brief = {"id": record.message_id, "threadId": record.thread_id}
    message: dict[str, Any] = {**brief, "labelIds": list(record.label_ids)} if record.label_ids else brief
    changed: dict[str, Any] = {"message": message}
    if record.changed_labels:
        changed["labelIds"] = list(record.changed_labels)
    return {"id": str(record.history_id), "messages": [brief], _HISTORY_KEYS[record.change]: [changed]}


def _label(mailbox: Mailbox, label_id: str) -> dict[str, Any]:
    if label_id in mailbox.user_labels:
        return {"id": label_id, "name": mailbox.user_labels[label_id], "type": "user"}
    return {"id": label_id, "name": label_id, "type": "system"}


def _message(asked: Asked, message_id: str) -> GmailMessage:
    message = asked.mailbox.messages.get(message_id)
    if message is None:
        raise _not_found()
    return message


def _not_found() -> GmailError:
    return GmailError(404, "notFound", "Requested entity was not found.")


def _page_token(position: list[int], signature: list[str]) -> str:
    return mime.base64url(json.dumps([position, signature]).encode())


def _page_of(asked: Asked, signature: list[str]) -> list[int] | None:
    """Return the position that the page token holds, or None for the first page."""
    if "pageToken" not in asked.query:
        return None
    try:
        position, signed = json.loads(mime.from_base64url(asked.one("pageToken")))
    except ValueError:
        signed = None
    if signed != signature:
        # A token of another query is refused: nobody may go on with a list that they did not begin.
        raise GmailError(400, "invalidArgument", "Invalid pageToken")
    return [int(number) for number in position]
