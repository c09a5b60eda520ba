"""The emulator in this process, on a port of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from aiohttp import web

from tests.emulator.core import Emulator

_GOODBYE_SECONDS = 1.0


class EmulatorCrashed(AssertionError):
    """The emulator made a mistake of its own: the tracebacks are in the message."""


@asynccontextmanager
async def running(
    emulator: Emulator | None = None, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Emulator]:
    """Serve an emulator, a new one with a standing clock by default; its `base_url` says where.

    Whoever seeds it directly does so in the same thread.

    Raises:
        EmulatorCrashed: At the end, if a request met a mistake of the emulator's.
    """
    emulator = emulator or Emulator()
    runner = web.AppRunner(emulator.build_app(), access_log=None, shutdown_timeout=_GOODBYE_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        served_at = cast("tuple[str, int]", runner.addresses[0])
        emulator.base_url = f"http://{host}:{served_at[1]}"
        yield emulator
    finally:
        await emulator.faults.clear()
        await runner.cleanup()
    if emulator.crashes:
        raise EmulatorCrashed("\n".join(emulator.crashes))
