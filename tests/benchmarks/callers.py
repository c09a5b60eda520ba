"""The callers of the benchmark of the calls: the orchestrator's own, and a bare one that only fills frames.

Both keep so many calls under way over one `ToolService.Execute` stream, and return how long each call took.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

import grpc.aio

from adiuva.device_bridge.v1 import tool_pb2, tool_service_pb2 as pb, tool_service_pb2_grpc as pb_grpc
from orchestrator.adapters.device_tools import BridgeDevices
from orchestrator.runs.domain import DeviceCall, RunContext
from tests.benchmarks.bench import Window
from tests.benchmarks.devices import ECHO

ARGUMENTS = '{"path":"sample/acme-website-relaunch/notes/2026-03-02-kickoff.md"}'
CONTEXT = RunContext(
    run_id="5b1e2f6e-3c53-4e0e-9a3d-0d8f3a1f2b11",
    epoch=1,
    agent_id="0d8f3a1f-3c53-4e0e-9a3d-5b1e2f6e2b11",
    client_agent_id="",
    agent_name="Folder watcher",
    trigger="manual",
    phase="processing",
    group="g1",
)


@dataclass(frozen=True, slots=True)
class Peer:
    """A connected device and whose it is."""

    user_id: str
    device_id: str


_numbers = itertools.count(1)
"""Of the calls of this process: no id may come twice."""


def _call_id() -> str:
    return f"benchmark:processing:g1:{next(_numbers)}"


async def real_calls(
    channel: grpc.aio.Channel, peers: Sequence[Peer], *, in_flight: int, seconds: float
) -> list[float]:
    """Call for so long through the orchestrator's own adapter."""
    devices = BridgeDevices(channel)
    clock = time.perf_counter
    window = Window.of(seconds)

    async def keep_calling(slot: int) -> None:
        peer = peers[slot % len(peers)]
        going_on = True
        while going_on:
            began = clock()
            call = DeviceCall(
                call_id=_call_id(),
                user_id=peer.user_id,
                device_id=peer.device_id,
                tool=ECHO.name,
                arguments_json=ARGUMENTS,
                context=CONTEXT,
            )
            outcome = await devices.call(call)
            going_on = window.answered(began, clock())
            if outcome.result_json != ARGUMENTS:
                raise RuntimeError(f"a call was not answered with its arguments: {outcome}")

    async with asyncio.TaskGroup() as tasks:
        stream = tasks.create_task(devices.run())
        async with asyncio.TaskGroup() as calling:
            for slot in range(in_flight):
                calling.create_task(keep_calling(slot))
        stream.cancel()
    return window.took


async def bare_calls(
    channel: grpc.aio.Channel, peers: Sequence[Peer], *, in_flight: int, seconds: float
) -> list[float]:
    """Call for so long with frames alone: the answers of a frame are the sign for as many calls in one frame."""
    stub: pb_grpc.ToolServiceAsyncStub = pb_grpc.ToolServiceStub(channel)
    clock = time.perf_counter
    context = tool_pb2.RunContext(
        run_id=CONTEXT.run_id,
        epoch=CONTEXT.epoch,
        agent_id=CONTEXT.agent_id,
        agent_name=CONTEXT.agent_name,
        trigger=CONTEXT.trigger,
        phase=CONTEXT.phase,
        group=CONTEXT.group,
    )
    open_calls: dict[str, tuple[Peer, float]] = {}
    window = Window.of(seconds)

    def submit(peer: Peer, now: float) -> pb.CallerItem:
        call_id = _call_id()
        open_calls[call_id] = (peer, now)
        call = tool_pb2.ToolCall(
            call_id=call_id,
            user_id=peer.user_id,
            device_id=peer.device_id,
            tool=ECHO.name,
            arguments_json=ARGUMENTS,
            run_context=context,
        )
        return pb.CallerItem(submit=call)

    stream = stub.Execute()
    try:
        first = [submit(peers[slot % len(peers)], clock()) for slot in range(in_flight)]
        await stream.write(pb.ExecuteRequest(items=first))
        while open_calls:
            frame = await stream.read()
            if not isinstance(frame, pb.ExecuteResponse):
                raise ConnectionError("the bridge has ended the stream")
            now = clock()
            following: list[pb.CallerItem] = []
            for item in frame.items:
                if item.finished.outcome.result_json != ARGUMENTS:
                    raise RuntimeError(f"a call was not answered with its arguments: {item}")
                peer, began = open_calls.pop(item.call_id)
                if window.answered(began, now):
                    following.append(submit(peer, now))
            if following:
                await stream.write(pb.ExecuteRequest(items=following))
    finally:
        stream.cancel()
    return window.took
