"""From a call to its outcome: check the arguments, ask the ledger, ask the policy, run the tool, record the effect."""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import replace

import structlog

from device_bridge.agent import ledger
from device_bridge.agent.domain import (
    EffectKind,
    Failure,
    JsonObject,
    Outcome,
    Reason,
    RunContext,
    RunTool,
    ToolCall,
    ToolError,
    ToolSpec,
)
from device_bridge.agent.policy import CONTROL, Policy, RunRecord, decide, decide_read_bytes
from device_bridge.agent.tools import BUILT_IN
from device_bridge.agent.tools.arguments import ArgumentCheck
from device_bridge.agent.tools.ports import Files
from device_bridge.agent.tools.tool import Change, FileTool, Query, Tool
from device_bridge.agent.workspace import changes, processed, runs
from device_bridge.agent.workspace.store import Workspace
from device_bridge.agent.workspace.writing import Done, Writing

MAX_ID_LENGTH = 200
MAX_NAME_LENGTH = 1000
_MAX_EPOCH = 2**62

log = structlog.get_logger(__name__)


def build_run_tool(workspace: Workspace, files: Files, tools: Sequence[Tool] = BUILT_IN) -> RunTool:
    """Return the whole tool side of the device as one function. See `RunTool` for what it promises."""
    return _Dispatcher(workspace, files, tools)


class _Dispatcher:
    def __init__(self, workspace: Workspace, files: Files, tools: Sequence[Tool]) -> None:
        self._workspace = workspace
        self._files = files
        self._tools = {tool.spec.name: (tool, ArgumentCheck(tool.spec)) for tool in tools}

    async def __call__(self, call: ToolCall) -> Outcome:
        named = self._tools.get(call.tool)
        if named is None:
            return _failed(Reason.UNKNOWN_TOOL, "This device has no tool of this name.")
        tool, check = named
        try:
            async with asyncio.timeout(tool.spec.timeout_seconds):
                return await self._run(tool, check, call)
        except ToolError as error:
            return Outcome(failure=_failure(error))
        except TimeoutError:
            seconds = tool.spec.timeout_seconds
            return _failed(Reason.TIMEOUT, f"{call.tool} took longer than {seconds:g} s.", retryable=True)
        except Exception:
            reference = secrets.token_hex(8)
            log.exception("tool_failed", tool=tool.spec.name, reference=reference)
            return _failed(Reason.INTERNAL, f"The tool failed on the device. Reference: {reference}.")

    async def _run(self, tool: Tool, check: ArgumentCheck, call: ToolCall) -> Outcome:
        _check_context(call)
        problem: ToolError | None = None
        try:
            call = replace(call, arguments=check(call.arguments))
        except ToolError as error:
            problem = error
        if isinstance(tool, Change):
            return await self._change(tool, call, problem)
        if problem is not None:
            raise problem
        return await self._read(tool, call)

    async def _change(self, tool: Change, call: ToolCall, problem: ToolError | None) -> Outcome:
        context = call.context
        if context is None:
            denied = decide(replace(call, arguments={}), tool.spec, None, None)
            return Outcome(failure=denied)
        now = self._workspace.now()

        def work(connection: sqlite3.Connection) -> Outcome:
            writing = Writing(connection=connection, context=context, now=now, new_id=self._workspace.new_id)
            return _apply(writing, tool, call, problem)

        return await self._workspace.write(work)

    async def _read(self, tool: FileTool | Query, call: ToolCall) -> Outcome:
        denied = await self._workspace.read(lambda connection: _admit(connection, tool.spec, call))
        if denied is not None:
            return Outcome(failure=denied)
        read_bytes = 0
        try:
            result = await self._answer(tool, call)
            _check_size(tool.spec, result)
            outcome = Outcome(result=result)
            if isinstance(tool, FileTool) and tool.text_field is not None:
                read_bytes = len(result[tool.text_field].encode())
        except ToolError as error:
            outcome = Outcome(failure=_failure(error))
        context = call.context
        if context is None:
            return outcome
        now = self._workspace.now()
        denied = await self._workspace.write(
            lambda connection: _charge(connection, tool.spec, call, context, read_bytes, now)
        )
        return outcome if denied is None else Outcome(failure=denied)

    async def _answer(self, tool: FileTool | Query, call: ToolCall) -> JsonObject:
        if isinstance(tool, Query):
            query = tool
            return await self._workspace.read(lambda connection: query.run(connection, call.arguments))
        known: dict[str, tuple[int, int]] = {}
        if tool.known_below is not None and call.context is not None:
            agent_key = call.context.agent_key
            folders = tool.known_below(call.arguments)
            known = await self._workspace.read(lambda connection: processed.below(connection, agent_key, folders))
        return await tool.run(self._files, call.arguments, known.get)


