"""A bridge that does what a test tells it to, on the real wire: DeviceSessionService on port 0.

async with FakeBridge() as bridge:
    session = await bridge.next_session()          # a device dialled in and said Hello
    await session.welcome(heartbeat_interval=0.05)
    await session.call("key-1", "echo", {"text": "hi"})
    done = await session.expect_done("key-1")
    await session.end(grpc.StatusCode.CANCELLED)
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import anyio
import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration

from adiuva.device_bridge.v1 import session_service_pb2 as pb, tool_pb2
from adiuva.device_bridge.v1.session_service_pb2_grpc import (
    DeviceSessionServiceServicer,
    add_DeviceSessionServiceServicer_to_server,
)
from adiuva_rpc.errors import AdiuvaError
from adiuva_rpc.status import to_status

PATIENCE = 10.0
"""Seconds after which an expectation has failed. Nothing sleeps for it."""


class BridgeSession:
    """The bridge's end of one stream. Everything the device said is in `items`, in order."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._seq = 0
        self._changed = asyncio.Event()
        self._reading = asyncio.Event()
        self._reading.set()
        self._ended = asyncio.Event()
        self._status: tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]] | None = None
        self.items: list[pb.DeviceItem] = []
        self.frames: list[list[str]] = []
        """The kinds of the items, frame by frame."""
        self.gone = asyncio.Event()
        """The stream is over, whoever ended it."""
        metadata = dict(context.invocation_metadata() or ())
        self.authorization = str(metadata.get("authorization", ""))

    @property
    def hello(self) -> pb.Hello:
        """What the device said first."""
        return self.items[0].hello

    # ---- what the bridge says

    async def say(self, *items: pb.BridgeItem) -> None:
        """Send one frame."""
        self._seq += 1
        await self._context.write(pb.ConnectResponse(seq=self._seq, items=items))

    async def say_raw(self, frame: pb.ConnectResponse) -> None:
        """Send a frame as it is, also one that breaks the protocol."""
        await self._context.write(frame)

    async def welcome(self, *, heartbeat_interval: float = 20.0, **terms: Any) -> None:
        """Let the device in."""
        given: dict[str, Any] = {
            "session_id": "session-1",
            "epoch": 1,
            "protocol": 1,
            "user_id": "anna",
            "device_id": "laptop",
            "max_frame_bytes": 1 << 20,
            "chunk_bytes": 256 << 10,
            "max_calls": 64,
            **terms,
        }
        await self.say(pb.BridgeItem(welcome=pb.Welcome(heartbeat_interval=seconds(heartbeat_interval), **given)))

    async def call(self, key: str, tool: str, arguments: dict[str, Any] | None = None, **fields: Any) -> None:
        """Ask for a tool call; its call_id is `id-<key>`."""
        await self.say(call_item(key, tool, arguments, **fields))

    async def cancel(self, key: str) -> None:
        """Ask for the end of a call."""
        await self.say(pb.BridgeItem(cancel=pb.CallCancel(call_key=key)))

    async def acknowledge(self, *keys: str) -> None:
        """Say that answers have arrived."""
        await self.say(pb.BridgeItem(result_ack=pb.ResultAck(call_keys=keys)))

    async def close(self, reason: pb.CloseReason.ValueType, *, permanent: bool = False, retry_after: float = 0) -> None:
        """Say that the session ends, and end it."""
        closed = pb.Closed(reason=reason, permanent=permanent, retry_after=seconds(retry_after))
        await self.say(pb.BridgeItem(closed=closed))
        await self.end()

    async def end(self, code: grpc.StatusCode = grpc.StatusCode.OK, message: str = "") -> None:
        """End the stream with a status and wait until it is over."""
        if code is not grpc.StatusCode.OK:
            self._status = (code, message, ())
        self._ended.set()
        with anyio.fail_after(PATIENCE):
            await self.gone.wait()

    async def fail(self, error: AdiuvaError) -> None:
        """End the stream as the real bridge does with an error."""
        status = to_status(error)
        self._status = (status.code, status.message, status.trailing_metadata())
        self._ended.set()
        with anyio.fail_after(PATIENCE):
            await self.gone.wait()

    # ---- what the device says

    def stop_reading(self) -> None:
        """Read no further frame, so that the device's writes will block."""
        self._reading.clear()

    def resume_reading(self) -> None:
        """Read again."""
        self._reading.set()

    async def expect(self, wanted: Callable[[pb.DeviceItem], bool]) -> pb.DeviceItem:
        """Wait for an item, among those that came already too."""
        with anyio.fail_after(PATIENCE):
            while True:
                for item in self.items:
                    if wanted(item):
                        return item
                self._changed.clear()
                await self._changed.wait()

    async def expect_done(self, key: str) -> pb.CallDone:
        """Wait for the end of a call."""
        item = await self.expect(lambda item: item.call_done.call_key == key)
        return item.call_done

    async def expect_kind(self, kind: str) -> pb.DeviceItem:
        """Wait for an item of a kind: heartbeat, tools_changed, goodbye ..."""
        return await self.expect(lambda item: item.WhichOneof("item") == kind)

    def done(self, key: str) -> list[pb.CallDone]:
        """Return every answer that came for a call."""
        return [item.call_done for item in self.items if item.call_done.call_key == key]

    def chunks(self, key: str) -> bytes:
        """Return the pieces that came for a call, put together; each must begin where the last one ended."""
        whole = b""
        for item in self.items:
            if item.result_chunk.call_key == key:
                assert item.result_chunk.offset == len(whole)
                whole += item.result_chunk.data
        return whole

    # ---- the handler's side

    async def serve(self, arrived: Callable[[BridgeSession], None]) -> None:
        """Carry the stream until the test ends it or the device is gone."""
        try:
            async with asyncio.TaskGroup() as tasks:
                reader = tasks.create_task(self._read(arrived))
                await self._ended.wait()
                reader.cancel()
            if self._status is not None:
                code, message, trailing = self._status
                await self._context.abort(code, message, trailing)
        finally:
            self.gone.set()

    async def _read(self, arrived: Callable[[BridgeSession], None]) -> None:
        expected = 1
        while True:
            await self._reading.wait()
            frame = await self._context.read()
            if frame is grpc.aio.EOF:
                self._ended.set()
                return
            assert frame.seq == expected, "the device's frames are out of sequence"
            expected += 1
            self.items.extend(frame.items)
            self.frames.append([str(item.WhichOneof("item")) for item in frame.items])
            self._changed.set()
            if frame.seq == 1:
                arrived(self)


