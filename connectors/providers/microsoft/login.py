"""How msal reaches Microsoft's sign-in endpoints: by our guarded requests, and nowhere else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from connectors.errors import OperatorFault, ProviderUnavailable
from connectors.messages.domain import JsonObject
from connectors.providers.identity_http import IdentityHttp, Send
from connectors.providers.microsoft.config import LOGIN_HOST, MicrosoftConfig
from connectors.providers.wire import Answer

DISCOVERY: Final = "/v2.0/.well-known/openid-configuration"

_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "device_authorization_endpoint", "jwks_uri")
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_SOONEST = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What Microsoft publishes about a tenant's sign-ins."""

    text: str = field(repr=False)
    """The document; its endpoints are known to be at Microsoft."""
    issuer: str
    """Who signs id tokens; may hold `{tenantid}`."""
    keys_url: str


class LoginService:
    """What Microsoft publishes about the sign-ins of one tenant: asked for once, and again when it has become old."""

    def __init__(self, config: MicrosoftConfig, *, http: IdentityHttp, now: Callable[[], datetime]) -> None:
        self._config = config
        self._http = http
        self._now = now
        self._lock = asyncio.Lock()
        self._metadata: tuple[datetime, Metadata] | None = None
        self._keys: tuple[datetime, JsonObject] | None = None

    async def metadata(self, *, deadline: datetime) -> Metadata:
        """Return what is published.

        Raises:
            OperatorFault: There is no such tenant.
            ProviderUnavailable, Throttled: It cannot be had until the deadline.
        """
        async with self._turn(deadline):
            known = self._metadata
            if known is None or not self._is_fresh(known[0], self._config.keep_metadata):
                url = f"{self._config.login.text.rstrip('/')}/{self._config.tenant}{DISCOVERY}"
                known = self._now(), self._checked(await self._get(url, deadline))
                self._metadata = known
            return known[1]

    async def keys(self, metadata: Metadata, *, deadline: datetime, anew: bool = False) -> JsonObject:
        """Return the keys that id tokens are signed with, as a JSON Web Key Set.

        Args:
            metadata: What is published.
            deadline: Until when.
            anew: A key is missing: ask again, unless that was done within the last minute.

        Raises:
            ProviderUnavailable, Throttled, OperatorFault: They cannot be had.
        """
        async with self._turn(deadline):
            known = self._keys
            if known is None or not self._is_fresh(known[0], _SOONEST if anew else self._config.keep_metadata):
                known = self._now(), await self._get(metadata.keys_url, deadline)
                self._keys = known
            return known[1]

    def here(self, url: str) -> str:
        """Return an address at Microsoft's host as it is at the configured one, and any other as it is."""
        parts, base = urlsplit(url), urlsplit(self._config.login.text)
        if parts.scheme != "https" or parts.netloc.lower() != LOGIN_HOST:
            return url
        return urlunsplit((base.scheme, base.netloc, base.path.rstrip("/") + parts.path, parts.query, ""))

    @asynccontextmanager
    async def _turn(self, deadline: datetime) -> AsyncIterator[None]:
        """Let one caller ask at a time; the others wait for what it gets."""
        try:
            async with asyncio.timeout((deadline - self._now()).total_seconds()), self._lock:
                yield
        except TimeoutError:
            raise ProviderUnavailable(metadata={"cause": "TIMEOUT"}) from None

    async def _get(self, url: str, deadline: datetime) -> JsonObject:
        answer = await self._http.send("GET", url, deadline=deadline)
        if not answer.is_success:
            raise OperatorFault(
                "Microsoft does not know the tenant that this service is set up for. The operator has to check it.",
                metadata={"cause": f"HTTP_{answer.status}"},
            )
        found = answer.json()
        if found is None:
            raise ProviderUnavailable(metadata={"cause": "NOT_JSON"})
        return found

    def _checked(self, found: JsonObject) -> Metadata:
        for name in _ENDPOINTS:
            # A published address outside of Microsoft's host would get the client's secret and its users' codes.
            self._config.login.within(self.here(str(found.get(name, ""))))
        return Metadata(
            text=json.dumps(found), issuer=str(found.get("issuer", "")), keys_url=self.here(str(found["jwks_uri"]))
        )

    def _is_fresh(self, fetched_at: datetime, lives: timedelta) -> bool:
        return fetched_at <= self._now() < fetched_at + lives


@dataclass(frozen=True, slots=True)
class LoginResponse:
    """An answer as msal reads it."""

    status_code: int
    text: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    def raise_for_status(self) -> None:
        """Do nothing: what msal means by this was raised before."""


class LoginHttp:
    """What one application of msal's sends its requests with, in a thread.

    It answers msal's own look for the metadata from what is known, and raises what `IdentityHttp.send` raises.
    """

    def __init__(self, service: LoginService, metadata: Metadata, send: Send) -> None:
        self._service = service
        self._metadata = metadata
        self._send = send

    def get(self, url: str, **_more: Any) -> LoginResponse:
        """Return the metadata; msal asks for nothing else with GET."""
        if not urlsplit(url).path.endswith(DISCOVERY):
            raise ProviderUnavailable(metadata={"cause": "REFUSED"})
        return LoginResponse(200, self._metadata.text, {})

    def post(
        self, url: str, *, data: Mapping[str, Any], headers: Mapping[str, str], params: None = None, **_more: Any
    ) -> LoginResponse:
        """Post a form, and wait for its answer."""
        form = urlencode({name: value for name, value in data.items() if value is not None}).encode()
        answer = self._send("POST", self._service.here(url), headers={**headers, **_FORM}, content=form)
        return LoginResponse(answer.status, _as_json(answer), dict(answer.headers))

    def close(self) -> None:
        """Do nothing: the connections are everybody's."""


def _as_json(answer: Answer) -> str:
    """Return an answer's text; msal would write what is no JSON to its log as it came."""
    if answer.json() is None:
        raise ProviderUnavailable(metadata={"cause": "NOT_JSON"})
    return answer.body.decode("utf-8", "replace")
