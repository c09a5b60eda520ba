"""The Microsoft half's own paths: the login endpoints and Graph v1.0."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from tests.emulator.microsoft import channels, chats, mail, mail_delta, token
from tests.emulator.microsoft.authorize import authorize
from tests.emulator.microsoft.batch import batch
from tests.emulator.microsoft.graph import (
    CHANNEL_MESSAGES,
    CHANNELS,
    CHAT_MESSAGES,
    CHATS,
    MAIL,
    MAIL_BASIC,
    TEAMS,
    USER,
    Call,
    Handler,
    Permission,
    bad_request,
    guarded,
)
from tests.emulator.microsoft.login_errors import LoginError

if TYPE_CHECKING:
    from tests.emulator.core import Emulator

_ANY = Permission(any_of=())
_MESSAGE = "/me/messages/{message}"
_CHANNEL = "/teams/{team}/channels/{channel}"
_GRAPH: tuple[tuple[str, Permission, Handler], ...] = (
    ("/me", USER, mail.me),
    ("/me/mailFolders", MAIL_BASIC, mail.folders),
    ("/me/mailFolders/{folder}", MAIL_BASIC, mail.folder),
    ("/me/mailFolders/{folder}/messages", MAIL, mail.messages),
    ("/me/mailFolders/{folder}/messages/delta", MAIL, mail_delta.messages_delta),
    ("/me/mailFolders/{folder}/messages/delta()", MAIL, mail_delta.messages_delta),
    ("/me/mailFolders/{folder}/messages/{message}", MAIL, mail.message),
    ("/me/messages", MAIL, mail.messages),
    ("/me/messages/delta", MAIL, mail_delta.messages_delta),
    ("/me/messages/delta()", MAIL, mail_delta.messages_delta),
    (_MESSAGE, MAIL, mail.message),
    (f"{_MESSAGE}/attachments", MAIL, mail.attachments),
    (f"{_MESSAGE}/attachments/{{attachment}}", MAIL, mail.attachment),
    (f"{_MESSAGE}/attachments/{{attachment}}/$value", MAIL, mail.attachment_value),
    ("/me/chats", CHATS, chats.chats),
    ("/chats/{chat}/messages", CHAT_MESSAGES, chats.chat_messages),
    ("/chats/{chat}/messages/{message}", CHAT_MESSAGES, chats.chat_message),
    ("/chats/{chat}/messages/{message}/hostedContents/{tail:.*}", CHAT_MESSAGES, chats.hosted_content),
    ("/me/chats/{chat}/messages", CHAT_MESSAGES, chats.chat_messages),
    ("/me/chats/{chat}/messages/{message}", CHAT_MESSAGES, chats.chat_message),
    ("/me/joinedTeams", TEAMS, channels.joined_teams),
    ("/teams/{team}/channels", CHANNELS, channels.channels),
    (f"{_CHANNEL}/messages/delta", CHANNEL_MESSAGES, channels.channel_messages_delta),
    (f"{_CHANNEL}/messages/delta()", CHANNEL_MESSAGES, channels.channel_messages_delta),
    (f"{_CHANNEL}/messages/{{message}}", CHANNEL_MESSAGES, channels.channel_message),
    (f"{_CHANNEL}/messages/{{message}}/replies", CHANNEL_MESSAGES, channels.replies),
    (f"{_CHANNEL}/messages/{{message}}/replies/{{reply}}", CHANNEL_MESSAGES, channels.channel_message),
    (f"{_CHANNEL}/messages/{{message}}/hostedContents/{{tail:.*}}", CHANNEL_MESSAGES, chats.hosted_content),
)

_LoginHandler = Callable[["Emulator", web.Request], Awaitable[web.Response]]


def routes(emulator: Emulator) -> list[web.RouteDef]:
    """Return the routes of this half."""
    return [*_login_routes(emulator), *_graph_routes(emulator)]


def _login_routes(emulator: Emulator) -> list[web.RouteDef]:
    def speaking_json(handler: _LoginHandler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(emulator, request)
            except LoginError as error:
                return error.answer(emulator.now(), emulator.number())

        return serve

    async def to_authorize(request: web.Request) -> web.StreamResponse:
        return await authorize(emulator, request)

    return [
        web.get("/{tenant}/v2.0/.well-known/openid-configuration", speaking_json(token.configuration)),
        web.get("/{tenant}/discovery/v2.0/keys", speaking_json(token.keys)),
        web.get("/{tenant}/oauth2/v2.0/authorize", to_authorize),
        web.post("/{tenant}/oauth2/v2.0/token", speaking_json(token.token)),
        web.post("/{tenant}/oauth2/v2.0/devicecode", speaking_json(token.device_code)),
    ]


def _graph_routes(emulator: Emulator) -> list[web.RouteDef]:
    async def unknown(call: Call) -> web.StreamResponse:
        segment = call.request.match_info["tail"].rsplit("/", 1)[-1]
        raise bad_request(f"Resource not found for the segment '{segment}'.")

    served = [web.get(f"/v1.0{path}", guarded(emulator, needed, handler)) for path, needed, handler in _GRAPH]
    return [
        *served,
        web.post("/v1.0/$batch", guarded(emulator, _ANY, batch)),
        web.route("*", "/v1.0/{tail:.*}", guarded(emulator, _ANY, unknown)),
    ]
