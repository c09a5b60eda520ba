"""A run from its claim to its end, by one worker; or the rest of one that another worker began."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from secrets import token_hex

import structlog

from adiuva_rpc.failpoints import failpoint
from orchestrator.agents.domain import CloudConnector
from orchestrator.runs.budgets import Budget, Clock
from orchestrator.runs.cancellation import Cancellation
from orchestrator.runs.cloud import account_for_failures, inbox_of, work_on_messages
from orchestrator.runs.completion import inform, log_differences
from orchestrator.runs.cursor import move_cursor
from orchestrator.runs.domain import (
    BudgetExceeded,
    Phase,
    RunCancelled,
    RunError,
    RunState,
    WorkerStopped,
)
from orchestrator.runs.events import Claimed, Concluded, DeviceChosen, ErrorRecorded, Event, Finished, PhaseStarted
from orchestrator.runs.inventory import MAX_NAMED, take_inventory
from orchestrator.runs.journal import RunJournal
from orchestrator.runs.ports import Devices, Inbox, Model
from orchestrator.runs.processing import process_groups
from orchestrator.runs.progress import Progress
from orchestrator.runs.settling import settle
from orchestrator.runs.triage import triage
from orchestrator.runs.workbench import Limits, Workbench, error_of

logger = structlog.get_logger(__name__)

COUNTS_DIFFER = "COUNTS_DIFFER"


def new_marker() -> str:
    """Return a random marker for the tool answers of a run."""
    return token_hex(8)


async def execute(
    journal: RunJournal,
    *,
    devices: Devices,
    model: Model,
    clock: Clock,
    inbox: Inbox | None = None,
    cancellation: Cancellation | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    marker: Callable[[], str] = new_marker,
) -> None:
    """Run a run that was just claimed to its terminal state, from wherever its journal stands.

    Whatever goes wrong in the run is written into it. The task's own cancellation means that this process stops: then
    nothing more is written, and another worker goes on.

    Args:
        journal: The run's, opened after the claim.
        devices: The devices of the users.
        model: Answers the questions of the run.
        clock: Tells the time.
        inbox: Gives messages; None where there is no connectors service.
        cancellation: Somebody's wish that the run may end, if one can come. It is granted within seconds.
        limits: How far a run goes.
        marker: Makes the random marker of a new run.

    Raises:
        Fenced: another worker has taken over the run. This one has nothing left to do.
        JournalLost: the journal cannot be written. The run has to be claimed again.
    """
    cancellation = cancellation or Cancellation()
    run, progress = journal.run, journal.progress
    if progress.finished is not None:
        return
    await journal.append(Claimed(epoch=run.epoch))
    if run.cancel_requested:
        cancellation.request(run.cancel_reason)
    if progress.concluded is None:
        fault: Exception | None = None
        try:
            bench = Workbench(
                journal=journal,
                devices=devices,
                model=model,
                budget=Budget(run.definition.budgets, progress, started_at=run.started_at or clock(), clock=clock),
                cancellation=cancellation,
                clock=clock,
                limits=limits,
            )
            await _work(bench, inbox, marker)
        except WorkerStopped:
            raise
        except Exception as error:  # noqa: BLE001 - every run reaches a terminal state; the error is recorded and logged
            fault = error
        await _conclude(journal, fault)
    if inbox is not None:
        await move_cursor(run, progress, inbox.messages, within=limits.commit_wait)
    await _finish(journal, devices, cancellation, limits.completion_wait)


async def _work(bench: Workbench, inbox: Inbox | None, marker: Callable[[], str]) -> None:
    """Find, sort and process; each part only as far as the journal does not hold it yet."""
    source = bench.run.definition.source
    if isinstance(source, CloudConnector):
        messages = inbox_of(inbox)
        await _set_up(bench, "", marker, looks=False)
        await work_on_messages(bench, messages, source)
        return
    await _set_up(bench, source.device_id, marker, looks=True)
    journal, progress = bench.journal, bench.progress
    if progress.groups is None:
        if progress.phase is Phase.NONE:
            await journal.append(PhaseStarted(phase=Phase.TRIAGE))
        if progress.items is None:
            await take_inventory(bench, source)
        if progress.items:
            await triage(bench, source)
    if progress.groups:
        if progress.phase is Phase.TRIAGE:
            await journal.append(PhaseStarted(phase=Phase.PROCESSING))
        await process_groups(bench, progress.groups)


async def _set_up(bench: Workbench, device_id: str, marker: Callable[[], str], *, looks: bool) -> None:
    """Find the run's device and its tools; a run that was begun keeps its device.

    Args:
        bench: The run's.
        device_id: The agent's; empty for any connected device of the user.
        marker: Makes the random marker of a new run.
        looks: Whether the run looks around on the device before it has groups.
    """
    run, progress = bench.run, bench.progress
    if not progress.device_id:
        chosen = await bench.cancellation.interrupt(partial(bench.devices.choose, run.user_id, device_id))
        manifest = await bench.load_tools(chosen.device_id)
        await bench.journal.append(
            DeviceChosen(device_id=chosen.device_id, tools_hash=manifest.hash, data_marker=marker())
        )
        if looks:
            await bench.begin(Phase.TRIAGE)
    else:
        # A takeover often follows a restart of everything: a call waits for the device, a question does not.
        await bench.begin(Phase.TRIAGE)
        await bench.load_tools(progress.device_id)


async def _conclude(journal: RunJournal, fault: Exception | None) -> None:
    """Decide how the run ends, and journal it with what ended it early, if anything did."""
    run, progress = journal.run, journal.progress
    if isinstance(run.definition.source, CloudConnector):
        await account_for_failures(journal)
    cancelled = isinstance(fault, RunCancelled)
    errors: list[RunError] = []
    if fault is not None and not cancelled:
        left = () if progress.items is None else progress.unprocessed()[:MAX_NAMED]
        errors = [error for error in [error_of(fault, run.run_id, items=left)] if error not in progress.errors]
    state = RunState.CANCELLED if cancelled else final_state(progress, errors)
    events: list[Event] = [ErrorRecorded(error=error) for error in errors]
    if progress.phase is not Phase.FINISHING:
        events.append(PhaseStarted(phase=Phase.FINISHING))
    await journal.append(*events, Concluded(state=state))


def final_state(progress: Progress, errors: list[RunError]) -> RunState:
    """Return how a run ends that was not cancelled.

    SUCCEEDED when nothing went wrong; else PARTIAL when something was processed or a budget ended the run, and FAILED
    when nothing was.

    Args:
        progress: The run.
        errors: Those that are not journaled yet.
    """
    all_errors = [*progress.errors, *errors]
    if not all_errors:
        return RunState.SUCCEEDED
    if progress.processed or any(error.reason == BudgetExceeded.reason for error in all_errors):
        return RunState.PARTIAL
    return RunState.FAILED


async def _finish(journal: RunJournal, devices: Devices, cancellation: Cancellation, wait: timedelta) -> None:
    """Tell the device, settle what is open, and make the run terminal."""
    run, progress = journal.run, journal.progress
    state = progress.concluded
    if state is None:
        raise TypeError("the run is not concluded")
    informed = await inform(run, progress, devices, within=wait)
    if informed.counted is not None:
        await settle(journal, devices, within=wait)
        if log_differences(run, progress, informed.counted):
            await _record_differences(journal)
    failpoint("orchestrator.before_finished")
    reason = cancellation.reason if state is RunState.CANCELLED else ""
    await journal.append(Finished(state=state, device_informed=informed.told, reason=reason))
    logger.info("run_finished", run_id=run.run_id, state=state.value, device_informed=informed.told)


async def _record_differences(journal: RunJournal) -> None:
    error = RunError(
        reason=COUNTS_DIFFER,
        message="The device counted other changes than the run did. What the device shows is right.",
    )
    if error not in journal.progress.errors:
        await journal.append(ErrorRecorded(error=error))