def _apply(writing: Writing, tool: Change, call: ToolCall, problem: ToolError | None) -> Outcome:
    """Do a changing call inside its transaction, or answer it from the ledger."""
    # Arguments that break the schema are judged by their scope alone, and are not fit for hashing as they are.
    if problem is not None:
        call = replace(call, arguments=_hashable(call.arguments))
    connection, context = writing.connection, writing.context
    entry = ledger.find(connection, call)
    record, policy = runs.load(connection, context)
    # Whatever becomes of the call, its worker has spoken: workers of lower epochs are over.
    runs.raise_epoch(connection, context)
    if entry is not None and entry.outcome is not None:
        return entry.outcome
    judged = call if problem is None else replace(call, arguments={})
    denied = decide(judged, tool.spec, policy, record)
    if denied is not None and denied.reason in ledger.RECORDED_REASONS:
        problem = ToolError(denied.reason, denied.message)
    elif denied is not None:
        return Outcome(failure=denied)
    outcome = _attempt(writing, tool, call, problem)
    if tool.spec.toolset != CONTROL:
        creates = sum(effect.kind is EffectKind.CREATED for effect in outcome.effects)
        runs.use(connection, context, calls=1, creates=creates)
    changes.record(connection, run_id=context.run_id, call_id=call.call_id, effects=outcome.effects, now=writing.now)
    ledger.record(connection, call, outcome, run_id=context.run_id, now=writing.now)
    return outcome


def _attempt(writing: Writing, tool: Change, call: ToolCall, problem: ToolError | None) -> Outcome:
    connection = writing.connection
    connection.execute("SAVEPOINT attempt")
    try:
        if problem is not None:
            raise problem
        done: Done = tool.run(writing, call.arguments)
        _check_size(tool.spec, done.result)
        outcome = Outcome(result=done.result, effects=done.effects)
    except ToolError as error:
        # Other failures leave through the job, which undoes everything, the ledger's entry included.
        if error.reason not in ledger.RECORDED_REASONS:
            raise
        connection.execute("ROLLBACK TO attempt")
        outcome = Outcome(failure=_failure(error))
    connection.execute("RELEASE attempt")
    return outcome


def _admit(connection: sqlite3.Connection, spec: ToolSpec, call: ToolCall) -> Failure | None:
    """Decide on a read before it is done."""
    record, policy, _entry = _scope(connection, call)
    return decide(call, spec, policy, record)


def _charge(
    connection: sqlite3.Connection, spec: ToolSpec, call: ToolCall, context: RunContext, read_bytes: int, now: str
) -> Failure | None:
    """Decide on a read once more before its answer leaves, now that its size is known, and write down its cost."""
    record, policy, entry = _scope(connection, call)
    denied = decide(call, spec, policy, record)
    if denied is not None or policy is None or record is None:
        return denied
    denied = decide_read_bytes(policy, record.usage, read_bytes)
    charged = 0 if denied is not None else read_bytes
    before = 0 if entry is None else entry.read_bytes
    runs.raise_epoch(connection, context)
    runs.use(connection, context, calls=int(entry is None), read_bytes=max(0, charged - before))
    ledger.mark_read(connection, call, charged, run_id=context.run_id, now=now)
    return denied


def _scope(
    connection: sqlite3.Connection, call: ToolCall
) -> tuple[RunRecord | None, Policy | None, ledger.Entry | None]:
    """Return what is known of a read's run; what this very call has used before is not held against it."""
    if call.context is None:
        return None, None, None
    entry = ledger.find(connection, call)
    record, policy = runs.load(connection, call.context)
    if entry is not None and record is not None:
        usage = replace(
            record.usage, calls=record.usage.calls - 1, read_bytes=record.usage.read_bytes - entry.read_bytes
        )
        record = replace(record, usage=usage)
    return record, policy, entry


def _check_context(call: ToolCall) -> None:
    context = call.context
    if context is None:
        return
    ids = (call.call_id, context.run_id, context.agent_key)
    texts = (context.agent_name, context.trigger, context.phase, context.group)
    fine = (
        all(text and len(text) <= MAX_ID_LENGTH and text.isprintable() for text in ids)
        and all(len(text) <= MAX_NAME_LENGTH and "\0" not in text for text in texts)
        and 0 <= context.epoch <= _MAX_EPOCH
    )
    if not fine:
        raise ToolError(
            Reason.INVALID_ARGUMENT,
            f"The call needs a call_id, run_id and agent_key of at most {MAX_ID_LENGTH} printable characters, and an "
            "epoch that is not negative.",
        )


def _check_size(spec: ToolSpec, result: JsonObject) -> None:
    size_bytes = len(json.dumps(result, ensure_ascii=False).encode(errors="replace"))
    if size_bytes > spec.max_result_bytes:
        raise ToolError(
            Reason.RESULT_TOO_LARGE,
            f"The answer has {size_bytes} bytes and {spec.max_result_bytes} is the most: ask for less.",
        )


def _hashable(arguments: object) -> JsonObject:
    """Return an object that stands for arguments which may be no JSON at all: equal ones for equal arguments."""
    try:
        text = json.dumps(arguments, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        text = "unreadable"
    return {"refused": text}


def _failure(error: ToolError) -> Failure:
    return Failure(reason=error.reason, message=error.message, retryable=error.retryable)


def _failed(reason: Reason, message: str, *, retryable: bool = False) -> Outcome:
    return Outcome(failure=Failure(reason=reason, message=message, retryable=retryable))
