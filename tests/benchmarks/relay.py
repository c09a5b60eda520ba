"""The floor of the calls: two hops of bare grpc.aio, bytes instead of messages, one call a frame.

    python -m tests.benchmarks.relay serve                       the one in the middle
    python -m tests.benchmarks.relay echo --target … --devices N  the devices

The third process, the caller, is the benchmark itself (`Caller`). Nothing here checks, encodes, remembers or bounds
anything: it is what grpc.aio costs by itself when each call travels alone.
"""

from __future__ import annotations

import argparse
import asyncio
import struct
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import grpc
import grpc.aio

from adiuva_rpc.channel import connect
from tests.benchmarks.bench import Window
from tests.benchmarks.processes import say_ready

CALL = "/adiuva.benchmarks.Relay/Call"
CONNECT = "/adiuva.benchmarks.Relay/Connect"
MESSAGE_BYTES = 256
"""About what one call, and one answer, takes on the wire of the bridge."""

_HEAD = struct.Struct("!II")
"""The device and the slot of a call."""


def message(device: int, slot: int) -> bytes:
    """Return a call."""
    return _HEAD.pack(device, slot).ljust(MESSAGE_BYTES, b".")


class Relay:
    """One caller in front of many devices."""

    def __init__(self) -> None:
        self._caller: Any = None
        self._devices: dict[int, Any] = {}
        self._writing = asyncio.Lock()

    async def call(self, _requests: object, context: Any) -> None:
        """Carry calls to their devices."""
        self._caller = context
        while (call := await context.read()) is not grpc.aio.EOF:
            await self._devices[_HEAD.unpack_from(call)[0]].write(call)

    async def connect(self, _requests: object, context: Any) -> None:
        """Carry the answers of one device, whose first message says which one it is."""
        hello = await context.read()
        self._devices[_HEAD.unpack_from(hello)[0]] = context
        await context.write(hello)
        while (answer := await context.read()) is not grpc.aio.EOF:
            # A stream takes one write at a time, and all devices write to this one.
            async with self._writing:
                await self._caller.write(answer)


class Caller:
    """Keeps so many calls under way on one stream: each answer is the sign for the next call."""

    def __init__(self, channel: grpc.aio.Channel, *, devices: int, in_flight: int) -> None:
        self._channel = channel
        self._devices = devices
        self._in_flight = in_flight

    async def run(self, seconds: float) -> list[float]:
        """Call for so long, and return how long each call took."""
        stream: Any = self._channel.stream_stream(CALL)()
        clock = time.perf_counter
        sent = [0.0] * self._in_flight
        window = Window.of(seconds)
        try:
            for slot in range(self._in_flight):
                sent[slot] = clock()
                await stream.write(message(slot % self._devices, slot))
            open_calls = self._in_flight
            while open_calls:
                answer = await stream.read()
                now = clock()
                slot = _HEAD.unpack_from(answer)[1]
                if window.answered(sent[slot], now):
                    sent[slot] = now
                    await stream.write(answer)
                else:
                    open_calls -= 1
        finally:
            stream.cancel()
        return window.took


async def serve() -> None:
    """Relay until the process is ended."""
    relay = Relay()
    server = grpc.aio.server()
    methods: dict[str, Any] = {"Call": relay.call, "Connect": relay.connect}
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        name: grpc.stream_stream_rpc_method_handler(method) for name, method in methods.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("adiuva.benchmarks.Relay", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    say_ready(port=port)
    await server.wait_for_termination()


async def echo(target: str, devices: int) -> None:
    """Be so many devices, each on its own connection, which answer a call with itself."""
    async with AsyncExitStack() as channels, asyncio.TaskGroup() as tasks:
        for number in range(devices):
            channel = await channels.enter_async_context(connect(target))
            stream: Any = channel.stream_stream(CONNECT)()
            await stream.write(message(number, 0))
            await stream.read()
            tasks.create_task(_echo(stream))
        say_ready(devices=devices)


async def _echo(stream: Any) -> None:
    while (call := await stream.read()) is not grpc.aio.EOF:
        await stream.write(call)


def main(arguments: Sequence[str] | None = None) -> None:
    """Be one of the two processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["serve", "echo"])
    parser.add_argument("--target", default="")
    parser.add_argument("--devices", type=int, default=1)
    options = parser.parse_args(arguments)
    asyncio.run(serve() if options.part == "serve" else echo(options.target, options.devices))


if __name__ == "__main__":
    main()
