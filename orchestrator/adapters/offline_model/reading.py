"""The texts of files and messages, and the records that are there already, as far as the conversation holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from orchestrator.adapters.offline_model.conversation import Call, Conversation, Result, text_of
from orchestrator.adapters.offline_model.extraction import Message
from orchestrator.runs.domain import JsonObject
from orchestrator.runs.mail import own_text

READ = "read_file_content"
READ_MESSAGE = "read_message"

MAX_TURNS = 8
"""So many turns are spent on reading; those left are for the changes. Longer files and lists are taken in part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileText:
    """A file or message as far as it was read."""

    text: str = field(repr=False, default="")
    message: Message | None = None
    """What is known of a message; None for a file."""
    whole: bool = False
    failure: str = ""
    """Why reading it failed; empty when it did not."""
    missing: Call | None = None
    """The call that reads on; None when there is nothing more to read, or it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Records as far as they were listed."""

    rows: list[JsonObject]
    missing: Call | None = None
    """The call that lists on; None when there is nothing more to list, or it failed."""
    failed: bool = False


def read_file(conversation: Conversation, path: str) -> FileText:
    """Return what the conversation holds of a file."""
    parts = [
        (call.arguments.get("offset", 0), result)
        for call, result in conversation.made(READ)
        if path in {call.arguments.get("path"), result.data.get("path")}
    ]
    texts: list[str] = []
    offset = 0
    while (result := _part_at(parts, offset)) is not None:
        if not result.ok:
            return FileText(text="".join(texts), failure=result.failure)
        texts.append(result.text("text"))
        following = result.data.get("next_offset")
        if not isinstance(following, int) or following <= offset:
            return FileText(text="".join(texts), whole=True)
        offset = following
    arguments: JsonObject = {"path": path, "offset": offset} if offset else {"path": path}
    return FileText(text="".join(texts), missing=Call(READ, arguments))


def read_message(conversation: Conversation, message_id: str) -> FileText:
    """Return what the conversation holds of a message, without what it quotes."""
    call = Call(READ_MESSAGE, {"message_id": message_id})
    result = conversation.result(call)
    if result is None:
        return FileText(missing=call)
    if not result.ok:
        return FileText(failure=result.failure)
    # What is quoted was found with its own message.
    text = own_text(result.text("text"))
    sender = result.data.get("from")
    person = sender if isinstance(sender, dict) else {}
    labels = result.data.get("labels")
    message = Message(
        subject=result.text("subject"),
        sender=text_of(person.get("name")),
        address=text_of(person.get("address")),
        sent=_day(result.text("date")),
        text=text,
        labels=tuple(map(text_of, labels)) if isinstance(labels, list) else (),
    )
    return FileText(text=text, message=message, whole=True)


def read_list(conversation: Conversation, tool: str, collection: str, project_id: str | None) -> Listing:
    """Return the records of a project that the conversation holds, or for None those of no project.

    A list of all records serves as well.
    """
    own: JsonObject = {"project_id": project_id}
    base = own if conversation.result(Call(tool, own)) or not conversation.result(Call(tool, {})) else {}
    pages, missing = _pages(conversation, tool, base)
    rows = [row for page in pages for row in page.rows(collection) if row.get("project_id") == project_id]
    return Listing(rows=rows, missing=missing, failed=any(not page.ok for page in pages))


def read_projects(conversation: Conversation) -> Listing:
    """Return all projects that the conversation holds."""
    pages, missing = _pages(conversation, "list_all_projects", {})
    rows = [row for page in pages for row in page.rows("projects")]
    return Listing(rows=rows, missing=missing, failed=any(not page.ok for page in pages))


def _pages(conversation: Conversation, tool: str, base: JsonObject) -> tuple[list[Result], Call | None]:
    pages: list[Result] = []
    call = Call(tool, base)
    seen: set[str] = set()
    while (result := conversation.result(call)) is not None:
        pages.append(result)
        token = result.text("next_page_token")
        if not token or token in seen:
            return pages, None
        seen.add(token)
        call = Call(tool, {**base, "page_token": token})
    return pages, call


def _part_at(parts: Sequence[tuple[Any, Result]], offset: int) -> Result | None:
    """Return the part that begins at the offset, one that did not fail if there is any."""
    found = [result for start, result in parts if start == offset]
    return next((result for result in found if result.ok), found[0] if found else None)


def _day(text: str) -> date | None:
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        return None


def id_of(row: JsonObject) -> str:
    """Return a record's id; empty when it has none."""
    return text_of(row.get("id"))
