"""DeviceService: who is there, what they can do, who may join."""

from __future__ import annotations

import re
from typing import Protocol

import grpc.aio

from adiuva.device_bridge.v1 import device_service_pb2 as pb, device_service_pb2_grpc as pb_grpc
from adiuva_rpc.errors import InvalidArgument
from adiuva_rpc.identity import Role, current_caller, user_for
from device_bridge.server.devices.conversion import device_to_proto, presence_to_proto
from device_bridge.server.devices.domain import Presence
from device_bridge.server.devices.paging import cursor_of, page_size_of, token_of
from device_bridge.server.devices.ports import DeviceCursor, DeviceStore
from device_bridge.server.devices.watch import PresenceHub
from device_bridge.server.enrolment.enroller import CodeEnroller
from device_bridge.server.errors import DeviceUnknown
from device_bridge.server.sessions.conversion import seconds_from_proto, timestamp_to_proto, tool_to_proto

MAX_REASON_CHARS = 512

_DEVICE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

_WatchContext = grpc.aio.ServicerContext[pb.WatchDevicesRequest, pb.WatchDevicesResponse]


class LiveSessions(Protocol):
    """The sessions of this replica, for ending them without a detour."""

    def revoke(self, device_id: str) -> None:
        """End a device's session for ever."""
        ...

    def disconnect(self, device_id: str, *, up_to_epoch: int) -> bool:
        """End a device's session, up to the one with this epoch. Returns whether there was one here."""
        ...


class DeviceServicer(pb_grpc.DeviceServiceServicer):
    """Translates between the wire and the devices.

    Args:
        store: The devices.
        hub: Presence.
        enroller: Makes codes.
        sessions: Who is connected here.
    """

    def __init__(self, *, store: DeviceStore, hub: PresenceHub, enroller: CodeEnroller, sessions: LiveSessions) -> None:
        self._store = store
        self._hub = hub
        self._enroller = enroller
        self._sessions = sessions

    async def ListDevices(
        self,
        request: pb.ListDevicesRequest,
        context: grpc.aio.ServicerContext[pb.ListDevicesRequest, pb.ListDevicesResponse],
    ) -> pb.ListDevicesResponse:
        """Give a page of the user's devices."""
        user_id = user_for(current_caller())
        size = page_size_of(request.page_size)
        query = f"{user_id}\0{request.include_revoked}"
        page = await self._store.page(
            user_id,
            limit=size + 1,
            after=cursor_of(request.page_token, query=query),
            include_revoked=request.include_revoked,
        )
        devices = page[:size]
        more = (
            token_of(DeviceCursor(devices[-1].enrolled_at, devices[-1].device_id), query=query)
            if len(page) > size
            else ""
        )
        return pb.ListDevicesResponse(devices=map(device_to_proto, devices), next_page_token=more)

    async def GetDevice(
        self, request: pb.GetDeviceRequest, context: grpc.aio.ServicerContext[pb.GetDeviceRequest, pb.GetDeviceResponse]
    ) -> pb.GetDeviceResponse:
        """Give one device."""
        device = await self._store.get(user_for(current_caller()), _device_id(request.device_id))
        return pb.GetDeviceResponse(device=device_to_proto(device))

    async def ListTools(
        self, request: pb.ListToolsRequest, context: grpc.aio.ServicerContext[pb.ListToolsRequest, pb.ListToolsResponse]
    ) -> pb.ListToolsResponse:
        """Give the tools that a device advertised last."""
        manifest = await self._store.tools(user_for(current_caller()), _device_id(request.device_id))
        tools = sorted(manifest.tools, key=lambda tool: tool.name)
        return pb.ListToolsResponse(tools=map(tool_to_proto, tools), hash=manifest.hash)

    async def WatchDevices(  # type: ignore[override]  # a coroutine that writes, where the stub knows generators only
        self, request: pb.WatchDevicesRequest, context: _WatchContext
    ) -> None:
        """Stream presence until the caller leaves."""
        caller = current_caller()
        everybody = caller.role is Role.SERVICE and caller.acting_for is None

        async def tell(event: Presence) -> None:
            await context.write(presence_to_proto(event))

        await self._hub.watch(None if everybody else user_for(caller), tell)

    async def CreateEnrolmentCode(
        self,
        request: pb.CreateEnrolmentCodeRequest,
        context: grpc.aio.ServicerContext[pb.CreateEnrolmentCodeRequest, pb.CreateEnrolmentCodeResponse],
    ) -> pb.CreateEnrolmentCodeResponse:
        """Make a one-time code."""
        code = await self._enroller.make_code(
            user_for(current_caller()),
            request_id=request.request_id,
            lifetime=seconds_from_proto(request.lifetime) if request.HasField("lifetime") else None,
        )
        return pb.CreateEnrolmentCodeResponse(code=code.code, expires_at=timestamp_to_proto(code.expires_at))

    async def RevokeDevice(
        self,
        request: pb.RevokeDeviceRequest,
        context: grpc.aio.ServicerContext[pb.RevokeDeviceRequest, pb.RevokeDeviceResponse],
    ) -> pb.RevokeDeviceResponse:
        """End a device's right to connect."""
        if len(request.reason) > MAX_REASON_CHARS or "\0" in request.reason:
            raise InvalidArgument("reason", f"must have at most {MAX_REASON_CHARS} characters and no NUL")
        device_id = _device_id(request.device_id)
        device = await self._store.revoke(user_for(current_caller()), device_id, reason=request.reason)
        self._sessions.revoke(device.device_id)
        return pb.RevokeDeviceResponse(device=device_to_proto(device))

    async def DisconnectDevice(
        self,
        request: pb.DisconnectDeviceRequest,
        context: grpc.aio.ServicerContext[pb.DisconnectDeviceRequest, pb.DisconnectDeviceResponse],
    ) -> pb.DisconnectDeviceResponse:
        """End a device's live session."""
        device = await self._store.ask_release(user_for(current_caller()), _device_id(request.device_id))
        here = self._sessions.disconnect(device.device_id, up_to_epoch=device.session_epoch)
        return pb.DisconnectDeviceResponse(was_online=here or device.online)


def _device_id(named: str) -> str:
    if not _DEVICE_ID.fullmatch(named):
        # What cannot be an id is no device either: the same answer, and the database is not asked.
        raise DeviceUnknown
    return named
