"""Devices for the benchmark of the calls, on the real wire: `python -m tests.benchmarks.devices`.

Two kinds. The product's: the device agent's own link around a tool that answers its arguments. And bare ones, which
answer a frame with a frame and do nothing else: with them the bridge is what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import uuid
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import SystemRandom

from adiuva.device_bridge.v1 import (
    session_service_pb2 as pb,
    session_service_pb2_grpc as pb_grpc,
    tool_pb2,
)
from adiuva_rpc.channel import connect, enrolment
from adiuva_rpc.telemetry import configure_logging
from device_bridge.agent.domain import EffectClass, Outcome, ToolCall, ToolSpec
from device_bridge.agent.link.calls import Calls
from device_bridge.agent.link.connection import GrpcDialler, channel_to
from device_bridge.agent.link.domain import SessionEnd, Welcome
from device_bridge.agent.link.link import Connected, Link, Waiting
from device_bridge.agent.link.session import Introduction
from device_bridge.agent.tools import manifest_hash
from tests.benchmarks.processes import say_ready

ECHO = ToolSpec(
    name="echo",
    description="Answers its arguments.",
    toolset="filesystem",
    effect=EffectClass.READ_ONLY,
    input_schema={"type": "object", "additionalProperties": True},
)
Ready = Callable[[str], None]
"""Told the device's id when its session stands."""


class EnrolledInMemory:
    """The identity of a device that forgets it at its end. Implements `link.ports.Identity`."""

    def __init__(self, code: str) -> None:
        self._authorization = f"Enrolment {code}"
        self.installation_id = str(uuid.uuid4())
        self.enrolled = False

    def authorization(self) -> str:
        """Return what the next session presents."""
        return self._authorization

    def welcomed(self, welcome: Welcome) -> None:
        """Take the credential."""
        if welcome.issued_credential:
            self._authorization = f"Bearer {welcome.issued_credential}"
            self.enrolled = True

    def refused(self, end: SessionEnd) -> SessionEnd:
        """Judge a refusal as it is."""
        return end


async def echo(call: ToolCall) -> Outcome:
    """Answer the arguments."""
    return Outcome(result=call.arguments)


async def real_device(target: str, code: str, ready: Ready) -> None:
    """Be a device with the device agent's own link, for ever."""

    def report(event: Connected | Waiting) -> None:
        if isinstance(event, Connected):
            ready(event.welcome.device_id)

    async with GrpcDialler(channel_to(target)) as dialler, Calls(echo, [ECHO]) as calls:
        link = Link(
            dialler,
            calls=calls,
            identity=EnrolledInMemory(code),
            introduction=Introduction(
                instance_id=str(uuid.uuid4()),
                agent_version="0",
                display_name="benchmark",
                root_names=("sample",),
                tools=(ECHO,),
                tools_hash=manifest_hash([ECHO]),
            ),
            rng=SystemRandom(),
            report=report,
        )
        await link.run(asyncio.Event())


async def bare_device(target: str, code: str, ready: Ready) -> None:
    """Be a device that answers each frame of calls with one frame of answers, for ever."""
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(connect(target, authorization=enrolment(code)))
        stub: pb_grpc.DeviceSessionServiceAsyncStub = pb_grpc.DeviceSessionServiceStub(channel)
        stream = stub.Connect()
        descriptor = tool_pb2.ToolDescriptor(
            name=ECHO.name,
            description=ECHO.description,
            toolset=ECHO.toolset,
            effect_class=tool_pb2.EFFECT_CLASS_READ_ONLY,
            input_schema_json=json.dumps(ECHO.input_schema),
        )
        hello = pb.Hello(
            protocol_min=1,
            protocol_max=1,
            instance_id=str(uuid.uuid4()),
            installation_id=str(uuid.uuid4()),
            agent_version="0",
            display_name="benchmark",
            tools=pb.ToolManifest(hash="0" * 64, tools=[descriptor]),
        )
        seq = 1
        await stream.write(pb.ConnectRequest(seq=seq, items=[pb.DeviceItem(hello=hello)]))
        while True:
            frame = await stream.read()
            if not isinstance(frame, pb.ConnectResponse):
                raise ConnectionError("the bridge has ended the session")
            if frame.seq == 1:
                ready(frame.items[0].welcome.device_id)
            answers = [_answer(item.call) for item in frame.items if item.HasField("call")]
            if answers:
                seq += 1
                await stream.write(pb.ConnectRequest(seq=seq, items=answers))


def _answer(request: pb.CallRequest) -> pb.DeviceItem:
    outcome = tool_pb2.ToolOutcome(result_json=request.call.arguments_json)
    return pb.DeviceItem(call_done=pb.CallDone(call_key=request.call_key, outcome=outcome))


async def run(target: str, codes: Sequence[str], *, bare: bool) -> None:
    """Be one device for each code; says so with their ids, in the order of the codes, once all are connected."""
    device_ids: dict[int, str] = {}

    def ready(number: int, device_id: str) -> None:
        if number not in device_ids:
            device_ids[number] = device_id
            if len(device_ids) == len(codes):
                say_ready(device_ids=[device_ids[number] for number in range(len(codes))])

    device = bare_device if bare else real_device
    async with asyncio.TaskGroup() as tasks:
        for number, code in enumerate(codes):
            tasks.create_task(device(target, code, lambda device_id, number=number: ready(number, device_id)))  # type: ignore[misc]  # a default argument


def main(arguments: Sequence[str] | None = None) -> None:
    """Be the process of the devices."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True)
    parser.add_argument("--codes", type=Path, required=True, help="a file with one code a device, as JSON")
    parser.add_argument("--bare", action="store_true")
    options = parser.parse_args(arguments)
    configure_logging("benchmark_devices", level="WARNING")
    codes = json.loads(options.codes.read_text(encoding="utf-8"))
    asyncio.run(run(options.target, codes, bare=options.bare))


if __name__ == "__main__":
    main()
