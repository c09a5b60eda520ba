"""WatchDevices on the real wire: a snapshot, then each change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import grpc
import grpc.aio

from adiuva.device_bridge.v1 import device_service_pb2 as pb, device_service_pb2_grpc as pb_grpc
from tests.device_bridge.server.harness import Harness, harness
from tests.device_bridge.server.waiting import until
from tests.fakes.device import FakeDevice

SNAPSHOT, SNAPSHOT_END = pb.PRESENCE_KIND_SNAPSHOT, pb.PRESENCE_KIND_SNAPSHOT_END
CONNECTED, DISCONNECTED = pb.PRESENCE_KIND_CONNECTED, pb.PRESENCE_KIND_DISCONNECTED
CHANGED, HEARTBEAT = pb.PRESENCE_KIND_CHANGED, pb.PRESENCE_KIND_HEARTBEAT


class Watch:
    """A watch and what it told."""

    def __init__(self, stub: pb_grpc.DeviceServiceAsyncStub, metadata: tuple[tuple[str, str], ...] = ()) -> None:
        self._stub = stub
        self._metadata = metadata
        self._changed = asyncio.Event()
        self.events: list[pb.WatchDevicesResponse] = []
        self.code: grpc.StatusCode | None = None

    async def __aenter__(self) -> Self:
        self._stream: Any = self._stub.WatchDevices(pb.WatchDevicesRequest(), metadata=self._metadata)
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._reader = self._tasks.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.cancel()
        self._reader.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def until(self, condition: Callable[[], bool]) -> None:
        with anyio.fail_after(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def began(self) -> None:
        """Wait for the end of the snapshot."""
        await self.until(lambda: any(event.kind == SNAPSHOT_END for event in self.events))

    async def told(self, kind: pb.PresenceKind.ValueType, device_id: str) -> pb.WatchDevicesResponse:
        """Wait for an event of a device."""

        def found() -> list[pb.WatchDevicesResponse]:
            return [event for event in self.events if event.kind == kind and event.device.device_id == device_id]

        await self.until(lambda: bool(found()))
        return found()[-1]

    async def _read(self) -> None:
        try:
            while (event := await self._stream.read()) is not grpc.aio.EOF:
                self.events.append(event)
                self._changed.set()
        except grpc.aio.AioRpcError:
            pass
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
        self.code = await self._stream.code()
        self._changed.set()


async def enrolled(bridge: Harness) -> str:
    """Enrol a device and return its id."""
    async with FakeDevice(bridge.device_channel, code=await bridge.code()) as device:
        return device.welcome.device_id


class TestWatch:
    async def test_a_watch_begins_with_every_device_as_it_stands(self, bridge: Harness) -> None:
        offline = await enrolled(bridge)

        code = await bridge.code()
        async with FakeDevice(bridge.device_channel, code=code) as laptop, Watch(bridge.devices) as watch:
            await watch.began()

        told = {event.device.device_id: event.device.online for event in watch.events if event.kind == SNAPSHOT}
        assert told == {offline: False, laptop.welcome.device_id: True}
        assert watch.events[-1].kind == SNAPSHOT_END

    async def test_then_it_tells_each_change(self, bridge: Harness) -> None:
        async with Watch(bridge.devices) as watch:
            await watch.began()
            async with FakeDevice(bridge.device_channel, code=await bridge.code()) as laptop:
                device_id = laptop.welcome.device_id
                await watch.told(CHANGED, device_id)
                connected = await watch.told(CONNECTED, device_id)
            disconnected = await watch.told(DISCONNECTED, device_id)
            await bridge.devices.RevokeDevice(pb.RevokeDeviceRequest(device_id=device_id))
            await watch.until(lambda: watch.events[-1].device.HasField("revoked_at"))

        assert connected.device.online
        assert connected.device.session_epoch == 1
        assert not disconnected.device.online

    async def test_a_user_sees_their_own_devices_and_a_service_those_of_all(self, bridge: Harness) -> None:
        other = f"{bridge.user}-other"

        async with Watch(bridge.devices) as mine, Watch(bridge.service_devices) as everybodys:
            await mine.began()
            await everybodys.began()
            async with FakeDevice(bridge.device_channel, code=await bridge.code_for(other)) as laptop:
                await everybodys.told(CONNECTED, laptop.welcome.device_id)
                mine_too = await enrolled(bridge)
                await mine.told(CONNECTED, mine_too)

        assert {event.device.user_id for event in mine.events if event.HasField("device")} == {bridge.user}

    async def test_a_service_may_watch_for_one_user(self, bridge: Harness) -> None:
        async with Watch(bridge.service_devices, (("adiuva-user", bridge.user),)) as watch:
            await watch.began()
            await bridge.code_for("somebody")
            device_id = await enrolled(bridge)
            await watch.told(CONNECTED, device_id)

        assert {event.device.user_id for event in watch.events if event.HasField("device")} == {bridge.user}

    async def test_a_device_on_another_replica_is_seen_too(
        self, bridge: Harness, database_url: str, tmp_path: Path
    ) -> None:
        credential = await bridge.enrol()
        async with harness(database_url, tmp_path) as other, Watch(bridge.devices) as watch:
            await watch.began()
            async with other.device(credential) as laptop:
                await watch.told(CONNECTED, laptop.welcome.device_id)
                assert await bridge.is_online(laptop.welcome.device_id)

    async def test_a_watch_that_may_have_missed_something_ends(self, bridge: Harness) -> None:
        async with Watch(bridge.devices) as watch:
            await watch.began()
            bridge.bridge.hub.hears(False)
            await watch.until(lambda: watch.code is not None)

        assert watch.code is grpc.StatusCode.UNAVAILABLE

    async def test_a_watch_ends_with_its_caller(self, bridge: Harness) -> None:
        async with Watch(bridge.devices) as watch:
            await watch.began()
            assert bridge.bridge.hub.watchers == 1

        await until(lambda: bridge.bridge.hub.watchers == 0)

    async def test_a_stopping_bridge_ends_its_watches(self, bridge: Harness) -> None:
        async with Watch(bridge.devices) as watch:
            await watch.began()
            await bridge.bridge.drain()
            await watch.until(lambda: watch.code is not None)

        assert watch.code is grpc.StatusCode.UNAVAILABLE
