"""A clock that stands still until somebody sleeps, a server that answers what a test says, and a session."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import cast

from aiohttp import web

from connectors.errors import NeedsReauth
from connectors.providers.http import Bounds, ProviderHttp
from connectors.providers.network import BaseUrl
from connectors.providers.port import Account, Session
from connectors.providers.quotas import Quota
from connectors.providers.retry import RetryPolicy

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
TOKEN = "ya29.the-first-token"
SECOND_TOKEN = "ya29.the-second-token"
_TURNS = 20


class ManualClock:
    """Time passes only by `sleep`, or by hand. When several sleep, the one who wakes first moves it."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at
        self.slept: list[float] = []
        self._sleepers: list[tuple[datetime, int]] = []
        self._numbers = itertools.count()

    def now(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        sleeper = (self.at + timedelta(seconds=seconds), next(self._numbers))
        heapq.heappush(self._sleepers, sleeper)
        try:
            while self.at < sleeper[0]:
                for _ in range(_TURNS):
                    await asyncio.sleep(0)
                if self._sleepers[0] == sleeper:
                    self.at = max(self.at, sleeper[0])
        finally:
            self._sleepers.remove(sleeper)
            heapq.heapify(self._sleepers)


class LeastJitter(Random):  # noqa: S311 - jitter
    """Makes every wait of our own choice zero, so that only what is asked for is left."""

    def uniform(self, a: float, b: float) -> float:
        return a


class MostJitter(Random):  # noqa: S311 - jitter
    """Makes every wait of our own choice as long as it can be."""

    def uniform(self, a: float, b: float) -> float:
        return b


@dataclass(slots=True, kw_only=True)
class FakeTokens:
    """Gives one token, and another one when that is refused."""

    tokens: list[str] = field(default_factory=lambda: [TOKEN, SECOND_TOKEN])
    replaced: list[str] = field(default_factory=list)

    async def token(self) -> str:
        return self.tokens[0]

    async def replace(self, refused: str) -> str:
        self.replaced.append(refused)
        if len(self.tokens) == 1:
            raise NeedsReauth
        del self.tokens[0]
        return self.tokens[0]


def session(
    clock: ManualClock, *, connection_id: str = "c-1", seconds: float = 3600, tokens: FakeTokens | None = None
) -> Session:
    return Session(
        connection_id=connection_id,
        account=Account(account_id="me@example.com", address="me@example.com"),
        tokens=tokens or FakeTokens(),
        deadline=clock.now() + timedelta(seconds=seconds),
    )


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True, kw_only=True)
class Server:
    """A server on this machine. Every request gets the next of `answers`, or the last one again."""

    answers: list[Handler]
    base_url: str = ""
    requests: list[web.Request] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.requests)

    @property
    def tokens(self) -> list[str]:
        return [request.headers.get("Authorization", "").removeprefix("Bearer ") for request in self.requests]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return await self.answers[min(self.count, len(self.answers)) - 1](request)


@asynccontextmanager
async def serving(*answers: Handler) -> AsyncIterator[Server]:
    server = Server(answers=list(answers))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.base_url = f"http://127.0.0.1:{cast('tuple[str, int]', runner.addresses[0])[1]}"
        yield server
    finally:
        await runner.cleanup()


def says(body: object = None, *, status: int = 200, headers: dict[str, str] | None = None) -> Handler:
    """Answer with JSON."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"ok": True} if body is None else body, status=status, headers=headers)

    return answer


def raw(body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> Handler:
    """Answer with bytes as they are."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers=headers)

    return answer


def resets(begun: bytes = b"") -> Handler:
    """Reset the connection: before the answer, or in the middle of its body."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = len(begun) + 1000
        if begun:
            await response.prepare(request)
            await response.write(begun)
        transport = request.transport
        assert transport is not None
        peer = transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        return response

    return answer


def holds(release: asyncio.Event, arrived: asyncio.Event | None = None) -> Handler:
    """Answer when `release` is set."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        if arrived is not None:
            arrived.set()
        await release.wait()
        return web.json_response({"ok": True})

    return answer


def client(
    base_url: str,
    clock: ManualClock,
    *,
    quota: Quota | None = None,
    rng: Random | None = None,
    bounds: Bounds | None = None,
    retry: RetryPolicy | None = None,
) -> ProviderHttp:
    """Return a client whose own waits are zero unless a test says otherwise."""
    return ProviderHttp(
        BaseUrl(base_url, "api.example.com"),
        quota=quota or Quota(now=clock.now, sleep=clock.sleep, concurrency=20),
        now=clock.now,
        sleep=clock.sleep,
        rng=rng or LeastJitter(),
        bounds=bounds,
        retry=retry,
    )