class FakeBridge(DeviceSessionServiceServicer):
    """The server. Sessions are handed to the test in the order in which their Hello arrived."""

    def __init__(self, tls: grpc.ServerCredentials | None = None) -> None:
        self._tls = tls
        self._server: grpc.aio.Server | None = None
        self._arrived: asyncio.Queue[BridgeSession] = asyncio.Queue(maxsize=1000)
        self.port = 0

    @property
    def target(self) -> str:
        """host:port for a device."""
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; the second time on the same port again."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        add_DeviceSessionServiceServicer_to_server(self, self._server)
        address = f"127.0.0.1:{self.port}"
        if self._tls is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, self._tls)
        await self._server.start()

    async def stop(self) -> None:
        """Kill every session without a word."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def next_session(self) -> BridgeSession:
        """Wait for the next device that says Hello."""
        with anyio.fail_after(PATIENCE):
            return await self._arrived.get()

    async def Connect(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]  # a coroutine handler
        """Hold one session."""
        await BridgeSession(context).serve(self._arrived.put_nowait)


def call_item(
    key: str,
    tool: str,
    arguments: dict[str, Any] | None = None,
    *,
    timeout: float | None = None,
    redelivery: bool = False,
    run_context: tool_pb2.RunContext | None = None,
) -> pb.BridgeItem:
    """Make the item that asks for a tool call."""
    call = tool_pb2.ToolCall(
        call_id=f"id-{key}", tool=tool, arguments_json=json.dumps(arguments or {}), run_context=run_context
    )
    if timeout is not None:
        call.timeout.CopyFrom(seconds(timeout))
    return pb.BridgeItem(call=pb.CallRequest(call_key=key, call=call, redelivery=redelivery))


def kinds(items: Iterable[pb.DeviceItem]) -> Sequence[str]:
    """Return the kinds of items."""
    return [str(item.WhichOneof("item")) for item in items]


def seconds(value: float) -> Duration:
    """Make a Duration."""
    duration = Duration()
    duration.FromNanoseconds(round(value * 1e9))
    return duration
