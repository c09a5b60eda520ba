"""What the device service needs from the store, and how replicas hear of each other."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from device_bridge.server.devices.domain import Device, Manifest, Notice


@dataclass(frozen=True, slots=True)
class DeviceCursor:
    """Where a page of devices ended: the last one's place in the order."""

    enrolled_at: datetime
    device_id: str


class DeviceStore(Protocol):
    """Devices, always of one user unless said otherwise. Every method may raise StoreUnavailable."""

    async def get(self, user_id: str, device_id: str) -> Device:
        """Return a device.

        Raises:
            DeviceUnknown: The user has no such device.
        """
        ...

    async def page(
        self, user_id: str | None, *, limit: int, after: DeviceCursor | None, include_revoked: bool
    ) -> list[Device]:
        """Return devices, newest enrolment first; of all users when `user_id` is None."""
        ...

    async def load(self, device_ids: Collection[str]) -> dict[str, Device]:
        """Return the devices with these ids that there are, whoever owns them."""
        ...

    async def tools(self, user_id: str, device_id: str) -> Manifest:
        """Return the tools that a device advertised last.

        Raises:
            DeviceUnknown: The user has no such device, or it never told its tools.
        """
        ...

    async def revoke(self, user_id: str, device_id: str, *, reason: str) -> Device:
        """End a device's right to connect, and its lease; tell the replicas. The second time changes nothing.

        Raises:
            DeviceUnknown: The user has no such device.
        """
        ...

    async def ask_release(self, user_id: str, device_id: str) -> Device:
        """Ask whichever replica holds the device's session to end it. Returns the device as it is before that.

        Raises:
            DeviceUnknown: The user has no such device.
        """
        ...


class NoticeFeed(Protocol):
    """Hears what the replicas tell each other."""

    async def run(self, on_notice: Callable[[Notice], None], on_state: Callable[[bool], None]) -> None:
        """Listen until cancelled, connecting again when the connection is lost.

        Args:
            on_notice: Called for each notice, in order.
            on_state: Called with True when it listens from now on, with False when it has missed something.
        """
        ...
