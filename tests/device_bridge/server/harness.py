"""A whole bridge for a test: real servers on port 0, a real database, callers with tokens."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio

from adiuva.device_bridge.v1 import (
    device_pb2,
    device_service_pb2 as devices_pb,
    device_service_pb2_grpc as devices_grpc,
    session_service_pb2_grpc as sessions_grpc,
    tool_pb2,
    tool_service_pb2 as tools_pb,
    tool_service_pb2_grpc as tools_grpc,
)
from adiuva_rpc.addresses import ListenAddress
from adiuva_rpc.channel import bearer, connect
from adiuva_rpc.settings import Secret
from adiuva_rpc.tokens import new_token
from device_bridge.server.app import Bridge, running
from device_bridge.server.settings import BridgeSettings
from tests.fakes.device import FakeDevice

FAST: dict[str, Any] = {"bridge_heartbeat_seconds": 0.4, "bridge_hello_seconds": 0.4}


@dataclass(slots=True)
class Harness:
    """A bridge and ways to talk to it."""

    bridge: Bridge
    user: str
    service_token: str
    user_token: str
    device_channel: grpc.aio.Channel
    """To the device port, without a credential."""
    service_channel: grpc.aio.Channel
    """To the internal port, as a service that names nobody."""
    user_channel: grpc.aio.Channel
    """To the internal port, as `user`."""

    @property
    def tools(self) -> tools_grpc.ToolServiceAsyncStub:
        stub: tools_grpc.ToolServiceAsyncStub = tools_grpc.ToolServiceStub(self.user_channel)
        return stub

    @property
    def devices(self) -> devices_grpc.DeviceServiceAsyncStub:
        stub: devices_grpc.DeviceServiceAsyncStub = devices_grpc.DeviceServiceStub(self.user_channel)
        return stub

    @property
    def service_tools(self) -> tools_grpc.ToolServiceAsyncStub:
        stub: tools_grpc.ToolServiceAsyncStub = tools_grpc.ToolServiceStub(self.service_channel)
        return stub

    @property
    def service_devices(self) -> devices_grpc.DeviceServiceAsyncStub:
        stub: devices_grpc.DeviceServiceAsyncStub = devices_grpc.DeviceServiceStub(self.service_channel)
        return stub

    def session_stub(self) -> sessions_grpc.DeviceSessionServiceAsyncStub:
        """Return a stub for speaking the session by hand."""
        stub: sessions_grpc.DeviceSessionServiceAsyncStub = sessions_grpc.DeviceSessionServiceStub(self.device_channel)
        return stub

    def own_channel(self) -> grpc.aio.Channel:
        """Return another channel to the device port: one connection carries only a few sessions."""
        return connect(f"127.0.0.1:{self.bridge.device_server.port}")

    async def is_online(self, device_id: str) -> bool:
        """Ask whether a device is connected."""
        return (await self.devices.GetDevice(devices_pb.GetDeviceRequest(device_id=device_id))).device.online

    async def code(self) -> str:
        """Make a one-time code."""
        made = await self.devices.CreateEnrolmentCode(
            devices_pb.CreateEnrolmentCodeRequest(request_id=str(uuid.uuid4()))
        )
        return made.code

    async def code_for(self, user: str) -> str:
        """Make a one-time code for any user."""
        request = devices_pb.CreateEnrolmentCodeRequest(request_id=str(uuid.uuid4()))
        made = await self.service_devices.CreateEnrolmentCode(request, metadata=(("adiuva-user", user),))
        return made.code

    async def only_device(self) -> device_pb2.Device:
        """Return the user's device, when there is one only."""
        (device,) = (await self.devices.ListDevices(devices_pb.ListDevicesRequest())).devices
        return device

    async def list_tools(self, device_id: str) -> devices_pb.ListToolsResponse:
        """Return what a device can do."""
        return await self.devices.ListTools(devices_pb.ListToolsRequest(device_id=device_id))

    async def enrol(self, **options: Any) -> str:
        """Enrol a new device and return its credential."""
        async with FakeDevice(self.device_channel, code=await self.code(), **options) as device:
            return device.issued_credential

    def device(self, credential: str, **options: Any) -> FakeDevice:
        """Return a device that is about to connect."""
        return FakeDevice(self.device_channel, credential, **options)

    async def call(
        self, tool: str, arguments: Mapping[str, Any] | None = None, *, within: float = 10.0, **fields: Any
    ) -> tools_pb.CallToolResponse:
        """Run one call."""
        call = self.tool_call(tool, arguments, **fields)
        return await self.tools.CallTool(tools_pb.CallToolRequest(call=call), timeout=within)

    @staticmethod
    def tool_call(tool: str, arguments: Mapping[str, Any] | None = None, **fields: Any) -> tool_pb2.ToolCall:
        """Return a call; `timeout` is in seconds."""
        seconds = fields.pop("timeout", None)
        call = tool_pb2.ToolCall(tool=tool, arguments_json=json.dumps(arguments or {}), **fields)
        if seconds is not None:
            call.timeout.FromMilliseconds(round(seconds * 1000))
        return call


@asynccontextmanager
async def harness(database_url: str, directory: Path, **settings: Any) -> AsyncIterator[Harness]:
    """Start a bridge; it is cut off at the end."""
    user = f"user-{uuid.uuid4().hex[:8]}"
    service_token, service_hash = new_token()
    user_token, user_hash = new_token()
    token_file = directory / f"tokens-{uuid.uuid4().hex}.json"
    token_file.touch(mode=0o600)
    token_file.write_text(
        json.dumps(
            [
                {"name": "orchestrator", "role": "service", "sha256": service_hash},
                {"name": user, "role": "user", "user_id": user, "sha256": user_hash},
            ]
        )
    )
    chosen: dict[str, Any] = {
        "database_url": Secret(database_url),
        "token_file": token_file,
        "bridge_device_listen": ListenAddress("127.0.0.1", 0),
        "bridge_internal_listen": ListenAddress("127.0.0.1", 0),
        "bridge_replica_address": f"replica-{uuid.uuid4().hex[:8]}",
        **settings,
    }
    async with (
        running(BridgeSettings(**chosen)) as bridge,
        bridge.device_server,
        bridge.internal_server,
        connect(f"127.0.0.1:{bridge.device_server.port}") as device_channel,
        connect(f"127.0.0.1:{bridge.internal_server.port}", authorization=bearer(service_token)) as service_channel,
        connect(f"127.0.0.1:{bridge.internal_server.port}", authorization=bearer(user_token)) as user_channel,
    ):
        yield Harness(bridge, user, service_token, user_token, device_channel, service_channel, user_channel)
