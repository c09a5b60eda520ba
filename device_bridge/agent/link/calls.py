"""The calls that the device has not forgotten: those that run, and the answers that are not acknowledged yet.

They outlive sessions. A session that begins is attached, and answers go to it as calls end; what ends while there is
no session is kept, and the next Hello names it. So a reconnect cancels nothing and loses nothing.
"""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import structlog

from adiuva_rpc.failpoints import failpoint
from device_bridge.agent.domain import Failure, JsonObject, Outcome, Reason, RunTool, ToolSpec
from device_bridge.agent.link.domain import Answer, Call, InFlight, MalformedCall, Welcome

log = structlog.get_logger(__name__)

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)

Sink = Callable[[Answer], None]
"""Takes an answer for the session of the moment. Never blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """What the device is willing to hold, whatever the bridge asks for."""

    running: int = 256
    kept_answers: int = 1024
    kept_bytes: int = 64 * 1024 * 1024
    timeout_seconds: float = 30.0
    """For a tool that is not in the catalogue; others have their own."""
    longest_timeout_seconds: float = 300.0
    result_bytes: int = 64 * 1024 * 1024
    """For a tool that is not in the catalogue; others have their own."""


@dataclass(slots=True)
class _Running:
    task: asyncio.Task[Answer]
    forgotten: bool = False
    cancelled: bool = False


@dataclass(slots=True)
class _Kept:
    """Answers by call key, oldest first, bounded in count and in bytes."""

    limits: CallLimits
    answers: OrderedDict[str, Answer] = field(default_factory=OrderedDict)
    size: int = 0

    def add(self, answer: Answer) -> None:
        self.answers[answer.call_key] = answer
        self.size += answer.size
        while len(self.answers) > self.limits.kept_answers or self.size > self.limits.kept_bytes:
            key, dropped = self.answers.popitem(last=False)
            self.size -= dropped.size
            # Not lost: the bridge sends the call again, and the ledger answers one that changed something.
            log.warning("answer_dropped", call_key=key, kept=len(self.answers), kept_bytes=self.size)

    def remove(self, call_key: str) -> None:
        if answer := self.answers.pop(call_key, None):
            self.size -= answer.size


class Calls:
    """Runs calls and keeps their answers. An async context manager: leaving it cancels what still runs."""

    def __init__(self, run_tool: RunTool, tools: Iterable[ToolSpec] = (), *, limits: CallLimits | None = None) -> None:
        self._run_tool = run_tool
        self._tools: Mapping[str, ToolSpec] = {tool.name: tool for tool in tools}
        self._limits = limits or CallLimits()
        self._most_running = self._limits.running
        self._running: dict[str, _Running] = {}
        self._kept = _Kept(self._limits)
        self._sink: Sink | None = None
        self._group = asyncio.TaskGroup()
        self._forgotten = 0
        self._stopping = False
        self.idle = asyncio.Event()
        """Set while no call runs."""
        self.idle.set()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping = True
        for running in self._running.values():
            running.task.cancel()
        await self._group.__aexit__(kind, error, traceback)

    @property
    def running(self) -> int:
        """How many calls run."""
        return len(self._running)

    def in_flight(self) -> tuple[InFlight, ...]:
        """Return the calls for a Hello, finished ones first, oldest first."""
        finished = [InFlight(call_key=key, finished=True) for key in self._kept.answers]
        wanted = [key for key, running in self._running.items() if not running.forgotten]
        return (*finished, *(InFlight(call_key=key, finished=False) for key in wanted))

    def attach(self, sink: Sink, welcome: Welcome, told: Iterable[InFlight]) -> None:
        """Send answers to a session from now on, beginning with those that it wants.

        `told` is what its Hello said: a call that was running then and has ended since is answered too.
        """
        self._sink = sink
        self._most_running = max(1, min(self._limits.running, welcome.max_calls or self._limits.running))
        for key in welcome.forget:
            self._forget(key)
        finished_before = {call.call_key for call in told if call.finished}
        for key, answer in list(self._kept.answers.items()):
            if key in welcome.resend or key not in finished_before:
                sink(answer)

    def detach(self, sink: Sink) -> None:
        """Send no more answers to `sink`. Does nothing when another session is attached by now."""
        if self._sink == sink:
            self._sink = None

    def start(self, call: Call) -> None:
        """Run a call. One that runs already is joined; one that has ended is answered again."""
        key = call.call_key
        if key in self._running:
            return
        if kept := self._kept.answers.get(key):
            self._send(kept)
            return
        if self._is_full():
            message = f"The device runs {len(self._running)} calls already. Try again in a moment."
            self._send(
                Answer(call_key=key, failure=Failure(reason=Reason.UNAVAILABLE, message=message, retryable=True))
            )
            return
        task = self._group.create_task(self._run(call))
        self._running[key] = _Running(task)
        self.idle.clear()
        task.add_done_callback(functools.partial(self._ended, key))

    def _is_full(self) -> bool:
        # Forgotten calls end soon and the bridge does not count them any more; they count for the device alone.
        wanted = len(self._running) - self._forgotten
        return wanted >= self._most_running or len(self._running) >= self._limits.running

    def refuse(self, call: MalformedCall) -> None:
        """Answer a call that cannot be run as it is written. Not kept: it would be refused again."""
        self._send(
            Answer(call_key=call.call_key, failure=Failure(reason=Reason.INVALID_ARGUMENT, message=call.message))
        )

    def cancel(self, call_key: str) -> None:
        """Stop a call. Its answer still comes: what it did, or CANCELLED."""
        if (running := self._running.get(call_key)) and not running.cancelled:
            running.cancelled = True
            running.task.cancel()

    def acknowledge(self, call_keys: Iterable[str]) -> None:
        """Keep these answers no longer."""
        for key in call_keys:
            self._kept.remove(key)

    def _forget(self, call_key: str) -> None:
        self._kept.remove(call_key)
        if (running := self._running.get(call_key)) and not running.forgotten:
            running.forgotten = True
            self._forgotten += 1
            running.task.cancel()

    def _send(self, answer: Answer) -> None:
        if self._sink is not None:
            self._sink(answer)

    async def _run(self, call: Call) -> Answer:
        began = time.monotonic()
        spec = self._tools.get(call.tool_call.tool)
        default = spec.timeout_seconds if spec else self._limits.timeout_seconds
        seconds = default if call.timeout is None else call.timeout
        seconds = min(max(seconds, 0.0), self._limits.longest_timeout_seconds)
        try:
            async with asyncio.timeout(seconds):
                outcome = await self._run_tool(call.tool_call)
        except TimeoutError:
            message = f"The tool did not end within {seconds:g} s. Ask for less at once, or try again."
            outcome = _failed(Reason.TIMEOUT, message, retryable=True)
        except Exception:
            # The tool side promises never to raise; a call that hangs for ever would be worse than a broken promise.
            log.exception("tool_raised", tool=call.tool_call.tool, call_key=call.call_key)
            outcome = _failed(Reason.INTERNAL, "The tool failed on the device. Its log says why.")
        limit = spec.max_result_bytes if spec else self._limits.result_bytes
        body, failure = (b"", outcome.failure) if outcome.failure else _body(call.call_key, outcome.result, limit)
        return Answer(
            call_key=call.call_key,
            body=body,
            failure=failure,
            effects=outcome.effects,
            replayed=outcome.replayed,
            execution_seconds=time.monotonic() - began,
        )

    def _ended(self, call_key: str, task: asyncio.Task[Answer]) -> None:
        running = self._running.pop(call_key)
        if not self._running:
            self.idle.set()
        if running.forgotten:
            self._forgotten -= 1
            return
        if task.cancelled() and self._stopping:
            return
        if task.cancelled():
            failure = Failure(reason=Reason.CANCELLED, message="The call was cancelled.")
            answer = Answer(call_key=call_key, failure=failure)
        else:
            answer = task.result()
        self._kept.add(answer)
        failpoint("device.before_answer")
        self._send(answer)


def _failed(reason: Reason, message: str, *, retryable: bool = False) -> Outcome:
    return Outcome(failure=Failure(reason=reason, message=message, retryable=retryable))


def _body(call_key: str, result: JsonObject | None, limit: int) -> tuple[bytes, Failure | None]:
    """Return a result as JSON text in UTF-8, or why it cannot be sent."""
    try:
        # A file name that is no UTF-8 comes from the file system with lone surrogates, which no proto string can carry.
        body = _ENCODER.encode(result or {}).encode("utf-8", "replace")
    except (TypeError, ValueError, RecursionError):
        log.exception("result_is_not_json", call_key=call_key)
        return b"", Failure(reason=Reason.INTERNAL, message="The tool's result could not be encoded.")
    if len(body) > limit:
        message = f"The result has {len(body)} bytes, more than the {limit} allowed. Ask for less at once."
        return b"", Failure(reason=Reason.RESULT_TOO_LARGE, message=message)
    return body, None
