"""Every tool call of this process on one stream to the bridge, and across the streams that follow it.

A call is known by (user, call_id) until it is answered or its time is over. When a stream ends, whatever is open is
submitted again on the next one under the same call_id: the device's ledger answers what had already taken effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc.aio
import structlog

from adiuva.device_bridge.v1 import tool_service_pb2 as pb, tool_service_pb2_grpc as pb_grpc
from adiuva_rpc.outbox import Lane, Outbox, OutboxClosed, OutboxFull, Pump
from orchestrator.adapters.device_tools.conversion import call_to_proto, fault_of, outcome_from_proto
from orchestrator.runs.domain import DeviceCall, DeviceOffline, ToolOutcome, ToolTimedOut

CALL_SECONDS = 30.0
"""How long a tool call may take, reconnects included."""
RECONNECT_SECONDS = 0.5
MAX_WAITING_CALLS = 4_096
MAX_WAITING_BYTES = 64 * 1024 * 1024
FRAME_BYTES = 1024 * 1024

_log = structlog.get_logger(__name__)

Key = tuple[str, str]


@dataclass(slots=True)
class _OpenCall:
    call: DeviceCall
    deadline: float
    """On the loop's clock."""
    answer: asyncio.Future[ToolOutcome]
    chunks: bytearray = field(default_factory=bytearray)
    retry: asyncio.TimerHandle | None = None
    submitted: bool = False
    """Whether a bridge has been given the call: then the device may have run it."""


class StreamEnded(Exception):
    """The bridge ended the stream: open the next one."""


class CallStream:
    """Carries tool calls. `run` must be running."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = pb_grpc.ToolServiceStub(channel)
        self._open: dict[Key, _OpenCall] = {}
        self._outbox: Outbox[pb.CallerItem] | None = None

    async def call(self, call: DeviceCall) -> ToolOutcome:
        """Run a tool on its device and return how it ended.

        Raises:
            DeviceUnknown, DeviceOffline, ToolTimedOut, RunFault: as `runs.ports.Devices.call`.
        """
        with self._registered(call) as opened:
            self._submit(opened)
            try:
                async with asyncio.timeout_at(opened.deadline + 1.0):
                    return await opened.answer
            except TimeoutError:
                if opened.submitted:
                    raise ToolTimedOut(f"The device did not answer {call.tool} in time.") from None
                raise DeviceOffline("The device bridge cannot be reached. The operator has to start it.") from None

    async def run(self) -> None:
        """Keep a stream open, for ever."""
        while True:
            try:
                await self._one_stream()
            except* (grpc.aio.AioRpcError, StreamEnded, OutboxClosed) as group:
                _log.info("call_stream_ended", open_calls=len(self._open), error=type(group.exceptions[0]).__name__)
            self._outbox = None
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _one_stream(self) -> None:
        stream = self._stub.Execute()
        try:
            async with asyncio.TaskGroup() as tasks:
                outbox: Outbox[pb.CallerItem] = Outbox(
                    max_items=MAX_WAITING_CALLS, max_bytes=MAX_WAITING_BYTES, frame_bytes=FRAME_BYTES
                )
                pump = Pump(outbox, stream.write, lambda items: pb.ExecuteRequest(items=items))
                tasks.create_task(pump.run())
                self._outbox = outbox
                for opened in list(self._open.values()):
                    opened.chunks.clear()
                    self._submit(opened)
                await self._receive(stream)
        finally:
            self._outbox = None
            stream.cancel()

    async def _receive(self, stream: grpc.aio.StreamStreamCall[pb.ExecuteRequest, pb.ExecuteResponse]) -> None:
        while True:
            frame = await stream.read()
            if not isinstance(frame, pb.ExecuteResponse):  # grpc.aio.EOF
                raise StreamEnded
            for item in frame.items:
                opened = self._open.get((item.user_id, item.call_id))
                if opened is not None and not opened.answer.done():
                    self._take(opened, item)

    def _take(self, opened: _OpenCall, item: pb.CallItem) -> None:
        match item.WhichOneof("item"):
            case "chunk" if item.chunk.offset == len(opened.chunks):
                opened.chunks.extend(item.chunk.data)
            case "chunk":
                opened.answer.set_exception(ToolTimedOut(f"The answer of {opened.call.tool} came in broken pieces."))
            case "finished":
                try:
                    outcome = outcome_from_proto(item.finished.outcome, bytes(opened.chunks))
                except ValueError:
                    opened.answer.set_exception(ToolTimedOut(f"The answer of {opened.call.tool} was not whole."))
                else:
                    opened.answer.set_result(outcome)
            case "rejected":
                self._rejected(opened, item.rejected)
            case _:
                pass

    def _rejected(self, opened: _OpenCall, rejected: pb.CallRejected) -> None:
        if rejected.reason == "BRIDGE_STOPPING":
            return  # The stream ends next; the call goes out again on the one that follows.
        if rejected.reason == "TOO_MANY_CALLS":
            self._submit_later(opened, rejected.retry_after.ToTimedelta().total_seconds() or 0.2)
            return
        opened.answer.set_exception(fault_of(rejected, opened.call.tool))

    def _submit(self, opened: _OpenCall) -> None:
        if self._outbox is None or opened.answer.done():
            return
        seconds = opened.deadline - asyncio.get_running_loop().time()
        if seconds <= 0:
            return
        submit = call_to_proto(opened.call, seconds=seconds)
        try:
            self._outbox.put(pb.CallerItem(submit=submit), submit.ByteSize() + 16, Lane.CALL)
            opened.submitted = True
        except OutboxFull:
            self._submit_later(opened, 0.2)

    def _submit_later(self, opened: _OpenCall, seconds: float) -> None:
        opened.retry = asyncio.get_running_loop().call_later(seconds, self._submit, opened)

    @contextmanager
    def _registered(self, call: DeviceCall) -> Iterator[_OpenCall]:
        loop = asyncio.get_running_loop()
        key = (call.user_id, call.call_id)
        if key in self._open:
            raise RuntimeError(f"call {call.call_id} is already under way in this process")
        opened = _OpenCall(call, loop.time() + CALL_SECONDS, loop.create_future())
        self._open[key] = opened
        try:
            yield opened
        finally:
            del self._open[key]
            if opened.retry:
                opened.retry.cancel()
            if not opened.answer.done() or opened.answer.cancelled():
                self._cancel(call)

    def _cancel(self, call: DeviceCall) -> None:
        if self._outbox is None:
            return
        cancel = pb.CancelCallRequest(call_id=call.call_id, user_id=call.user_id, reason="nobody waits any more")
        try:
            self._outbox.put(pb.CallerItem(cancel=cancel), cancel.ByteSize() + 16, Lane.CONTROL)
        except (OutboxFull, OutboxClosed):
            _log.debug("cancel_not_sent", call_id=call.call_id)
