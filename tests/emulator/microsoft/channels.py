"""Graph's teams: the teams of a user, their channels, and the messages of a channel, by delta and one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from tests.emulator.microsoft.chats import LARGEST_PAGE, expanded, not_found, page_size
from tests.emulator.microsoft.conversations import Channel, ChatMessage, Conversations, Team
from tests.emulator.microsoft.graph import Call, GraphError
from tests.emulator.microsoft.odata import Clause, parse_filter, parse_select, top
from tests.emulator.microsoft.teams_json import channel_json, chat_message_json, team_json
from tests.emulator.microsoft.walks import Entry, Point, Rest, Source, listed, next_page
from tests.emulator.parameters import Parameter

REMEMBERED = timedelta(days=243)
"""Eight months: a delta query knows nothing that is older."""
_DELTA = {"$top": top(LARGEST_PAGE), "$filter": Parameter(), "$expand": Parameter()}
_FILTERS: Mapping[str, tuple[type, Sequence[str]]] = {"lastModifiedDateTime": (datetime, ("gt",))}


async def joined_teams(call: Call) -> web.StreamResponse:
    """Answer `GET /me/joinedTeams`."""
    call.options({})
    teams = [team for team in call.emulator.microsoft.teams.teams.values() if _is_member(call, team)]
    return call.answer(
        {
            "@odata.context": f"{call.base_url}/v1.0/$metadata#teams",
            "@odata.count": len(teams),
            "value": [team_json(team) for team in teams],
        }
    )


async def channels(call: Call) -> web.StreamResponse:
    """Answer `GET /teams/{id}/channels`."""
    team = _team(call)
    whole = [channel_json(channel, call.account.tenant) for channel in team.channels.values()]
    options = call.options({"$select": Parameter()})
    names = parse_select(options["$select"], list(whole[0]), "channel") if "$select" in options else tuple(whole[0])
    return call.answer(
        {
            "@odata.context": f"{call.base_url}/v1.0/$metadata#teams('{team.team_id}')/channels",
            "@odata.count": len(whole),
            "value": [{name: channel[name] for name in names} for channel in whole],
        }
    )


async def channel_messages_delta(call: Call) -> web.StreamResponse:
    """Answer `GET /teams/{id}/channels/{id}/messages/delta`, also with `()`."""
    team, channel = _channel(call)
    microsoft = call.emulator.microsoft

    def checked_options() -> dict[str, str]:
        options = call.options(_DELTA)
        expanded(options, ("replies",))
        _clauses(options)
        return options

    source = Source(
        options=checked_options,
        entries=lambda point: _changes(microsoft.teams, channel, point, call.emulator.now()),
        until=microsoft.teams.changes,
        still_there=lambda _: True,
        page_size=page_size,
    )
    page = next_page(call, microsoft.links, microsoft.delta, source)
    with_replies = bool(expanded(page.options, ("replies",)))
    value = [_entry_json(entry, call, team, channel, with_replies=with_replies) for entry in page.entries]
    context = f"{call.base_url}/v1.0/$metadata#Collection(chatMessage)"
    return call.answer({"@odata.context": context, **page.link, "value": value})


async def channel_message(call: Call) -> web.StreamResponse:
    """Answer `GET /teams/{id}/channels/{id}/messages/{id}`, and `…/replies/{id}`."""
    team, channel = _channel(call)
    call.options({})
    post = _post(call, channel)
    reply_id = call.request.match_info.get("reply")
    found = next((one for one in post.replies if one.message_id == reply_id), None) if reply_id else post
    if found is None:
        raise not_found()
    context = {"@odata.context": f"{call.base_url}/v1.0/$metadata#{_where(channel)}/messages/$entity"}
    return call.answer({**context, **chat_message_json(found, call, channel, team.members)})


async def replies(call: Call) -> web.StreamResponse:
    """Answer `GET /teams/{id}/channels/{id}/messages/{id}/replies`, newest first."""
    team, channel = _channel(call)
    post = _post(call, channel)
    links = call.emulator.microsoft.links
    rest = listed(call, links, {"$top": top(LARGEST_PAGE)}, page_size)
    found = _newest_first(post)
    page = rest.cut(found)
    return call.answer(
        {
            "@odata.context": f"{call.base_url}/v1.0/$metadata#{_where(channel)}/messages/replies",
            "@odata.count": len(page),
            **rest.next_link(call, links, len(found)),
            "value": [chat_message_json(one, call, channel, team.members) for one in page],
        }
    )


def _is_member(call: Call, team: Team) -> bool:
    return any(person.address == call.account.address for person in team.members)


def _team(call: Call) -> Team:
    team = call.emulator.microsoft.teams.teams.get(call.request.match_info["team"])
    if team is None:
        raise not_found()
    if not _is_member(call, team):
        raise GraphError(403, "Forbidden", "User does not have access to the team.")
    return team


def _channel(call: Call) -> tuple[Team, Channel]:
    team = _team(call)
    channel = team.channels.get(call.request.match_info["channel"])
    if channel is None:
        raise not_found()
    return team, channel


def _post(call: Call, channel: Channel) -> ChatMessage:
    for one in channel.messages:
        if one.message_id == call.request.match_info["message"]:
            return one
    raise not_found()


def _where(channel: Channel) -> str:
    return f"teams('{channel.team_id}')/channels('{channel.channel_id}')"


def _newest_first(post: ChatMessage) -> list[ChatMessage]:
    return sorted(post.replies, key=lambda one: (one.created_at, one.message_id), reverse=True)


def _clauses(options: Mapping[str, str]) -> list[Clause]:
    return parse_filter(options["$filter"], _FILTERS) if "$filter" in options else []


def _changes(teams: Conversations, channel: Channel, point: Point, now: datetime) -> list[Entry]:
    """Return the posts that a round tells.

    Without `$expand=replies` nothing is told of replies, not even that there is a new one. The filter is about whole
    chains: a post counts as changed when one of its replies has.
    """
    whole = "$expand" in point.options
    clauses = [] if teams.leaky_filter else _clauses(point.options)
    found = [
        post
        for post in channel.messages
        if max(one.change for one in (post.chain() if whole else [post])) > (point.since or 0)
        and max(one.modified_at for one in post.chain()) > now - REMEMBERED
        and all(clause.holds(max(one.modified_at for one in post.chain())) for clause in clauses)
    ]
    # The order is not promised: whoever relies on it finds out here.
    found.sort(key=lambda post: hashlib.sha256(post.message_id.encode()).digest())
    return [Entry(item=post) for post in found]


def _entry_json(entry: Entry, call: Call, team: Team, channel: Channel, *, with_replies: bool) -> dict[str, Any]:
    kind = {"@odata.type": "#microsoft.graph.chatMessage"}
    if entry.removed:
        return {**kind, "id": entry.removed_id, "@removed": {"reason": entry.removed}}
    post: ChatMessage = entry.item
    answer = {**kind, **chat_message_json(post, call, channel, team.members)}
    if not with_replies:
        return answer
    microsoft = call.emulator.microsoft
    at_most = microsoft.teams.replies_expanded
    newest = _newest_first(post)
    answer["replies@odata.context"] = f"{call.base_url}/v1.0/$metadata#{_where(channel)}/messages/replies"
    answer["replies@odata.count"] = len(newest)
    answer["replies"] = [chat_message_json(one, call, channel, team.members) for one in newest[:at_most]]
    if len(newest) > at_most:
        path = call.request.rel_url.raw_path.removesuffix("()").removesuffix("/delta")
        rest = Rest(options={}, size=LARGEST_PAGE, skip=at_most)
        answer["replies@odata.nextLink"] = microsoft.links.issue(
            call, "$skiptoken", rest, path=f"{path}/{post.message_id}/replies"
        )
    return answer
