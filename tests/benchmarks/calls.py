"""Tool calls through the bridge, in three processes: a caller, the bridge, a device.

The floor is a bare relay in three processes too (`relay`). Floor and bridge are measured in turns, so that a machine
that slows down slows both; each figure is the median over the rounds, and its ratio the ratio of those medians.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import grpc.aio

from adiuva.device_bridge.v1 import device_service_pb2, device_service_pb2_grpc
from adiuva_rpc.channel import bearer, connect
from adiuva_rpc.identity import USER_HEADER
from adiuva_rpc.tokens import new_token
from tests.benchmarks.bench import Bench, Scale, percentile
from tests.benchmarks.callers import Peer, bare_calls, real_calls
from tests.benchmarks.figures import Figure, ratio_at_least, ratio_at_most
from tests.benchmarks.processes import process
from tests.benchmarks.relay import Caller

FLOOR = "bare relay, one call a frame"
HEARTBEAT_SECONDS = "300"
"""So long that no heartbeat falls into a measurement."""

Run = Callable[[float], Awaitable[list[float]]]
"""Calls for so many seconds, and returns how long each call took."""


@dataclass(frozen=True, slots=True)
class _Sizes:
    rounds: int
    seconds: float
    devices: int
    """Of the measurement with many; 8 calls are under way on each."""


_SIZES: Mapping[Scale, _Sizes] = {
    Scale.FULL: _Sizes(3, 1.5, 64),
    Scale.QUICK: _Sizes(1, 1.0, 64),
    Scale.TINY: _Sizes(1, 0.05, 2),
}


@dataclass(frozen=True, slots=True)
class _Stage:
    """One way to call, measured on the floor, on the bridge alone and with the product's own ends."""

    name: str
    runs: Mapping[str, Run]
    rates: dict[str, list[float]] = field(default_factory=dict)
    times: dict[str, list[float]] = field(default_factory=dict)

    async def measure(self, seconds: float) -> None:
        """Measure each once."""
        for name, run in self.runs.items():
            took = await run(seconds)
            self.rates.setdefault(name, []).append(len(took) / seconds)
            self.times.setdefault(name, []).append(percentile(took, 50) * 1000)

    def rate(self, name: str) -> float:
        """Return the calls a second."""
        return median(self.rates[name])

    def p50(self, name: str) -> float:
        """Return the milliseconds of a call."""
        return median(self.times[name])


@dataclass(frozen=True, slots=True)
class _Ends:
    """Channels to the two in the middle, and the devices behind them."""

    relay: grpc.aio.Channel
    bridge: grpc.aio.Channel
    bare: Sequence[Peer]
    real: Sequence[Peer]

    def stage(self, name: str, *, devices: int, in_flight: int) -> _Stage:
        """Return a way to call."""
        caller = Caller(self.relay, devices=devices, in_flight=in_flight)
        bare = partial(_run, bare_calls, self.bridge, self.bare[:devices], in_flight)
        real = partial(_run, real_calls, self.bridge, self.real[:devices], in_flight)
        return _Stage(name, {"floor": caller.run, "bridge": bare, "product": real})


async def _run(
    calls: Callable[..., Awaitable[list[float]]],
    channel: grpc.aio.Channel,
    peers: Sequence[Peer],
    in_flight: int,
    seconds: float,
) -> list[float]:
    return await calls(channel, peers, in_flight=in_flight, seconds=seconds)


async def measure(bench: Bench) -> Sequence[Figure]:
    """Measure calls a second and the time of a single call."""
    sizes = _SIZES[bench.scale]
    async with _started(bench, sizes.devices) as ends:
        many, calls = sizes.devices, 8 * sizes.devices
        one_device = ends.stage("1 device, 64 in flight", devices=1, in_flight=64)
        single = ends.stage("one call at a time", devices=1, in_flight=1)
        many_devices = ends.stage(f"{many} devices, {calls} in flight", devices=many, in_flight=calls)
        for number in range(1, sizes.rounds + 1):
            for stage in (one_device, single, many_devices):
                bench.say(f"calls: round {number} of {sizes.rounds}, {stage.name}")
                await stage.measure(sizes.seconds)
    return [
        *_rates(one_device, ratio=8.0),
        *_times(single, ratio=1.3),
        *_rates(many_devices, ratio=2.5),
    ]


