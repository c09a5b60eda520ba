"""The session of one device as a table, without I/O: events in, actions out.

    AWAITING_HELLO ──admitted──▶ READY ──fault, close──▶ CLOSING ──peer gone──▶ CLOSED
          └────────fault, close, peer gone──────────────────────────────────────▲
                                 READY ──goodbye, peer gone─────────────────────┘

Everything that decides what a frame means lives here and in `inflight` and `hello`; the servicer only moves frames in
and carries actions out. Time is passed in. A device that breaks the rules of one call fails that call; one that breaks
the framing ends the session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from adiuva_rpc.errors import AdiuvaError
from device_bridge.server.devices.domain import Manifest
from device_bridge.server.errors import FrameMalformed, HelloMissing, SessionRetired
from device_bridge.server.routing.domain import ByteBudget, Outcome, Parcel
from device_bridge.server.sessions.domain import (
    BridgeItem,
    CallDone,
    Cancel,
    Closed,
    CloseReason,
    Deliver,
    DeviceItem,
    Frame,
    Goodbye,
    Heartbeat,
    HeartbeatAck,
    Hello,
    Limits,
    ResultAck,
    ResultChunk,
    Terms,
    ToolsChanged,
    UnknownItem,
    Welcome,
)
from device_bridge.server.sessions.hello import fault_of_hello, fault_of_manifest, reconcile
from device_bridge.server.sessions.inflight import Fault, InFlight

MAX_HELD_ITEMS = 4096


class SessionState(Enum):
    """Where a session stands."""

    AWAITING_HELLO = auto()
    """The stream is open and its peer is authenticated; no Welcome was sent."""
    READY = auto()
    """Welcome was sent: calls may go out, answers come in."""
    CLOSING = auto()
    """Closed is on its way; whatever the device says is passed over."""
    CLOSED = auto()
    """Terminal."""


class Happening(Enum):
    """What may move a session from one state to another."""

    ADMITTED = auto()
    CLOSED_BY_US = auto()
    GOODBYE = auto()
    PEER_GONE = auto()


TRANSITIONS: Final[Mapping[tuple[SessionState, Happening], SessionState]] = {
    (SessionState.AWAITING_HELLO, Happening.ADMITTED): SessionState.READY,
    # Before Welcome there is nobody to tell: the status of the stream says why.
    (SessionState.AWAITING_HELLO, Happening.CLOSED_BY_US): SessionState.CLOSED,
    (SessionState.AWAITING_HELLO, Happening.GOODBYE): SessionState.CLOSED,
    (SessionState.AWAITING_HELLO, Happening.PEER_GONE): SessionState.CLOSED,
    (SessionState.READY, Happening.CLOSED_BY_US): SessionState.CLOSING,
    (SessionState.READY, Happening.GOODBYE): SessionState.CLOSED,
    (SessionState.READY, Happening.PEER_GONE): SessionState.CLOSED,
    (SessionState.CLOSING, Happening.GOODBYE): SessionState.CLOSED,
    (SessionState.CLOSING, Happening.PEER_GONE): SessionState.CLOSED,
}
"""A pair that is not here changes nothing."""


# --- what the session asks its owner to do


@dataclass(frozen=True, slots=True)
class Greet:
    """Admit the device, then call `admitted`; or close."""

    hello: Hello


@dataclass(frozen=True, slots=True)
class Send:
    """Put an item into the outbox."""

    item: BridgeItem


@dataclass(frozen=True, slots=True)
class Answered:
    """A call ended on the device."""

    key: str
    outcome: Outcome = field(repr=False)


@dataclass(frozen=True, slots=True)
class Broken:
    """A call fails; the session goes on."""

    key: str
    fault: Fault


@dataclass(frozen=True, slots=True)
class Beat:
    """The device is alive, in its own words."""

    heartbeat: Heartbeat


@dataclass(frozen=True, slots=True)
class Learn:
    """The device's tools are these."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class RoomMade:
    """A slot is free that no answer freed."""


@dataclass(frozen=True, slots=True)
class End:
    """Send what waits in the control lane, then end the stream: with this error, or well."""

    error: AdiuvaError | None


Action = Greet | Send | Answered | Broken | Beat | Learn | RoomMade | End


class LocalProtocolError(RuntimeError):
    """The bridge itself called the session out of turn."""


