"""One session with the bridge: Hello, Welcome, then frames both ways until it ends. `protocol` holds the rules.

Three rules of grpc.aio shape this module. A read or a write that is cancelled cancels the whole stream, so none is ever
put under a timeout: watchers beside them end the session instead. One task reads and one writes. And a reader must not
wait for a writer, so everything that is to be sent goes through an outbox that never blocks (`sender`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NoReturn

import structlog

from adiuva_rpc.outbox import WriteBlocked
from device_bridge.agent.domain import ToolSpec
from device_bridge.agent.link import conversion
from device_bridge.agent.link.calls import Calls
from device_bridge.agent.link.conversion import WireItem
from device_bridge.agent.link.domain import (
    Call,
    Cancel,
    Closed,
    EndKind,
    HeartbeatAck,
    InFlight,
    Item,
    MalformedCall,
    ProtocolViolation,
    ResultAck,
    SessionEnd,
    Welcome,
)
from device_bridge.agent.link.lag import LoopLag
from device_bridge.agent.link.ports import Clock, Identity, Stream, StreamEnded
from device_bridge.agent.link.protocol import Liveness, SessionProtocol
from device_bridge.agent.link.sender import Sender

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long a session waits for what, in seconds."""

    handshake: float = 10.0
    write_blocked: float = 10.0
    finish_calls: float = 3.0
    """When the agent stops, for the calls that still run."""
    flush: float = 1.0
    """After that, for the bridge to take the last answers and to end the stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """What the device says of itself in every Hello."""

    instance_id: str
    """Of this process."""
    agent_version: str
    display_name: str
    root_names: tuple[str, ...]
    tools: tuple[ToolSpec, ...]
    tools_hash: str


class Session:
    """Runs one stream from Hello to its end. Used once."""

    def __init__(
        self,
        stream: Stream,
        *,
        calls: Calls,
        identity: Identity,
        introduction: Introduction,
        clock: Clock,
        lag: LoopLag,
        timing: Timing,
        on_ready: Callable[[Welcome], None],
    ) -> None:
        self._stream = stream
        self._sender = Sender(stream)
        self._calls = calls
        self._identity = identity
        self._introduction = introduction
        self._clock = clock
        self._lag = lag
        self._timing = timing
        self._on_ready = on_ready
        self._protocol = SessionProtocol()
        self._told: tuple[InFlight, ...] = ()
        self._ready = asyncio.Event()
        self._ready_at: float | None = None
        self._never = asyncio.Event()
        self._over = asyncio.Event()
        self._end = SessionEnd(kind=EndKind.LOST)
        self._liveness = Liveness(conversion.DEFAULT_HEARTBEAT_SECONDS, clock.now())
        self._actions: Mapping[type[Any], Callable[[Any], None]] = MappingProxyType(
            {
                Welcome: self._begin,
                Call: calls.start,
                MalformedCall: calls.refuse,
                Cancel: lambda item: calls.cancel(item.call_key),
                ResultAck: lambda item: calls.acknowledge(item.call_keys),
                HeartbeatAck: lambda item: None,
                Closed: _end_closed,
            }
        )

    async def run(self, stop: asyncio.Event) -> SessionEnd:
        """Hold the session until it ends, or end it in order when `stop` is set. Returns how it ended."""
        self._told = self._calls.in_flight()
        try:
            async with asyncio.TaskGroup() as tasks:
                parts = [
                    tasks.create_task(self._part(part))
                    for part in (
                        self._read(),
                        self._sender.run(self._hello()),
                        self._keep_alive(),
                        self._sender.watch_writes(self._timing.write_blocked),
                        self._sender.watch_overflow(),
                        self._leave(stop),
                    )
                ]
                await self._over.wait()
                for part in parts:
                    part.cancel()
        finally:
            self._calls.detach(self._sender.put_answer)
            self._stream.cancel()
        end = self._end
        if stop.is_set() and not end.permanent:
            end = SessionEnd(kind=EndKind.LEFT, detail=end.detail)
        stood = None if self._ready_at is None else self._clock.now() - self._ready_at
        return replace(end, ready_seconds=stood)

    async def _part(self, work: Coroutine[Any, Any, None]) -> None:
        """Do one part of the session; what ends it ends the session.

        Nothing is raised into the task group: a group that fails while it is being cancelled forgets the cancellation.
        """
        try:
            await work
        except StreamEnded as error:
            self._conclude(error.end)
        except ProtocolViolation as error:
            self._conclude(SessionEnd(kind=EndKind.VIOLATION, detail=str(error)))
        except WriteBlocked:
            self._conclude(SessionEnd(kind=EndKind.STALLED, detail="the bridge does not read"))
        except Exception:
            # A fault of ours must not put the device out of reach for good: the next session is a new start.
            log.exception("session_failed")
            self._conclude(SessionEnd(kind=EndKind.LOST, detail="an internal fault; the log says more"))

    def _conclude(self, end: SessionEnd) -> None:
        """Note how the session ended; the first word counts."""
        if not self._over.is_set():
            self._end = end
            self._over.set()

    async def _read(self) -> NoReturn:
        while True:
            frame = await self._stream.read()
            self._liveness.heard(self._clock.now())
            for item in self._protocol.receive(frame):
                self._act(item)

    def _act(self, item: Item) -> None:
        self._actions[type(item)](item)

    def _begin(self, welcome: Welcome) -> None:
        try:
            # On the disk before it is used: a credential that exists only here would be lost with the process.
            self._identity.welcomed(welcome)
        except OSError as error:
            detail = f"the identity could not be stored: {error.strerror or type(error).__name__}"
            raise StreamEnded(SessionEnd(kind=EndKind.LOST, detail=detail)) from error
        self._ready_at = self._clock.now()
        self._liveness = Liveness(welcome.heartbeat_interval, self._ready_at)
        self._sender.begin(welcome)
        if welcome.need_tools:
            introduction = self._introduction
            manifest = conversion.manifest_to_proto(introduction.tools_hash, introduction.tools)
            self._sender.put(conversion.tools_changed_item(manifest))
        self._calls.attach(self._sender.put_answer, welcome, self._told)
        self._ready.set()
        self._on_ready(welcome)

    def _hello(self) -> WireItem:
        introduction = self._introduction
        # A bridge that has never seen this device cannot know its tools; any other is asked by hash first.
        tools = () if self._identity.enrolled else introduction.tools
        return conversion.hello_item(
            instance_id=introduction.instance_id,
            installation_id=self._identity.installation_id,
            agent_version=introduction.agent_version,
            display_name=introduction.display_name,
            tools=conversion.manifest_to_proto(introduction.tools_hash, tools),
            root_names=introduction.root_names,
            calls=self._told,
        )

    async def _keep_alive(self) -> NoReturn:
        """Send heartbeats, and give the bridge up when it does not answer Hello or goes silent."""
        if not await self._clock.wait(self._ready, self._timing.handshake):
            raise StreamEnded(SessionEnd(kind=EndKind.NO_WELCOME, detail="the bridge did not answer Hello"))
        interval = self._liveness.interval
        beat_at = self._clock.now() + interval
        while True:
            now = self._clock.now()
            if (remaining := self._liveness.remaining(now)) <= 0:
                raise StreamEnded(SessionEnd(kind=EndKind.SILENT, detail="the bridge went silent"))
            if now >= beat_at:
                beat_at = now + interval
                item = conversion.heartbeat_item(running_calls=self._calls.running, loop_lag=self._lag.take())
                self._sender.put(item)
            pause = min(remaining, beat_at - now)
            await self._clock.wait(self._never, pause)
            # A process that was suspended, or whose loop was blocked, could not hear: that is not the bridge's silence.
            self._liveness.excuse(self._clock.now() - now - pause)

    async def _leave(self, stop: asyncio.Event) -> NoReturn:
        await stop.wait()
        self._protocol.leave()
        if self._ready.is_set():
            await self._clock.wait(self._calls.idle, self._timing.finish_calls)
            self._sender.close()
            await self._clock.wait(self._never, self._timing.flush)
        raise StreamEnded(SessionEnd(kind=EndKind.LEFT))


def _end_closed(item: Closed) -> NoReturn:
    raise StreamEnded(
        SessionEnd(
            kind=EndKind.CLOSED,
            detail=item.message or item.reason.name,
            close_reason=item.reason,
            retry_after=item.retry_after,
            permanent=item.permanent,
        )
    )
