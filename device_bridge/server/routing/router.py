"""Looks devices up for the calls whose session is not here, in batches, and keeps the clock of the call table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from adiuva_rpc.errors import AdiuvaError, Internal
from device_bridge.server.errors import StoreUnavailable
from device_bridge.server.routing.calls import CallTable
from device_bridge.server.routing.ports import DeviceDirectory

SWEEP_SECONDS = 0.05
MAX_BATCH = 500
LOOKUP_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class Router:
    """The tasks that a call table needs.

    Args:
        table: The calls.
        directory: Who owns which device.
        clock: Monotonic seconds.
    """

    def __init__(self, *, table: CallTable, directory: DeviceDirectory, clock: Callable[[], float]) -> None:
        self._table = table
        self._directory = directory
        self._clock = clock

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look_up_forever())
            tasks.create_task(self._sweep_forever())

    async def look_up(self) -> None:
        """Find the devices of all calls that wait for it. A store that is down rejects them."""
        entries = self._table.take_unresolved()
        for start in range(0, len(entries), MAX_BATCH):
            batch = entries[start : start + MAX_BATCH]
            wanted = [(entry.call.user_id, entry.call.device_id) for entry in batch]
            found: list[str | AdiuvaError]
            try:
                async with asyncio.timeout(LOOKUP_SECONDS):
                    found = await self._directory.locate(wanted)
            except (StoreUnavailable, TimeoutError):
                found = [StoreUnavailable() for _ in batch]
            except Exception:  # noqa: BLE001 - one call that cannot be looked up must not end the bridge for all others
                _log.exception("look-up failed")
                found = [Internal("The device could not be looked up.") for _ in batch]
            for entry, result in zip(batch, found, strict=True):
                self._table.resolve(entry, result)

    async def _look_up_forever(self) -> None:
        while True:
            await self._table.lookup_wanted.wait()
            await self.look_up()

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._table.sweep(self._clock())
