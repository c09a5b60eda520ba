"""Processing: each group of files or messages in a conversation of its own, several at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from adiuva_rpc.failpoints import failpoint
from orchestrator.agents.domain import CloudConnector, LocalDirectory
from orchestrator.runs.domain import (
    BudgetExceeded,
    DeviceOffline,
    DeviceUnknown,
    Group,
    JsonObject,
    ModelFault,
    ModelUnauthenticated,
    Phase,
    RunCancelled,
    RunFault,
    WorkerStopped,
)
from orchestrator.runs.events import GroupFinished, ItemProcessed
from orchestrator.runs.loop import converse
from orchestrator.runs.reading import ITEM_REASONS, look_at_reading
from orchestrator.runs.talks import file_talk, message_talk
from orchestrator.runs.together import together
from orchestrator.runs.workbench import Workbench, error_of

MAX_MODEL_FAULTS = 3
"""So many groups without an answer in a row, and the run stops asking."""
MAX_SUMMARY_CHARS = 2_000

_ENDS_THE_RUN = (RunCancelled, BudgetExceeded, DeviceOffline, DeviceUnknown, ModelUnauthenticated)


@dataclass(slots=True)
class _Halt:
    """Why no further group begins."""

    fault: RunFault | None = None
    model_faults: int = 0


async def process_groups(bench: Workbench, groups: Sequence[Group]) -> None:
    """Process the groups that are not finished, and journal what became of each.

    A group that fails leaves its files or messages to the next run; the others go on. Groups of the same project,
    folder or thread follow each other, so that the later ones see what the earlier ones made.

    Raises:
        RunFault: what keeps all groups from going on. Groups that it stopped are left open in the journal.
        WorkerStopped: this worker is not the run's any more.
    """
    halt = _Halt()
    chains: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        chains.setdefault((group.project_id, group.title), []).append(group)
    await together(
        [partial(_process_chain, bench, chain, halt) for chain in chains.values()], at_most=bench.limits.groups
    )
    if halt.fault is not None:
        raise halt.fault


async def _process_chain(bench: Workbench, chain: Sequence[Group], halt: _Halt) -> None:
    for group in chain:
        if halt.fault is None and group.group_id not in bench.progress.finished_groups:
            await _process_group(bench, group, halt)


async def _process_group(bench: Workbench, group: Group, halt: _Halt) -> None:
    name = group.group_id
    if any(error.group == name and error.reason not in ITEM_REASONS for error in bench.progress.errors):
        # The worker before this one had seen it fail.
        await bench.journal.append(GroupFinished(group=name, succeeded=False))
        return
    try:
        await _work_on(bench, group)
    except WorkerStopped:
        raise
    except _ENDS_THE_RUN as fault:
        halt.fault = halt.fault or fault
    except Exception as fault:  # noqa: BLE001 - one group's trouble is not the others'; it is logged and recorded
        items = tuple(item.path for item in group.items)
        error = error_of(fault, bench.run.run_id, group=name, items=items)
        await bench.journal.append(*bench.new_errors(error), GroupFinished(group=name, succeeded=False))
        if isinstance(fault, ModelFault):
            halt.model_faults += 1
            if halt.model_faults >= MAX_MODEL_FAULTS:
                halt.fault = halt.fault or fault
    else:
        halt.model_faults = 0


async def _work_on(bench: Workbench, group: Group) -> None:
    await bench.begin(Phase.PROCESSING, group.group_id, group.items)
    messages = isinstance(bench.run.definition.source, CloudConnector)
    summary = await converse(bench, message_talk(bench, group) if messages else file_talk(bench, group))
    await _close(bench, group, summary)


async def _close(bench: Workbench, group: Group, summary: str) -> None:
    """Have the device mark the files that are done, and journal how the group ended."""
    name = group.group_id
    reading = look_at_reading(group.items, bench.progress.conversations[name])
    if reading.done and isinstance(bench.run.definition.source, LocalDirectory):
        failpoint("orchestrator.before_mark_processed")
        files: list[JsonObject] = [
            {"path": item.path, "size_bytes": item.size_bytes, "mtime_ns": item.mtime_ns} for item in reading.done
        ]
        await bench.control("mark_processed", {"files": files}, step="mark", group=name)
    errors = reading.errors(name)
    processed = [item.path for item in reading.done if item.path not in bench.progress.processed]
    await bench.journal.append(
        *bench.new_errors(*errors),
        *(ItemProcessed(group=name, item=path) for path in processed),
        GroupFinished(group=name, succeeded=not errors, summary=_summary(summary)),
    )


def _summary(text: str) -> str:
    # Devices take no NUL, and a summary that is refused would keep the run open there.
    return text.replace("\0", "").strip()[:MAX_SUMMARY_CHARS]
