"""One live session: the protocol joined with its outbox and the call desk. No grpc, and nothing here waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from adiuva_rpc.errors import AdiuvaError
from adiuva_rpc.failpoints import failpoint
from adiuva_rpc.outbox import Lane, Outbox, OutboxFull
from device_bridge.server.devices.domain import Manifest
from device_bridge.server.errors import CallBroken, SessionRetired, TooManyCalls
from device_bridge.server.routing.domain import (
    MAX_ARGUMENT_BYTES,
    Answer,
    ByteBudget,
    Delivery,
    Finished,
    Outcome,
    Parcel,
    rejection,
)
from device_bridge.server.sessions.domain import (
    BridgeItem,
    Cancel,
    Closed,
    CloseReason,
    Deliver,
    Frame,
    Hello,
    Limits,
    ResultAck,
    Terms,
    Welcome,
)
from device_bridge.server.sessions.inflight import Fault
from device_bridge.server.sessions.ports import CallDesk
from device_bridge.server.sessions.protocol import (
    Action,
    Answered,
    Beat,
    Broken,
    End,
    Greet,
    Learn,
    RoomMade,
    Send,
    SessionProtocol,
    SessionState,
)

FRAME_OVERHEAD = 32 * 1024
"""What framing may add to the items of a full frame."""
ITEM_OVERHEAD = 1024
"""Ids and framing of one item, at most."""
CONTEXT_ALLOWANCE = 8 * 1024

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a stream ends: with an error, or well when there is none."""

    error: AdiuvaError | None


@dataclass(slots=True, eq=False)
class Surroundings:
    """What all sessions of a replica share."""

    limits: Limits
    desk: CallDesk
    budget: ByteBudget
    clock: Callable[[], float]
    too_large: Outcome
    """The outcome of a call whose result is too large: a tool's failure, in the wire's encoding."""


