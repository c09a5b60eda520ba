"""The calls under way in one session, and the long results that are being put together. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, unique

from device_bridge.server.routing.domain import ByteBudget, Outcome, Parcel
from device_bridge.server.sessions.domain import CallDone, OutcomeKind, ResultChunk

WITHDRAWN_KEEPS_SLOT = 30.0
"""Seconds after which the slot of a cancelled call is free even if the device never said that it ended."""


@unique
class Fault(Enum):
    """Why a call fails although its session goes on."""

    TOO_LARGE = "too large"
    """Its result passes the limit of the tool or of the bridge."""
    NO_ROOM = "no room"
    """The bridge is putting together as many bytes of results as it may."""
    MALFORMED = "malformed"
    """Pieces out of order, or an answer that is none."""


@dataclass(slots=True)
class _Open:
    parcel: Parcel
    pieces: list[bytes] = field(default_factory=list)
    size: int = 0
    withdrawn_at: float | None = None


class InFlight:
    """The calls that occupy a slot of a session.

    A call that nobody waits for any more keeps its slot until the device says that it ended, since it still runs there.

    Args:
        slots: How many calls may be under way.
        limit_of: The largest result of a call of the tool of that name, in bytes.
        budget: Bytes that all sessions of this process may be putting together.
    """

    def __init__(self, *, slots: int, limit_of: Callable[[str], int], budget: ByteBudget) -> None:
        self._slots = slots
        self._limit_of = limit_of
        self._budget = budget
        self._open: dict[str, _Open] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, key: str) -> bool:
        return key in self._open

    @property
    def room(self) -> int:
        """How many more calls may be sent."""
        return self._slots - len(self._open)

    def add(self, parcel: Parcel) -> None:
        """Take a slot for a call."""
        self._open[parcel.key] = _Open(parcel)

    def chunk(self, item: ResultChunk) -> Fault | None:
        """Take a piece of a result. A piece for a call that nobody waits for is passed over.

        Returns:
            Why the call fails now; its slot stays taken until the device says that it ended.
        """
        entry = self._open.get(item.key)
        if entry is None or entry.withdrawn_at is not None:
            return None
        if item.offset != entry.size or not item.data:
            return Fault.MALFORMED
        if entry.size + len(item.data) > self._limit_of(entry.parcel.call.tool):
            return Fault.TOO_LARGE
        if not self._budget.take(len(item.data)):
            return Fault.NO_ROOM
        entry.pieces.append(item.data)
        entry.size += len(item.data)
        return None

    def done(self, item: CallDone) -> Outcome | Fault | None:
        """End a call and free its slot.

        Returns:
            The outcome, why the call fails, or None when nobody waits for it.
        """
        entry = self._open.pop(item.key, None)
        if entry is None:
            return None
        size, pieces = entry.size, self._take_pieces(entry)
        if entry.withdrawn_at is not None:
            return None
        if item.kind is OutcomeKind.FAILURE:
            return Outcome(item.encoded)
        if item.kind is OutcomeKind.CHUNKED and item.size == size:
            return Outcome(item.encoded, pieces)
        if item.kind is OutcomeKind.RESULT and not pieces:
            return Outcome(item.encoded) if item.size <= self._limit_of(entry.parcel.call.tool) else Fault.TOO_LARGE
        return Fault.MALFORMED

    def withdraw(self, key: str, now: float) -> bool:
        """Nobody waits for the call any more. It keeps its slot: it runs on the device, or waits to be passed over.

        Returns:
            Whether the device must be told.
        """
        entry = self._open.get(key)
        if entry is None or entry.withdrawn_at is not None:
            return False
        self._take_pieces(entry)
        entry.withdrawn_at = now
        return entry.parcel.written

    def passed_over(self, key: str) -> bool:
        """The call was withdrawn before it was written: free its slot. Returns whether it had one."""
        return self._open.pop(key, None) is not None

    def expire(self, now: float) -> bool:
        """Free the slots of calls that were withdrawn long ago. Returns whether there were any."""
        stale = [
            key
            for key, entry in self._open.items()
            if entry.withdrawn_at is not None and now >= entry.withdrawn_at + WITHDRAWN_KEEPS_SLOT
        ]
        for key in stale:
            del self._open[key]
        return bool(stale)

    @property
    def next_expiry(self) -> float | None:
        """When `expire` has something to do; None when nothing is withdrawn."""
        times = [entry.withdrawn_at for entry in self._open.values() if entry.withdrawn_at is not None]
        return min(times) + WITHDRAWN_KEEPS_SLOT if times else None

    def clear(self) -> None:
        """Forget everything: the session ends."""
        for entry in self._open.values():
            self._take_pieces(entry)
        self._open.clear()

    def _take_pieces(self, entry: _Open) -> tuple[bytes, ...]:
        pieces = tuple(entry.pieces)
        self._budget.give_back(entry.size)
        entry.pieces, entry.size = [], 0
        return pieces
