"""The emulator with accounts, its clock as everybody's clock, and an identity that works against it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx2

from connectors.providers.microsoft.config import MicrosoftConfig
from connectors.providers.microsoft.identity import OUTLOOK_SCOPES, MicrosoftIdentity
from connectors.providers.port import Granted
from tests.connectors.providers.support import LeastJitter
from tests.emulator.core import Clock, Emulator
from tests.emulator.microsoft.people import CLIENT
from tests.emulator.oauth import Client
from tests.emulator.running import running

MIA = "mia@contoso.example"
LEO = "leo@contoso.example"
ANN = "ann@outlook.example"
REDIRECT = "http://127.0.0.1:5123/callback"
_TURNS = 20


@dataclass(slots=True)
class EmulatedTime:
    """The emulator's clock, which whoever sleeps moves on; when several sleep, the first to wake does."""

    clock: Clock
    slept: list[float] = field(default_factory=list)
    _sleepers: list[datetime] = field(default_factory=list)

    def now(self) -> datetime:
        return self.clock.now()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        until = self.now() + timedelta(seconds=seconds)
        self._sleepers.append(until)
        try:
            while self.now() < until:
                for _ in range(_TURNS):
                    await asyncio.sleep(0)
                if until == min(self._sleepers) and self.now() < until:
                    self.clock.set(until)
        finally:
            self._sleepers.remove(until)


@dataclass(slots=True, kw_only=True)
class LoginLab:
    """What the tests of the identity work with."""

    emulator: Emulator
    time: EmulatedTime
    identity: MicrosoftIdentity

    async def redirect(self, *, claims: str = "", login_hint: str = MIA, state: str = "s-1") -> tuple[bytes, str]:
        """Begin a redirect flow; return its secret and the address to open."""
        begun = await self.identity.begin_redirect(
            redirect_uri=REDIRECT, state=state, login_hint=login_hint, claims=claims
        )
        return begun.secret, begun.url

    async def link(self, *, login_hint: str = MIA) -> Granted:
        """Go through a whole redirect flow."""
        secret, url = await self.redirect(login_hint=login_hint)
        return await self.identity.complete_redirect(secret, await browse(url))

    def posts(self, route: str = "/token$") -> int:
        return self.emulator.counters.count(route, method="POST")


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


async def browse(url: str) -> dict[str, str]:
    """Open an authorization address as a browser does, and return what it brings back."""
    async with httpx2.AsyncClient(trust_env=False) as browser:
        answer = await browser.get(url)
    assert answer.status_code == 302, answer.text
    location = answer.headers["Location"]
    assert location.startswith(f"{REDIRECT}?")
    return query_of(location)


@asynccontextmanager
async def login_lab(
    *,
    client: Client = CLIENT,
    secret: str | None = None,
    tenant: str = "common",
    scopes: tuple[str, ...] = OUTLOOK_SCOPES,
    seed: Callable[[Emulator], None] = lambda _emulator: None,
) -> AsyncIterator[LoginLab]:
    """Serve the emulator with three accounts, and give an identity of a client of it."""
    async with running() as emulator:
        for address, personal in ((MIA, False), (LEO, False), (ANN, True)):
            emulator.microsoft.add_account(address, personal=personal)
        seed(emulator)
        time = EmulatedTime(emulator.clock)
        config = MicrosoftConfig(
            client_id=client.client_id,
            client_secret=secret or client.secret or None,
            tenant=tenant,
            login_base_url=emulator.base_url,
        )
        async with MicrosoftIdentity(
            config, scopes=scopes, now=time.now, sleep=time.sleep, rng=LeastJitter()
        ) as identity:
            yield LoginLab(emulator=emulator, time=time, identity=identity)
