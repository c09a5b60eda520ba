"""The control routes of Teams."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast, get_args

from aiohttp import web

from tests.emulator.control import Body, controlled, ok
from tests.emulator.microsoft.conversations import ChatMessage, ChatType, Conversations, SharedFile


def teams_routes(teams: Conversations, at: str) -> list[web.RouteDef]:
    """Return the routes below `at`."""
    return [*_place_routes(teams, at), *_message_routes(teams, at)]


def _place_routes(teams: Conversations, at: str) -> list[web.RouteDef]:
    async def chat(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        kind = body.text("chat_type", "")
        if kind and kind not in get_args(ChatType):
            raise ValueError(f"no such type of chat: {kind}")
        made = teams.add_chat(
            *body.texts("addresses"),
            topic=body.text("topic", ""),
            chat_type=cast("ChatType", kind) if kind else None,
        )
        body.done()
        return ok(chat_id=made.chat_id)

    async def team(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        made = teams.add_team(body.text("name"), *body.texts("addresses"))
        body.done()
        return ok(team_id=made.team_id, channel_id=next(iter(made.channels)))

    async def channel(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        made = teams.add_channel(body.text("team_id"), body.text("name"))
        body.done()
        return ok(channel_id=made.channel_id)

    async def switches(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        teams.leaky_filter = body.boolean("leaky_filter", teams.leaky_filter)
        teams.replies_expanded = body.integer("replies_expanded", teams.replies_expanded)
        body.done()
        return ok()

    return [
        web.post(f"{at}/chats", controlled(chat)),
        web.post(f"{at}/teams", controlled(team)),
        web.post(f"{at}/channels", controlled(channel)),
        web.post(f"{at}/teams-switches", controlled(switches)),
    ]


def _message_routes(teams: Conversations, at: str) -> list[web.RouteDef]:
    def message(body: Body) -> ChatMessage:
        return teams.message(body.text("where"), body.text("message_id"))

    async def post(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        content_type = body.text("content_type", "html")
        made = teams.post(
            body.text("where"),
            body.text("sender"),
            body.text("content"),
            content_type="text" if content_type == "text" else "html",
            at=_moment(body),
            reply_to=body.text("reply_to", ""),
            subject=body.text("subject", ""),
            mentions=body.texts("mentions", []),
            files=[_file(one) for one in body.anything("files") or []],
        )
        body.done()
        return ok(message_id=made.message_id)

    async def edit(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        teams.edit(message(body), body.text("content"))
        body.done()
        return ok()

    async def delete(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        teams.delete(message(body))
        body.done()
        return ok()

    async def react(request: web.Request) -> web.StreamResponse:
        body = await Body.of(request)
        teams.react(message(body), body.text("address"), body.text("kind", "like"))
        body.done()
        return ok()

    return [
        web.post(f"{at}/posts", controlled(post)),
        web.post(f"{at}/edits", controlled(edit)),
        web.post(f"{at}/chat-deletions", controlled(delete)),
        web.post(f"{at}/reactions", controlled(react)),
    ]


def _moment(body: Body) -> datetime | None:
    return body.moment("at") if body.has("at") else None


def _file(one: dict[str, Any]) -> SharedFile:
    return SharedFile(file_id=str(one["file_id"]), name=str(one["name"]), url=str(one["url"]))
