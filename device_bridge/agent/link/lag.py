"""How late the event loop is: the one figure that shows a device whose tools block it."""

from __future__ import annotations

import asyncio
from typing import NoReturn

PERIOD_SECONDS = 1.0


class LoopLag:
    """Remembers the worst lateness of the event loop since it was last asked."""

    def __init__(self) -> None:
        self._worst = 0.0

    async def measure(self, period: float = PERIOD_SECONDS) -> NoReturn:
        """Measure until cancelled."""
        time = asyncio.get_running_loop().time
        while True:
            due = time() + period
            await asyncio.sleep(period)
            self.observe(time() - due)

    def observe(self, seconds: float) -> None:
        """Take note of one measurement."""
        self._worst = max(self._worst, seconds)

    def take(self) -> float:
        """Return the worst lateness since the last `take`, in seconds."""
        worst, self._worst = self._worst, 0.0
        return worst
