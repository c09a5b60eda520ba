"""What passes over the link, and how a session ends. Pure data, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto, unique

from device_bridge.agent.domain import Effect, Failure, ToolCall

PROTOCOL_REVISION = 1
"""The revision of the session contract that this agent speaks, oldest and newest."""


class ProtocolViolation(Exception):
    """The bridge broke the framing of the session; the session cannot go on. Its text is for the log."""


@unique
class CloseReason(Enum):
    """Why a bridge closes a session; UNKNOWN stands for a reason of a newer bridge."""

    UNKNOWN = auto()
    SUPERSEDED = auto()
    SHUTDOWN = auto()
    REVOKED = auto()
    PROTOCOL_ERROR = auto()
    UNRESPONSIVE = auto()
    DISCONNECTED = auto()
    OVERLOADED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The session stands, and these are its terms."""

    session_id: str
    epoch: int
    user_id: str
    device_id: str
    issued_credential: str = field(default="", repr=False)
    """The credential for all later sessions; empty unless this session enrolled the device."""
    heartbeat_interval: float
    """Seconds between heartbeats, each way."""
    max_frame_bytes: int
    chunk_bytes: int
    """A result longer than this goes out in chunks of at most this many bytes."""
    max_calls: int
    need_tools: bool = False
    """The bridge does not know the hash of the tools and wants their descriptors."""
    resend: frozenset[str] = frozenset()
    """Keys of finished calls whose answers the bridge still wants."""
    forget: frozenset[str] = frozenset()
    """Keys of calls that nobody waits for any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Run a tool."""

    call_key: str
    """The bridge's own number of the call."""
    tool_call: ToolCall
    timeout: float | None = None
    """Seconds that remain; None when the caller left it to the tool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MalformedCall:
    """A call that cannot be run as it is written. It fails alone; the session goes on."""

    call_key: str
    message: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop running a call."""

    call_key: str


@dataclass(frozen=True, slots=True)
class ResultAck:
    """Answers that have arrived."""

    call_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HeartbeatAck:
    """The bridge is alive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The bridge ends the session."""

    reason: CloseReason
    retry_after: float | None = None
    """Seconds to wait before the next session, if the bridge asks for it."""
    permanent: bool = False
    message: str = ""


Item = Welcome | Call | MalformedCall | Cancel | ResultAck | HeartbeatAck | Closed


@dataclass(frozen=True, slots=True)
class Frame:
    """What the bridge sent at once. Items of kinds that this agent does not know are already left out."""

    seq: int
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """A call that the device has not forgotten."""

    call_key: str
    finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a call ended, ready to be sent as often as it takes."""

    call_key: str
    body: bytes = field(default=b"", repr=False)
    """The result as JSON text in UTF-8; empty when the call failed."""
    failure: Failure | None = None
    effects: tuple[Effect, ...] = ()
    replayed: bool = False
    execution_seconds: float = 0.0

    @property
    def size(self) -> int:
        """Roughly what keeping the answer costs, in bytes."""
        return len(self.body) + 256 + 256 * len(self.effects)


@unique
class EndKind(Enum):
    """How a session, or the attempt to open one, ended."""

    LEFT = auto()
    """The agent said goodbye."""
    CLOSED = auto()
    """The bridge said that it ends the session; see `close_reason`."""
    LOST = auto()
    """The stream broke or ended without a word, whatever its status says."""
    REFUSED = auto()
    """The bridge does not accept the credential or the code."""
    REVOKED = auto()
    """The bridge says that the device was revoked."""
    INCOMPATIBLE = auto()
    """The bridge speaks no protocol revision of this agent."""
    SUPERSEDED = auto()
    """Another process holds a newer session with the same credential."""
    NO_WELCOME = auto()
    """The bridge did not answer Hello in time."""
    SILENT = auto()
    """Nothing was heard for 2.5 heartbeat intervals."""
    STALLED = auto()
    """A write was blocked, or too much waited to be written."""
    VIOLATION = auto()
    """The bridge broke the protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnd:
    """How a session ended, and what its end asks for."""

    kind: EndKind
    detail: str = ""
    """A sentence or a status name, for people and the log. Never a secret."""
    close_reason: CloseReason | None = None
    retry_after: float | None = None
    permanent: bool = False
    ready_seconds: float | None = None
    """How long the session stood after Welcome; None when there was no Welcome."""
