"""A device that makes one effect after the other until it is killed. Run by test_kills.py as a process.

    python -m tests.device_bridge.agent.workspace.effects DATA FIRST

Every call repeats the ids of an uninterrupted run: `call-0`, `call-1`, …; the number of each acknowledged call is
written to standard output, at once.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from device_bridge.agent.domain import JsonObject

from .support import device

IN_FLIGHT = 8
"""Calls at once, so that kills hit commits that carry several calls."""


def call_of(number: int) -> tuple[str, JsonObject]:
    """Return what call `number` does."""
    if number % 3 == 0:
        return "create_note", {"title": f"effect {number}", "content": "c" * (number % 5000 + 1)}
    return "create_task", {"title": f"effect {number}"}


async def main(data: Path, first: int) -> None:
    async with device(data) as laptop:
        await laptop.control("begin_run", call_id="begin", **POLICY)

        async def work(lane: int) -> None:
            number = first + lane
            while True:
                tool, arguments = call_of(number)
                outcome = await laptop.call(tool, call_id=f"call-{number}", **arguments)
                assert outcome.result is not None, outcome
                assert outcome.result["title"] == f"effect {number}"
                sys.stdout.write(f"{number}\n")
                sys.stdout.flush()
                number += IN_FLIGHT

        async with asyncio.TaskGroup() as tasks:
            for lane in range(IN_FLIGHT):
                tasks.create_task(work(lane))


POLICY: JsonObject = {
    "phase": "processing",
    "group": "g",
    "agent_name": "a",
    "trigger": "manual",
    "tools": ["create_task", "create_note"],
    "read_only": False,
    "directories": [],
    "files": None,
    "data_types": ["tasks", "notes"],
    "budgets": {"max_calls": 100_000, "max_read_bytes": 0, "max_creates": 10_000},
}


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
