"""Presence as the bridge tells it: what is known, and from when on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import grpc
import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from adiuva.device_bridge.v1 import device_pb2, device_service_pb2 as pb
from orchestrator.adapters.device_tools import BridgeDevices, presence
from orchestrator.runs.ports import DeviceInfo
from orchestrator.schedules.ports import Sight


@asynccontextmanager
async def bridge(*scripts: list[pb.WatchDevicesResponse]) -> AsyncIterator[BridgeDevices]:
    """Give the devices of a bridge that tells each watcher a script of its own, and stops after all but the last."""
    left = list(scripts)

    async def watch_devices(_request: pb.WatchDevicesRequest, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        for told in left.pop(0):
            await context.write(told)
        if left:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the bridge stops")
        await anyio.sleep_forever()

    handler = grpc.unary_stream_rpc_method_handler(
        watch_devices,
        request_deserializer=pb.WatchDevicesRequest.FromString,
        response_serializer=pb.WatchDevicesResponse.SerializeToString,
    )
    service = pb.DESCRIPTOR.services_by_name["DeviceService"].full_name
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"WatchDevices": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield BridgeDevices(channel)
    finally:
        await server.stop(0)


def event(kind: str, device_id: str = "", *, online: bool = False) -> pb.WatchDevicesResponse:
    value = pb.PresenceKind.Value(f"PRESENCE_KIND_{kind}")
    if not device_id:
        return pb.WatchDevicesResponse(kind=value)
    connected = Timestamp(seconds=1_772_000_000) if online else None
    device = device_pb2.Device(device_id=device_id, user_id="ada", online=online, connected_at=connected)
    return pb.WatchDevicesResponse(kind=value, device=device)


async def test_what_is_connected_is_unknown_until_the_snapshot_is_complete_and_after_a_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(presence, "WATCH_RETRY_SECONDS", 0.0)
    first = [
        event("SNAPSHOT", "laptop", online=True),
        event("SNAPSHOT", "phone"),
        event("SNAPSHOT_END"),
        event("HEARTBEAT"),
        event("DISCONNECTED", "laptop"),
    ]
    second = [event("SNAPSHOT_END"), event("CONNECTED", "laptop", online=True)]
    seen: list[str] = []

    with anyio.fail_after(10):
        async with bridge(first, second) as devices, aclosing(watch(devices)) as sightings:
            async for sighting in sightings:
                seen.append(said(sighting))
                if len(seen) == 8:
                    break

    assert seen == ["lost", "laptop on", "phone off", "complete", "laptop off", "lost", "complete", "laptop on"]


async def watch(devices: BridgeDevices) -> AsyncGenerator[DeviceInfo | Sight, None]:
    async for sighting in devices.sightings():
        yield sighting


def said(sighting: DeviceInfo | Sight) -> str:
    if isinstance(sighting, Sight):
        return sighting.value
    return f"{sighting.device_id} {'on' if sighting.online else 'off'}"
