"""What the parts of one run share: its journal, its device, its model, its budget, and the way calls are made."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from secrets import token_hex

import structlog

from orchestrator.runs.arguments import canonical_json
from orchestrator.runs.budgets import Budget, Clock
from orchestrator.runs.call_ids import call_id
from orchestrator.runs.cancellation import Cancellation
from orchestrator.runs.domain import (
    DeviceCall,
    DevicePolicyRefused,
    Fenced,
    Item,
    JsonObject,
    Phase,
    Run,
    RunContext,
    RunError,
    RunFault,
    ToolFailure,
    ToolOutcome,
    ToolSpec,
    ToolTimedOut,
)
from orchestrator.runs.events import ErrorRecorded
from orchestrator.runs.journal import RunJournal
from orchestrator.runs.mail import Mail
from orchestrator.runs.policy import begin_run_arguments
from orchestrator.runs.ports import Devices, Model, ToolManifest
from orchestrator.runs.progress import TIMEOUT, Progress

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far a run goes, whatever its agent's budgets say."""

    items: int = 20_000
    """Files of one run. More changed files than these wait for the next one."""
    messages: int = 1_000
    """Messages of one fetch. More new messages than these wait for the next run."""
    fetching: timedelta = timedelta(minutes=10)
    """How long one fetch may take, the provider's wishes to wait included."""
    triage_steps: int = 10
    processing_steps: int = 12
    """Model calls of one conversation that may ask for tools. One last call without tools follows them."""
    groups: int = 4
    """How many groups are processed at the same time; as many parts of an inventory are triaged."""
    calls_in_flight: int = 16
    """Tool calls of one run on the device at the same time."""
    commit_wait: timedelta = timedelta(seconds=5)
    """How long the end of a run waits for its cursor to be moved."""
    completion_wait: timedelta = timedelta(seconds=5)
    """How long the end of a run waits for its device. After that the device is told when it comes back."""


@dataclass(slots=True, kw_only=True)
class Workbench:
    """Everything that triage and processing need. Made by `execute` once the device is known."""

    journal: RunJournal
    devices: Devices
    model: Model
    budget: Budget
    cancellation: Cancellation
    clock: Clock
    limits: Limits
    tools: Mapping[str, ToolSpec] = field(default_factory=dict)
    """By name, as the device advertised them."""
    mail: Mail = field(default_factory=lambda: Mail({}))
    """The messages that were fetched for the groups that are to be processed."""
    _slots: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.limits.calls_in_flight)

    @property
    def run(self) -> Run:
        """The run, as it was claimed."""
        return self.journal.run

    @property
    def progress(self) -> Progress:
        """How far the run is."""
        return self.journal.progress

    async def load_tools(self, device_id: str) -> ToolManifest:
        """Get to know the tools of the run's device.

        Raises:
            DeviceOffline, DeviceUnknown: the device is gone.
            RunCancelled: the run is to end.
        """
        manifest = await self.cancellation.interrupt(partial(self.devices.tools, self.run.user_id, device_id))
        self.tools = {tool.name: tool for tool in manifest.tools}
        return manifest

    async def begin(self, phase: Phase, group: str = "", items: Iterable[Item] | None = None) -> None:
        """Give the device the policy of a scope; the same policy again changes nothing.

        Raises:
            RunFault: as `control`.
        """
        arguments = begin_run_arguments(self.run, phase, group, items)
        # The scopes of triage and of the groups have different names, so one word tells their calls apart.
        await self.control("begin_run", arguments, step="begin", group=group)

    async def send(self, tool: str, arguments_json: str, *, call_id: str, phase: Phase, group: str = "") -> ToolOutcome:
        """Send a call to the device and return how it ended; a call that was not answered in time is a failure.

        Raises:
            Fenced: the device has seen a newer worker of this run.
            DeviceOffline, DeviceUnknown: the device is gone.
            RunCancelled: the run is to end; the call was abandoned, and what it did is not known.
        """
        call = device_call(
            self.run,
            self.progress.device_id,
            tool=tool,
            arguments_json=arguments_json,
            call_id=call_id,
            phase=phase,
            group=group,
        )
        try:
            async with self._slots:
                outcome = await self.cancellation.interrupt(partial(self.devices.call, call))
        except ToolTimedOut as fault:
            return ToolOutcome(failure=ToolFailure(reason=TIMEOUT, message=fault.message, retryable=True))
        if outcome.failure is not None and outcome.failure.reason == "STALE_EPOCH":
            raise Fenced(self.run.run_id)
        return outcome

    async def ask_device(
        self, tool: str, arguments: JsonObject, *, step: str, index: int = 0, group: str = "", phase: Phase
    ) -> str:
        """Make a call of the run's own and return its result as JSON text. It is not journaled.

        Raises:
            DeviceRefused: the tool failed; `failure` says how.
            ToolTimedOut, Fenced, DeviceOffline, DeviceUnknown, RunCancelled: as `send`.
        """
        outcome = await self.send(
            tool,
            canonical_json(arguments),
            call_id=call_id(self.run.run_id, phase.value, group, step, index),
            phase=phase,
            group=group,
        )
        failure = outcome.failure
        if failure is None:
            return outcome.result_json or "{}"
        if failure.reason == TIMEOUT:
            raise ToolTimedOut(f"The device did not answer {tool} in time. Start the run again.")
        raise DeviceRefused(tool, failure)

    async def control(self, tool: str, arguments: JsonObject, *, step: str, group: str = "") -> str:
        """Make a control call and return its result as JSON text.

        Args:
            tool: A tool of the control toolset.
            arguments: Derived from the journal alone, so that a repeat after a crash is the same call.
            step: What tells apart calls of one group.
            group: The group that it is about.

        Raises:
            RunFault: as `ask_device`.
        """
        return await self.ask_device(tool, arguments, step=step, group=group, phase=Phase.FINISHING)

    async def record(self, *errors: RunError) -> None:
        """Journal errors, each once: a takeover finds the same ones again."""
        events = self.new_errors(*errors)
        if events:
            await self.journal.append(*events)

    def new_errors(self, *errors: RunError) -> list[ErrorRecorded]:
        """Return the events of the errors that the journal does not hold yet."""
        return [ErrorRecorded(error=error) for error in errors if error not in self.progress.errors]


