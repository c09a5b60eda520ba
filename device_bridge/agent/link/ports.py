"""What the link needs from outside: time, a stream to the bridge, and the identity of the device."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol

from device_bridge.agent.link.domain import Frame, SessionEnd, Welcome


class Clock(Protocol):
    """Time as the link sees it. Tests move it by hand."""

    def now(self) -> float:
        """Return seconds of a monotonic clock."""
        ...

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait for `event`, at most `seconds`; return whether it is set."""
        ...


class MonotonicClock:
    """The clock of the process."""

    def now(self) -> float:
        """Return seconds of a monotonic clock."""
        return time.monotonic()

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait for `event`, at most `seconds`; return whether it is set."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await event.wait()
        except TimeoutError:
            pass
        return event.is_set()


class StreamEnded(Exception):
    """The stream is over. `end` says how, as far as its status tells."""

    def __init__(self, end: SessionEnd) -> None:
        super().__init__(end.detail)
        self.end = end


class Stream(Protocol):
    """One stream to the bridge. At most one read and one write at a time; cancelling either ends the stream."""

    async def read(self) -> Frame:
        """Return the next frame.

        Raises:
            StreamEnded: There is none.
            ProtocolViolation: The frame makes no sense.
        """
        ...

    async def write(self, frame: Any) -> None:
        """Hand a frame over. Returning is not delivery.

        Raises:
            StreamEnded: The stream is over; only a read knows why.
        """
        ...

    async def done_writing(self) -> None:
        """End this side of the stream. Never raises when the stream is over already."""
        ...

    def cancel(self) -> None:
        """End the stream at once. May be called at any time, any number of times."""
        ...


class Dialler(Protocol):
    """Opens streams to the bridge."""

    def open(self, authorization: str) -> Stream:
        """Open a stream; it connects in the background, and its first read tells when it could not."""
        ...

    async def renew(self) -> None:
        """Replace the channel below, which may be stuck. No stream may be open."""
        ...


class Identity(Protocol):
    """Who the device is to the bridge."""

    @property
    def installation_id(self) -> str:
        """The id made once at installation."""
        ...

    @property
    def enrolled(self) -> bool:
        """Whether the next session presents a credential, not a code."""
        ...

    def authorization(self) -> str:
        """Return the value of the `authorization` metadata for the next session."""
        ...

    def welcomed(self, welcome: Welcome) -> None:
        """Take note of a Welcome. An issued credential is on the disk when this returns.

        Raises:
            OSError: It could not be stored; the session must not be used.
        """
        ...

    def refused(self, end: SessionEnd) -> SessionEnd:
        """Judge a refusal or a revocation at the door: return what it means for the sessions to come."""
        ...
