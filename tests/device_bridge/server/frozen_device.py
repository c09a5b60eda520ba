"""A device in a process of its own, for freezing: `python -m … <port> <credential>` says "ready" and stays."""

from __future__ import annotations

import asyncio
import sys

from adiuva_rpc.channel import connect
from tests.fakes.device import FakeDevice


async def main(port: str, credential: str) -> None:
    """Connect, say so, and stay."""
    async with connect(f"127.0.0.1:{port}") as channel, FakeDevice(channel, credential) as device:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await device.until(lambda: device.status is not None, within=600)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
