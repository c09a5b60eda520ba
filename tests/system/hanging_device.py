"""A device whose tool for reading files hangs until it is told otherwise: `python -m tests.system.hanging_device`.

It enrols with a code, says with one line of JSON that it is ready, and serves one file of a folder `slow`. While the
file named by --healed is not there, `read_file_content` never answers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from adiuva.device_bridge.v1 import tool_pb2
from adiuva_rpc.channel import connect
from adiuva_rpc.tls import channel_credentials
from tests.fakes.device import FakeDevice, descriptor, never

FILE = {"path": "slow/report.md", "size_bytes": 7, "mtime_ns": 1, "modified_at": "2026-01-01T00:00:00Z"}
HEARTBEAT_SECONDS = 5.0
EMPTY: dict[str, dict[str, Any]] = {
    "begin_run": {},
    "list_all_projects": {"projects": []},
    "list_projects": {"projects": []},
    "list_tasks": {"tasks": []},
    "list_notes": {"notes": []},
    "list_timelines": {"timelines": []},
    "mark_processed": {"marked": 1},
    "complete_run": {"effects": {"created": {}, "updated": {}, "commented": {}, "proposed": {}}},
    "find_changed_files": {"files": [FILE], "unreadable": []},
}


async def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    for option in ("--target", "--ca", "--code", "--healed"):
        parser.add_argument(option, required=True)
    options = parser.parse_args()

    async def answer(call: tool_pb2.ToolCall) -> dict[str, Any]:
        return EMPTY[call.tool]

    healed = Path(options.healed)

    async def read(call: tool_pb2.ToolCall) -> dict[str, Any]:
        if not await asyncio.to_thread(healed.exists):
            await never(call)
        return {**FILE, "text": "nothing", "media_type": "text/markdown", "offset": 0, "truncated": False}

    tools = {**dict.fromkeys(EMPTY, answer), "read_file_content": read}
    channel = connect(options.target, tls=channel_credentials(Path(options.ca)), server_name="localhost")
    async with (
        channel,
        FakeDevice(
            channel,
            code=options.code,
            tools=tools,
            descriptors=[descriptor(name) for name in tools],
            root_names=["slow"],
            heartbeat=HEARTBEAT_SECONDS,
        ) as device,
    ):
        print(json.dumps({"ready": True, "device_id": device.welcome.device_id}), flush=True)  # noqa: T201
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
