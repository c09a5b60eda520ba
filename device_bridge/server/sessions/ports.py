"""What sessions need from the rest: a store of devices and leases, and somewhere to bring answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from device_bridge.server.devices.domain import Manifest
from device_bridge.server.routing.domain import Answer, Parcel
from device_bridge.server.routing.ports import DeviceLink


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A device that is about to be admitted, in its own words except for who it is."""

    device_id: str
    user_id: str
    session_id: str
    agent_version: str
    display_name: str
    root_names: tuple[str, ...]
    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What the store says about a session that begins."""

    epoch: int
    """From the database, rising for each session of the device."""
    known: Manifest | None
    """The device's tools, when the store has the descriptors for the hash of Hello."""


class SessionStore(Protocol):
    """Epochs and leases. Every write is conditional on an epoch: a stale session changes nothing."""

    async def open_session(self, arrival: Arrival, *, replica: str, lease_seconds: float) -> Opening:
        """Give the device's next epoch to a session and its lease to this replica; tell the other replicas.

        Raises:
            DeviceUnknown: There is no such device of that user.
            DeviceRevoked: It may not connect any more.
            StoreUnavailable: The database cannot be reached.
        """
        ...

    async def renew(self, epochs: Mapping[str, int], *, replica: str, lease_seconds: float) -> set[str]:
        """Extend the leases of live sessions (device id to epoch), and remember that they were heard from.

        Returns:
            The devices whose session is not the newest any more, or that were revoked.
        """
        ...

    async def release(self, epochs: Mapping[str, int]) -> None:
        """End the leases of sessions (device id to epoch) that are over, and tell. Leases of other epochs stay."""
        ...

    async def expire(self) -> None:
        """End the leases that nobody renewed in time, and tell."""
        ...

    async def drop_leases_of(self, replica: str) -> int:
        """End all leases of a replica, which has just started: what it held is gone. Returns how many there were."""
        ...

    async def save_tools(self, device_id: str, epoch: int, manifest: Manifest) -> None:
        """Remember a device's tools, unless a newer session has begun; tell."""
        ...


class CallDesk(Protocol):
    """Where the calls of devices are kept: they outlive a session."""

    def attach(self, link: DeviceLink) -> dict[str, Parcel]:
        """A session takes over a device. Returns the calls that were written before and have no answer yet, by key."""
        ...

    def resume(self, link: DeviceLink) -> None:
        """Welcome is on its way: calls that wait may be delivered."""
        ...

    def detach(self, link: DeviceLink) -> None:
        """A session is over. Changes nothing when another one has taken over."""
        ...

    def answered(self, link: DeviceLink, key: str, answer: Answer) -> None:
        """A call has ended. Changes nothing when `link` is not the device's session any more."""
        ...

    def room_made(self, link: DeviceLink) -> None:
        """The device can take another call."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """A device that has just joined."""

    device_id: str
    user_id: str
    credential: str
    """To be shown once, in Welcome."""


class Enroller(Protocol):
    """Redeems one-time codes."""

    async def redeem(self, code: str, *, installation_id: str, display_name: str) -> Enrolled:
        """Make a device and its credential, or a new credential for a device whose first one was never used.

        Raises:
            CodeRefused: The code is unknown, expired, used, or was begun by another installation.
            StoreUnavailable: The database cannot be reached.
        """
        ...
