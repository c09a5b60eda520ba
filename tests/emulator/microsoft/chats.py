"""Graph's chats: the list of a user's chats, and the messages of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.emulator.microsoft.conversations import Chat, ChatMessage
from tests.emulator.microsoft.graph import Call, GraphError, bad_request
from tests.emulator.microsoft.odata import Clause, parse_filter, parse_orderby, top
from tests.emulator.microsoft.teams_json import chat_json, chat_message_json
from tests.emulator.microsoft.walks import listed
from tests.emulator.parameters import Parameter

LARGEST_PAGE = 50
DEFAULT_PAGE = 20
_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)
_LAST_ACTIVITY = "lastMessagePreview/createdDateTime"
_CHATS = {"$expand": Parameter(), "$top": top(LARGEST_PAGE), "$orderby": Parameter()}
_MESSAGES = {"$top": top(LARGEST_PAGE), "$orderby": Parameter(), "$filter": Parameter()}
_FILTERS: Mapping[str, tuple[type, Sequence[str]]] = {
    "lastModifiedDateTime": (datetime, ("gt", "lt")),
    "createdDateTime": (datetime, ("lt",)),
}


def page_size(options: Mapping[str, str]) -> int:
    """Return how many items a page of Teams has."""
    return int(options.get("$top", DEFAULT_PAGE))


def expanded(options: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """Return what `$expand` names.

    Raises:
        GraphError: It cannot be expanded.
    """
    wanted = [name.strip() for name in options.get("$expand", "").split(",") if name.strip()]
    for name in wanted:
        if name not in names:
            raise bad_request(f"The query specified in the URI is not valid: cannot expand '{name}'.")
    return wanted


def time_of(message: ChatMessage, name: str) -> datetime:
    """Return one of the two times that messages are sorted and filtered by."""
    return message.modified_at if name == "lastModifiedDateTime" else message.created_at


async def chats(call: Call) -> web.StreamResponse:
    """Answer `GET /me/chats`."""
    links = call.emulator.microsoft.links
    rest = listed(call, links, _CHATS, page_size)
    expand = expanded(rest.options, ("members", "lastMessagePreview"))
    orders = parse_orderby(rest.options["$orderby"], [_LAST_ACTIVITY]) if "$orderby" in rest.options else []
    if any(not order.descending for order in orders):
        raise bad_request("The query specified in the URI is not valid: chats are ordered descending only.")
    everything = call.emulator.microsoft.teams.chats.values()
    mine = [chat for chat in everything if _is_member(call, chat)]
    if orders:
        mine.sort(key=_last_activity, reverse=True)
    page = rest.cut(mine)
    return call.answer(
        {
            "@odata.context": f"{call.base_url}/v1.0/$metadata#chats",
            "@odata.count": len(page),
            **rest.next_link(call, links, len(mine)),
            "value": [chat_json(chat, call, expand) for chat in page],
        }
    )


async def chat_messages(call: Call) -> web.StreamResponse:
    """Answer `GET /chats/{id}/messages`, also below `/me`."""
    chat = _chat(call)
    links = call.emulator.microsoft.links
    rest = listed(call, links, _MESSAGES, page_size)
    orders = parse_orderby(rest.options["$orderby"], list(_FILTERS)) if "$orderby" in rest.options else []
    if len(orders) > 1 or any(not order.descending for order in orders):
        raise bad_request("QueryOptions to order by are supported for one property in descending order only.")
    clauses = parse_filter(rest.options["$filter"], _FILTERS) if "$filter" in rest.options else []
    order = orders[0].name if orders else "lastModifiedDateTime"
    found = sorted(chat.messages, key=lambda one: (time_of(one, order), one.message_id), reverse=True)
    if orders and not call.emulator.microsoft.teams.leaky_filter:
        found = [one for one in found if _passes(one, clauses, order)]
    page = rest.cut(found)
    return call.answer(
        {
            "@odata.context": f"{call.base_url}/v1.0/$metadata#chats('{chat.chat_id}')/messages",
            "@odata.count": len(page),
            **rest.next_link(call, links, len(found)),
            "value": [chat_message_json(one, call, chat, chat.members) for one in page],
        }
    )


async def chat_message(call: Call) -> web.StreamResponse:
    """Answer `GET /chats/{id}/messages/{id}`, also below `/me`."""
    chat = _chat(call)
    call.options({})
    for one in chat.messages:
        if one.message_id == call.request.match_info["message"]:
            context = f"{call.base_url}/v1.0/$metadata#chats('{chat.chat_id}')/messages/$entity"
            return call.answer({"@odata.context": context, **chat_message_json(one, call, chat, chat.members)})
    raise not_found()


async def hosted_content(call: Call) -> web.StreamResponse:
    """Refuse `…/hostedContents/…`: nobody here has pictures."""
    raise GraphError(403, "Forbidden", f"Hosted contents are not served ({call.request.method}).")


def not_found() -> GraphError:
    """Return Teams' refusal of what is not there."""
    return GraphError(404, "NotFound", "NotFound")


def _passes(message: ChatMessage, clauses: Sequence[Clause], order: str) -> bool:
    # A filter of another property than the one that is sorted by is ignored without a word, as the real one is.
    if any(clause.name != order for clause in clauses):
        return True
    return all(clause.holds(time_of(message, clause.name)) for clause in clauses)


def _is_member(call: Call, chat: Chat) -> bool:
    return any(person.address == call.account.address for person in chat.members)


def _chat(call: Call) -> Chat:
    chat = call.emulator.microsoft.teams.chats.get(call.request.match_info["chat"])
    if chat is None:
        raise not_found()
    if not _is_member(call, chat):
        raise GraphError(403, "Forbidden", "AclCheckFailed: the user is not a member of the chat.")
    return chat


def _last_activity(chat: Chat) -> tuple[datetime, Any]:
    last = chat.last()
    return (last.created_at if last else _BEFORE_ALL), chat.chat_id