class Session:
    """One session, from its first frame to its end. It is the `DeviceLink` of routing once it is admitted.

    Args:
        shared: What all sessions of this replica share.
    """

    def __init__(self, shared: Surroundings) -> None:
        limits = shared.limits
        self._shared = shared
        self._protocol = SessionProtocol(limits, shared.budget, now=shared.clock())
        # Room for every call that may be under way, so that a call with a slot is never refused.
        self.outbox: Outbox[BridgeItem] = Outbox(
            max_items=2 * limits.max_calls + limits.max_calls + 64,
            max_bytes=(limits.max_calls + 1) * (MAX_ARGUMENT_BYTES + CONTEXT_ALLOWANCE) + limits.max_frame_bytes,
            frame_bytes=limits.max_frame_bytes - FRAME_OVERHEAD,
        )
        self.woken = asyncio.Event()
        """Set when `deadline`, `ending` or `unsaved` may have changed."""
        self.ending: Ending | None = None
        """Set once: the stream ends as soon as the control lane is written."""
        self.greeting: Hello | None = None
        """A Hello that waits to be admitted."""
        self.unsaved: Manifest | None = None
        """Tools that the device told and that the store does not have yet. The newest wins."""
        self.terms: Terms | None = None
        self.loop_lag = 0.0
        """Seconds that the device's event loop was late at worst, as its last heartbeat said."""

    # --- the DeviceLink

    @property
    def device_id(self) -> str:
        """The device at its end; empty before it is admitted."""
        return self.terms.device_id if self.terms else ""

    @property
    def user_id(self) -> str:
        """The device's owner; empty before it is admitted."""
        return self.terms.user_id if self.terms else ""

    @property
    def epoch(self) -> int:
        """The session's number; 0 before it is admitted."""
        return self.terms.epoch if self.terms else 0

    @property
    def room(self) -> int:
        """How many more calls may be delivered now."""
        return self._protocol.room

    def deliver(self, parcel: Parcel) -> None:
        """Put a call on its way."""
        self._perform(self._protocol.deliver(parcel))

    def withdraw(self, key: str) -> None:
        """Nobody waits for this call any more."""
        self._perform(self._protocol.withdraw(key, self._shared.clock()))

    # --- what happens to it

    @property
    def is_open(self) -> bool:
        """Whether it stands: neither closing nor over."""
        return self._protocol.state in {SessionState.AWAITING_HELLO, SessionState.READY}

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do, in the clock's seconds."""
        return self._protocol.deadline

    def receive(self, frame: Frame) -> None:
        """Take a frame from the device."""
        self._perform(self._protocol.receive(frame, self._shared.clock()))

    def admit(self, terms: Terms, *, known: Manifest | None, wanted: Mapping[str, Parcel]) -> None:
        """The device may come in: Welcome goes out, with what became of its calls."""
        self.greeting = None
        self.terms = terms
        self._perform(self._protocol.admitted(terms, known=known, wanted=wanted, now=self._shared.clock()))
        self.woken.set()

    def tick(self) -> None:
        """Time has passed."""
        self._perform(self._protocol.tick(self._shared.clock()))

    def close(
        self, reason: CloseReason, error: AdiuvaError, *, retry_after: float = 0.0, permanent: bool = False
    ) -> None:
        """End the session, telling the device why. Nothing happens when it is ending already."""
        self._perform(self._protocol.close(reason, error, retry_after=retry_after, permanent=permanent))

    def refuse(self, error: AdiuvaError) -> None:
        """End the stream with `error` at once: nothing more can be said on it."""
        self._protocol.peer_gone()
        self._end(error)

    def over(self) -> None:
        """The stream has ended."""
        self._protocol.peer_gone()
        self._shared.desk.detach(self)

    def written(self, items: Sequence[BridgeItem]) -> list[BridgeItem]:
        """Return which of the items drained from the outbox really go into a frame, and note the calls among them.

        After Closed nothing goes out, and calls that nobody waits for any more are passed over.
        """
        going: list[BridgeItem] = []
        for item in items:
            if not isinstance(item, Deliver):
                going.append(item)
            elif item.parcel.dropped:
                self._perform(self._protocol.passed_over(item.parcel.key))
            elif self.is_open:
                failpoint("bridge.before_call")
                item.parcel.written = True
                going.append(item)
        return going

    # --- carrying actions out

    def _perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Send(item):
                    self._send(item)
                case Answered(key, outcome):
                    self._shared.desk.answered(self, key, Finished(outcome, self.device_id, self.epoch))
                case Broken(key, fault):
                    self._shared.desk.answered(self, key, self._broken(fault))
                case Beat(heartbeat):
                    self.loop_lag = heartbeat.loop_lag
                case RoomMade():
                    self._shared.desk.room_made(self)
                case Learn(manifest):
                    self.unsaved = manifest
                    self.woken.set()
                case Greet(hello):
                    self.greeting = hello
                    self.woken.set()
                case End(error):
                    self._end(error)

    def _send(self, item: BridgeItem) -> None:
        try:
            self.outbox.put(item, _size(item), Lane.CALL if isinstance(item, Deliver) else Lane.CONTROL)
        except OutboxFull:
            # Calls have their room; only acknowledgements for a device that does not read can fill it.
            _log.warning("device does not read", device_id=self.device_id, epoch=self.epoch)
            self._protocol.peer_gone()
            self._end(SessionRetired("The device does not read. Connect again."))

    def _end(self, error: AdiuvaError | None) -> None:
        if self.ending is None:
            self.ending = Ending(error)
            self._shared.desk.detach(self)
            self.woken.set()

    def _broken(self, fault: Fault) -> Answer:
        match fault:
            case Fault.TOO_LARGE:
                return Finished(self._shared.too_large, self.device_id, self.epoch)
            case Fault.NO_ROOM:
                return rejection(
                    TooManyCalls("The bridge is carrying too many long results. Try again.", retry_after=1.0),
                    Delivery.DELIVERED_UNKNOWN,
                )
            case Fault.MALFORMED:
                return rejection(CallBroken(), Delivery.DELIVERED_UNKNOWN)


def _size(item: BridgeItem) -> int:
    match item:
        case Deliver(parcel):
            return parcel.call.size_bytes + ITEM_OVERHEAD
        case ResultAck(keys):
            return sum(map(len, keys)) + 4 * len(keys) + 16
        case Welcome():
            return sum(map(len, (*item.resend, *item.forget))) + 4 * len((*item.resend, *item.forget)) + 2048
        case Closed() | Cancel():
            return ITEM_OVERHEAD
        case _:
            return 16
