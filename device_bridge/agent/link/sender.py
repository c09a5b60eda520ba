"""The writing half of a session: what is to be sent, in which order, and in which pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import NoReturn

import structlog

from adiuva_rpc.failpoints import failpoint
from adiuva_rpc.outbox import ItemTooLarge, Lane, Outbox, OutboxClosed, OutboxFull, Pump
from device_bridge.agent.domain import Failure, Reason
from device_bridge.agent.link import conversion
from device_bridge.agent.link.conversion import WireFrame, WireItem
from device_bridge.agent.link.domain import Answer, EndKind, SessionEnd, Welcome
from device_bridge.agent.link.ports import Stream, StreamEnded

log = structlog.get_logger(__name__)

SMALL_RESULT_BYTES = 16 << 10
"""A result up to this size overtakes bulk. A longer one takes its turn with the others, in one piece or in chunks."""
OUTBOX_ITEMS = 8192
OUTBOX_BYTES = 64 << 20
OUTBOX_TRANSFERS = 4096
"""Bounds that only a bridge which stopped reading can reach: `Calls` holds fewer answers than this. A transfer costs
nothing until it is sent, because its bytes are the kept answer's own."""


class Sender:
    """Everything that one session sends. Nobody but `run` ever waits for the stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._seq = 0
        self._chunk_bytes = conversion.DEFAULT_CHUNK_BYTES
        self._room = conversion.DEFAULT_FRAME_BYTES - conversion.FRAME_OVERHEAD
        self._begun = asyncio.Event()
        self._overflow = asyncio.Event()
        self._outbox: Outbox[WireItem] = self._new_outbox()
        self._pump = self._new_pump()

    def begin(self, welcome: Welcome) -> None:
        """Start sending, on the terms of the Welcome. To be called once, before anything is put."""
        self._chunk_bytes = welcome.chunk_bytes
        self._room = welcome.max_frame_bytes - conversion.FRAME_OVERHEAD
        self._outbox = self._new_outbox()
        self._pump = self._new_pump()
        self._begun.set()

    async def run(self, hello: WireItem) -> None:
        """Send Hello, then whatever is put until `close`, then Goodbye. Returns early when the stream is over."""
        try:
            await self._stream.write(self._frame([hello]))
            await self._begun.wait()
            await self._pump.run()
            # Last of all: a bridge that reads Goodbye ends the session and hears no answer after it.
            await self._stream.write(self._frame([conversion.goodbye_item("the agent stops")]))
            await self._stream.done_writing()
        except StreamEnded:
            # Only a read knows the status, and it ends at once as well.
            log.debug("write_on_a_lost_stream")

    async def watch_writes(self, limit: float) -> None:
        """Wait until one write has been blocked for `limit` seconds.

        Raises:
            WriteBlocked: Then.
        """
        await self._begun.wait()
        await self._pump.watch(limit)

    async def watch_overflow(self) -> NoReturn:
        """Wait until something could not be taken.

        Raises:
            StreamEnded: Then: nothing may be dropped silently, so the session has to end.
        """
        await self._overflow.wait()
        raise StreamEnded(SessionEnd(kind=EndKind.STALLED, detail="too much waited to be sent"))

    def put(self, item: WireItem, lane: Lane = Lane.CONTROL) -> None:
        """Queue an item. One that cannot be taken ends the session; after `close` it is left out."""
        try:
            self._outbox.put(item, conversion.size_in_frame(item), lane)
        except (OutboxFull, ItemTooLarge):
            self._overflow.set()
        except OutboxClosed:
            log.debug("put_after_goodbye")

    def put_answer(self, answer: Answer) -> None:
        """Queue an answer, whole or in chunks. Never raises: what does not go out is still kept by `Calls`."""
        failpoint("device.before_answer")
        answer = _reportable(answer, self._room)
        if len(answer.body) <= min(SMALL_RESULT_BYTES, self._chunk_bytes):
            item = conversion.done_item(answer)
            if conversion.size_in_frame(item) <= self._room:
                self.put(item, Lane.CALL)
                return
        try:
            self._outbox.put_bulk(answer.call_key, _pieces(answer, self._chunk_bytes, self._room))
        except ValueError:
            log.debug("answer_is_on_its_way", call_key=answer.call_key)
        except OutboxFull:
            self._overflow.set()
        except OutboxClosed:
            log.debug("put_after_goodbye")

    def close(self) -> None:
        """Take nothing more; what waits still goes out, and Goodbye after it."""
        self._outbox.close()

    def _new_outbox(self) -> Outbox[WireItem]:
        return Outbox(
            max_items=OUTBOX_ITEMS, max_bytes=OUTBOX_BYTES, frame_bytes=self._room, max_transfers=OUTBOX_TRANSFERS
        )

    def _new_pump(self) -> Pump[WireItem, WireFrame]:
        return Pump(self._outbox, self._stream.write, self._frame)

    def _frame(self, items: list[WireItem]) -> WireFrame:
        self._seq += 1
        return conversion.frame_to_proto(self._seq, items)


def _reportable(answer: Answer, room: int) -> Answer:
    """Return the answer, or a failure when its effects alone would crowd a frame."""
    if not answer.effects:
        return answer
    rest = replace(answer, body=b"")
    if conversion.size_in_frame(conversion.done_item(rest)) <= room // 2:
        return answer
    message = "The call took effect, but reporting its effects needs more room than a frame has."
    return replace(rest, effects=(), failure=Failure(reason=Reason.RESULT_TOO_LARGE, message=message))


def _pieces(answer: Answer, chunk_bytes: int, room: int) -> Iterator[tuple[WireItem, int]]:
    if len(answer.body) <= chunk_bytes:
        whole = conversion.done_item(answer)
        if (size := conversion.size_in_frame(whole)) <= room:
            yield whole, size
            return
    for item in conversion.chunked_items(answer, chunk_bytes):
        yield item, conversion.size_in_frame(item)
