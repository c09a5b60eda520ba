"""What the two sides of a session say to each other, and the limits that hold for it. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, unique

from device_bridge.server.devices.domain import Manifest
from device_bridge.server.routing.domain import Parcel

PROTOCOL = 1
"""The revision of the contract that this bridge speaks."""


@unique
class CloseReason(Enum):
    """Why the bridge ends a session. The names are those of the contract."""

    SUPERSEDED = "SUPERSEDED"
    SHUTDOWN = "SHUTDOWN"
    REVOKED = "REVOKED"
    PROTOCOL_ERROR = "PROTOCOL_ERROR"
    UNRESPONSIVE = "UNRESPONSIVE"
    DISCONNECTED = "DISCONNECTED"
    OVERLOADED = "OVERLOADED"


# --- what a device says


@dataclass(frozen=True, slots=True)
class CallInFlight:
    """A call that a device has not forgotten."""

    key: str
    finished: bool
    """It has ended and only its answer is on the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Who is calling and what it can do."""

    protocol_min: int
    protocol_max: int
    instance_id: str
    installation_id: str
    agent_version: str
    display_name: str
    manifest: Manifest
    root_names: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    calls: tuple[CallInFlight, ...] = ()


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The device is alive."""

    running_calls: int
    loop_lag: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class ResultChunk:
    """A piece of a long result."""

    key: str
    offset: int
    data: bytes = field(repr=False)


@unique
class OutcomeKind(Enum):
    """What is set in the outcome of a call."""

    RESULT = "result"
    FAILURE = "failure"
    CHUNKED = "chunked"
    """The result came in pieces before."""
    NONE = "none"
    """Nothing, which the contract forbids."""


@dataclass(frozen=True, slots=True)
class CallDone:
    """A call has ended on the device."""

    key: str
    kind: OutcomeKind
    size: int
    """Of the result in bytes: the text in the outcome, or all pieces together; 0 for a failure."""
    encoded: bytes = field(repr=False)
    """The ToolOutcome."""


@dataclass(frozen=True, slots=True)
class ToolsChanged:
    """The tools have changed since Hello, or the bridge asked for them."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The device leaves on purpose."""

    reason: str


@dataclass(frozen=True, slots=True)
class UnknownItem:
    """A kind of item that this bridge does not know. It is ignored."""


DeviceItem = Hello | Heartbeat | ResultChunk | CallDone | ToolsChanged | Goodbye | UnknownItem


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame from the device."""

    seq: int
    items: tuple[DeviceItem, ...]


# --- what the bridge says


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the bridge grants a session."""

    session_id: str
    epoch: int
    user_id: str
    device_id: str
    need_tools: bool
    issued_credential: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The session stands."""

    terms: Terms
    resend: tuple[str, ...]
    """Keys of calls of Hello whose answers are to be sent again."""
    forget: tuple[str, ...]
    """Keys of calls of Hello that nobody waits for any more."""


@dataclass(frozen=True, slots=True)
class HeartbeatAck:
    """The bridge is alive."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """Run a tool."""

    parcel: Parcel
    redelivery: bool = False


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop running a tool."""

    key: str


@dataclass(frozen=True, slots=True)
class ResultAck:
    """Answers that have arrived."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The session ends."""

    reason: CloseReason
    retry_after: float = 0.0
    """Seconds to wait before the next session."""
    permanent: bool = False
    message: str = ""


BridgeItem = Welcome | HeartbeatAck | Deliver | Cancel | ResultAck | Closed


# --- limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a session may do. All sizes in bytes, all times in seconds."""

    heartbeat_interval: float = 20.0
    silence_intervals: float = 2.5
    """A device that says nothing for so many intervals is given up."""
    hello_within: float = 5.0
    write_blocked: float = 10.0
    max_frame_bytes: int = 1 << 20
    chunk_bytes: int = 256 * 1024
    max_calls: int = 64
    """Calls under way on one device."""
    max_result_bytes: int = 64 << 20
    """The largest result of one call."""
    max_hello_calls: int = 4096

    @property
    def silence(self) -> float:
        """Seconds without a frame after which a device is given up."""
        return self.heartbeat_interval * self.silence_intervals
