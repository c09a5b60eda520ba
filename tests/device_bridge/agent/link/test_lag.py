"""How late the event loop is."""

from __future__ import annotations

import asyncio
import time

import anyio

from device_bridge.agent.link.lag import LoopLag


def test_the_worst_lateness_is_told_once() -> None:
    lag = LoopLag()
    for seconds in (0.1, 0.3, 0.2):
        lag.observe(seconds)

    assert lag.take() == 0.3
    assert lag.take() == 0.0


class Told(LoopLag):
    """Tells when the loop was seen to be late."""

    def __init__(self) -> None:
        super().__init__()
        self.late = asyncio.Event()

    def observe(self, seconds: float) -> None:
        super().observe(seconds)
        if seconds >= 0.03:
            self.late.set()


async def test_a_loop_that_is_blocked_is_measured() -> None:
    lag = Told()
    async with asyncio.TaskGroup() as tasks:
        measuring = tasks.create_task(lag.measure(period=0.001))
        await asyncio.sleep(0)  # it has begun to wait
        until = time.monotonic() + 0.05
        while time.monotonic() < until:
            pass
        with anyio.fail_after(5):
            await lag.late.wait()
        measuring.cancel()

    assert lag.take() >= 0.03
