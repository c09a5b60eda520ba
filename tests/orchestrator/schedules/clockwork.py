"""Time, devices and counting for the tests of the ticker and the trigger: everything moves by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orchestrator.runs.domain import Trigger
from orchestrator.runs.ports import DeviceInfo
from orchestrator.schedules.ports import Decided, Sight

SOON = 5.0
"""Seconds after which a test that waits for something gives up."""


@dataclass
class ManualClock:
    """A clock that moves by hand, and the alarm that goes with it."""

    time: datetime
    asked: list[datetime] = field(default_factory=list)
    """Until when the ticker wanted to wait, each time."""
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self) -> datetime:
        return self.time

    async def wait(self, until: datetime) -> None:
        """Implements `schedules.ports.Alarm`: returns when the clock has been moved to the time, or rung."""
        self.asked.append(until)
        while True:
            self._moved.clear()
            self.waiting.set()
            await self._moved.wait()
            if self.time >= until or self.rung:
                self.rung = False
                return

    rung: bool = False

    async def ring(self) -> None:
        """Wake who waits, and return when it waits again."""
        self.rung = True
        await self.move(timedelta(0))

    async def move(self, by: timedelta) -> None:
        """Move the clock, and return when the ticker waits again."""
        await self.settled()
        self.time += by
        self.waiting.clear()
        self._moved.set()
        # Who is not woken says at once that it still waits.
        await self.settled()

    async def settled(self) -> None:
        """Wait until the ticker waits."""
        async with asyncio.timeout(SOON):
            await self.waiting.wait()


class ManualDevices:
    """Implements `schedules.ports.Devices`: presence that a test makes up."""

    def __init__(self) -> None:
        self._told: asyncio.Queue[DeviceInfo | Sight] = asyncio.Queue(maxsize=1_000)

    def tell(self, *sightings: DeviceInfo | Sight) -> None:
        for sighting in sightings:
            self._told.put_nowait(sighting)

    async def sightings(self) -> AsyncIterator[DeviceInfo | Sight]:
        while True:
            yield await self._told.get()


@dataclass
class ListMeter:
    """Implements `schedules.ports.Meter`: remembers everything."""

    seen: list[tuple[Decided, Trigger]] = field(default_factory=list)

    def decided(self, one: Decided, *, now: datetime, trigger: Trigger) -> None:
        assert now.tzinfo is not None
        self.seen.append((one, trigger))


def device(device_id: str = "laptop", *, user_id: str = "ada", online: bool = True, session: int = 0) -> DeviceInfo:
    """Return a sighting; another session is another time of connection."""
    connected_at = datetime.fromisoformat("2026-01-01T00:00:00+00:00") + timedelta(seconds=session)
    return DeviceInfo(
        device_id=device_id, user_id=user_id, online=online, connected_at=connected_at if online else None
    )
