"""Keeps the leases of this replica alive, releases those of ended sessions, and ends those of replicas that died."""

from __future__ import annotations

import asyncio

import structlog

from adiuva_rpc.errors import AdiuvaError
from device_bridge.server.sessions.ports import SessionStore
from device_bridge.server.sessions.registry import Sessions

_log = structlog.get_logger(__name__)


class Leases:
    """Renews and releases leases in batches: one statement each, however many sessions there are.

    Args:
        store: The leases.
        sessions: Who is here.
        replica: The address of this replica.
        interval: Seconds between renewals.
        lease_seconds: How long a lease lives without renewal.
    """

    def __init__(
        self, *, store: SessionStore, sessions: Sessions, replica: str, interval: float, lease_seconds: float
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._replica = replica
        self._interval = interval
        self._lease_seconds = lease_seconds
        self._releasing = asyncio.Lock()

    async def run(self) -> None:
        """Work until cancelled. A database that is down is waited for: the sessions do not need it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._renew_forever())
            tasks.create_task(self._release_forever())

    async def renew(self) -> None:
        """Renew every lease once; end the sessions that the database does not know as newest any more.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        epochs = self._sessions.epochs()
        if epochs:
            lost = await self._store.renew(epochs, replica=self._replica, lease_seconds=self._lease_seconds)
            for device_id in lost:
                self._sessions.lost(device_id, epochs[device_id])
        await self._store.expire()

    async def release(self) -> None:
        """Release the leases of sessions that are over, and wait for those that are being released.

        Raises:
            StoreUnavailable: The database cannot be reached; they are released later.
        """
        async with self._releasing:
            releases = self._sessions.take_releases()
            if not releases:
                return
            try:
                await self._store.release(releases)
            except BaseException:
                self._sessions.give_back_releases(releases)
                raise

    async def _renew_forever(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.renew()
            except AdiuvaError as error:
                _log.warning("leases not renewed", reason=error.reason)
            except Exception:  # noqa: BLE001 - the sessions live on without their leases, and the next round tries again
                _log.exception("leases not renewed")

    async def _release_forever(self) -> None:
        while True:
            await self._sessions.release_wanted.wait()
            try:
                await self.release()
            except AdiuvaError as error:
                _log.warning("leases not released", reason=error.reason)
                await asyncio.sleep(min(1.0, self._interval))
            except Exception:  # noqa: BLE001 - they expire by themselves, or go with the next round
                _log.exception("leases not released")
                await asyncio.sleep(min(1.0, self._interval))
