"""A device that speaks the real wire: it dials, says Hello, runs scripted tools, and misbehaves when told to.

    async with FakeDevice(channel, credential, tools={"echo": echo}) as device:
        assert device.welcome.device_id

A tool is an async function from a ToolCall to a JSON object; `ToolFailed` is its way to fail. Everything that arrived
is kept in `received`; what the fake does by itself (answering calls, heartbeats) can be switched off.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import anyio
import grpc
import grpc.aio

from adiuva.device_bridge.v1 import (
    session_service_pb2 as session,
    session_service_pb2_grpc as session_grpc,
    tool_pb2 as tool,
)

FakeTool = Callable[[tool.ToolCall], Awaitable[dict[str, Any]]]

PATIENCE = 10.0
"""Seconds that a test waits for the bridge before it fails."""


class ToolFailed(Exception):
    """Raised by a fake tool to answer with a failure."""

    def __init__(self, reason: str, message: str = "", *, retryable: bool = False) -> None:
        super().__init__(reason)
        self.failure = tool.ToolFailure(reason=reason, message=message, retryable=retryable)


class Rejected(Exception):
    """The bridge ended the session before it said Welcome."""

    def __init__(self, status: grpc.aio.AioRpcError) -> None:
        super().__init__(f"{status.code().name}: {status.details()}")
        self.status = status
        self.code = status.code()


async def echo(call: tool.ToolCall) -> dict[str, Any]:
    """Answer with the arguments."""
    arguments: dict[str, Any] = json.loads(call.arguments_json or "{}")
    return arguments


async def never(_call: tool.ToolCall) -> dict[str, Any]:
    """Run until cancelled."""
    await asyncio.Event().wait()
    raise AssertionError("the event is never set")


async def _unknown(call: tool.ToolCall) -> dict[str, Any]:
    raise ToolFailed("UNKNOWN_TOOL", f"this device has no tool {call.tool}")


def descriptor(name: str, **fields: Any) -> tool.ToolDescriptor:
    """Return a plausible descriptor of a tool."""
    defaults: dict[str, Any] = {
        "description": f"Does {name}.",
        "toolset": "filesystem",
        "effect_class": tool.EFFECT_CLASS_READ_ONLY,
        "input_schema_json": '{"type":"object","additionalProperties":true}',
    }
    return tool.ToolDescriptor(name=name, **{**defaults, **fields})


def manifest(descriptors: Iterable[tool.ToolDescriptor]) -> session.ToolManifest:
    """Return a manifest with its hash."""
    listed = sorted(descriptors, key=lambda each: each.name)
    text = b"\0".join(each.SerializeToString(deterministic=True) for each in listed)
    return session.ToolManifest(hash=hashlib.sha256(text).hexdigest(), tools=listed)


class FakeDevice:
    """One session of a device. Use it in `async with`; make another one to reconnect.

    Args:
        channel: To the device port.
        credential: The device's credential, or empty.
        code: A one-time enrolment code, or empty.
        tools: What it can do.
        descriptors: How it advertises its tools; made up when None.
        with_tools: Whether Hello holds the descriptors, or only their hash.
        calls: What Hello says about calls of an earlier session.
        answers: Whether it runs the calls that arrive.
        heartbeat: Seconds between heartbeats; None for none.
        hello: Changes the Hello before it is sent.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        credential: str = "",
        *,
        code: str = "",
        tools: Mapping[str, FakeTool] | None = None,
        descriptors: Iterable[tool.ToolDescriptor] | None = None,
        with_tools: bool = True,
        calls: Iterable[session.CallInFlight] = (),
        answers: bool = True,
        heartbeat: float | None = None,
        instance_id: str = "",
        installation_id: str = "installation-1",
        root_names: Iterable[str] = ("sample",),
        hello: Callable[[session.Hello], None] | None = None,
    ) -> None:
        self._channel = channel
        self._authorization = f"Enrolment {code}" if code else f"Bearer {credential}"
        self._tools = dict(tools if tools is not None else {"echo": echo})
        self._answers = answers
        self._heartbeat = heartbeat
        self.manifest = manifest(descriptors if descriptors is not None else map(descriptor, self._tools))
        self.hello = session.Hello(
            protocol_min=1,
            protocol_max=1,
            instance_id=instance_id or uuid.uuid4().hex,
            installation_id=installation_id,
            agent_version="0.1.0",
            display_name="Anna's laptop",
            tools=self.manifest if with_tools else session.ToolManifest(hash=self.manifest.hash),
            root_names=list(root_names),
            calls=list(calls),
        )
        if hello is not None:
            hello(self.hello)
        self.welcome = session.Welcome()
        """What the bridge granted."""
        self.closed: session.Closed | None = None
        """Why the bridge ended the session, if it said so."""
        self.status: grpc.StatusCode | None = None
        """How the stream ended; None while it is open."""
        self.details = ""
        self.received: list[session.BridgeItem] = []
        """Everything after Welcome, in order."""
        self.calls: dict[str, session.CallRequest] = {}
        """The calls that arrived, by key."""
        self.cancelled: list[str] = []
        """The keys of calls that the bridge cancelled."""
        self.frames = 0
        """Frames that arrived."""
        self._seq = 0
        self._changed = asyncio.Event()
        self._reading = asyncio.Event()
        self._reading.set()
        self._writing = asyncio.Lock()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._stack = contextlib.AsyncExitStack()
        self._stream: Any = None

    @property
    def running(self) -> set[str]:
        """The keys of the calls that run on it now."""
        return set(self._running)

    @property
    def issued_credential(self) -> str:
        """The credential that came with Welcome; empty outside an enrolment."""
        return self.welcome.issued_credential

    async def __aenter__(self) -> Self:
        stub: session_grpc.DeviceSessionServiceAsyncStub = session_grpc.DeviceSessionServiceStub(self._channel)
        self._stream = stub.Connect(metadata=(("authorization", self._authorization),))
        try:
            with anyio.fail_after(PATIENCE):
                await self.send(session.DeviceItem(hello=self.hello))
                first = await self._stream.read()
            if first is grpc.aio.EOF:
                # The status of a stream that ended without a message is asked for, not raised.
                await self._raise_status()
        except grpc.aio.AioRpcError as error:
            raise Rejected(error) from None
        except asyncio.InvalidStateError:
            await self._raise_status()
        self.frames += 1
        assert first.seq == 1
        assert first.items[0].WhichOneof("item") == "welcome"
        self.welcome.CopyFrom(first.items[0].welcome)
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._take(first.items[1:])
        self._background = [self._tasks.create_task(self._read())]
        if self._heartbeat is not None:
            self._background.append(self._tasks.create_task(self._beat(self._heartbeat)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.cancel()
        for task in (*self._background, *self._running.values()):
            task.cancel()
        # Not told of the body's error, which would come out wrapped in a group.
        await self._stack.__aexit__(None, None, None)

    # --- what a test makes it do

    async def send(self, *items: session.DeviceItem, seq: int | None = None) -> None:
        """Send one frame."""
        async with self._writing:
            self._seq += 1
            await self._stream.write(session.ConnectRequest(seq=self._seq if seq is None else seq, items=items))

    async def finish(self, key: str, result: Mapping[str, Any] | None = None, **outcome: Any) -> None:
        """Answer a call with a result, or with the fields of an outcome."""
        if not outcome:
            outcome = {"result_json": json.dumps(result or {})}
        done = session.CallDone(call_key=key, outcome=tool.ToolOutcome(**outcome))
        await self.send(session.DeviceItem(call_done=done))

    async def finish_all(self) -> None:
        """Answer every call that arrived, in one frame."""
        outcome = tool.ToolOutcome(result_json="{}")
        done = [session.CallDone(call_key=key, outcome=outcome) for key in self.calls]
        await self.send(*(session.DeviceItem(call_done=each) for each in done))

    async def finish_in_chunks(self, key: str, text: bytes, *, chunk_bytes: int = 256 * 1024) -> None:
        """Answer a call with a long result."""
        for offset in range(0, len(text), chunk_bytes):
            piece = session.ResultChunk(call_key=key, offset=offset, data=text[offset : offset + chunk_bytes])
            await self.send(session.DeviceItem(result_chunk=piece))
        await self.finish(key, chunked_bytes=len(text))

    async def goodbye(self) -> None:
        """Leave on purpose."""
        await self.send(session.DeviceItem(goodbye=session.Goodbye(reason="test")))

    def drop(self) -> None:
        """Vanish: reset the stream without a word."""
        self._stream.cancel()

    def stop_reading(self) -> None:
        """Let the bridge's frames pile up."""
        self._reading.clear()

    def read_again(self) -> None:
        """Read again after `stop_reading`."""
        self._reading.set()

    # --- what a test waits for

    async def until(self, condition: Callable[[], bool], *, within: float = PATIENCE) -> None:
        """Wait until something that arrives from the bridge makes `condition` true."""
        with anyio.fail_after(within):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def call_arrived(self, number: int = 1) -> session.CallRequest:
        """Wait for the n-th call and return it."""
        await self.until(lambda: len(self.calls) >= number)
        return list(self.calls.values())[number - 1]

    async def ended(self) -> grpc.StatusCode:
        """Wait for the end of the stream and return its status."""
        await self.until(lambda: self.status is not None)
        assert self.status is not None
        return self.status

    # --- what it does by itself

    async def _read(self) -> None:
        try:
            async for frame in self._frames():
                self.frames += 1
                self._take(frame.items)
        except grpc.aio.AioRpcError as error:
            self.status, self.details = error.code(), error.details() or ""
        except asyncio.CancelledError:
            self.status = grpc.StatusCode.CANCELLED
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
        else:
            self.status = await self._stream.code()
        finally:
            self._changed.set()

    async def _frames(self) -> AsyncIterator[session.ConnectResponse]:
        while True:
            await self._reading.wait()
            frame = await self._stream.read()
            if frame is grpc.aio.EOF:
                return
            yield frame

    def _take(self, items: Iterable[session.BridgeItem]) -> None:
        for item in items:
            self.received.append(item)
            match item.WhichOneof("item"):
                case "call":
                    self.calls[item.call.call_key] = item.call
                    if self._answers:
                        key = item.call.call_key
                        self._running[key] = self._tasks.create_task(self._run(item.call))
                case "cancel":
                    self.cancelled.append(item.cancel.call_key)
                    if running := self._running.get(item.cancel.call_key):
                        running.cancel()
                case "closed":
                    self.closed = item.closed
        self._changed.set()

    async def _run(self, request: session.CallRequest) -> None:
        outcome = tool.ToolOutcome()
        try:
            implementation = self._tools.get(request.call.tool, _unknown)
            outcome.result_json = json.dumps(await implementation(request.call))
        except ToolFailed as failed:
            outcome.failure.CopyFrom(failed.failure)
        except asyncio.CancelledError:
            outcome.failure.CopyFrom(tool.ToolFailure(reason="CANCELLED"))
        self._running.pop(request.call_key, None)
        self._changed.set()
        # The stream may be gone by now, which is the device's fate and not the tool's.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, asyncio.CancelledError):
            await self._answer(request, outcome)

    async def _answer(self, request: session.CallRequest, outcome: tool.ToolOutcome) -> None:
        text = outcome.result_json.encode()
        if len(text) <= self.welcome.chunk_bytes:
            done = session.CallDone(call_key=request.call_key, outcome=outcome)
            await self.send(session.DeviceItem(call_done=done))
        else:
            await self.finish_in_chunks(request.call_key, text, chunk_bytes=self.welcome.chunk_bytes)

    async def _beat(self, interval: float) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while True:
                await asyncio.sleep(interval)
                await self.send(session.DeviceItem(heartbeat=session.Heartbeat(running_calls=len(self._running))))

    async def _raise_status(self) -> None:
        raise Rejected(
            grpc.aio.AioRpcError(
                await self._stream.code(),
                await self._stream.initial_metadata(),
                await self._stream.trailing_metadata(),
                details=await self._stream.details(),
            )
        )
