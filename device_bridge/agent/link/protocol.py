"""The session as the device sees it: a table without I/O. `session` pumps frames through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto, unique
from types import MappingProxyType

from device_bridge.agent.link.domain import (
    Call,
    Cancel,
    Closed,
    Frame,
    HeartbeatAck,
    Item,
    MalformedCall,
    ProtocolViolation,
    ResultAck,
    Welcome,
)

SILENT_INTERVALS = 2.5
"""A bridge that says nothing for so many heartbeat intervals is given up."""


@unique
class State(Enum):
    """Where a session is."""

    AWAITING_WELCOME = auto()
    """Hello is on its way; nothing else may pass."""
    READY = auto()
    """Calls come in, answers go out."""
    LEAVING = auto()
    """Goodbye is said: no new call is taken, answers still go out."""
    CLOSED = auto()
    """Terminal: whatever still arrives is ignored."""


@unique
class Event(Enum):
    """What moves a session: an item of the bridge, or the agent's own wish to leave."""

    WELCOME = auto()
    CALL = auto()
    CANCEL = auto()
    RESULT_ACK = auto()
    HEARTBEAT_ACK = auto()
    CLOSED = auto()
    LEAVE = auto()


_TALK = (Event.CALL, Event.CANCEL, Event.RESULT_ACK, Event.HEARTBEAT_ACK)

TRANSITIONS: Mapping[tuple[State, Event], State] = MappingProxyType(
    {
        (State.AWAITING_WELCOME, Event.WELCOME): State.READY,
        (State.AWAITING_WELCOME, Event.CLOSED): State.CLOSED,
        (State.AWAITING_WELCOME, Event.LEAVE): State.CLOSED,
        **{(State.READY, event): State.READY for event in _TALK},
        (State.READY, Event.CLOSED): State.CLOSED,
        (State.READY, Event.LEAVE): State.LEAVING,
        **{(State.LEAVING, event): State.LEAVING for event in _TALK},
        (State.LEAVING, Event.CLOSED): State.CLOSED,
        (State.LEAVING, Event.LEAVE): State.LEAVING,
        **{(State.CLOSED, event): State.CLOSED for event in Event},
    }
)
"""Every step that is allowed. A pair that is not here is a violation."""

EVENTS: Mapping[type[Item], Event] = MappingProxyType(
    {
        Welcome: Event.WELCOME,
        Call: Event.CALL,
        MalformedCall: Event.CALL,
        Cancel: Event.CANCEL,
        ResultAck: Event.RESULT_ACK,
        HeartbeatAck: Event.HEARTBEAT_ACK,
        Closed: Event.CLOSED,
    }
)


class SessionProtocol:
    """The state of one session. Not shared between sessions."""

    def __init__(self) -> None:
        self.state = State.AWAITING_WELCOME
        self._expected_seq = 1

    def receive(self, frame: Frame) -> tuple[Item, ...]:
        """Take a frame and return the items in it that are to be acted on, in order.

        Calls that arrive while leaving, and everything after Closed, are left out.

        Raises:
            ProtocolViolation: The frame is out of sequence, or an item may not come now.
        """
        if frame.seq != self._expected_seq:
            text = f"frame {frame.seq} came where {self._expected_seq} was due"
            raise ProtocolViolation(text)
        self._expected_seq += 1
        return tuple(item for item in frame.items if self._takes(item))

    def leave(self) -> None:
        """Say goodbye: from now on no call is taken."""
        self._step(Event.LEAVE)

    def _takes(self, item: Item) -> bool:
        event = EVENTS[type(item)]
        before = self.state
        self._step(event)
        return before is not State.CLOSED and not (before is State.LEAVING and event is Event.CALL)

    def _step(self, event: Event) -> None:
        after = TRANSITIONS.get((self.state, event))
        if after is None:
            text = f"{event.name} came in state {self.state.name}"
            raise ProtocolViolation(text)
        self.state = after


@dataclass(slots=True)
class Liveness:
    """Whether the bridge is still there, judged by when it was last heard. Times are seconds of one monotonic clock."""

    interval: float
    last_heard: float

    def heard(self, now: float) -> None:
        """A frame arrived."""
        self.last_heard = now

    def excuse(self, seconds: float) -> None:
        """Leave out a time in which nothing could have been heard; a negative one is none."""
        self.last_heard += max(0.0, seconds)

    def remaining(self, now: float) -> float:
        """Return how long the bridge may still stay silent; zero or less means that it is given up."""
        return self.last_heard + SILENT_INTERVALS * self.interval - now
