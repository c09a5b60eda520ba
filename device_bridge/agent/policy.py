"""What a run may do on this device: pure rules over the policy that `begin_run` recorded. No I/O.

The device enforces these whatever the orchestrator or the model asks. Silence means no: a tool, a path or a scope
that the policy does not name is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from device_bridge.agent.domain import (
    EffectClass,
    Failure,
    JsonObject,
    Reason,
    RunContext,
    ToolCall,
    ToolError,
    ToolSpec,
)
from device_bridge.agent.sandbox.paths import normalise

TRIAGE = "triage"
PROCESSING = "processing"
CONTROL = "control"
FILESYSTEM = "filesystem"
PROJECTS = "projects"

MESSAGE_PREFIX = "message:"
"""What the id of a message begins with. It is no wire path: a root's name holds no colon, so nothing can be opened."""

_FILE_TOOLS = frozenset({"read_file_content", "get_file_metadata"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """What one scope may use up. Each is a count that is never exceeded."""

    max_calls: int
    max_read_bytes: int
    """Bytes of file text handed out, in UTF-8."""
    max_creates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What one scope (phase and group) of a run may do. Paths are wire paths in normal form."""

    phase: str
    group: str
    tools: frozenset[str]
    read_only: bool
    directories: tuple[str, ...]
    files: frozenset[str] | None
    """The group's files or the ids of its messages; None when the scope has no list."""
    data_types: frozenset[str]
    budgets: Budgets


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a scope has used up so far."""

    calls: int = 0
    read_bytes: int = 0
    creates: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What the device knows of a run when a call of one of its scopes arrives."""

    run_id: str
    epoch: int
    """The highest epoch seen."""
    closed: bool
    usage: Usage
    """Of the scope of the call; zero for control calls."""


def policy_from_arguments(arguments: JsonObject) -> Policy:
    """Return the policy in the arguments of `begin_run`.

    Raises:
        ToolError: One of its paths is no wire path.
    """
    files = arguments["files"]
    return Policy(
        phase=arguments["phase"],
        group=arguments["group"],
        tools=frozenset(arguments["tools"]),
        read_only=arguments["read_only"],
        directories=tuple(sorted(set(map(normalise, arguments["directories"])))),
        files=None if files is None else frozenset(map(_normal_source, files)),
        data_types=frozenset(arguments["data_types"]),
        budgets=Budgets(**arguments["budgets"]),
    )


def policy_to_json(policy: Policy) -> str:
    """Return the canonical JSON text of a policy: equal policies have equal texts."""
    return json.dumps(
        {
            "phase": policy.phase,
            "group": policy.group,
            "tools": sorted(policy.tools),
            "read_only": policy.read_only,
            "directories": sorted(policy.directories),
            "files": None if policy.files is None else sorted(policy.files),
            "data_types": sorted(policy.data_types),
            "budgets": {
                "max_calls": policy.budgets.max_calls,
                "max_read_bytes": policy.budgets.max_read_bytes,
                "max_creates": policy.budgets.max_creates,
            },
        },
        sort_keys=True,
        separators=(",", ":"),
    )


@lru_cache(maxsize=64)
def policy_from_json(text: str) -> Policy:
    """Return the policy that `policy_to_json` wrote.

    Cached, because a recorded policy never changes and its file list may hold thousands of paths.
    """
    value = json.loads(text)
    return Policy(
        phase=value["phase"],
        group=value["group"],
        tools=frozenset(value["tools"]),
        read_only=value["read_only"],
        directories=tuple(value["directories"]),
        files=None if value["files"] is None else frozenset(value["files"]),
        data_types=frozenset(value["data_types"]),
        budgets=Budgets(**value["budgets"]),
    )


def may_change(*, is_ai_suggested: bool, is_approved: bool) -> bool:
    """Whether a run may change a row in place.

    Only rows that are still suggestions: what a run made itself is one until the user approves it. Approved and
    user-made rows get comments and proposed changes instead.
    """
    return is_ai_suggested and not is_approved


def decide(call: ToolCall, spec: ToolSpec, policy: Policy | None, record: RunRecord | None) -> Failure | None:
    """Return why this call is refused, or None when it may run.

    Args:
        call: Its arguments are valid under the tool's schema, or empty when only the scope is to be judged.
        spec: The tool that the call names.
        policy: The policy of the call's scope; None when `begin_run` never named that scope.
        record: The call's run; None when the device has not heard of it.
    """
    context = call.context
    if context is None:
        if spec.effect is EffectClass.READ_ONLY:
            return None
        return _denied(f"{spec.name} changes the workspace, so it needs a run: only reading is open without one.")
    if record is not None and context.epoch < record.epoch:
        return Failure(
            reason=Reason.STALE_EPOCH,
            message=f"Run has moved on to epoch {record.epoch}; this worker's {context.epoch} is over. Stop.",
        )
    if record is not None and record.closed:
        return _denied("The run is completed: it makes no more calls.")
    if spec.toolset == CONTROL:
        return _decide_control(spec, context, record)
    if record is None or policy is None:
        return _denied("The device holds no policy for this phase and group of the run: send begin_run first.")
    for rule in _RULES:
        failure = rule(call, spec, policy, record.usage)
        if failure is not None:
            return failure
    return None


def decide_read_bytes(policy: Policy, usage: Usage, size_bytes: int) -> Failure | None:
    """Return why `size_bytes` more of file text may not be handed out, or None when they fit the budget."""
    left = policy.budgets.max_read_bytes - usage.read_bytes
    if size_bytes <= left:
        return None
    return Failure(
        reason=Reason.BUDGET_EXCEEDED,
        message=f"This part of the run may read {left} more bytes and this answer holds {size_bytes}: ask for fewer.",
    )


def _decide_control(spec: ToolSpec, context: RunContext, record: RunRecord | None) -> Failure | None:
    # A model's calls carry the scope they were asked in, so one that names a control tool ends here.
    if context.phase != CONTROL:
        return _denied(f"{spec.name} belongs to the run's control and is not open to its phases.")
    if record is None and spec.name == "mark_processed":
        return _denied("The device has not heard of this run: send begin_run first.")
    return None


def _decide_tool(_call: ToolCall, spec: ToolSpec, policy: Policy, _usage: Usage) -> Failure | None:
    if spec.name not in policy.tools:
        return _denied(f"{spec.name} is not among the tools of this part of the run.")
    reads = spec.effect is EffectClass.READ_ONLY
    if not reads and (policy.read_only or policy.phase == TRIAGE):
        return _denied(f"{spec.name} changes the workspace and this part of the run may only read.")
    # Projects are what everything else is filed under, so reading them is open to every run.
    if spec.toolset == FILESYSTEM or (spec.toolset == PROJECTS and reads):
        return None
    if spec.toolset not in policy.data_types:
        return _denied(f"This run does not work on {spec.toolset}.")
    return None


def _decide_place(call: ToolCall, spec: ToolSpec, policy: Policy, _usage: Usage) -> Failure | None:
    if spec.toolset != FILESYSTEM:
        return None
    named = call.arguments.get("paths")
    for text in named if named is not None else [call.arguments.get("path", ".")]:
        try:
            path = normalise(text)
        except ToolError as error:
            return Failure(reason=error.reason, message=error.message)
        if spec.name in _FILE_TOOLS and policy.files is not None:
            if path not in policy.files:
                return _denied("This file is not in the group's file list: use one of the listed paths.")
        elif not _under(path, policy.directories):
            allowed = ", ".join(policy.directories[:10]) or "none"
            return _denied(f"This path is outside the agent's folders. The folders are: {allowed}.")
    return None


def _decide_source(call: ToolCall, _spec: ToolSpec, policy: Policy, _usage: Usage) -> Failure | None:
    source = call.arguments.get("source")
    if not source or policy.files is None or _is_listed(source, policy.files):
        return None
    return Failure(
        reason=Reason.INVALID_ARGUMENT,
        message="source: must be one of the group's files or messages, exactly as listed.",
    )


def _decide_budget(_call: ToolCall, spec: ToolSpec, policy: Policy, usage: Usage) -> Failure | None:
    budgets = policy.budgets
    if usage.calls >= budgets.max_calls:
        return _exceeded(f"all {budgets.max_calls} tool calls of this part of the run are used")
    if spec.name == "read_file_content" and usage.read_bytes >= budgets.max_read_bytes:
        return _exceeded(f"all {budgets.max_read_bytes} bytes of reading of this part of the run are used")
    if spec.name.startswith("create_") and usage.creates >= budgets.max_creates:
        return _exceeded(f"all {budgets.max_creates} new records of this part of the run are used")
    return None


_RULES: tuple[Callable[[ToolCall, ToolSpec, Policy, Usage], Failure | None], ...] = (
    _decide_tool,
    # Before the rules on arguments: a mistake in them is a call that counts.
    _decide_budget,
    _decide_place,
    _decide_source,
)


def _normal_source(source: str) -> str:
    return source if source.startswith(MESSAGE_PREFIX) else normalise(source)


def _is_listed(source: str, files: frozenset[str]) -> bool:
    try:
        return _normal_source(source) in files
    except ToolError:
        return False


def _under(path: str, directories: tuple[str, ...]) -> bool:
    return any(folder in {".", path} or path.startswith(f"{folder}/") for folder in directories)


def _denied(message: str) -> Failure:
    return Failure(reason=Reason.POLICY_DENIED, message=message)


def _exceeded(what: str) -> Failure:
    return Failure(reason=Reason.BUDGET_EXCEEDED, message=f"The budget is used up: {what}. Finish with what you have.")
