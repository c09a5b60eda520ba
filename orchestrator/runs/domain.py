"""What a run is made of: states, counts, groups, faults. Pure data, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, unique
from typing import Any

from orchestrator.agents.domain import AgentDefinition

JsonObject = dict[str, Any]


@unique
class RunState(Enum):
    """How far a run is."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def terminal(self) -> bool:
        """Whether nothing can happen to the run any more."""
        return self not in {RunState.QUEUED, RunState.RUNNING}


@unique
class Phase(Enum):
    """What a run is doing. The values travel in the run context of its tool calls."""

    NONE = ""
    TRIAGE = "triage"
    PROCESSING = "processing"
    FINISHING = "control"


@unique
class Trigger(Enum):
    """What started a run."""

    MANUAL = "manual"
    API = "api"
    SCHEDULE = "schedule"
    DEVICE_CONNECTED = "device_connected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as it is stored, without what its journal tells."""

    run_id: str
    user_id: str
    agent_id: str
    """Empty for a run of an inline definition."""
    definition: AgentDefinition
    trigger: Trigger
    state: RunState
    created_at: datetime
    epoch: int = 0
    """How often a worker has taken it. Every write of a worker names its epoch."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    slot_time: datetime | None = None
    cancel_requested: bool = False
    cancel_reason: str = ""
    device_informed: bool = True
    """False while the device has still to be told that the run ended."""

    @property
    def agent_key(self) -> str:
        """The agent's id, the same at each of its runs: what was processed is remembered under it."""
        return self.definition.client_agent_id or self.agent_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A file or message that is to be processed, as the run found it."""

    path: str
    """A wire path, or a message's id."""
    size_bytes: int
    mtime_ns: int
    """When the file was changed last, or the message came in; 0 where unknown."""
    thread: str = ""
    """The conversation that a message belongs to."""
    tries: int = 0
    """In how many earlier runs the message was left unprocessed because its group failed."""
    failures: int = 0
    """How many of these tell against the message itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A place to which the cursor of a connection may be moved."""

    items: int
    """So many of the run's items, in their order, must be done before."""
    cursor_token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Files, or messages of one thread, that are processed together, with one conversation."""

    group_id: str
    """`g1`, `g2` …: part of the call ids, so it must not depend on anything a crash could change."""
    project_id: str
    """The existing project that the files belong to; empty for none."""
    title: str
    """For people: the project's name or the folder's; a number for a thread, whose subject is message text."""
    items: tuple[Item, ...]


@unique
class EffectKind(Enum):
    """What a call did to the workspace."""

    CREATED = "CREATED"
    UPDATED = "UPDATED"
    COMMENTED = "COMMENTED"
    PROPOSED = "PROPOSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One change that a call made on the device."""

    kind: EffectKind
    entity_type: str
    """project, task, note or timeline."""
    entity_id: str
    title: str
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFailure:
    """How a tool failed: an answer for the model, not an exception."""

    reason: str
    message: str
    retryable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutcome:
    """How a call ended on the device: exactly one of `result_json` and `failure` is set."""

    result_json: str | None = field(default=None, repr=False)
    failure: ToolFailure | None = None
    effects: tuple[Effect, ...] = ()


@unique
class EffectClass(Enum):
    """What repeating a call does."""

    READ_ONLY = "READ_ONLY"
    IDEMPOTENT = "IDEMPOTENT"
    EFFECT = "EFFECT"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool as the device advertised it."""

    name: str
    description: str
    toolset: str
    effect: EffectClass
    input_schema: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """Which run a call belongs to; the device enforces the policy of (run_id, phase, group)."""

    run_id: str
    epoch: int
    agent_id: str
    client_agent_id: str
    agent_name: str
    trigger: str
    phase: str
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCall:
    """One tool call for a device."""

    call_id: str
    user_id: str
    device_id: str
    tool: str
    arguments_json: str = field(repr=False)
    context: RunContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a run used."""

    model_calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    tool_calls: int = 0
    read_bytes: int = 0

    def plus(self, **more: int) -> Usage:
        """Return the usage with these amounts added."""
        return replace(self, **{name: getattr(self, name) + amount for name, amount in more.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunError:
    """Something that went wrong in a run, with a sentence that a user can act on."""

    reason: str
    message: str
    group: str = ""
    items: tuple[str, ...] = ()


class RunFault(Exception):
    """Ends a run, or a group of it, with a reason. Raised by ports and logic; never crosses the wire."""

    reason = "INTERNAL"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class DeviceUnknown(RunFault):
    """The user has no such device."""

    reason = "DEVICE_UNKNOWN"


class DeviceOffline(RunFault):
    """The device is not connected, or was lost and did not come back in time."""

    reason = "DEVICE_OFFLINE"


class ToolTimedOut(RunFault):
    """The device did not answer a call in time."""

    reason = "TOOL_TIMEOUT"


class DirectoryNotFound(RunFault):
    """A folder of the agent is not on the device."""

    reason = "DIRECTORY_NOT_FOUND"


class DirectoryDenied(RunFault):
    """A folder of the agent is outside what the user opened on the device."""

    reason = "PATH_DENIED"


class DevicePolicyRefused(RunFault):
    """The device refused a call that the run needs, such as one of a stale worker's."""

    reason = "DEVICE_POLICY"


class TriageUnusable(RunFault):
    """The model's triage could not be used, also after asking again."""

    reason = "TRIAGE_UNUSABLE"


class ConnectorsUnavailable(RunFault):
    """No connectors service serves the run's messages."""

    reason = "CONNECTORS_UNAVAILABLE"


class ConnectionFault(RunFault):
    """The messages of a connection cannot be fetched. `connection_faults` has the reasons."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class BudgetExceeded(RunFault):
    """A limit of the run was reached."""

    reason = "BUDGET_EXCEEDED"


class ModelFault(RunFault):
    """The model did not answer."""

    reason = "MODEL_UNAVAILABLE"


class ModelUnauthenticated(ModelFault):
    """The provider refused the key. Asking again is pointless until an operator acts."""

    reason = "MODEL_UNAUTHENTICATED"


class ModelRateLimited(ModelFault):
    """The provider asked to slow down for longer than a run waits."""

    reason = "MODEL_RATE_LIMITED"


class ModelBadAnswer(ModelFault):
    """What came back is no answer."""

    reason = "MODEL_BAD_ANSWER"


class RunCancelled(RunFault):
    """Somebody asked for the run's end."""

    reason = "CANCELLED"


class WorkerStopped(Exception):
    """This worker must stop at once and write nothing more; the run goes on elsewhere, from its journal."""


class Fenced(WorkerStopped):
    """Another worker has taken over the run."""


class JournalLost(WorkerStopped):
    """An append failed and may have happened all the same: only who reads the journal anew knows how far the run is."""
