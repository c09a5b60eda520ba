"""One Execute stream: many calls in, their answers out, in frames that carry whatever waits."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import grpc.aio

from adiuva.device_bridge.v1 import tool_pb2, tool_service_pb2 as pb
from adiuva_rpc.errors import AdiuvaError, InvalidArgument
from adiuva_rpc.failpoints import failpoint
from adiuva_rpc.identity import Caller, user_for
from adiuva_rpc.outbox import Outbox, OutboxClosed, OutboxFull, Pump, WriteBlocked
from adiuva_rpc.status import ErrorTable
from device_bridge.server.errors import BridgeStopping, ResultTooLong, TooManyCalls
from device_bridge.server.routing.arguments import check_call
from device_bridge.server.routing.calls import CallTable
from device_bridge.server.routing.conversion import call_from_proto, finished_to_proto, in_pieces, rejected_to_proto
from device_bridge.server.routing.domain import Answer, ByteBudget, Call, Delivery, Finished, rejection

MAX_OPEN_CALLS = 4096
"""On one stream; more are refused until some have ended."""
CHUNK_BYTES = 256 * 1024
MAX_WAITING_BYTES = 64 << 20
ITEM_OVERHEAD = 512
FRAME_BYTES = (1 << 20) - 32 * 1024

_Context = grpc.aio.ServicerContext[pb.ExecuteRequest, pb.ExecuteResponse]
_Key = tuple[str, str]


@dataclass(slots=True, eq=False)
class ExecuteStreams:
    """What all Execute streams share."""

    table: CallTable
    statuses: ErrorTable
    clock: Callable[[], float]
    budget: ByteBudget
    """Bytes of long results that may wait for callers of this process."""
    write_blocked: float = 10.0
    """Seconds after which a caller that does not read is given up."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


class _Over(Exception):
    """The stream is over, in one of the ordinary ways."""


