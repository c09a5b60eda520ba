"""What a tool call is to the bridge: an envelope that it routes and never opens.

Run contexts and outcomes travel as encoded bytes. The bridge does not act on what is in them, and a part of a decoded
message would keep its whole frame in memory for as long as an outcome is remembered.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, unique

from adiuva_rpc.errors import AdiuvaError

DEFAULT_TIMEOUT = 30.0
MAX_TIMEOUT = 300.0
"""Seconds. Every call has a deadline, whatever its caller asks for."""
MAX_ARGUMENT_BYTES = 256 * 1024


@unique
class OfflinePolicy(Enum):
    """What to do with a call while its device is not connected."""

    FAIL_FAST = "FAIL_FAST"
    WAIT = "WAIT"


@unique
class Delivery(Enum):
    """How far a call got that did not complete."""

    NOT_DELIVERED = "NOT_DELIVERED"
    """The device never received it."""
    DELIVERED_UNKNOWN = "DELIVERED_UNKNOWN"
    """The device may have run it."""
    COMPLETED = "COMPLETED"
    """The device answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of one tool, as its caller asked for it."""

    user_id: str
    call_id: str
    device_id: str
    """Empty: the user's device that connected last."""
    tool: str
    arguments_json: str = field(repr=False)
    timeout: float = DEFAULT_TIMEOUT
    """Seconds that remain."""
    offline_policy: OfflinePolicy = OfflinePolicy.FAIL_FAST
    run_context: bytes = field(default=b"", repr=False)
    """The encoded RunContext; empty for a call outside any run."""
    epoch: int = 0
    """The epoch in the run context: a higher one means that a newer worker has taken over the run."""

    def same_work(self, other: Call) -> bool:
        """Tell whether both ask for the same thing. Time, policy and the worker that asks are no part of it."""
        return (self.tool, self.arguments_json) == (other.tool, other.arguments_json) and (
            not self.device_id or not other.device_id or self.device_id == other.device_id
        )

    @property
    def size_bytes(self) -> int:
        """What it occupies, without its ids."""
        text = self.arguments_json
        return (len(text) if text.isascii() else len(text.encode())) + len(self.run_context)

    def on(self, device_id: str) -> Call:
        """Return the call with its device filled in."""
        return self if self.device_id == device_id else replace(self, device_id=device_id)


@dataclass(slots=True, eq=False)
class Parcel:
    """A call on its way to a device. Mutable: the call table and the session's writer share it."""

    key: str
    """The bridge's own number for the call: two users may choose the same call_id."""
    call: Call
    deadline: float
    """Monotonic time at which the bridge gives up."""
    written: bool = False
    """A frame with it was handed to the transport: the device may have it."""
    dropped: bool = False
    """Nobody waits for it any more: the writer passes it over."""

    @property
    def delivery(self) -> Delivery:
        """How far it got, as long as no answer came."""
        return Delivery.DELIVERED_UNKNOWN if self.written else Delivery.NOT_DELIVERED


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended on the device."""

    encoded: bytes = field(repr=False)
    """The ToolOutcome, without the pieces of a chunked result."""
    pieces: tuple[bytes, ...] = field(default=(), repr=False)
    """A chunked result, in order; empty when the result is in `encoded`."""

    @property
    def size_bytes(self) -> int:
        """What it occupies."""
        return len(self.encoded) + sum(map(len, self.pieces))


@dataclass(frozen=True, slots=True)
class Finished:
    """The call ended on the device: with a result, or with a tool's failure."""

    outcome: Outcome
    device_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """The call did not complete."""

    error: AdiuvaError
    delivery: Delivery = Delivery.NOT_DELIVERED


Answer = Finished | Rejected


def rejection(error: AdiuvaError, delivery: Delivery = Delivery.NOT_DELIVERED) -> Rejected:
    """Return the answer of a call that did not complete; the error's metadata says how far it got."""
    error.metadata["delivery"] = delivery.value
    return Rejected(error, delivery)


class ByteBudget:
    """Bytes of long results that this process may hold. Shared by all who hold some; one event loop, no locks."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._total = total

    @property
    def used(self) -> int:
        """Bytes taken now."""
        return self._total - self._free

    def take(self, size: int) -> bool:
        """Take `size` bytes if they are free; tell whether."""
        if size > self._free:
            return False
        self._free -= size
        return True

    def give_back(self, size: int) -> None:
        """Give back what was taken."""
        self._free += size
