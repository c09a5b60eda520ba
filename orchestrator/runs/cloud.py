"""A run over messages: fetch what is new, process it by threads, and account for what failed."""

from __future__ import annotations

from orchestrator.agents.domain import CloudConnector
from orchestrator.runs.domain import ConnectorsUnavailable, Group, Item, Phase, RunError
from orchestrator.runs.events import ErrorRecorded, Grouped, ItemFailed, PhaseStarted
from orchestrator.runs.fetching import MAX_NAMED, take_again, take_messages
from orchestrator.runs.journal import RunJournal
from orchestrator.runs.ports import Inbox
from orchestrator.runs.processing import process_groups
from orchestrator.runs.progress import Progress
from orchestrator.runs.threads import make_thread_groups
from orchestrator.runs.workbench import Workbench

MAX_FAILURES = 3
"""So many runs in which a message is to blame for the failure of its group, and it is given up."""
MESSAGE_GIVEN_UP = "MESSAGE_GIVEN_UP"

_ELSEWHERE = frozenset(
    {"MODEL_UNAVAILABLE", "MODEL_RATE_LIMITED", "MODEL_UNAUTHENTICATED", "DEVICE_OFFLINE", "TOOL_TIMEOUT"}
)
"""Reasons that most often have nothing to do with the message at hand."""


def inbox_of(inbox: Inbox | None) -> Inbox:
    """Return where messages come from.

    Raises:
        ConnectorsUnavailable: there is no connectors service here.
    """
    if inbox is None:
        raise ConnectorsUnavailable(
            "No connectors service is set up here, so messages cannot be fetched. The operator has to add one."
        )
    return inbox


async def work_on_messages(bench: Workbench, inbox: Inbox, source: CloudConnector) -> None:
    """Fetch and process; each part only as far as the journal does not hold it yet.

    Raises:
        RunFault: what ended it early.
        WorkerStopped: this worker is not the run's any more.
    """
    journal, progress = bench.journal, bench.progress
    if progress.phase is Phase.NONE:
        await journal.append(PhaseStarted(phase=Phase.TRIAGE))
    lost: set[str] = set()
    goes_on = progress.items is not None
    if not goes_on:
        bench.mail = await take_messages(bench, inbox, source)
    if progress.items and progress.groups is None:
        await journal.append(Grouped(groups=make_thread_groups(progress.items)))
    if goes_on:
        bench.mail, lost = await take_again(bench, inbox, source)
    if progress.groups:
        if progress.phase is Phase.TRIAGE:
            await journal.append(PhaseStarted(phase=Phase.PROCESSING))
        whole = [group for group in progress.groups if not lost.intersection(item.path for item in group.items)]
        await process_groups(bench, whole)


async def account_for_failures(journal: RunJournal) -> None:
    """Journal which messages were left unprocessed because their group failed, and give up those that fail for ever.

    A message that can never be processed would keep the cursor where it is. But an outage must not make a whole
    mailbox be given up: a failure tells against a message only when something else got on.

    Raises:
        WorkerStopped: this worker is not the run's any more.
    """
    progress = journal.progress
    failed = [
        (group, item)
        for group in progress.groups or ()
        if group.group_id in progress.finished_groups and not progress.finished_groups[group.group_id].succeeded
        for item in group.items
        if item.path not in progress.processed and item.path not in progress.failed
    ]
    events = [_failure(progress, group, item) for group, item in failed]
    if not events:
        return
    given_up = [event.item for event in events if event.given_up]
    errors: list[ErrorRecorded] = []
    if given_up:
        message = f"These messages failed in {MAX_FAILURES} runs and are given up. Look at them yourself."
        error = RunError(reason=MESSAGE_GIVEN_UP, message=message, items=tuple(given_up[:MAX_NAMED]))
        errors = [ErrorRecorded(error=error)] if error not in progress.errors else []
    await journal.append(*errors, *events)


def _failure(progress: Progress, group: Group, item: Item) -> ItemFailed:
    blamed = _is_to_blame(progress, group, item)
    return ItemFailed(
        group=group.group_id,
        item=item.path,
        blamed=blamed,
        given_up=blamed and item.failures + 1 >= MAX_FAILURES,
    )


def _is_to_blame(progress: Progress, group: Group, item: Item) -> bool:
    """Return whether the failure of a group tells against its message.

    It does when another group of the run was processed, so that neither the model nor the device was the trouble; or
    when the message keeps the cursor where it is, and only what was processed before comes behind it. For reasons
    that are seldom anybody else's it is enough that newer messages were processed, or that no other group failed.
    """
    finished = progress.finished_groups
    if any(ended.succeeded for ended in finished.values()):
        return True
    fetched = progress.fetched
    place = [each.path for each in progress.items or ()].index(item.path)
    overtaken = fetched is not None and place < fetched.outrun
    if overtaken and fetched is not None and fetched.more:
        return True
    elsewhere = any(error.reason in _ELSEWHERE for error in progress.errors if error.group in {group.group_id, ""})
    return not elsewhere and (overtaken or len(finished) == 1)
