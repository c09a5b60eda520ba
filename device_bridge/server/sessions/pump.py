"""Moves the frames of one session between its stream and its state, and gives the session up when it must.

Three parts in one task group, ended together: a reader, a writer and a supervisor. No timeout is ever put around a read
or a write, which would break the stream; the supervisor watches the clock instead and ends the group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

import structlog

from adiuva_rpc.errors import AdiuvaError
from adiuva_rpc.outbox import Pump
from device_bridge.server.devices.domain import Manifest
from device_bridge.server.errors import SessionRetired
from device_bridge.server.sessions.domain import BridgeItem, Frame, Hello, Limits
from device_bridge.server.sessions.session import Session

FAREWELL_SECONDS = 1.0
"""For writing Closed to a device that may not read any more."""

MessageT = TypeVar("MessageT")

_log = structlog.get_logger(__name__)


class Stream(Protocol[MessageT]):
    """The two ends of a stream in domain terms."""

    async def read(self) -> Frame | None:
        """Return the next frame, or None when the device's side is over, whatever that means."""
        ...

    def encode(self, seq: int, items: list[BridgeItem]) -> MessageT:
        """Return a frame as the stream sends it."""
        ...

    async def write(self, message: MessageT) -> None:
        """Hand a frame to the transport.

        Raises:
            PeerGone: Nobody is there.
        """
        ...


class PeerGone(Exception):
    """Nobody is at the other end of the stream any more. An ordinary ending."""


class _Over(PeerGone):
    """The stream shall end now, from our side."""


class SessionPump(Generic[MessageT]):
    """Runs one session on one stream.

    Args:
        session: Its state.
        stream: Its stream.
        limits: Of time.
        admit: Brings the session to READY, or raises why not.
        save_tools: Stores the device's tools; failures are its own business.
        clock: Monotonic seconds, as the session's own; real, since a loop waits by it.
    """

    def __init__(
        self,
        session: Session,
        stream: Stream[MessageT],
        *,
        limits: Limits,
        admit: Callable[[Session, Hello], Awaitable[None]],
        save_tools: Callable[[Session, Manifest], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self._session = session
        self._stream = stream
        self._limits = limits
        self._admit = admit
        self._save_tools = save_tools
        self._clock = clock
        self._seq = 0
        self._frame_ends_session = False
        self._writer: Pump[BridgeItem, MessageT | None] = Pump(session.outbox, self._write, self._frame_of)

    async def run(self) -> None:
        """Return when the session has ended well, or because the device is gone.

        Raises:
            AdiuvaError: The session ended with it; it is the status of the stream.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._writer.run())
                tasks.create_task(self._supervise())
                await self._read()
        except* PeerGone:
            pass
        finally:
            ending = self._session.ending
            self._session.over()
        if ending is not None and ending.error is not None:
            raise ending.error

    async def _read(self) -> None:
        while True:
            frame = await self._stream.read()
            if frame is None:
                # A reset and a half-close look alike here. Only Goodbye is a goodbye, and either way nobody is there.
                raise PeerGone
            self._session.receive(frame)
            if self._session.greeting is not None:
                await self._greet(self._session.greeting)

    async def _greet(self, hello: Hello) -> None:
        try:
            await self._admit(self._session, hello)
        except AdiuvaError as error:
            # Before Welcome nothing can be said on the stream: its status says it.
            self._session.refuse(error)

    def _frame_of(self, items: list[BridgeItem]) -> MessageT | None:
        going = self._session.written(items)
        self._frame_ends_session = self._session.ending is not None
        if not going:
            return None
        self._seq += 1
        return self._stream.encode(self._seq, going)

    async def _write(self, message: MessageT | None) -> None:
        ends = self._frame_ends_session
        if message is not None:
            await self._stream.write(message)
        if ends:
            raise _Over

    async def _supervise(self) -> None:
        session = self._session
        while True:
            session.woken.clear()
            if session.unsaved is not None:
                manifest, session.unsaved = session.unsaved, None
                await self._save_tools(session, manifest)
            session.tick()
            if session.ending is not None:
                await self._farewell()
            now = self._clock()
            blocked = 0.0 if self._writer.blocked_since is None else now - self._writer.blocked_since
            if blocked >= self._limits.write_blocked:
                _log.warning("write blocked", device_id=session.device_id, epoch=session.epoch)
                session.refuse(SessionRetired("The device did not read for too long. Connect again."))
                raise _Over
            wait = self._limits.write_blocked - blocked
            if session.deadline is not None:
                wait = min(wait, max(0.0, session.deadline - now))
            await _first(session.woken, wait)

    async def _farewell(self) -> None:
        """Leave the writer a moment for Closed, which ends the group; then end it."""
        if self._session.outbox.waiting_items or self._writer.blocked_since is not None:
            await asyncio.sleep(FAREWELL_SECONDS)
        raise _Over


async def _first(event: asyncio.Event, timeout: float) -> None:
    """Wait for the event, but no longer than `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            await event.wait()
    except TimeoutError:
        return
