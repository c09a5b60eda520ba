"""What both halves of the emulator stand on: the clock, the faults, the counters, and the one door for requests."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from aiohttp import web

from tests.emulator.counters import Call, Counters
from tests.emulator.door import Handler, Throttles, arrive
from tests.emulator.faults import Fault, FaultPlan
from tests.emulator.parameters import BadParameter, Kind, Parameter, checked

if TYPE_CHECKING:  # the halves import this module
    from tests.emulator.google.state import GoogleState
    from tests.emulator.microsoft.state import MicrosoftState

__all__ = [
    "CONTROL",
    "START",
    "BadParameter",
    "Call",
    "Clock",
    "Core",
    "Counters",
    "Emulator",
    "Fault",
    "FaultPlan",
    "Kind",
    "Parameter",
    "checked",
]

START = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
"""Where a clock stands that nobody set: a Monday morning."""
CONTROL = "/_emulator"
"""What the paths of the control routes start with; they are neither counted nor hit by faults."""
_LARGEST_REQUEST = 64 * 2**20


class Clock:
    """The virtual time. It stands still until it is moved, unless it is `ticking` as the real one does."""

    def __init__(self, start: datetime = START, *, ticking: bool = False) -> None:
        self._ticking = ticking
        self._stood_at = start.astimezone(UTC)
        self._since = datetime.now(UTC)

    def now(self) -> datetime:
        """Return the virtual time, in UTC."""
        return self._stood_at + (datetime.now(UTC) - self._since if self._ticking else timedelta(0))

    def set(self, moment: datetime) -> None:
        """Go to a moment (with a time zone), forward or back."""
        if moment.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        self._stood_at, self._since = moment.astimezone(UTC), datetime.now(UTC)

    def advance(self, delta: timedelta) -> None:
        """Let this much time pass at once."""
        self.set(self.now() + delta)

    def tick(self, ticking: bool = True) -> None:
        """Run at the speed of the real clock from here on, or stand still again."""
        self.set(self.now())
        self._ticking = ticking


class Core:
    """What a half is given: everything that is not its own state."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.faults = FaultPlan()
        self.counters = Counters()
        self.throttles = Throttles()
        self.latencies: dict[str, int] = {}
        """Regular expression on the path to real milliseconds each such request takes; the first match counts."""
        self.identifiers: list[Callable[[web.Request], str]] = []
        """Each half adds one: whose valid bearer token a request carries, or an empty string."""
        self.secrets: set[str] = set()
        """Every token and code that was ever given out, so that a test can look for them where they must not be."""
        self.crashes: list[str] = []
        """Tracebacks of the emulator's own mistakes: `running()` fails on them."""
        self._last_number = 0

    def now(self) -> datetime:
        """Return the virtual time, in UTC."""
        return self.clock.now()

    def number(self) -> int:
        """Return the next number of a sequence, from 1 on: what ids are made from, the same in every process."""
        self._last_number += 1
        return self._last_number

    def secret(self, prefix: str = "") -> str:
        """Return a new token or code that cannot be guessed, and remember it in `secrets`."""
        value = prefix + secrets.token_urlsafe(32)
        self.secrets.add(value)
        return value

    def account_of(self, request: web.Request) -> str:
        """Return whose valid bearer token the request carries, or an empty string."""
        return next((account for identify in self.identifiers if (account := identify(request))), "")

    async def inner(
        self, request: web.Request, *, method: str, target: str, headers: Mapping[str, str], body: bytes = b""
    ) -> web.StreamResponse:
        """Serve one request of a batch as if it had come by itself: counted, hit by faults, answered.

        Args:
            request: The batch.
            method: The inner method.
            target: The inner path with its query, percent-encoded.
            headers: All of its headers; nothing is taken from the batch.
            body: Its body.
        """
        # aiohttp clones no request whose body was read; the clone gets a body of its own.
        whole, request._read_bytes = request._read_bytes, None
        one = request.clone(method=method, rel_url=target, headers=headers)
        request._read_bytes, one._read_bytes = whole, body
        match = await request.app.router.resolve(one)
        match.add_app(request.app)
        match.freeze()
        one._match_info = match
        try:
            return await arrive(self, one, match.handler)
        except web.HTTPException as answer:
            return answer

    def latency_of(self, path: str) -> int:
        """Return how many real milliseconds a request to `path` takes."""
        return next((wait for route, wait in self.latencies.items() if re.search(route, path)), 0)


class Emulator(Core):
    """The whole emulator: the core, and the state of both halves."""

    google: GoogleState
    microsoft: MicrosoftState
    base_url: str = ""
    """`http://host:port` once it is served; empty before."""

    def __init__(self, clock: Clock | None = None) -> None:
        from tests.emulator.google.state import GoogleState
        from tests.emulator.microsoft.state import MicrosoftState

        super().__init__(clock)
        self.google = GoogleState(self)
        self.microsoft = MicrosoftState(self)

    def build_app(self) -> web.Application:
        """Return the application: both providers' paths, and the control routes."""
        from tests.emulator.control import control_routes
        from tests.emulator.google.app import routes as google_routes
        from tests.emulator.microsoft.app import routes as microsoft_routes

        @web.middleware
        async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith(CONTROL):
                return await handler(request)
            return await arrive(self, request, handler)

        app = web.Application(middlewares=[door], client_max_size=_LARGEST_REQUEST)
        app.add_routes([*google_routes(self), *microsoft_routes(self), *control_routes(self)])
        return app
