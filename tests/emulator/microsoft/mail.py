"""Graph's mail: the user, folders, lists of messages, one message, and attachments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from aiohttp import web

from tests.emulator.microsoft.graph import Call, GraphError, bad_request
from tests.emulator.microsoft.mail_json import (
    ATTACHMENT_PROPERTIES,
    FOLDER_PROPERTIES,
    MESSAGE_PROPERTIES,
    attachment_id,
    attachments_json,
    folder_json,
    has_attachments,
    message_json,
    received,
    sender_address,
)
from tests.emulator.microsoft.mailbox import Folder, Mailbox, OutlookMessage
from tests.emulator.microsoft.odata import (
    Clause,
    Order,
    check_efficiency,
    parse_filter,
    parse_orderby,
    parse_select,
    top,
)
from tests.emulator.microsoft.walks import listed
from tests.emulator.parameters import Kind, Parameter

_DEFAULT_PAGE = 10
_LARGEST_PAGE = 1000
_FILTERS: Mapping[str, tuple[type, Sequence[str]]] = {
    "receivedDateTime": (datetime, ("eq", "gt", "ge", "lt", "le")),
    "from/emailAddress/address": (str, ("eq",)),
    "isRead": (bool, ("eq", "ne")),
    "hasAttachments": (bool, ("eq", "ne")),
}
_BOOLEAN = Parameter(kind=Kind.BOOLEAN)
LIST = {
    "$select": Parameter(),
    "$filter": Parameter(),
    "$orderby": Parameter(),
    "$top": top(_LARGEST_PAGE),
}


def _value_of(name: str, message: OutlookMessage) -> Any:
    match name:
        case "receivedDateTime":
            return received(message)
        case "from/emailAddress/address":
            return sender_address(message)
        case "isRead":
            return not message.unread
        case _:
            return has_attachments(message)


def mailbox_of(call: Call) -> Mailbox:
    """Return the mailbox of the caller."""
    return call.emulator.microsoft.mailbox(call.account.address)


def page_size(call: Call, options: Mapping[str, str]) -> int:
    """Return how many items a page has: what the caller prefers, else `$top`, else the default."""
    preferred = call.prefer.get("odata.maxpagesize", "")
    if preferred.isdecimal() and 1 <= int(preferred) <= _LARGEST_PAGE:
        call.applied.append(f"odata.maxpagesize={preferred}")
        return int(preferred)
    return int(options.get("$top", _DEFAULT_PAGE))


def note_preferences(call: Call) -> None:
    """Say which preferences were followed."""
    if call.prefer.get("outlook.body-content-type", "").lower() in {"text", "html"}:
        call.applied.append(f'outlook.body-content-type="{call.prefer["outlook.body-content-type"]}"')
    if call.immutable_ids:
        call.applied.append('IdType="ImmutableId"')


def _context(call: Call, what: str) -> dict[str, str]:
    return {"@odata.context": f"{call.base_url}/v1.0/$metadata#users('{call.account.graph_id}')/{what}"}


def folder_of(call: Call) -> Folder | None:
    """Return the folder that the path names by its id or its well-known name, or None if it names none.

    Raises:
        GraphError: There is no such folder.
    """
    named = call.request.match_info.get("folder")
    if named is None:
        return None
    mailbox = mailbox_of(call)
    folder = mailbox.folders.get(named) or next(
        (one for one in mailbox.folders.values() if one.well_known and one.well_known == named.lower()), None
    )
    if folder is None:
        raise _not_found(named)
    return folder


def _not_found(known_as: str) -> GraphError:
    if not known_as.replace("-", "").replace("_", "").replace("=", "").isalnum() or len(known_as) < 8:
        return GraphError(400, "ErrorInvalidIdMalformed", "Id is malformed.")
    return GraphError(404, "ErrorItemNotFound", "The specified object was not found in the store.")


def _message(call: Call) -> OutlookMessage:
    known_as = call.request.match_info["message"]
    message = mailbox_of(call).find(known_as)
    if message is None:
        raise _not_found(known_as)
    return message


async def me(call: Call) -> web.StreamResponse:
    """Answer `GET /me`."""
    whole: dict[str, Any] = {
        "businessPhones": [],
        "displayName": call.account.name,
        "givenName": call.account.name.split()[0],
        "jobTitle": None,
        "mail": call.account.address,
        "mobilePhone": None,
        "officeLocation": None,
        "preferredLanguage": None,
        "surname": call.account.name.split()[-1],
        "userPrincipalName": call.account.address,
        "id": call.account.graph_id,
    }
    options = call.options({"$select": Parameter()})
    names = parse_select(options["$select"], list(whole), "user") if "$select" in options else tuple(whole)
    context = {"@odata.context": f"{call.base_url}/v1.0/$metadata#users/$entity"}
    return call.answer({**context, **{name: whole[name] for name in names}})


async def folders(call: Call) -> web.StreamResponse:
    """Answer `GET /me/mailFolders`."""
    mailbox = mailbox_of(call)
    links = call.emulator.microsoft.links
    allowed = {"$select": Parameter(), "$top": top(_LARGEST_PAGE), "includeHiddenFolders": _BOOLEAN}
    rest = listed(call, links, allowed, partial(page_size, call))
    select = selected(rest.options, FOLDER_PROPERTIES, "mailFolder")
    everything = list(mailbox.folders.values())
    return call.answer(
        {
            **_context(call, "mailFolders"),
            "value": [folder_json(one, mailbox, select) for one in rest.cut(everything)],
            **rest.next_link(call, links, len(everything)),
        }
    )


async def folder(call: Call) -> web.StreamResponse:
    """Answer `GET /me/mailFolders/{id}`."""
    found = folder_of(call)
    select = selected(
        call.options({"$select": Parameter(), "includeHiddenFolders": _BOOLEAN}), FOLDER_PROPERTIES, "mailFolder"
    )
    if found is None:
        raise bad_request("A folder is needed.")
    return call.answer({**_context(call, "mailFolders/$entity"), **folder_json(found, mailbox_of(call), select)})


async def messages(call: Call) -> web.StreamResponse:
    """Answer `GET /me/messages` and `GET /me/mailFolders/{id}/messages`."""
    inside = mailbox_of(call).inside(folder_of(call))
    note_preferences(call)
    links = call.emulator.microsoft.links
    rest = listed(call, links, LIST, partial(page_size, call))
    clauses = parse_filter(rest.options["$filter"], _FILTERS) if "$filter" in rest.options else []
    orders = parse_orderby(rest.options["$orderby"], list(_FILTERS)) if "$orderby" in rest.options else []
    check_efficiency(clauses, orders)
    select = selected(rest.options, MESSAGE_PROPERTIES, "message")
    found = _sorted(_matching(inside, clauses), orders)
    return call.answer(
        {
            **_context(call, "messages"),
            "value": [message_json(one, call, select) for one in rest.cut(found)],
            **rest.next_link(call, links, len(found)),
        }
    )


async def message(call: Call) -> web.StreamResponse:
    """Answer `GET /me/messages/{id}`, also below a folder."""
    inside = folder_of(call)
    found = _message(call)
    if inside is not None and found.folder != inside:
        raise _not_found(call.request.match_info["message"])
    note_preferences(call)
    select = selected(call.options({"$select": Parameter()}), MESSAGE_PROPERTIES, "message")
    return call.answer({**_context(call, "messages/$entity"), **message_json(found, call, select)})


async def attachments(call: Call) -> web.StreamResponse:
    """Answer `GET /me/messages/{id}/attachments`."""
    found = _message(call)
    links = call.emulator.microsoft.links
    allowed = {"$select": Parameter(), "$top": top(_LARGEST_PAGE)}
    rest = listed(call, links, allowed, lambda options: int(options.get("$top", _LARGEST_PAGE)))
    select = selected(rest.options, ATTACHMENT_PROPERTIES, "attachment")
    everything = list(attachments_json(found, select))
    return call.answer(
        {
            **_context(call, "messages/attachments"),
            "value": list(rest.cut(everything)),
            **rest.next_link(call, links, len(everything)),
        }
    )


async def attachment(call: Call) -> web.StreamResponse:
    """Answer `GET /me/messages/{id}/attachments/{id}`."""
    found, number = _attachment(call)
    select = selected(call.options({"$select": Parameter()}), ATTACHMENT_PROPERTIES, "attachment")
    context = _context(call, "messages/attachments/$entity")
    return call.answer({**context, **list(attachments_json(found, select))[number]})


async def attachment_value(call: Call) -> web.StreamResponse:
    """Answer `GET /me/messages/{id}/attachments/{id}/$value` with the bytes."""
    call.options({})
    found, number = _attachment(call)
    attached = found.contents.attachments[number]
    return web.Response(body=attached.content, headers={"Content-Type": attached.media_type})


def selected(options: Mapping[str, str], names: Sequence[str], kind: str) -> tuple[str, ...]:
    """Return the names of `$select`, or nothing without one."""
    return parse_select(options["$select"], names, kind) if "$select" in options else ()


def _matching(inside: list[OutlookMessage], clauses: Sequence[Clause]) -> list[OutlookMessage]:
    return [one for one in inside if all(clause.holds(_value_of(clause.name, one)) for clause in clauses)]


def _sorted(found: list[OutlookMessage], orders: Sequence[Order]) -> list[OutlookMessage]:
    # Sorting is stable: the last property goes first.
    found = sorted(found, key=lambda one: (received(one), one.sequence), reverse=True)
    for order in reversed(orders):
        found = sorted(found, key=partial(_value_of, order.name), reverse=order.descending)
    return found


def _attachment(call: Call) -> tuple[OutlookMessage, int]:
    found = _message(call)
    wanted = call.request.match_info["attachment"]
    for number in range(len(found.contents.attachments)):
        if attachment_id(found, number) == wanted:
            return found, number
    raise _not_found(wanted)
