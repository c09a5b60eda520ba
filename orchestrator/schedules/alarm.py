"""Waiting for a time or for the bell, whichever comes first."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from datetime import datetime

from orchestrator.runs.ports import Bell
from orchestrator.schedules.ports import CHANGED, Clock


class BellAlarm:
    """Implements `schedules.ports.Alarm`. `run` must be running for rings to be heard."""

    def __init__(self, bell: Bell, clock: Clock) -> None:
        self._bell = bell
        self._clock = clock
        self._rung = asyncio.Event()

    async def run(self) -> None:
        """Listen for changes of schedules, for ever."""
        async with aclosing(self._bell.ringing(CHANGED)) as rings:
            async for _ in rings:
                self._rung.set()

    async def wait(self, until: datetime) -> None:
        """Return at this time, or when a schedule has changed; a change since the last wait counts."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, (until - self._clock()).total_seconds())):
                await self._rung.wait()
        self._rung.clear()
