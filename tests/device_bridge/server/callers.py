"""A caller with an Execute stream, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import anyio
import grpc
import grpc.aio

from adiuva.device_bridge.v1 import tool_pb2, tool_service_pb2 as pb, tool_service_pb2_grpc as pb_grpc

PATIENCE = 10.0


class Caller:
    """One Execute stream: submit, read, and look at what came."""

    def __init__(self, stub: pb_grpc.ToolServiceAsyncStub) -> None:
        self._stub = stub
        self._stream: Any = None
        self._changed = asyncio.Event()
        self._reading = asyncio.Event()
        self._reading.set()
        self.answers: dict[str, pb.CallItem] = {}
        """The last item of each call, by call_id."""
        self.items: list[pb.CallItem] = []
        self.chunks: dict[str, bytearray] = {}
        self.frames = 0
        self.code: grpc.StatusCode | None = None

    async def __aenter__(self) -> Self:
        self._stream = self._stub.Execute()
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._reader = self._tasks.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.cancel()
        self._reader.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def submit(self, *calls: tool_pb2.ToolCall) -> None:
        """Submit calls in one frame."""
        await self._stream.write(pb.ExecuteRequest(items=[pb.CallerItem(submit=call) for call in calls]))

    async def cancel(self, call_id: str) -> None:
        """Ask for the end of a call."""
        item = pb.CallerItem(cancel=pb.CancelCallRequest(call_id=call_id))
        await self._stream.write(pb.ExecuteRequest(items=[item]))

    async def write(self, frame: pb.ExecuteRequest) -> None:
        """Write any frame."""
        await self._stream.write(frame)

    async def done_writing(self) -> None:
        """End this side of the stream."""
        await self._stream.done_writing()

    def drop(self) -> None:
        """Break the stream."""
        self._stream.cancel()

    def stop_reading(self) -> None:
        """Let the bridge's frames pile up."""
        self._reading.clear()

    def read_again(self) -> None:
        """Read again."""
        self._reading.set()

    async def until(self, condition: Callable[[], bool], *, within: float = PATIENCE) -> None:
        """Wait until something that arrives makes `condition` true."""
        with anyio.fail_after(within):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def answered(self, *call_ids: str, within: float = PATIENCE) -> list[pb.CallItem]:
        """Wait for the answers of calls."""
        await self.until(lambda: set(call_ids) <= self.answers.keys(), within=within)
        return [self.answers[call_id] for call_id in call_ids]

    async def ended(self) -> grpc.StatusCode:
        """Wait for the end of the stream."""
        await self.until(lambda: self.code is not None)
        assert self.code is not None
        return self.code

    async def _read(self) -> None:
        try:
            while True:
                await self._reading.wait()
                frame = await self._stream.read()
                if frame is grpc.aio.EOF:
                    break
                self.frames += 1
                for item in frame.items:
                    self._take(item)
                self._changed.set()
        except grpc.aio.AioRpcError:
            pass
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
        self.code = await self._stream.code()
        self._changed.set()

    def _take(self, item: pb.CallItem) -> None:
        self.items.append(item)
        if item.HasField("chunk"):
            assert item.call_id not in self.answers, "a piece after the end"
            pieces = self.chunks.setdefault(item.call_id, bytearray())
            assert item.chunk.offset == len(pieces), "pieces come in order"
            assert len(item.chunk.data) <= 256 * 1024
            pieces += item.chunk.data
        else:
            assert item.call_id not in self.answers, "exactly one answer"
            self.answers[item.call_id] = item
