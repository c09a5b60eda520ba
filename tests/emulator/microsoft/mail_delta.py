"""The delta of a mail folder: what came, changed and went since a link was given out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from aiohttp import web

from tests.emulator.microsoft.graph import Call, bad_request
from tests.emulator.microsoft.mail import LIST, folder_of, mailbox_of, note_preferences, page_size, selected
from tests.emulator.microsoft.mail_json import MESSAGE_PROPERTIES, message_json, received
from tests.emulator.microsoft.mailbox import Change, Folder, Mailbox, Record
from tests.emulator.microsoft.odata import Clause, parse_filter
from tests.emulator.microsoft.walks import Entry, Point, Source, next_page
from tests.emulator.parameters import Parameter

_DELTA = {**LIST, "changeType": Parameter(values=("created", "updated", "deleted"))}


async def messages_delta(call: Call) -> web.StreamResponse:
    """Answer `GET /me/mailFolders/{id}/messages/delta`, also with `()`."""
    inside = folder_of(call)
    if inside is None:
        raise bad_request("Change tracking is not supported against 'microsoft.graph.message' of a whole mailbox.")
    mailbox = mailbox_of(call)
    switches = call.emulator.microsoft.delta
    note_preferences(call)

    def checked_options() -> dict[str, str]:
        options = call.options(_DELTA)
        _delta_filter(options)
        if options.get("$orderby", "receivedDateTime desc") != "receivedDateTime desc":
            raise bad_request("Change tracking knows only $orderby=receivedDateTime desc.")
        selected(options, MESSAGE_PROPERTIES, "message")
        return options

    def entries(point: Point) -> list[Entry]:
        found = _changes(mailbox, inside, point.since, immutable=call.immutable_ids)
        return _as_asked(found, point.options, switches.filtered_at_most)

    source = Source(
        options=checked_options,
        entries=entries,
        until=len(mailbox.log),
        still_there=lambda entry: mailbox.find(entry.item.message_id) is not None and entry.item.folder == inside,
        page_size=lambda options: page_size(call, options),
    )
    page = next_page(call, call.emulator.microsoft.links, switches, source)
    select = selected(page.options, MESSAGE_PROPERTIES, "message")
    value = [_entry_json(entry, call, select) for entry in page.entries]
    return call.answer(
        {"@odata.context": f"{call.base_url}/v1.0/$metadata#Collection(message)", "value": value, **page.link}
    )


def _delta_filter(options: Mapping[str, str]) -> Clause | None:
    if "$filter" not in options:
        return None
    clauses = parse_filter(options["$filter"], {"receivedDateTime": (datetime, ("ge", "gt"))})
    if len(clauses) > 1:
        raise bad_request("Change tracking knows only one comparison with receivedDateTime.")
    return clauses[0]


def _changes(mailbox: Mailbox, inside: Folder, since: int | None, *, immutable: bool) -> list[tuple[str, Entry]]:
    """Return what changed in a folder, each with its change type."""
    if since is None:
        return [("created", Entry(item=one)) for one in mailbox.inside(inside)]
    records = [one for one in mailbox.log[since:] if one.folder_id == inside.folder_id]

    def name(record: Record) -> str:
        return record.message.message_id if immutable else record.default_id

    return [_outcome(known_as, list(own)) for known_as, own in groupby(sorted(records, key=name), key=name)]


def _outcome(known_as: str, records: list[Record]) -> tuple[str, Entry]:
    """Return what a round tells of one id: what has become of it, and not how.

    An id that was there before, left and came back is only told as removed: so does the real service, when ids are
    immutable and so come back.
    """
    left = [record for record in records if record.change in {Change.LEFT, Change.DELETED}]
    was_there = records[0].change is not Change.CAME
    if left and (was_there or records[-1] is left[-1]):
        reason = "deleted" if left[-1].change is Change.DELETED else "changed"
        return "deleted", Entry(item=records[0].message, removed=reason, removed_id=known_as)
    return ("updated" if was_there else "created"), Entry(item=records[0].message)


def _as_asked(found: list[tuple[str, Entry]], options: Mapping[str, str], at_most: int) -> list[Entry]:
    clause = _delta_filter(options)
    wanted = options.get("changeType")
    kept = [
        entry
        for kind, entry in found
        if wanted in {None, kind} and (entry.removed or clause is None or clause.holds(received(entry.item)))
    ]
    # Without an order there is none: whoever relies on the order of delivery finds out here.
    kept.sort(key=lambda entry: hashlib.sha256(entry.item.message_id.encode()).digest())
    if "$orderby" in options or (clause and len(kept) > at_most):
        kept.sort(key=lambda entry: received(entry.item), reverse=True)
    return kept[:at_most] if clause else kept


def _entry_json(entry: Entry, call: Call, select: Sequence[str]) -> dict[str, Any]:
    if entry.removed:
        return {
            "@odata.type": "#microsoft.graph.message",
            "id": entry.removed_id,
            "@removed": {"reason": entry.removed},
        }
    return {"@odata.type": "#microsoft.graph.message", **message_json(entry.item, call, select)}