def _rates(stage: _Stage, *, ratio: float) -> list[Figure]:
    return [
        Figure(
            what=f"{stage.name}: {ends}",
            value=stage.rate(name),
            unit="calls/s",
            floor=stage.rate("floor"),
            floor_is=FLOOR,
            target=ratio_at_least(ratio),
        )
        for name, ends in _ENDS.items()
    ]


def _times(stage: _Stage, *, ratio: float) -> list[Figure]:
    return [
        Figure(
            what=f"{stage.name}, p50: {ends}",
            value=stage.p50(name),
            unit="ms",
            floor=stage.p50("floor"),
            floor_is=FLOOR,
            target=ratio_at_most(ratio),
        )
        for name, ends in _ENDS.items()
    ]


_ENDS = {
    "bridge": "bridge between bare ends",
    "product": "the orchestrator's adapter, the bridge, the device agent's link",
}


@asynccontextmanager
async def _started(bench: Bench, devices: int) -> AsyncIterator[_Ends]:
    """Start the relay with its devices and the bridge with its devices."""
    directory = bench.directory
    async with AsyncExitStack() as stack:

        async def start(module: str, *arguments: str, name: str) -> dict[str, Any]:
            return await stack.enter_async_context(
                process(f"{__package__}.{module}", arguments, log=directory / f"{name}.log")
            )

        bench.say("calls: starting the relay, the bridge and their devices")
        relay = f"127.0.0.1:{(await start('relay', 'serve', name='relay'))['port']}"
        await start("relay", "echo", "--target", relay, "--devices", str(devices), name="relay-devices")

        token, environment = _bridge_environment(directory, bench.new_database())
        ports = await stack.enter_async_context(
            process("device_bridge.server", log=directory / "bridge.log", environment=environment)
        )
        internal = f"127.0.0.1:{ports['internal_port']}"
        bridge = await stack.enter_async_context(connect(internal, authorization=bearer(token)))
        peers: dict[str, list[Peer]] = {}
        for kind in ("bare", "real"):
            # A user each, as on real laptops.
            users = [f"{kind}-{number}" for number in range(devices)]
            codes = directory / f"{kind}.json"
            codes.write_text(json.dumps([await _code(bridge, user) for user in users]), encoding="utf-8")
            target = f"127.0.0.1:{ports['device_port']}"
            options = ["--bare"] if kind == "bare" else []
            ready = await start("devices", "--target", target, "--codes", str(codes), *options, name=kind)
            peers[kind] = [Peer(*pair) for pair in zip(users, ready["device_ids"], strict=True)]
        yield _Ends(await stack.enter_async_context(connect(relay)), bridge, peers["bare"], peers["real"])


def _bridge_environment(directory: Path, database_url: str) -> tuple[str, dict[str, str]]:
    """Return the token of a service, and what the bridge is to be started with."""
    token, token_hash = new_token()
    token_file = directory / "tokens.json"
    token_file.touch(mode=0o600)
    token_file.write_text(json.dumps([{"name": "orchestrator", "role": "service", "sha256": token_hash}]))
    return token, {
        "ADIUVA_DATABASE_URL": database_url,
        "ADIUVA_TOKEN_FILE": str(token_file),
        "ADIUVA_BRIDGE_DEVICE_LISTEN": "127.0.0.1:0",
        "ADIUVA_BRIDGE_INTERNAL_LISTEN": "127.0.0.1:0",
        "ADIUVA_BRIDGE_HEARTBEAT_SECONDS": HEARTBEAT_SECONDS,
        "ADIUVA_LOG_LEVEL": "WARNING",
    }


async def _code(bridge: grpc.aio.Channel, user: str) -> str:
    stub: device_service_pb2_grpc.DeviceServiceAsyncStub = device_service_pb2_grpc.DeviceServiceStub(bridge)
    made = await stub.CreateEnrolmentCode(
        device_service_pb2.CreateEnrolmentCodeRequest(request_id=str(uuid.uuid4())), metadata=((USER_HEADER, user),)
    )
    return made.code
