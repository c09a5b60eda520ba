"""The paths of the Google half, and what every call of the Gmail API goes through before its method is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.emulator.google import gmail, identity, masks
from tests.emulator.google.batch import batch
from tests.emulator.google.errors import GmailError, OAuthError
from tests.emulator.google.gmail import Asked
from tests.emulator.google.state import GoogleState
from tests.emulator.google.tables import COMMON, METHODS, Method
from tests.emulator.parameters import BadParameter, checked

if TYPE_CHECKING:
    from tests.emulator.core import Emulator

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ANSWERS: dict[str, Callable[[Asked], dict[str, Any]]] = {
    "gmail.users.getProfile": gmail.get_profile,
    "gmail.users.labels.list": gmail.list_labels,
    "gmail.users.labels.get": gmail.get_label,
    "gmail.users.messages.list": gmail.list_messages,
    "gmail.users.messages.get": gmail.get_message,
    "gmail.users.messages.attachments.get": gmail.get_attachment,
    "gmail.users.history.list": gmail.list_history,
}


def routes(emulator: Emulator) -> list[web.RouteDef]:
    """Return the routes of OAuth, of Gmail v1, and of its batch."""
    google = emulator.google

    async def authorize(request: web.Request) -> web.StreamResponse:
        return identity.authorize(google, request)

    async def token(request: web.Request) -> web.StreamResponse:
        return await identity.token(google, request)

    async def revoke(request: web.Request) -> web.StreamResponse:
        return await identity.revoke(google, request)

    async def device_code(request: web.Request) -> web.StreamResponse:
        return await identity.device_code(google, request)

    async def batched(request: web.Request) -> web.StreamResponse:
        return await batch(emulator, request)

    return [
        web.get("/o/oauth2/v2/auth", _answering(authorize), allow_head=False),
        web.post("/token", _answering(token)),
        web.post("/revoke", _answering(revoke)),
        web.post("/device/code", _answering(device_code)),
        web.post("/batch", _answering(batched)),
        web.post("/batch/gmail/v1", _answering(batched)),
        *(web.get(method.path, _answering(_method(google, method)), allow_head=False) for method in METHODS.values()),
    ]


def _answering(handler: Handler) -> Handler:
    """Make an answer of every refusal."""

    async def answering(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except (GmailError, OAuthError, identity.ConsentRefused) as refusal:
            return refusal.answer()

    return answering


def _method(google: GoogleState, method: Method) -> Handler:
    async def call(request: web.Request) -> web.StreamResponse:
        try:
            asked = _asked(google, method, request)
            reply = ANSWERS[method.method_id](asked)
            return web.json_response(masks.applied(masks.parsed(asked.one("fields")), reply))
        except BadParameter as error:
            raise GmailError(400, "badRequest", f"Invalid value for parameter {error}") from error

    return call


def _asked(google: GoogleState, method: Method, request: web.Request) -> Asked:
    """Check a call as Google does: who, whether they may, what they ask, and whether they asked too much."""
    token = google.access_token(request)
    grant = google.grants.bearer(token)
    if grant is None:
        raise GmailError(
            401, "authError", "Invalid Credentials", headers={"WWW-Authenticate": 'Bearer error="invalid_token"'}
        )
    scopes = frozenset(google.grants.scopes_of(token))
    if not scopes & method.scopes:
        raise GmailError(403, "insufficientPermissions", "Request had insufficient authentication scopes.")
    user_id = request.match_info["userId"]
    if user_id not in {"me", grant.account}:
        raise GmailError(403, "forbidden", f"Delegation denied for {grant.account}")
    query = checked(request.query.items(), {**COMMON, **method.query})
    at_once = google.core.counters.in_flight[f"google:{grant.account}"]
    google.quota.charge(grant.account, method.method_id, google.core.now(), at_once=at_once)
    return Asked(
        google=google, mailbox=google.mailbox(grant.account), path=request.match_info, query=query, scopes=scopes
    )
