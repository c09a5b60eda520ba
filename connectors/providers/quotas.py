"""How much may be asked of a provider: units in a time, for one connection and for all, and requests at once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from connectors.errors import Throttled
from connectors.providers.buckets import Now, Rate, Sleep, TokenBucket
from connectors.providers.port import Session

__all__ = ["Cost", "Now", "Quota", "Rate", "Sleep", "TokenBucket"]

_NOTHING = timedelta(0)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one request takes from a quota."""

    units: int = 1
    scope: str = ""
    """A part of the provider with a rate of its own, such as one channel; empty for none. Shared by all connections."""


class Quota:
    """The limits of one provider, for all its connections in this process.

    A request waits for the units of its scope, for a place of its connection (`concurrency`), and for the units of its
    connection and of the project; then it takes all of them at once. A connection that was told to wait is left alone
    until then.
    """

    def __init__(
        self,
        *,
        now: Now,
        sleep: Sleep,
        concurrency: int,
        per_connection: Iterable[Rate] = (),
        per_project: Iterable[Rate] = (),
        per_scope: Iterable[Rate] = (),
        kept: int = 1024,
    ) -> None:
        """Set the limits.

        Args:
            now: The time, in UTC.
            sleep: Waits so many seconds.
            concurrency: Requests of one connection at the same time.
            per_connection: What one connection may take.
            per_project: What all connections together may take.
            per_scope: What may be taken of one scope.
            kept: How many connections and scopes are remembered when there is nothing to remember of them.
        """
        self._now = now
        self._sleep = sleep
        self._project = TokenBucket(per_project, now=now, sleep=sleep)
        connection_rates, scope_rates = tuple(per_connection), tuple(per_scope)
        self._connections = _Lanes(lambda: _Lane(connection_rates, concurrency, now=now, sleep=sleep), kept)
        self._scopes = _Lanes(lambda: _Lane(scope_rates, concurrency, now=now, sleep=sleep), kept)

    @asynccontextmanager
    async def slot(self, session: Session, cost: Cost) -> AsyncIterator[None]:
        """Wait until a request may be made, and hold its place while it is made. The units are spent either way.

        Raises:
            Throttled: The wait would end past the session's deadline. Nothing was spent.
        """
        with self._connections.inside(session.connection_id) as lane:
            # Who has to wait long does it here, where nobody else waits for what it holds.
            await self._until_free(session, lane, 0)
            async with AsyncExitStack() as place:
                async with self._scope_turn(session, cost) as scopes:
                    await place.enter_async_context(lane.places)
                    await self._take(session, lane, scopes, cost)
                yield

    def pause(self, connection_id: str, until: datetime) -> None:
        """Make no request for this connection before `until`: its provider asked for that."""
        with self._connections.inside(connection_id) as lane:
            lane.paused_until = max(lane.paused_until, until)

    @asynccontextmanager
    async def _scope_turn(self, session: Session, cost: Cost) -> AsyncIterator[list[TokenBucket]]:
        """Be the first in line of the cost's scope, and have its units there. One slow scope holds up no other."""
        if not cost.scope:
            yield []
            return
        with self._scopes.inside(cost.scope) as scope:
            async with scope.bucket.turn:
                await self._until(session, lambda: scope.bucket.wait_for(cost.units))
                yield [scope.bucket]

    async def _take(self, session: Session, lane: _Lane, scopes: list[TokenBucket], cost: Cost) -> None:
        async with lane.bucket.turn:
            while True:
                await self._until_free(session, lane, cost.units)
                async with self._project.turn:
                    await self._until(session, lambda: self._project.wait_for(cost.units))
                    # It may have been paused while the project was waited for.
                    if lane.wait_for(cost.units) <= _NOTHING:
                        for bucket in (*scopes, lane.bucket, self._project):
                            bucket.take(cost.units)
                        return

    async def _until_free(self, session: Session, lane: _Lane, units: int) -> None:
        told = _LONG_AGO
        while (wait := lane.wait_for(units)) > _NOTHING:
            self._check_deadline(session, wait)
            if lane.is_paused and lane.paused_until != told:
                told = lane.paused_until
                session.on_wait(told)
            await self._sleep(wait.total_seconds())

    async def _until(self, session: Session, wait_for: Callable[[], timedelta]) -> None:
        while (wait := wait_for()) > _NOTHING:
            self._check_deadline(session, wait)
            await self._sleep(wait.total_seconds())

    def _check_deadline(self, session: Session, wait: timedelta) -> None:
        if self._now() + wait > session.deadline:
            raise Throttled(retry_after=wait.total_seconds())


class _Lane:
    """One connection, or one scope."""

    def __init__(self, rates: Iterable[Rate], concurrency: int, *, now: Now, sleep: Sleep) -> None:
        self.bucket = TokenBucket(rates, now=now, sleep=sleep)
        self.places = asyncio.Semaphore(concurrency)
        self.paused_until = _LONG_AGO
        self.users = 0
        self._now = now

    @property
    def is_paused(self) -> bool:
        return self.paused_until > self._now()

    @property
    def is_quiet(self) -> bool:
        """Whether a new one would be no different."""
        return not self.users and not self.is_paused and self.bucket.is_full

    def wait_for(self, units: int) -> timedelta:
        return max(self.bucket.wait_for(units), self.paused_until - self._now())


class _Lanes:
    """Lanes by key. Those with nothing to remember go first when there are too many."""

    def __init__(self, make: Callable[[], _Lane], kept: int) -> None:
        self._make = make
        self._kept = kept
        self._lanes: OrderedDict[str, _Lane] = OrderedDict()

    def __len__(self) -> int:
        return len(self._lanes)

    @contextmanager
    def inside(self, key: str) -> Iterator[_Lane]:
        """Return the lane, and keep it while the caller is inside."""
        lane = self._lanes.get(key)
        if lane is None:
            self._shrink()
            lane = self._lanes[key] = self._make()
        self._lanes.move_to_end(key)
        lane.users += 1
        try:
            yield lane
        finally:
            lane.users -= 1

    def _shrink(self) -> None:
        # Two go for one that comes: so they get fewer again after a rush, and no call looks at all of them.
        for _ in range(2):
            if len(self._lanes) < self._kept:
                return
            key, lane = next(iter(self._lanes.items()))
            if lane.is_quiet:
                del self._lanes[key]
            else:
                self._lanes.move_to_end(key)
