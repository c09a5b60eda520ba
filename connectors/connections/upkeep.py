"""What is to be done though nobody asks: unused grants kept alive, lost keys looked for, old authorizations deleted."""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

import structlog

from adiuva_rpc.errors import AdiuvaError
from connectors.connections.domain import Connection
from connectors.connections.opening import GrantOpener
from connectors.connections.ports import FlowStore, GrantStore, Now, Sleep
from connectors.connections.tokens import TokenKeeper
from connectors.errors import DecryptFailed

SWEEP_SECONDS: Final = 15.0
GRACE: Final = timedelta(minutes=2)
"""An authorization that is completed in its last moment still needs what it began with."""
REOPEN_SECONDS: Final = 60.0
KEEP_ALIVE_SECONDS: Final = 3_600.0
IDLE: Final = timedelta(hours=24)
"""After its access token has expired, a grant is refreshed though nobody needs it: unused ones die at the provider."""
SPREAD_SECONDS: Final = 7_200
"""Added to that, by the connection, so that they do not all come due together."""
CONCURRENCY: Final = 4
PAGE: Final = 100

Page = Callable[[str], Awaitable[list[Connection]]]
"""Given an id, returns the connections after it."""

_log = structlog.get_logger(__name__)


class Upkeep:
    """The background work on connections. Any number of replicas may do it.

    Args:
        grants: The grants.
        flows: The authorizations under way.
        tokens: Refreshes grants.
        opener: Opens them.
        now: The present time.
        sleep: Waits between two rounds.
        rng: Spreads the rounds of replicas.
    """

    def __init__(
        self,
        *,
        grants: GrantStore,
        flows: FlowStore,
        tokens: TokenKeeper,
        opener: GrantOpener,
        now: Now,
        sleep: Sleep = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self._grants = grants
        self._flows = flows
        self._tokens = tokens
        self._opener = opener
        self._now = now
        self._sleep = sleep
        self._rng = rng or random.SystemRandom()

    async def run(self) -> None:
        """Work until cancelled, whatever fails."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._forever(self.sweep, SWEEP_SECONDS))
            tasks.create_task(self._forever(self.reopen, REOPEN_SECONDS))
            tasks.create_task(self._forever(self.keep_alive, KEEP_ALIVE_SECONDS))

    async def sweep(self) -> None:
        """Delete expired authorizations with their PENDING connections, and end throttles whose time is over.

        Raises:
            StoreUnavailable: The next round does it.
        """
        now = self._now()
        swept = await self._flows.sweep(now - GRACE)
        ended = await self._grants.end_throttles(now)
        if swept or ended:
            _log.info("connections swept", never_completed=swept, throttles_over=ended)

    async def reopen(self) -> None:
        """Try to open the grants that did not open; those that do are ACTIVE again.

        Raises:
            StoreUnavailable: The next round does it.
        """
        await self._each(lambda after: self._grants.undecryptable(after=after, limit=PAGE), self._reopen)

    async def keep_alive(self) -> None:
        """Refresh the grants that nobody has used for a day.

        Raises:
            StoreUnavailable: The next round does it.
        """
        now = self._now()

        async def idle(after: str) -> list[Connection]:
            return await self._grants.stale(now - IDLE, after=after, limit=PAGE)

        await self._each(idle, self._refresh)

    async def _refresh(self, connection: Connection) -> None:
        grant = await self._grants.grant(connection.connection_id)
        spread = timedelta(seconds=zlib.crc32(connection.connection_id.encode()) % SPREAD_SECONDS)
        if grant.access_expires_at is None or grant.access_expires_at + IDLE + spread <= self._now():
            await self._tokens.access(connection.connection_id)

    async def _reopen(self, connection: Connection) -> None:
        with suppress(DecryptFailed):  # as before; it was said when it began
            await self._opener.open(await self._grants.grant(connection.connection_id))

    async def _each(self, page: Page, work: Callable[[Connection], Awaitable[object]]) -> None:
        """Do the work for all connections, a few at a time. One that fails keeps no other from its turn."""
        after = ""
        while found := await page(after):
            await _a_few_at_a_time(found, work)
            if len(found) < PAGE:
                break
            after = found[-1].connection_id

    async def _forever(self, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        while True:
            await self._sleep(seconds * self._rng.uniform(0.8, 1.2))
            try:
                await work()
            except AdiuvaError as error:
                _log.warning("upkeep put off", reason=error.reason)
            except Exception:  # noqa: BLE001 - the next round tries again
                _log.exception("upkeep put off")


async def _a_few_at_a_time(connections: Sequence[Connection], work: Callable[[Connection], Awaitable[object]]) -> None:
    waiting = iter(connections)

    async def hand() -> None:
        for connection in waiting:
            try:
                await work(connection)
            except AdiuvaError as error:
                _log.info("upkeep of a connection failed", connection_id=connection.connection_id, reason=error.reason)
            except Exception:  # noqa: BLE001 - of this one connection: the others have their turn
                _log.exception("upkeep of a connection failed", connection_id=connection.connection_id)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(CONCURRENCY, len(connections))):
            tasks.create_task(hand())
