"""Graph's front door: who calls, whether that is allowed, whether it is too much, and how Graph says no."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.emulator.faults import Fault
from tests.emulator.microsoft.people import Account, guid
from tests.emulator.parameters import BadParameter, Parameter, checked

if TYPE_CHECKING:
    from tests.emulator.core import Emulator

JSON = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
_PREFERENCE = re.compile(r'\s*([^=;,\s]+)(?:\s*=\s*(?:"([^"]*)"|([^,;"\s]*)))?\s*(?:,|$)')


class RetryAfter(StrEnum):
    """How a refusal says how long to wait."""

    SECONDS = "seconds"
    DATE = "date"
    ABSENT = "absent"
    ALWAYS_ONE = "always-one"
    """One second, whatever is meant."""


@dataclass(slots=True, kw_only=True, eq=False)
class Throttling:
    """A 429 or 503 in Graph's own shape; the header is written at the time of the refusal."""

    fault: Fault
    """Which requests, after how many, how often; its `status` is answered."""
    retry_after: RetryAfter = RetryAfter.SECONDS
    wait: timedelta = timedelta(seconds=10)

    def header(self, now: datetime) -> dict[str, str]:
        """Return the header of a refusal at this time."""
        match self.retry_after:
            case RetryAfter.SECONDS:
                return {"Retry-After": str(int(self.wait.total_seconds()))}
            case RetryAfter.DATE:
                return {"Retry-After": format_datetime(now + self.wait, usegmt=True)}
            case RetryAfter.ALWAYS_ONE:
                return {"Retry-After": "1"}
            case RetryAfter.ABSENT:
                return {}


class GraphError(Exception):
    """A call of Graph is refused."""

    def __init__(self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})

    def body(self, now: datetime, request_id: str) -> dict[str, Any]:
        """Return the body, also for a `Fault` of a test's own."""
        inner = {"date": f"{now:%Y-%m-%dT%H:%M:%S}", "request-id": request_id, "client-request-id": request_id}
        return {"error": {"code": self.code, "message": str(self), "innerError": inner}}


