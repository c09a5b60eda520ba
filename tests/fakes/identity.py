"""An identity provider in memory: strict about refresh tokens, scriptable, and it counts what it is asked.

identity = FakeIdentity(clock)
code = identity.consent("anna@example.org")          # the user says yes; the browser comes back with this code
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any

from connectors.errors import (
    CodeRefused,
    ConsentRefused,
    FlowUnsupported,
    ProviderUnavailable,
    ProviderUnknown,
    StateInvalid,
)
from connectors.messages.domain import Listing, Message, MessageFilter, Query, Ref
from connectors.providers.port import (
    Account,
    DeviceBegun,
    Flow,
    Granted,
    GrantRefused,
    Identity,
    Provider,
    RedirectBegun,
    Session,
    Tokens,
)

SCOPES = frozenset({"mail.read", "openid"})
CANARY = "canary"
"""In every token, code, verifier and address that the fake makes: a log that shows it shows a secret."""


class Clock:
    """A time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 22, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, span: timedelta) -> None:
        """Move on."""
        self.time += span

    async def sleep(self, seconds: float) -> None:
        """Move on, and let others have their turn."""
        self.advance(timedelta(seconds=seconds))
        await asyncio.sleep(0)


class Rotation(Enum):
    """What a refresh does to the refresh token."""

    NONE = auto()
    """It stays, and no other is given."""
    KEEP_OLD = auto()
    """There is a new one, and the old one stays good."""
    STRICT = auto()
    """There is a new one; using the old one again ends the whole grant."""


@dataclass(slots=True)
class Grant:
    """A consent, as the provider keeps it."""

    account: Account
    scopes: frozenset[str]
    used_at: datetime
    live: set[str] = field(default_factory=set)
    spent: set[str] = field(default_factory=set)
    access: set[str] = field(default_factory=set)
    alive: bool = True


@dataclass(slots=True)
class _Device:
    expires_at: datetime
    code: str | None = None
    declined: bool = False


