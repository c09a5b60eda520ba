"""What the tests of the link share: a clock moved by hand, a stream in memory, tools that a test controls, a device."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import anyio

from adiuva_rpc.channel import connect
from device_bridge.agent.domain import EffectClass, Outcome, ToolCall, ToolSpec
from device_bridge.agent.link.calls import CallLimits, Calls
from device_bridge.agent.link.connection import GrpcDialler
from device_bridge.agent.link.domain import Frame, Item, SessionEnd, Welcome
from device_bridge.agent.link.link import Connected, Link, Waiting
from device_bridge.agent.link.ports import StreamEnded
from device_bridge.agent.link.session import Introduction, Timing
from tests.fakes.bridge import FakeBridge

PATIENCE = 10.0

INTRODUCTION = Introduction(
    instance_id="instance-1",
    agent_version="1.0",
    display_name="Anna's laptop",
    root_names=("sample",),
    tools=(
        ToolSpec(
            name="echo",
            description="Answers its arguments.",
            toolset="tests",
            effect=EffectClass.READ_ONLY,
            input_schema={"type": "object", "additionalProperties": False},
            max_result_bytes=64 << 20,
        ),
        ToolSpec(
            name="small",
            description="Answers at most 100 bytes.",
            toolset="tests",
            effect=EffectClass.EFFECT,
            input_schema={"type": "object", "additionalProperties": False},
            max_result_bytes=100,
        ),
    ),
    tools_hash="0" * 64,
)


async def settle() -> None:
    """Let every task that can run, run. Only for tests without sockets."""
    for _ in range(50):
        await asyncio.sleep(0)


class ManualClock:
    """Time that moves only when a test says so."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._order = itertools.count()
        self._timers: list[tuple[float, int, asyncio.Event]] = []

    def now(self) -> float:
        """Return seconds."""
        return self._now

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait for `event`, at most `seconds`."""
        due = asyncio.Event()
        heapq.heappush(self._timers, (self._now + seconds, next(self._order), due))
        async with asyncio.TaskGroup() as tasks:
            waiters = [tasks.create_task(event.wait()), tasks.create_task(due.wait())]
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
            for waiter in waiters:
                waiter.cancel()
        return event.is_set()

    async def advance(self, seconds: float) -> None:
        """Move time, stopping at each moment for which somebody waits."""
        await settle()
        end = self._now + seconds
        while self._timers and self._timers[0][0] <= end:
            moment, _, due = heapq.heappop(self._timers)
            self._now = max(self._now, moment)
            due.set()
            await settle()
        self._now = end
        await settle()

    def jump(self, seconds: float) -> None:
        """Move time at once, as when the process was suspended: nobody ran meanwhile."""
        self._now += seconds


def seeded(seed: int) -> Random:
    """Return randomness that is the same in every run."""
    return Random(seed)  # noqa: S311 - a test wants it to be predictable


class LeastRandom(Random):  # noqa: S311 - as above
    """Randomness that always gives the least, so that no reconnect waits."""

    def uniform(self, a: float, b: float) -> float:
        """Return the lower bound."""
        return min(a, b)


class MostRandom(Random):  # noqa: S311 - as above
    """Randomness that always gives the most."""

    def uniform(self, a: float, b: float) -> float:
        """Return the upper bound."""
        return max(a, b)


class MemoryStream:
    """A stream whose other end is the test."""

    def __init__(self) -> None:
        self._incoming: asyncio.Queue[Frame | BaseException] = asyncio.Queue(maxsize=1000)
        self._seq = 0
        self.written: list[Any] = []
        self.cancelled = False
        self.half_closed = False
        self.writable = asyncio.Event()
        self.writable.set()

    async def read(self) -> Frame:
        """Return what the test put."""
        frame = await self._incoming.get()
        if isinstance(frame, BaseException):
            raise frame
        return frame

    async def write(self, frame: Any) -> None:
        """Take a frame, when the test lets it."""
        await self.writable.wait()
        self.written.append(frame)

    async def done_writing(self) -> None:
        """End this side."""
        self.half_closed = True

    def cancel(self) -> None:
        """End the stream."""
        self.cancelled = True

    def say(self, *items: Item) -> None:
        """Let the bridge send a frame."""
        self._seq += 1
        self._incoming.put_nowait(Frame(self._seq, items))

    def say_frame(self, frame: Frame) -> None:
        """Let the bridge send a frame as it is."""
        self._incoming.put_nowait(frame)

    def break_off(self, end: SessionEnd) -> None:
        """Let the stream end."""
        self._incoming.put_nowait(StreamEnded(end))

    def kinds(self) -> list[str]:
        """Return the kinds of all items that were written."""
        return [str(item.WhichOneof("item")) for frame in self.written for item in frame.items]


def welcome(**terms: Any) -> Welcome:
    """Make a Welcome."""
    given: dict[str, Any] = {
        "session_id": "session-1",
        "epoch": 1,
        "user_id": "anna",
        "device_id": "laptop",
        "heartbeat_interval": 20.0,
        "max_frame_bytes": 1 << 20,
        "chunk_bytes": 256 << 10,
        "max_calls": 64,
        **terms,
    }
    return Welcome(**given)


class FixedIdentity:
    """An identity that is enrolled and notes what it is told."""

    def __init__(self, authorization: str = "Bearer secret") -> None:
        self._authorization = authorization
        self.welcomes: list[Welcome] = []
        self.refusals: list[SessionEnd] = []
        self.fault: OSError | None = None

    @property
    def installation_id(self) -> str:
        """The id made once at installation."""
        return "installation-1"

    @property
    def enrolled(self) -> bool:
        """Whether a credential is presented."""
        return self._authorization.startswith("Bearer")

    def authorization(self) -> str:
        """Return the metadata."""
        return self._authorization

    def welcomed(self, welcome: Welcome) -> None:
        """Note it."""
        if self.fault is not None:
            raise self.fault
        self.welcomes.append(welcome)

    def refused(self, end: SessionEnd) -> SessionEnd:
        """Note it."""
        self.refusals.append(end)
        return end


@dataclass
class Tools:
    """A RunTool: `echo` answers, every other tool waits until the test releases it by name."""

    started: list[ToolCall] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    _gates: dict[str, asyncio.Event] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, call: ToolCall) -> Outcome:
        """Run a call."""
        self.started.append(call)
        self._changed.set()
        if call.tool == "big":
            return Outcome(result={"text": "x" * int(call.arguments["bytes"])})
        if call.tool not in {"echo", "small"}:
            try:
                await self._gate(call.tool).wait()
            except asyncio.CancelledError:
                self.cancelled.append(call.call_id)
                self._changed.set()
                raise
        return Outcome(result=call.arguments)

    def release(self, tool: str) -> None:
        """Let the calls of a tool end."""
        self._gate(tool).set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that calls change is so."""
        with anyio.fail_after(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def _gate(self, tool: str) -> asyncio.Event:
        return self._gates.setdefault(tool, asyncio.Event())


class Device:
    """A whole link to a fake bridge, running."""

    def __init__(self, link: Link, calls: Calls, tools: Tools, stop: asyncio.Event) -> None:
        self.link = link
        self.calls = calls
        self.tools = tools
        self.stop = stop
        self.reports: list[Connected | Waiting] = []
        self.end: SessionEnd | None = None
        self._changed = asyncio.Event()
        self.finished = asyncio.Event()

    def report(self, event: Connected | Waiting) -> None:
        """Note what the link tells."""
        self.reports.append(event)
        self._changed.set()

    @property
    def ends(self) -> list[SessionEnd]:
        """How its sessions ended."""
        return [event.end for event in self.reports if isinstance(event, Waiting)]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the link has told something."""
        with anyio.fail_after(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def finish(self) -> SessionEnd:
        """Ask it to stop and wait until it has."""
        self.stop.set()
        return await self.ended()

    async def ended(self) -> SessionEnd:
        """Wait until it has stopped."""
        with anyio.fail_after(PATIENCE):
            await self.finished.wait()
        assert self.end is not None
        return self.end

    async def run(self) -> None:
        """Run the link to its end."""
        self.end = await self.link.run(self.stop)
        self.finished.set()


@contextlib.asynccontextmanager
async def device(
    target: str,
    *,
    identity: Any = None,
    timing: Timing | None = None,
    limits: CallLimits | None = None,
    rng: Random | None = None,
    tools: Tools | None = None,
    run_tool: Callable[[ToolCall], Awaitable[Outcome]] | None = None,
) -> AsyncIterator[Device]:
    """Run a device against a bridge; leaving stops it at once."""
    tools = tools or Tools()
    reports: list[Callable[[Connected | Waiting], None]] = []
    async with (
        GrpcDialler(lambda: connect(target)) as dialler,
        Calls(run_tool or tools, INTRODUCTION.tools, limits=limits) as calls,
        asyncio.TaskGroup() as tasks,
    ):
        link = Link(
            dialler,
            calls=calls,
            identity=identity or FixedIdentity(),
            introduction=INTRODUCTION,
            rng=rng or LeastRandom(),
            timing=timing or Timing(),
            report=lambda event: reports[0](event),
        )
        running = Device(link, calls, tools, asyncio.Event())
        reports.append(running.report)
        task = tasks.create_task(running.run())
        try:
            yield running
        finally:
            task.cancel()


@contextlib.asynccontextmanager
async def bridge_and_device(**options: Any) -> AsyncIterator[tuple[FakeBridge, Device]]:
    """Run a fake bridge and a device that dials it."""
    async with FakeBridge() as bridge, device(bridge.target, **options) as running:
        yield bridge, running
