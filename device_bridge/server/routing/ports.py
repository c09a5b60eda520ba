"""What routing needs from the rest: links to devices, and who owns which device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from adiuva_rpc.errors import AdiuvaError
from device_bridge.server.routing.domain import Answer, Call, Parcel


class DeviceLink(Protocol):
    """A live session, as routing sees it. Nothing here waits."""

    @property
    def device_id(self) -> str:
        """The device at its end."""
        ...

    @property
    def user_id(self) -> str:
        """The device's owner."""
        ...

    @property
    def epoch(self) -> int:
        """The session's number."""
        ...

    @property
    def room(self) -> int:
        """How many more calls may be delivered now."""
        ...

    def deliver(self, parcel: Parcel) -> None:
        """Put a call on its way. Allowed while `room` is positive."""
        ...

    def withdraw(self, key: str) -> None:
        """Nobody waits for this call any more."""
        ...


class Waiter(Protocol):
    """Whoever waits for the answer of a call."""

    def ended(self, call: Call, answer: Answer) -> None:
        """The call is over. Called once, never waits, never raises."""
        ...


class DeviceDirectory(Protocol):
    """Who owns which device."""

    async def locate(self, wanted: Sequence[tuple[str, str]]) -> list[str | AdiuvaError]:
        """Find devices by (user id, device id); an empty device id means the user's device that connected last.

        Returns:
            For each, the device's id, or DeviceUnknown (also for a device of another user, or a revoked one).

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        ...
