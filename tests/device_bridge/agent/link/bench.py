"""One session on a stream in memory, with a clock moved by hand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import anyio

from device_bridge.agent.domain import ToolCall
from device_bridge.agent.link.calls import Calls
from device_bridge.agent.link.domain import (
    Call,
    SessionEnd,
    Welcome,
)
from device_bridge.agent.link.lag import LoopLag
from device_bridge.agent.link.session import Session, Timing
from tests.device_bridge.agent.link.support import (
    INTRODUCTION,
    FixedIdentity,
    ManualClock,
    MemoryStream,
    Tools,
    settle,
)


class Bench:
    """A session, and everything around it."""

    def __init__(self, calls: Calls, tools: Tools, identity: FixedIdentity, timing: Timing) -> None:
        self.calls = calls
        self.tools = tools
        self.identity = identity
        self.clock = ManualClock()
        self.lag = LoopLag()
        self.stream = MemoryStream()
        self.stop = asyncio.Event()
        self.ready: list[Welcome] = []
        self.end: SessionEnd | None = None
        self.finished = asyncio.Event()
        self.session = Session(
            self.stream,
            calls=calls,
            identity=identity,
            introduction=INTRODUCTION,
            clock=self.clock,
            lag=self.lag,
            timing=timing,
            on_ready=self.ready.append,
        )

    async def run(self) -> None:
        self.end = await self.session.run(self.stop)
        self.finished.set()

    async def finish(self) -> SessionEnd:
        with anyio.fail_after(10):
            await self.finished.wait()
        assert self.end is not None
        return self.end

    def items(self, kind: str) -> list[Any]:
        return [
            getattr(item, kind)
            for frame in self.stream.written
            for item in frame.items
            if item.WhichOneof("item") == kind
        ]


@contextlib.asynccontextmanager
async def bench(
    *, identity: FixedIdentity | None = None, timing: Timing | None = None, tools: Any = None
) -> AsyncIterator[Bench]:
    used = tools or Tools()
    async with Calls(used, INTRODUCTION.tools) as calls, asyncio.TaskGroup() as tasks:
        running = Bench(calls, used, identity or FixedIdentity(), timing or Timing())
        task = tasks.create_task(running.run())
        await settle()
        yield running
        task.cancel()


def call(key: str, tool: str = "echo", **arguments: Any) -> Call:
    return Call(
        call_key=key,
        tool_call=ToolCall(call_id=f"id-{key}", tool=tool, arguments=arguments, context=None),
        timeout=30.0,
    )