class DeviceRefused(DevicePolicyRefused):
    """A call that the run needs failed on the device."""

    def __init__(self, tool: str, failure: ToolFailure) -> None:
        super().__init__(f"The device refused {tool} ({failure.reason}). Update the app on the device and try again.")
        self.failure = failure


def device_call(
    run: Run, device_id: str, *, tool: str, arguments_json: str, call_id: str, phase: Phase, group: str = ""
) -> DeviceCall:
    """Return a call of a run as the device gets it."""
    return DeviceCall(
        call_id=call_id,
        user_id=run.user_id,
        device_id=device_id,
        tool=tool,
        arguments_json=arguments_json,
        context=RunContext(
            run_id=run.run_id,
            epoch=run.epoch,
            agent_id=run.agent_id,
            client_agent_id=run.definition.client_agent_id,
            agent_name=run.definition.display_name,
            trigger=run.trigger.value,
            phase=phase.value,
            group=group,
        ),
    )


def error_of(fault: Exception, run_id: str, *, group: str = "", items: tuple[str, ...] = ()) -> RunError:
    """Return what a run's record says of an exception. One that nobody declared goes to the log, under a reference."""
    if isinstance(fault, RunFault):
        return RunError(reason=fault.reason, message=fault.message, group=group, items=items)
    reference = log_unexpected(fault, run_id, group=group)
    message = f"Something broke in the service. The operator finds more in the log under {reference}."
    return RunError(reason=RunFault.reason, message=message, group=group, items=items)


def log_unexpected(fault: Exception, run_id: str, *, group: str = "") -> str:
    """Log an exception that nobody declared, and return the reference under which the log has it."""
    reference = token_hex(6)
    # The exception's own text may hold file text: the log gets its type and where it came from.
    logger.error(
        "run_failed_unexpectedly",
        run_id=run_id,
        group=group,
        reference=reference,
        error=type(fault).__name__,
        traceback="".join(traceback.format_tb(fault.__traceback__)),
    )
    return reference
