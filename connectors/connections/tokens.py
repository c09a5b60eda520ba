"""Access tokens for whoever works at a provider: the stored one while it is good, else a new one, got once for all.

    async with TokenKeeper(...) as keeper:
        session = Session(..., tokens=keeper.source(connection))

A refresh is a task of the keeper's own: a caller who leaves does not end it, and all callers of this process share it.
No open token is kept here: each call reads what is stored, so a connection that has ended gives no token any more.
"""

from __future__ import annotations

import asyncio
import zlib
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

import structlog

from adiuva_rpc.errors import ServerFault, TryAgain
from connectors.connections import states
from connectors.connections.domain import Connection, Notice, NoticeKind, StoredGrant
from connectors.connections.errors import ConnectorsStopping
from connectors.connections.grants import Access
from connectors.connections.health import OperatorAlerts, given_up
from connectors.connections.opening import GrantOpener
from connectors.connections.ports import GrantStore, Now, Providers, Sleep
from connectors.connections.refreshing import LEAST_LEFT, Refresher, Timing
from connectors.errors import NeedsReauth, ProviderUnavailable
from connectors.providers.port import TokenSource

MARGIN: Final = timedelta(minutes=5)
"""A token with less left is replaced before it is given out."""
JITTER_SECONDS: Final = 60
"""Added to the margin, by the connection, so that the tokens of many are not replaced in the same moment."""
ROUNDS: Final = 3
FINISH_SECONDS: Final = 40.0
"""For refreshes under way when the service stops: the tokens they bring may be the only ones that are still good."""

_log = structlog.get_logger(__name__)


class TokenKeeper:
    """Gives token sources, and owns the refreshes.

    Args:
        grants: The grants.
        opener: Opens them.
        providers: Where new tokens come from.
        alerts: Hears of operator faults.
        now: The present time.
        sleep: Waits between attempts to store.
        timing: How long things may take.
    """

    def __init__(
        self,
        *,
        grants: GrantStore,
        opener: GrantOpener,
        providers: Providers,
        alerts: OperatorAlerts,
        now: Now,
        sleep: Sleep = asyncio.sleep,
        timing: Timing | None = None,
    ) -> None:
        self._grants = grants
        self._opener = opener
        self._now = now
        self._timing = timing or Timing()
        self._refresher = Refresher(
            grants=grants,
            opener=opener,
            providers=providers,
            alerts=alerts,
            now=now,
            sleep=sleep,
            timing=self._timing,
        )
        self._flights: dict[str, asyncio.Task[Access | Exception]] = {}
        """The refreshes under way in this process, by their connections."""
        self._tasks: asyncio.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        tasks = asyncio.TaskGroup()
        await tasks.__aenter__()
        self._tasks = tasks
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks, self._tasks = self._tasks, None
        under_way = list(self._flights.values())
        if under_way:
            await asyncio.wait(under_way, timeout=FINISH_SECONDS)
            for task in under_way:
                task.cancel()
        if tasks is not None:
            await tasks.__aexit__(None, None, None)

    def source(self, connection: Connection) -> TokenSource:
        """Return where a provider gets the tokens of a connection from."""
        return _Source(self, connection.connection_id)

    def noticed(self, notice: Notice) -> None:
        """A replica said something: those who wait for a refresh elsewhere look again."""
        if notice.kind is not NoticeKind.RESYNCED:
            self._refresher.bell.ring(notice.connection_id)

    async def access(self, connection_id: str, *, refused: str = "") -> Access:
        """Return an access token that is good for a minute at least.

        Args:
            connection_id: Of the connection, whose user the caller has checked.
            refused: A token that the provider does not take: another one is returned. It costs one refresh at most,
                however often and by however many it is named.

        Raises:
            NeedsReauth: The provider does not accept the grant any more, or gives nothing but `refused`.
            DecryptFailed, Disconnected, ConnectionPending, OperatorFault, ProviderUnavailable, Throttled: As they say.
            ConnectionUnknown, ProviderUnknown: There is no such connection, or no such provider any more.
            KeyProviderUnavailable, StoreUnavailable: Try again.
        """
        for _ in range(ROUNDS):
            grant = await self._grants.grant(connection_id)
            states.usable(grant.connection)
            access = (await self._opener.open(grant)).access
            wanted = access is not None and access.token != refused
            if access is not None and wanted and self._is_fresh(connection_id, access):
                return access
            try:
                renewed = await self._renewed(grant)
            except (TryAgain, ServerFault):
                # Nothing new can be had now; what there is may well do for the moment.
                if access is None or not wanted or access.expires_at - self._now() < LEAST_LEFT:
                    raise
                return access
            if renewed.grant_version > grant.grant_version:
                if renewed.token == refused:
                    raise await self._given_up(connection_id, renewed.grant_version)
                return renewed
        raise ProviderUnavailable("The connection's tokens keep changing. Try again.")

    def _is_fresh(self, connection_id: str, access: Access) -> bool:
        jitter = zlib.crc32(f"{connection_id} {access.grant_version}".encode()) % JITTER_SECONDS
        return access.expires_at - self._now() >= MARGIN + timedelta(seconds=jitter)

    async def _renewed(self, grant: StoredGrant) -> Access:
        """Wait for the refresh of this connection that is under way here, or for a new one."""
        if self._tasks is None:
            raise ConnectorsStopping
        connection_id = grant.connection.connection_id
        flight = self._flights.get(connection_id)
        if flight is None:
            flight = self._tasks.create_task(self._fly(connection_id, grant.grant_version))
            self._flights[connection_id] = flight
        try:
            async with asyncio.timeout(self._timing.wait + self._timing.call + FINISH_SECONDS):
                outcome = await asyncio.shield(flight)
        except TimeoutError:
            raise ProviderUnavailable from None
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if flight.cancelled() and (current is None or not current.cancelling()):
                raise ConnectorsStopping from None
            raise
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _fly(self, connection_id: str, known: int) -> Access | Exception:
        """Refresh. An error is for those who wait, not for the group of all refreshes."""
        try:
            return await self._refresher.refresh(connection_id, known)
        except Exception as error:  # noqa: BLE001 - each of those who wait raises it
            return error
        finally:
            with suppress(KeyError):
                del self._flights[connection_id]

    async def _given_up(self, connection_id: str, known: int) -> NeedsReauth:
        """Write down that the provider takes no token of the grant of this version; return the error to raise."""
        now = self._now()
        await self._grants.change(connection_id, lambda grant: given_up(grant, known=known, now=now))
        return NeedsReauth(metadata={"cause": states.ACCESS_REFUSED})


class _Source:
    """Implements `providers.port.TokenSource` for one connection."""

    def __init__(self, keeper: TokenKeeper, connection_id: str) -> None:
        self._keeper = keeper
        self._connection_id = connection_id

    async def token(self) -> str:
        """Return a token that is good for a minute at least; see the port."""
        return (await self._keeper.access(self._connection_id)).token

    async def replace(self, refused: str) -> str:
        """Return another token than `refused`; see the port."""
        return (await self._keeper.access(self._connection_id, refused=refused)).token
