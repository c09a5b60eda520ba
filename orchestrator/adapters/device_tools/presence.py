"""Which devices there are, which are connected, and what they can do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import grpc
import grpc.aio
import structlog

from adiuva.device_bridge.v1 import device_pb2, device_service_pb2 as pb, device_service_pb2_grpc as pb_grpc
from adiuva_rpc.identity import USER_HEADER
from orchestrator.adapters.device_tools.conversion import device_from_proto, tool_from_proto
from orchestrator.runs.domain import DeviceOffline, DeviceUnknown
from orchestrator.runs.ports import DeviceInfo, ToolManifest
from orchestrator.schedules.ports import Sight

PATIENCE_SECONDS = 20.0
"""How long to wait for a bridge that restarts, and for a device that was there a moment ago."""
JUST_SEEN = timedelta(seconds=90)
RETRY_SECONDS = 0.5
CALL_SECONDS = 5.0
WATCH_RETRY_SECONDS = 1.0

NOT_CONNECTED = "The device is not connected. Start the Adiuva client there, then run the agent again."
NONE_CONNECTED = (
    "None of the user's devices is connected. Start the Adiuva client on one of them, then run the agent again."
)

_log = structlog.get_logger(__name__)
ResponseT = TypeVar("ResponseT")


class Presence:
    """Asks the bridge's DeviceService."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = pb_grpc.DeviceServiceStub(channel)

    async def choose(self, user_id: str, device_id: str) -> DeviceInfo:
        """Return the named device, or for an empty id the user's connected device that connected last.

        A device that was seen a moment ago is waited for: after a restart of the bridge it needs a second to come back.
        """
        give_up = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            devices = await self._devices(user_id, device_id)
            online = [device for device in devices if device.online]
            if online:
                return device_from_proto(max(online, key=lambda device: device.connected_at.ToDatetime()))
            if not any(_just_seen(device) for device in devices) or asyncio.get_running_loop().time() > give_up:
                raise DeviceOffline(NOT_CONNECTED if device_id else NONE_CONNECTED)
            await asyncio.sleep(RETRY_SECONDS)

    async def tools(self, user_id: str, device_id: str) -> ToolManifest:
        """Return the tools that the device advertised last."""
        request = pb.ListToolsRequest(device_id=device_id)
        answer = await self._ask(
            lambda: self._stub.ListTools(request, metadata=((USER_HEADER, user_id),), timeout=CALL_SECONDS)
        )
        return ToolManifest(hash=answer.hash, tools=tuple(tool_from_proto(tool) for tool in answer.tools))

    async def watch(self) -> AsyncIterator[DeviceInfo]:
        """Yield every device as it stands, then each change, for ever; reconnects by itself."""
        async for sighting in self.sightings():
            if isinstance(sighting, DeviceInfo):
                yield sighting

    async def sightings(self) -> AsyncGenerator[DeviceInfo | Sight, None]:
        """Yield LOST, every device as it stands, COMPLETE, then each change, for ever; after a loss all over again."""
        while True:
            yield Sight.LOST
            stream = self._stub.WatchDevices(pb.WatchDevicesRequest())
            try:
                async for event in stream:
                    if event.HasField("device"):
                        yield device_from_proto(event.device)
                    elif event.kind == pb.PRESENCE_KIND_SNAPSHOT_END:
                        yield Sight.COMPLETE
            except grpc.aio.AioRpcError as error:
                _log.info("device_watch_ended", status=error.code().name)
            finally:
                stream.cancel()
            await asyncio.sleep(WATCH_RETRY_SECONDS)

    async def _devices(self, user_id: str, device_id: str) -> list[device_pb2.Device]:
        metadata = ((USER_HEADER, user_id),)
        if device_id:
            request = pb.GetDeviceRequest(device_id=device_id)
            answer = await self._ask(lambda: self._stub.GetDevice(request, metadata=metadata, timeout=CALL_SECONDS))
            return [answer.device]
        devices: list[device_pb2.Device] = []
        token = ""
        while True:
            page_request = pb.ListDevicesRequest(page_size=1000, page_token=token)
            page = await self._page(page_request, user_id)
            devices.extend(page.devices)
            token = page.next_page_token
            if not token:
                break
        if not devices:
            raise DeviceUnknown("This user has no device. Enrol one with the Adiuva client first.")
        return devices

    async def _page(self, request: pb.ListDevicesRequest, user_id: str) -> pb.ListDevicesResponse:
        return await self._ask(
            lambda: self._stub.ListDevices(request, metadata=((USER_HEADER, user_id),), timeout=CALL_SECONDS)
        )

    async def _ask(self, call: Callable[[], Awaitable[ResponseT]]) -> ResponseT:
        give_up = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    raise DeviceUnknown(
                        "The device is not one of this user's. Choose another device for the agent."
                    ) from None
                if error.code() not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                    _log.error("bridge_refused", status=error.code().name)
                    raise DeviceOffline(f"The device bridge refused the request ({error.code().name}).") from None
                if asyncio.get_running_loop().time() > give_up:
                    raise DeviceOffline("The device bridge cannot be reached. The operator has to start it.") from None
            await asyncio.sleep(RETRY_SECONDS)


def _just_seen(device: device_pb2.Device) -> bool:
    if device.HasField("revoked_at") or not device.HasField("last_seen_at"):
        return False
    return datetime.now(UTC) - device.last_seen_at.ToDatetime(tzinfo=UTC) < JUST_SEEN
