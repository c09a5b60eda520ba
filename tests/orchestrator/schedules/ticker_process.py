"""A ticker in a process of its own, driven through its stdin: each line is a time, answered when that tick is over.

python -m tests.orchestrator.schedules.ticker_process DATABASE_URL
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime

from orchestrator.adapters.metrics import PrometheusMeter
from orchestrator.adapters.sql.engine import engine
from orchestrator.adapters.sql.schedules import SqlSchedules
from orchestrator.schedules.presence import Presence
from orchestrator.schedules.ticker import Ticker


class Everybody(Presence):
    """Every user has a device that is connected."""

    def online(self, user_id: str, device_id: str) -> bool | None:
        return True


class NoAlarm:
    """Implements `schedules.ports.Alarm`: the times come from outside."""

    async def wait(self, until: datetime) -> None:
        raise AssertionError("nobody waits here")


async def main(database_url: str) -> None:
    """Tick at each time that is read, until there are no more."""
    times: list[datetime] = []
    async with engine(database_url) as pool:
        ticker = Ticker(
            schedules=SqlSchedules(pool),
            presence=Everybody(),
            clock=lambda: times[-1],
            alarm=NoAlarm(),
            meter=PrometheusMeter(),
        )
        while line := await asyncio.to_thread(sys.stdin.readline):
            times.append(datetime.fromisoformat(line.strip()))
            until = await ticker.tick()
            sys.stdout.write(f"{until.isoformat()}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