def bad_request(message: str) -> GraphError:
    """Return the refusal of something that is not well formed."""
    return GraphError(400, "BadRequest", message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """What a route asks of a token."""

    any_of: tuple[str, ...]
    teams: bool = False
    """Teams: work accounts only, and its own words for a refusal."""


USER = Permission(any_of=("User.Read",))
MAIL = Permission(any_of=("Mail.Read", "Mail.ReadWrite"))
MAIL_BASIC = Permission(any_of=("Mail.ReadBasic", "Mail.Read", "Mail.ReadWrite"))
CHATS = Permission(any_of=("Chat.ReadBasic", "Chat.Read", "Chat.ReadWrite"), teams=True)
CHAT_MESSAGES = Permission(any_of=("Chat.Read", "Chat.ReadWrite"), teams=True)
TEAMS = Permission(any_of=("Team.ReadBasic.All",), teams=True)
CHANNELS = Permission(any_of=("Channel.ReadBasic.All",), teams=True)
CHANNEL_MESSAGES = Permission(any_of=("ChannelMessage.Read.All",), teams=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request that was let in."""

    emulator: Emulator
    request: web.Request
    account: Account
    scopes: tuple[str, ...]
    prefer: Mapping[str, str]
    """The `Prefer` header: values by lower case names."""
    applied: list[str] = field(default_factory=list)
    """What goes into `Preference-Applied`."""

    @property
    def base_url(self) -> str:
        """What links begin with: the address that was called, or the one of `GraphSwitches.links_to`."""
        here = f"{self.request.scheme}://{self.request.host}"
        return self.emulator.microsoft.graph.links_to or here

    @property
    def immutable_ids(self) -> bool:
        """Whether the caller asked for ids that survive moves."""
        return self.prefer.get("idtype", "").lower() == "immutableid"

    def options(self, allowed: Mapping[str, Parameter]) -> dict[str, str]:
        """Return the query; anything that is not allowed is refused."""
        try:
            given = checked(self.request.query.items(), allowed)
        except BadParameter as error:
            raise bad_request(f"Query option '{error.name}' is not valid: {error.reason}.") from error
        return {name: values[0] for name, values in given.items()}

    def answer(self, value: Any, *, status: int = 200) -> web.Response:
        """Return JSON as Graph sends it."""
        headers = {"Content-Type": JSON, "OData-Version": "4.0"}
        if self.applied:
            headers["Preference-Applied"] = ", ".join(self.applied)
        return web.Response(status=status, headers=headers, body=json.dumps(value).encode())


@dataclass(kw_only=True, eq=False)
class GraphSwitches:
    """How Graph behaves, where the real one is known to behave in more than one way."""

    links_to: str = ""
    """Let next and delta links point to this origin (`https://example.org`); empty is the emulator itself."""
    requests_at_once: int = 0
    """Answer 429 to an account with more requests at once than this (Outlook: 4); 0 is no limit."""
    over_limit: RetryAfter = RetryAfter.SECONDS
    """How those refusals say how long to wait: always one second."""
    throttlings: list[Throttling] = field(default_factory=list)
    batches: Counter[str] = field(default_factory=Counter)
    """Batches that are being served, by account: they do not count beside their own parts."""

    def throttle(
        self,
        route: str,
        *,
        times: int = 1,
        skip: int = 0,
        status: int = 429,
        wait: timedelta = timedelta(seconds=10),
        retry_after: RetryAfter = RetryAfter.SECONDS,
        account: str = "",
    ) -> Throttling:
        """Refuse requests whose path `route` (a regular expression) is found in.

        Args:
            route: Searched for in the path, without the query.
            times: How many are refused; 0 is all of them, for ever.
            skip: How many pass first.
            status: 429 or 503.
            wait: What the header says, unless it is absent or always one.
            retry_after: How it says it.
            account: Only requests of this address; empty is everybody.
        """
        fault = Fault(route=route, times=times, skip=skip, status=status, account=account)
        self.throttlings.append(Throttling(fault=fault, wait=wait, retry_after=retry_after))
        return self.throttlings[-1]


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


def guarded(
    emulator: Emulator, permission: Permission, handler: Handler
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return what serves a route of Graph: it lets calls in, and gives every refusal Graph's shape."""

    async def serve(request: web.Request) -> web.StreamResponse:
        request_id = guid(f"request:{emulator.number()}")
        headers = {"request-id": request_id, "client-request-id": request.headers.get("client-request-id", request_id)}
        try:
            answer = await handler(_let_in(emulator, request, permission))
        except GraphError as error:
            body = json.dumps(error.body(emulator.now(), request_id)).encode()
            answer = web.Response(
                status=error.status, headers={"Content-Type": "application/json", **error.headers}, body=body
            )
        if not answer.prepared:
            answer.headers.update(headers)
        return answer

    return serve


def _let_in(emulator: Emulator, request: web.Request, permission: Permission) -> Call:
    microsoft = emulator.microsoft
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token:
        raise _unauthenticated("Access token is empty.")
    grant = microsoft.login.grants.bearer(token)
    if grant is None:
        raise _unauthenticated("Lifetime validation failed, the token is expired.")
    account = microsoft.login.accounts[grant.account]
    scopes = microsoft.login.grants.scopes_of(token)
    _check_throttle(emulator, request, account)
    if permission.teams and account.personal:
        raise bad_request("This API is not supported for MSA accounts")
    _check_permission(permission, scopes)
    return Call(emulator=emulator, request=request, account=account, scopes=scopes, prefer=preferences(request.headers))


def preferences(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the values of all `Prefer` headers by lower case names; a name without a value has an empty one."""
    getall = getattr(headers, "getall", None)
    lines = getall("Prefer", []) if getall else [headers.get("Prefer", "")]
    found: dict[str, str] = {}
    for line in lines:
        for name, quoted, plain in _PREFERENCE.findall(line):
            found.setdefault(name.lower(), quoted or plain)
    return found


def _unauthenticated(message: str) -> GraphError:
    challenge = 'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize"'
    return GraphError(401, "InvalidAuthenticationToken", message, headers={"WWW-Authenticate": challenge})


def _check_permission(permission: Permission, scopes: tuple[str, ...]) -> None:
    if not permission.any_of or set(permission.any_of) & set(scopes):
        return
    if not permission.teams:
        raise GraphError(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
    needed, there = ", ".join(permission.any_of), ", ".join(scopes)
    raise GraphError(
        403,
        "Forbidden",
        f"Missing scope permissions on the request. API requires one of '{needed}'. Scopes on the request '{there}'",
    )


def _check_throttle(emulator: Emulator, request: web.Request, account: Account) -> None:
    switches = emulator.microsoft.graph
    for throttling in switches.throttlings:
        if throttling.fault.strikes(request.method, request.path, account.address):
            status = throttling.fault.status or 429
            code, message = (
                ("TooManyRequests", "Too Many Requests")
                if status == 429
                else ("serviceNotAvailable", "Try again later.")
            )
            raise GraphError(status, code, message, headers=throttling.header(emulator.now()))
    running = emulator.counters.in_flight[f"microsoft:{account.address}"] - switches.batches[account.address]
    if request.path.endswith("/$batch") or not 0 < switches.requests_at_once < running:
        return
    header = Throttling(
        fault=Fault(route="", status=429), retry_after=switches.over_limit, wait=timedelta(seconds=1)
    ).header(emulator.now())
    raise GraphError(429, "ApplicationThrottled", "Application is over its MailboxConcurrency limit.", headers=header)
