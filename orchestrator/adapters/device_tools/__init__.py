"""The devices behind `runs.ports.Devices`, through the device bridge."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc.aio

from orchestrator.adapters.device_tools.calls import CallStream
from orchestrator.adapters.device_tools.presence import Presence
from orchestrator.runs.domain import DeviceCall, ToolOutcome
from orchestrator.runs.ports import DeviceInfo, ToolManifest
from orchestrator.schedules.ports import Sight


class BridgeDevices:
    """Implements `runs.ports.Devices` and `schedules.ports.Devices`. `run` must be running for calls to be carried."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Use the channel of a SERVICE credential; it stays the caller's."""
        self._calls = CallStream(channel)
        self._presence = Presence(channel)

    async def run(self) -> None:
        """Keep the stream of calls to the bridge open, for ever."""
        await self._calls.run()

    async def choose(self, user_id: str, device_id: str) -> DeviceInfo:
        """Return the named device, or for an empty id the user's connected device that connected last."""
        return await self._presence.choose(user_id, device_id)

    async def tools(self, user_id: str, device_id: str) -> ToolManifest:
        """Return the tools that the device advertised last."""
        return await self._presence.tools(user_id, device_id)

    async def call(self, call: DeviceCall) -> ToolOutcome:
        """Run a tool on the device, at most 30 s, across reconnects of the device and of the bridge."""
        return await self._calls.call(call)

    def watch(self) -> AsyncIterator[DeviceInfo]:
        """Yield every device as it stands, then each change, for ever; reconnects by itself."""
        return self._presence.watch()

    def sightings(self) -> AsyncIterator[DeviceInfo | Sight]:
        """Yield LOST, every device as it stands, COMPLETE, then each change, for ever; after a loss all over again."""
        return self._presence.sightings()
