"""What the device agent talks about: calls, contexts, outcomes, effects and tools. Pure data, no I/O."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import Any

JsonObject = dict[str, Any]


@unique
class Reason(Enum):
    """Why a tool call failed. The names are part of the contract: the orchestrator and the model act on them."""

    PATH_DENIED = "PATH_DENIED"
    NOT_FOUND = "NOT_FOUND"
    NOT_A_FILE = "NOT_A_FILE"
    NOT_A_DIRECTORY = "NOT_A_DIRECTORY"
    DENIED_BY_POLICY = "DENIED_BY_POLICY"
    """The name is on the deny list of the sandbox: secrets, the agent's own files."""
    BINARY = "BINARY"
    UNSUPPORTED_ENCODING = "UNSUPPORTED_ENCODING"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    UNAVAILABLE = "UNAVAILABLE"
    """The device could not do it now: an I/O error, a root that is gone, a deadline of the file system."""
    POLICY_DENIED = "POLICY_DENIED"
    """The run's policy does not allow this call."""
    STALE_EPOCH = "STALE_EPOCH"
    """A newer worker has taken over the run; this one must stop."""
    CALL_ID_REUSED = "CALL_ID_REUSED"
    UNKNOWN_TOOL = "UNKNOWN_TOOL"
    TIMEOUT = "TIMEOUT"
    CANCELLED = "CANCELLED"
    BUDGET_EXCEEDED = "BUDGET_EXCEEDED"
    RESULT_TOO_LARGE = "RESULT_TOO_LARGE"
    INTERNAL = "INTERNAL"


class ToolError(Exception):
    """A tool call that ended in an answer for the caller: a reason, and a sentence that says what to do next.

    The message reaches the model and the user. It never holds a local path, file text or an operating system's text.
    """

    def __init__(self, reason: Reason, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retryable = retryable


@unique
class EffectClass(Enum):
    """What repeating a call does."""

    READ_ONLY = "READ_ONLY"
    IDEMPOTENT = "IDEMPOTENT"
    EFFECT = "EFFECT"


@unique
class EffectKind(Enum):
    """What a call did to the workspace."""

    CREATED = "CREATED"
    UPDATED = "UPDATED"
    COMMENTED = "COMMENTED"
    PROPOSED = "PROPOSED"
    """A change to an approved or user-made row, stored beside it until the user decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One change that a call made."""

    kind: EffectKind
    entity_type: str
    """project, task, note or timeline."""
    entity_id: str
    title: str
    source: str = ""
    """The wire path or message id that the fact came from; empty when the caller named none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """Which run a call belongs to. Comes with the call, from the orchestrator, never from a model."""

    run_id: str
    epoch: int
    agent_key: str
    """Stable across runs of one agent: the desktop client's own id of the agent, else the server's."""
    agent_name: str
    trigger: str
    phase: str
    """triage, processing or control."""
    group: str = ""
    """The group of files within the processing phase; empty otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call as it reached the device."""

    call_id: str
    tool: str
    arguments: JsonObject
    context: RunContext | None
    """None for a call outside any run: such a call may only read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How a tool call failed: an answer, not an exception."""

    reason: Reason
    message: str
    retryable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call ended: exactly one of `result` and `failure` is set."""

    result: JsonObject | None = None
    failure: Failure | None = None
    effects: tuple[Effect, ...] = ()
    replayed: bool = False
    """True when the ledger answered and nothing was done again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool as it is advertised."""

    name: str
    description: str
    """For a model: what it does, when to use it, what it answers."""
    toolset: str
    """filesystem, projects, tasks, notes, timelines or control."""
    effect: EffectClass
    input_schema: Mapping[str, Any] = field(repr=False)
    """JSON Schema, closed: additionalProperties is false at every level."""
    timeout_seconds: float = 30.0
    max_result_bytes: int = 1024 * 1024


RunTool = Callable[[ToolCall], Awaitable[Outcome]]
"""The whole tool side of the device behind one function: policy, ledger, sandbox, workspace. Never raises but for
cancellation; every failure is an `Outcome`. Safe to call concurrently."""
