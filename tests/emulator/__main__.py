"""Run the emulator as a process: `python -m tests.emulator [--port 0] [--host 127.0.0.1]`.

It prints one line of JSON, `{"ready": true, "port": 43210}`, when it can be called, and ends at SIGTERM or SIGINT, or
with its supervisor. Its clock starts at the real time and ticks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from datetime import UTC, datetime
from urllib.parse import urlsplit

from adiuva_rpc.supervision import end_with_supervisor
from tests.emulator.core import Clock, Emulator
from tests.emulator.running import running


async def _serve(host: str, port: int) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    emulator = Emulator(Clock(datetime.now(UTC), ticking=True))
    async with running(emulator, host=host, port=port):
        sys.stdout.write(json.dumps({"ready": True, "port": urlsplit(emulator.base_url).port}) + "\n")
        sys.stdout.flush()
        await ended.wait()


def main() -> None:
    """Serve until a signal."""
    end_with_supervisor()
    parser = argparse.ArgumentParser(prog="python -m tests.emulator")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    asyncio.run(_serve(given.host, given.port))


if __name__ == "__main__":
    main()