class SessionProtocol:
    """One session. Not shared between tasks of different threads; never waits.

    Args:
        limits: What the session may do.
        budget: Bytes that all sessions of this process may be putting together.
        now: Monotonic seconds at which the stream opened.
    """

    def __init__(self, limits: Limits, budget: ByteBudget, *, now: float) -> None:
        self._limits = limits
        self._state = SessionState.AWAITING_HELLO
        self._seq = 0
        self._heard = now
        self._hello: Hello | None = None
        self._held: list[DeviceItem] = []
        self._tool_limits: dict[str, int] = {}
        self._calls = InFlight(slots=limits.max_calls, limit_of=self._result_limit, budget=budget)

    @property
    def state(self) -> SessionState:
        """Where it stands."""
        return self._state

    @property
    def room(self) -> int:
        """How many more calls may be delivered now."""
        return self._calls.room if self._state is SessionState.READY else 0

    @property
    def calls_under_way(self) -> int:
        """Calls that occupy a slot."""
        return len(self._calls)

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do; None when it never will."""
        if self._state is SessionState.AWAITING_HELLO:
            return self._heard + self._limits.hello_within if self._hello is None else None
        if self._state is not SessionState.READY:
            return None
        silent = self._heard + self._limits.silence
        expiry = self._calls.next_expiry
        return silent if expiry is None else min(silent, expiry)

    # --- events

    def receive(self, frame: Frame, now: float) -> list[Action]:
        """Take a frame from the device."""
        if self._state in {SessionState.CLOSING, SessionState.CLOSED}:
            return []
        self._seq += 1
        if frame.seq != self._seq:
            return self._violation(f"frame {self._seq} was due")
        self._heard = now
        if self._hello is None:
            return self._first(frame)
        if self._state is SessionState.AWAITING_HELLO:
            # The device did not wait for Welcome. What it says counts after Welcome, up to a bound.
            self._held.extend(frame.items)
            return self._violation("too much before welcome") if len(self._held) > MAX_HELD_ITEMS else []
        return self._items(frame.items, now)

    def admitted(
        self, terms: Terms, *, known: Manifest | None, wanted: Mapping[str, Parcel], now: float
    ) -> list[Action]:
        """The device may come in.

        Args:
            terms: What it is granted.
            known: Its tools, if the bridge knows them.
            wanted: The calls that were written in an earlier session and that somebody still waits for, by key.
            now: Monotonic seconds.

        Returns:
            Send(Welcome) first, then the calls to deliver again, then what the device said right after Hello.

        Raises:
            LocalProtocolError: There was no Hello, or it was answered already.
        """
        if self._state is not SessionState.AWAITING_HELLO or self._hello is None:
            raise LocalProtocolError("nobody waits to be admitted")
        self._move(Happening.ADMITTED)
        self._heard = now
        if known is not None:
            self._learn(known)
        plan = reconcile(self._hello.calls, wanted)
        actions: list[Action] = [Send(Welcome(terms=terms, resend=plan.resend, forget=plan.forget))]
        for parcel in (*plan.under_way, *plan.redeliver):
            self._calls.add(parcel)
        actions += [Send(Deliver(parcel, redelivery=True)) for parcel in plan.redeliver]
        held, self._held = self._held, []
        return actions + self._items(held, now)

    def deliver(self, parcel: Parcel) -> list[Action]:
        """Send a call to the device.

        Raises:
            LocalProtocolError: There is no room; ask `room` before.
        """
        if self.room <= 0:
            raise LocalProtocolError("there is no room for a call")
        self._calls.add(parcel)
        return [Send(Deliver(parcel, redelivery=parcel.written))]

    def withdraw(self, key: str, now: float) -> list[Action]:
        """Nobody waits for the call any more."""
        return [Send(Cancel(key))] if self._calls.withdraw(key, now) else []

    def passed_over(self, key: str) -> list[Action]:
        """The writer left the call out, since nobody waits for it any more."""
        return [RoomMade()] if self._calls.passed_over(key) else []

    def close(
        self, reason: CloseReason, error: AdiuvaError, *, retry_after: float = 0.0, permanent: bool = False
    ) -> list[Action]:
        """End the session: tell the device why, then end the stream with `error`."""
        was = self._state
        if not self._move(Happening.CLOSED_BY_US):
            return []
        self._calls.clear()
        if was is SessionState.AWAITING_HELLO:
            return [End(error)]
        closed = Closed(reason=reason, retry_after=retry_after, permanent=permanent, message=error.message)
        return [Send(closed), End(error)]

    def peer_gone(self) -> None:
        """The stream is over, whatever the device meant by it."""
        self._move(Happening.PEER_GONE)
        self._calls.clear()

    def tick(self, now: float) -> list[Action]:
        """Time has passed."""
        if self._state is SessionState.AWAITING_HELLO and self._hello is None:
            late = now >= self._heard + self._limits.hello_within
            return self.close(CloseReason.PROTOCOL_ERROR, HelloMissing()) if late else []
        if self._state is not SessionState.READY:
            return []
        if now >= self._heard + self._limits.silence:
            return self.close(
                CloseReason.UNRESPONSIVE, SessionRetired("Nothing was heard from the device. Connect again.")
            )
        return [RoomMade()] if self._calls.expire(now) else []

    # --- frames

    def _first(self, frame: Frame) -> list[Action]:
        if not frame.items or not isinstance(frame.items[0], Hello):
            return self._violation("the first item of the first frame must be hello")
        hello = frame.items[0]
        if fault := fault_of_hello(hello, self._limits):
            return self.close(CloseReason.PROTOCOL_ERROR, fault)
        self._hello = hello
        self._held.extend(frame.items[1:])
        return [Greet(hello)]

    def _items(self, items: tuple[DeviceItem, ...] | list[DeviceItem], now: float) -> list[Action]:
        actions: list[Action] = []
        acks: list[str] = []
        for item in items:
            if type(item) is CallDone:
                acks.append(item.key)
                self._call_done(item, actions)
            else:
                actions += self._HANDLERS[type(item)](self, item, now)
                if self._state is not SessionState.READY:
                    return actions
        if acks:
            # One acknowledgement a frame, however many answers it holds; also for answers that nobody waited for,
            # or the device would keep them.
            actions.append(Send(ResultAck(tuple(acks))))
        return actions

    def _call_done(self, item: CallDone, actions: list[Action]) -> None:
        known = item.key in self._calls
        ended = self._calls.done(item)
        if isinstance(ended, Outcome):
            actions.append(Answered(item.key, ended))
        elif ended is not None:
            actions.append(Broken(item.key, ended))
        elif known:
            actions.append(RoomMade())

    def _result_chunk(self, item: DeviceItem, now: float) -> list[Action]:
        if not isinstance(item, ResultChunk) or (fault := self._calls.chunk(item)) is None:
            return []
        return [Broken(item.key, fault), *self.withdraw(item.key, now)]

    def _heartbeat(self, item: DeviceItem, _now: float) -> list[Action]:
        return [Beat(item), Send(HeartbeatAck())] if isinstance(item, Heartbeat) else []

    def _tools_changed(self, item: DeviceItem, _now: float) -> list[Action]:
        if not isinstance(item, ToolsChanged):
            return []
        if fault := fault_of_manifest(item.manifest):
            return self.close(CloseReason.PROTOCOL_ERROR, fault)
        self._learn(item.manifest)
        return [Learn(item.manifest)]

    def _goodbye(self, _item: DeviceItem, _now: float) -> list[Action]:
        self._move(Happening.GOODBYE)
        self._calls.clear()
        return [End(None)]

    def _second_hello(self, _item: DeviceItem, _now: float) -> list[Action]:
        return self._violation("hello comes once")

    def _unknown(self, _item: DeviceItem, _now: float) -> list[Action]:
        return []

    _HANDLERS: Final[Mapping[type[DeviceItem], Callable[[SessionProtocol, DeviceItem, float], list[Action]]]] = {
        ResultChunk: _result_chunk,
        Heartbeat: _heartbeat,
        ToolsChanged: _tools_changed,
        Goodbye: _goodbye,
        Hello: _second_hello,
        UnknownItem: _unknown,
    }

    # --- helpers

    def _violation(self, description: str) -> list[Action]:
        return self.close(CloseReason.PROTOCOL_ERROR, FrameMalformed(description))

    def _move(self, happening: Happening) -> bool:
        target = TRANSITIONS.get((self._state, happening))
        if target is None:
            return False
        self._state = target
        return True

    def _learn(self, manifest: Manifest) -> None:
        self._tool_limits = {tool.name: tool.max_result_bytes for tool in manifest.tools if tool.max_result_bytes}

    def _result_limit(self, tool: str) -> int:
        return min(self._tool_limits.get(tool, self._limits.max_result_bytes), self._limits.max_result_bytes)