class ExecuteStream:
    """One stream and the calls that it submitted. It is their `Waiter`.

    Args:
        shared: What all streams share.
        context: The stream.
        caller: Who opened it.
    """

    def __init__(self, shared: ExecuteStreams, context: _Context, caller: Caller) -> None:
        self._shared = shared
        self._context = context
        self._caller = caller
        self._open: Counter[_Key] = Counter()
        self._half_closed = False
        self._overflowed = asyncio.Event()
        self._owed = 0
        self._transfers = itertools.count()
        self._outbox: Outbox[pb.CallItem] = Outbox(
            max_items=2 * MAX_OPEN_CALLS,
            max_bytes=MAX_WAITING_BYTES,
            frame_bytes=FRAME_BYTES,
            max_transfers=MAX_OPEN_CALLS,
        )
        self._pump: Pump[pb.CallItem, pb.ExecuteResponse] = Pump(
            self._outbox, self._write, lambda items: pb.ExecuteResponse(items=items)
        )

    async def run(self) -> None:
        """Carry calls until the caller has ended its side and all its calls have ended.

        Raises:
            InvalidArgument: A malformed frame.
            BridgeStopping: The bridge stops; the answers that there were have been written.
            WriteBlocked: The caller does not read.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._send())
                tasks.create_task(self._pump.watch(self._shared.write_blocked))
                tasks.create_task(self._give_up_when_full())
                tasks.create_task(self._stop_with_bridge())
                await self._receive()
        except* _Over:
            pass
        finally:
            done = self._half_closed and not self._open
            self._outbox.close()
            for user_id, call_id in list(self._open.elements()):
                self._shared.table.leave(user_id, call_id, self)
            self._shared.budget.give_back(self._owed)
            self._owed = 0
        if self._shared.stopping.is_set() and not done:
            raise BridgeStopping

    # --- in

    async def _receive(self) -> None:
        while True:
            message: object = await self._context.read()
            if not isinstance(message, pb.ExecuteRequest):
                # The caller's side is over, and its calls still finish. After a reset this task is cancelled instead.
                self._half_closed = True
                self._close_when_done()
                return
            for item in message.items:
                self._take(item)

    def _take(self, item: pb.CallerItem) -> None:
        match item.WhichOneof("item"):
            case "submit":
                self._submit(item.submit)
            case "cancel":
                key = (item.cancel.user_id or self._caller.user_id or "", item.cancel.call_id)
                if key in self._open:
                    self._shared.table.cancel(*key)
            case None:
                raise InvalidArgument("items", "an item must be submit or cancel")

    def _submit(self, message: tool_pb2.ToolCall) -> None:
        try:
            call = call_from_proto(message, user_id=user_for(self._caller, message.user_id))
            check_call(call)
            if self._open.total() >= MAX_OPEN_CALLS:
                raise TooManyCalls("The stream has too many calls open.", retry_after=1.0)
        except AdiuvaError as error:
            self._answer(message.user_id or self._caller.user_id or "", message.call_id, rejection(error))
            return
        self._open[call.user_id, call.call_id] += 1
        self._shared.table.submit(call, self, self._shared.clock())

    # --- out

    def ended(self, call: Call, answer: Answer) -> None:
        """A call of this stream is over."""
        key = (call.user_id, call.call_id)
        self._open[key] -= 1
        if self._open[key] <= 0:
            del self._open[key]
        self._answer(*key, answer)
        self._close_when_done()

    def _answer(self, user_id: str, call_id: str, answer: Answer) -> None:
        try:
            if isinstance(answer, Finished):
                self._finish(user_id, call_id, answer)
            else:
                item = pb.CallItem(rejected=rejected_to_proto(answer, self._shared.statuses))
                self._put(user_id, call_id, item, ITEM_OVERHEAD)
        except OutboxFull:
            self._overflowed.set()
        except OutboxClosed:
            # The stream ends; whoever opens another one submits the call again.
            return

    def _finish(self, user_id: str, call_id: str, answer: Finished) -> None:
        failpoint("bridge.before_answer")
        outcome = in_pieces(answer.outcome, CHUNK_BYTES)
        if len(outcome.encoded) > FRAME_BYTES - ITEM_OVERHEAD:
            self._answer(user_id, call_id, rejection(ResultTooLong(retry_after=None), Delivery.COMPLETED))
            return
        finished = pb.CallItem(finished=finished_to_proto(replace(answer, outcome=outcome)))
        size = len(outcome.encoded) + ITEM_OVERHEAD
        if not outcome.pieces:
            self._put(user_id, call_id, finished, size)
            return
        waiting = sum(map(len, outcome.pieces))
        if not self._shared.budget.take(waiting):
            refusal = TooManyCalls("The bridge is carrying too many long results.", retry_after=1.0)
            self._answer(user_id, call_id, rejection(refusal, Delivery.COMPLETED))
            return
        self._owed += waiting
        finished.user_id, finished.call_id = user_id, call_id
        self._outbox.put_bulk(next(self._transfers), self._pieces(outcome.pieces, finished, size))

    def _pieces(
        self, pieces: tuple[bytes, ...], finished: pb.CallItem, finished_size: int
    ) -> Iterator[tuple[pb.CallItem, int]]:
        offset = 0
        for piece in pieces:
            for start in range(0, len(piece), CHUNK_BYTES):
                data = piece[start : start + CHUNK_BYTES]
                self._owed -= len(data)
                self._shared.budget.give_back(len(data))
                chunk = pb.CallChunk(offset=offset, data=data)
                item = pb.CallItem(user_id=finished.user_id, call_id=finished.call_id, chunk=chunk)
                yield item, len(data) + ITEM_OVERHEAD
                offset += len(data)
        yield finished, finished_size

    def _put(self, user_id: str, call_id: str, item: pb.CallItem, size: int) -> None:
        item.user_id, item.call_id = user_id, call_id
        self._outbox.put(item, size)

    def _close_when_done(self) -> None:
        if self._half_closed and not self._open:
            self._outbox.close()

    async def _send(self) -> None:
        await self._pump.run()
        raise _Over

    async def _write(self, message: pb.ExecuteResponse) -> None:
        try:
            await self._context.write(message)
        except grpc.aio.InternalError:
            # What grpc.aio raises for a write to a peer that left.
            raise _Over from None

    async def _give_up_when_full(self) -> None:
        await self._overflowed.wait()
        raise WriteBlocked

    async def _stop_with_bridge(self) -> None:
        await self._shared.stopping.wait()
        self._outbox.close()