class FakeIdentity:
    """Implements `providers.port.Identity`.

    Args:
        now: Its clock.
        rotation: What a refresh does to the refresh token.
        lifetime: Of an access token.
        idle: How long a grant lives unused.
    """

    flows = frozenset({Flow.REDIRECT, Flow.DEVICE_CODE})
    required_scopes = frozenset({"mail.read"})
    manage_url = "https://account.example.test/consents"

    def __init__(
        self,
        now: Callable[[], datetime],
        *,
        rotation: Rotation = Rotation.STRICT,
        lifetime: timedelta = timedelta(hours=1),
        idle: timedelta = timedelta(days=90),
    ) -> None:
        self._now = now
        self.rotation = rotation
        self.lifetime = lifetime
        self.idle = idle
        self.refreshes = 0
        """Refreshes that were asked for."""
        self.exchanges = 0
        """Codes that were exchanged or tried."""
        self.polls = 0
        self.revoked: list[str] = []
        """Refresh or access tokens that were revoked, in order."""
        self.together = 0
        """The most refreshes at a time."""
        self.begun: list[dict[str, str]] = []
        """What the redirect flows were begun with."""
        self.faults: list[Exception] = []
        """Raised one by one by the next calls, before they do anything."""
        self.lose_answers = 0
        """So many refreshes are done, and then the connection breaks."""
        self.same_access_token = False
        """Refreshes give the access token that there is."""
        self.arrived = asyncio.Event()
        """A refresh has arrived."""
        self.may_begin = asyncio.Event()
        """Clear it, and refreshes wait before they do anything."""
        self.may_answer = asyncio.Event()
        """Clear it, and refreshes wait when they are done, before they answer."""
        self.revoke_hangs = False
        self.may_begin.set()
        self.may_answer.set()
        self.grants: list[Grant] = []
        self._codes: dict[str, Grant] = {}
        self._devices: dict[str, _Device] = {}
        self._numbers = itertools.count(1)
        self._inside = 0

    def consent(
        self,
        address: str,
        *,
        account_id: str = "",
        scopes: frozenset[str] = SCOPES,
        offline: bool = True,
    ) -> str:
        """A user consents; return the code that the browser comes back with."""
        account = Account(account_id=account_id or f"id of {address}", address=address)
        grant = Grant(account, scopes, used_at=self._now())
        if offline:
            grant.live.add(self._name("refresh"))
        self.grants.append(grant)
        code = self._name("code")
        self._codes[code] = grant
        return code

    def approve_device(self, user_code: str, address: str, **options: frozenset[str]) -> None:
        """A user types in a device code and consents."""
        self._devices[user_code].code = self.consent(address, **options)  # type: ignore[arg-type]  # as of consent

    def decline_device(self, user_code: str) -> None:
        """A user types in a device code and says no."""
        self._devices[user_code].declined = True

    def accepts(self, access_token: str) -> bool:
        """Tell whether the provider takes this access token."""
        return any(access_token in grant.access and grant.alive for grant in self.grants)

    def expire_access(self) -> None:
        """Refuse every access token that there is."""
        for grant in self.grants:
            grant.access.clear()

    # --- Identity

    async def begin_redirect(self, *, redirect_uri: str, state: str, login_hint: str, claims: str) -> RedirectBegun:
        self._fault()
        self.begun.append({"redirect_uri": redirect_uri, "state": state, "login_hint": login_hint, "claims": claims})
        secret = json.dumps({"verifier": self._name("verifier")}).encode()
        return RedirectBegun(url=f"https://login.example.test/?state={state}&{CANARY}", secret=secret)

    async def complete_redirect(self, secret: bytes, answer: Mapping[str, str]) -> Granted:
        if "error" in answer:
            raise ConsentRefused
        self.exchanges += 1
        self._fault()
        assert "verifier" in json.loads(secret)
        return self._exchange(answer.get("code", ""))

    async def begin_device(self) -> DeviceBegun:
        if Flow.DEVICE_CODE not in self.flows:
            raise FlowUnsupported
        self._fault()
        user_code = self._name("user-code")
        expires_at = self._now() + timedelta(minutes=15)
        self._devices[user_code] = _Device(expires_at)
        return DeviceBegun(
            user_code=user_code,
            verification_uri="https://login.example.test/device",
            expires_at=expires_at,
            interval=timedelta(seconds=5),
            secret=user_code.encode(),
        )

    async def poll_device(self, secret: bytes) -> Granted | None:
        self.polls += 1
        self._fault()
        device = self._devices[secret.decode()]
        if device.declined:
            raise ConsentRefused
        if device.expires_at <= self._now():
            raise StateInvalid
        return None if device.code is None else self._exchange(device.code)

    async def refresh(self, refresh_token: str, *, scopes: frozenset[str]) -> Tokens:
        self.refreshes += 1
        self._inside += 1
        self.together = max(self.together, self._inside)
        self.arrived.set()
        try:
            await self.may_begin.wait()
            self._fault()
            tokens = self._refreshed(refresh_token)
            await self.may_answer.wait()
            # Others must be able to come in between, as over a network.
            await asyncio.sleep(0.01)
        finally:
            self._inside -= 1
        if self.lose_answers:
            self.lose_answers -= 1
            raise ProviderUnavailable
        return tokens

    async def revoke(self, refresh_token: str) -> bool:
        if self.revoke_hangs:
            await asyncio.Event().wait()
        self._fault()
        self.revoked.append(refresh_token)
        for grant in self.grants:
            if refresh_token in grant.live | grant.spent | grant.access:
                grant.alive = False
        return True

    def _refreshed(self, refresh_token: str) -> Tokens:
        for grant in self.grants:
            if refresh_token in grant.spent:
                grant.alive = False
            if refresh_token in grant.live and grant.alive:
                if self._now() - grant.used_at > self.idle:
                    grant.alive = False
                    break
                return self._tokens(grant, self._rotated(grant, refresh_token))
        raise GrantRefused("GRANT_REVOKED", claims='{"access_token":{"acrs":{"value":"c1"}}}')

    def _rotated(self, grant: Grant, refresh_token: str) -> str | None:
        if self.rotation is Rotation.NONE:
            return None
        if self.rotation is Rotation.STRICT:
            grant.live.remove(refresh_token)
            grant.spent.add(refresh_token)
        new = self._name("refresh")
        grant.live.add(new)
        return new

    def _exchange(self, code: str) -> Granted:
        grant = self._codes.pop(code, None)
        if grant is None:
            raise CodeRefused
        return Granted(tokens=self._tokens(grant, next(iter(grant.live), None)), account=grant.account)

    def _tokens(self, grant: Grant, refresh_token: str | None) -> Tokens:
        grant.used_at = self._now()
        access_token = next(iter(grant.access), "") if self.same_access_token else ""
        access_token = access_token or self._name("access")
        grant.access.add(access_token)
        return Tokens(
            access_token=access_token,
            expires_at=self._now() + self.lifetime,
            refresh_token=refresh_token,
            scopes=grant.scopes,
        )

    def _fault(self) -> None:
        if self.faults:
            raise self.faults.pop(0)

    def _name(self, kind: str) -> str:
        return f"{CANARY}-{kind}-{next(self._numbers)}"


class FakeProvider:
    """Implements `providers.port.Provider`, as far as connections go: it tells whose account it is."""

    concurrency = 4

    def __init__(self, name: str, identity: FakeIdentity) -> None:
        self.name = name
        self._identity = identity
        self.faults: list[Exception] = []
        """Raised one by one by the next calls."""
        self.calls = 0

    @property
    def identity(self) -> Identity:
        return self._identity

    async def account(self, session: Session) -> Account:
        self.calls += 1
        if self.faults:
            raise self.faults.pop(0)
        token = await session.tokens.token()
        if not self._identity.accepts(token):
            token = await session.tokens.replace(token)
        assert self._identity.accepts(token)
        return session.account

    def check_filter(self, wanted: MessageFilter) -> None:
        raise NotImplementedError

    async def list_new(self, session: Session, query: Query) -> Listing:
        raise NotImplementedError

    async def read(self, session: Session, ref: Ref, wanted: MessageFilter, *, max_body_chars: int) -> Message:
        raise NotImplementedError

    def attachment(self, session: Session, provider_id: str, attachment_id: str) -> Any:
        raise NotImplementedError


class FakeProviders:
    """Implements `connections.ports.Providers`."""

    def __init__(self, *providers: Provider) -> None:
        self._providers = {provider.name: provider for provider in providers}

    def get(self, name: str) -> Provider:
        """Return a provider; see the port."""
        if name not in self._providers:
            raise ProviderUnknown(name)
        return self._providers[name]

    def remove(self, name: str) -> None:
        """The operator takes a provider away."""
        del self._providers[name]
