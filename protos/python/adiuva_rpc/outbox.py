"""A bounded outbox that coalesces: whatever waits goes out in one frame.

Senders put items and never wait; one writer drains everything that waits into a frame (up to `frame_bytes`) and never
waits to fill one. Three lanes: control before calls before bulk. A bulk transfer is an iterator of chunks, sliced when
its turn comes; transfers take turns, and a frame holds at most one chunk. Nothing is dropped: what does not fit is
refused when it is put. One event loop, no locks.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable, Iterator
from dataclasses import dataclass
from enum import Enum, unique
from typing import Generic, TypeVar

from adiuva_rpc.errors import ResourceExhausted, Unavailable

T = TypeVar("T")
FrameT = TypeVar("FrameT")

MAX_FRAME_BYTES = 1 << 20
CONTROL_RESERVE = 256
"""Control items that still fit when the outbox is full of calls: a heartbeat or a cancel must not be refused then."""


@unique
class Lane(Enum):
    """Where an item waits. Bulk has no name here: it is put as a whole transfer."""

    CONTROL = "control"
    """Heartbeat, cancel, drain, goodbye: first in every frame."""
    CALL = "call"
    """Calls and small results, in order."""


class OutboxFull(ResourceExhausted):
    """The peer does not read fast enough. The item was not taken; try again later."""

    reason = "OUTBOX_FULL"

    def __init__(self) -> None:
        super().__init__(retry_after=1.0)


class ItemTooLarge(ResourceExhausted):
    """The item is larger than a frame; send it in chunks."""

    reason = "ITEM_TOO_LARGE"

    def __init__(self) -> None:
        super().__init__(retry_after=None)


class OutboxClosed(Unavailable):
    """The session ends; nothing more is taken."""

    reason = "OUTBOX_CLOSED"


class WriteBlocked(Unavailable):
    """The peer has not read for too long; its session is retired."""

    reason = "WRITE_BLOCKED"


@dataclass(slots=True)
class _Transfer(Generic[T]):
    chunks: Iterator[tuple[T, int]]
    next_chunk: tuple[T, int] | None = None


class Outbox(Generic[T]):
    """What waits to be sent to one peer.

    Args:
        max_items: Items of the control and call lanes that may wait.
        max_bytes: Their bytes.
        frame_bytes: Bytes of items in one frame; no item or chunk may be larger.
        max_transfers: Bulk transfers at a time.
    """

    def __init__(
        self,
        *,
        max_items: int = 4096,
        max_bytes: int = 16 << 20,
        frame_bytes: int = MAX_FRAME_BYTES,
        max_transfers: int = 64,
    ) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._frame_bytes = frame_bytes
        self._max_transfers = max_transfers
        self._control: deque[tuple[T, int]] = deque()
        self._calls: deque[tuple[T, int]] = deque()
        self._transfers: OrderedDict[Hashable, _Transfer[T]] = OrderedDict()
        self._chunk_owed = False
        self._waiting_bytes = 0
        self._closed = False
        self._wake = asyncio.Event()

    @property
    def waiting_items(self) -> int:
        """Items that wait in the control and call lanes."""
        return len(self._control) + len(self._calls)

    @property
    def waiting_bytes(self) -> int:
        """Their bytes."""
        return self._waiting_bytes

    def put(self, item: T, size: int, lane: Lane = Lane.CALL) -> None:
        """Queue an item of `size` bytes (as it counts in the frame). Never waits.

        Raises:
            OutboxFull: It does not fit; it was not taken.
            ItemTooLarge: It would not fit into any frame.
            OutboxClosed: After `close`.
        """
        self._check_open()
        if size > self._frame_bytes:
            raise ItemTooLarge
        control = lane is Lane.CONTROL
        items, size_limit = self._max_items, self._max_bytes
        if control:
            items, size_limit = items + CONTROL_RESERVE, size_limit + self._frame_bytes
        if self.waiting_items >= items or self._waiting_bytes + size > size_limit:
            raise OutboxFull
        (self._control if control else self._calls).append((item, size))
        self._waiting_bytes += size
        self._wake.set()

    def put_bulk(self, key: Hashable, chunks: Iterator[tuple[T, int]]) -> None:
        """Queue a transfer: chunks of (item, size), taken one at a time, only when they are sent.

        An error raised by `chunks` ends the transfer and comes out of `drain`.

        Args:
            key: Names the transfer, e.g. the call id.
            chunks: Each at most `frame_bytes`.

        Raises:
            OutboxFull: Too many transfers.
            ValueError: A transfer with this key is under way.
            OutboxClosed: After `close`.
        """
        self._check_open()
        if key in self._transfers:
            raise ValueError("a transfer with this key is under way")
        if len(self._transfers) >= self._max_transfers:
            raise OutboxFull
        self._transfers[key] = _Transfer(chunks)
        self._wake.set()

    def cancel_bulk(self, key: Hashable) -> bool:
        """Stop a transfer; chunks not yet drained are not sent. Returns whether there was one."""
        return self._transfers.pop(key, None) is not None

    def close(self) -> None:
        """Take nothing more. What waits, transfers included, is still drained; then `drain` raises OutboxClosed."""
        self._closed = True
        self._wake.set()

    async def drain(self) -> list[T]:
        """Return the next frame's items: at least one, as many as fit. For one writer only.

        A drain that is cancelled while it waits has taken nothing.

        Raises:
            OutboxClosed: Closed, and everything went out.
            ItemTooLarge: A chunk is larger than a frame; its transfer is ended.
        """
        while True:
            if frame := self._frame():
                return frame
            self._wake.clear()
            if self._closed:
                raise OutboxClosed
            await self._wake.wait()

    def _check_open(self) -> None:
        if self._closed:
            raise OutboxClosed

    def _frame(self) -> list[T]:
        frame: list[T] = []
        room = self._take(self._control, frame, self._frame_bytes)
        # Calls that fill frame after frame must not starve a transfer: a chunk that found no room goes first next time.
        first = self._chunk_owed
        if first:
            room = self._take_chunk(frame, room)
        room = self._take(self._calls, frame, room)
        if not first:
            self._take_chunk(frame, room)
        return frame

    def _take(self, lane: deque[tuple[T, int]], frame: list[T], room: int) -> int:
        while lane and lane[0][1] <= room:
            item, size = lane.popleft()
            frame.append(item)
            room -= size
            self._waiting_bytes -= size
        return room

    def _take_chunk(self, frame: list[T], room: int) -> int:
        while self._transfers:
            key, transfer = self._transfers.popitem(last=False)
            chunk = transfer.next_chunk or next(transfer.chunks, None)
            if chunk is None:
                continue
            item, size = chunk
            if size > self._frame_bytes:
                raise ItemTooLarge
            self._chunk_owed = size > room
            self._transfers[key] = transfer
            if self._chunk_owed:
                transfer.next_chunk = chunk
                self._transfers.move_to_end(key, last=False)
                return room
            transfer.next_chunk = None
            frame.append(item)
            return room - size
        self._chunk_owed = False
        return room


class Pump(Generic[T, FrameT]):
    """Writes an outbox's frames to a stream, one at a time.

    A write must never be put under a timeout: that would leave it half done. The owner watches `blocked_since`
    instead, or runs `watch` beside `run` in its task group, and retires the whole session.

    Args:
        outbox: What to send.
        write: Sends one frame; returns when the transport took it.
        frame_of: Makes a frame of items.
    """

    def __init__(
        self, outbox: Outbox[T], write: Callable[[FrameT], Awaitable[None]], frame_of: Callable[[list[T]], FrameT]
    ) -> None:
        self._outbox = outbox
        self._write = write
        self._frame_of = frame_of
        self.blocked_since: float | None = None
        """Loop time at which the write under way began; None between writes."""

    async def run(self) -> None:
        """Write until the outbox is closed and empty. Errors of `write` come out as they are."""
        time = asyncio.get_running_loop().time
        while True:
            try:
                items = await self._outbox.drain()
            except OutboxClosed:
                return
            self.blocked_since = time()
            await self._write(self._frame_of(items))
            self.blocked_since = None

    async def watch(self, limit: float = 10.0) -> None:
        """Wait until one write has taken longer than `limit` seconds.

        Raises:
            WriteBlocked: Then.
        """
        time = asyncio.get_running_loop().time
        while True:
            since = self.blocked_since
            blocked = 0.0 if since is None else time() - since
            if blocked >= limit:
                raise WriteBlocked
            await asyncio.sleep(limit - blocked)
