"""The alarm that waits for a time or for the bell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta

from orchestrator.schedules.alarm import BellAlarm
from orchestrator.schedules.ports import CHANGED
from tests.orchestrator.schedules.clockwork import SOON
from tests.orchestrator.schedules.oracle import utc

NOW = utc("2026-01-01T00:00")


class HandBell:
    """Implements `runs.ports.Bell`."""

    def __init__(self) -> None:
        self.topics: list[str] = []
        self.rung: asyncio.Queue[None] = asyncio.Queue(maxsize=10)

    async def ringing(self, topic: str) -> AsyncGenerator[None, None]:
        self.topics.append(topic)
        while True:
            await self.rung.get()
            yield


async def test_it_rings_at_its_time_also_when_that_has_passed() -> None:
    alarm = BellAlarm(HandBell(), lambda: NOW)

    async with asyncio.timeout(SOON):
        await alarm.wait(NOW)
        await alarm.wait(NOW - timedelta(days=1))
        await alarm.wait(NOW + timedelta(milliseconds=1))


async def test_a_change_of_a_schedule_wakes_and_counts_once() -> None:
    bell = HandBell()
    alarm = BellAlarm(bell, lambda: NOW)
    late = NOW + timedelta(hours=1)

    async with asyncio.timeout(SOON), asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(alarm.run())
        bell.rung.put_nowait(None)
        await alarm.wait(late)
        waiting = tasks.create_task(alarm.wait(late))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        bell.rung.put_nowait(None)
        await waiting
        listening.cancel()

    assert bell.topics == [CHANGED]
