"""Tools of fake devices, for tests."""

from __future__ import annotations

from typing import Any

from adiuva.device_bridge.v1 import tool_pb2
from tests.device_bridge.server.harness import Harness
from tests.fakes.device import FakeDevice, ToolFailed, echo, never

MIB = 1 << 20


async def fails(_call: tool_pb2.ToolCall) -> dict[str, Any]:
    raise ToolFailed("PATH_DENIED", "outside the roots")


def sized(size: int) -> Any:
    async def tool(_call: tool_pb2.ToolCall) -> dict[str, Any]:
        return {"text": "x" * size}

    return tool


TOOLS: dict[str, Any] = {
    "echo": echo,
    "never": never,
    "fails": fails,
    "half": sized(MIB // 2),
    "five": sized(5 * MIB),
    "two": sized(2 * MIB),
}


def device(bridge: Harness, credential: str, **options: Any) -> FakeDevice:
    return bridge.device(credential, **{"tools": TOOLS, **options})
