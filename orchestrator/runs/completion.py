"""Telling a device that a run ended, now or when the device comes back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import structlog

from adiuva_rpc.failpoints import failpoint
from orchestrator.runs.answers import CompletedRun, parse_answer
from orchestrator.runs.arguments import canonical_json
from orchestrator.runs.call_ids import call_id
from orchestrator.runs.domain import EffectKind, Fenced, JsonObject, Phase, Run, RunFault
from orchestrator.runs.ports import DeviceInfo, Devices, Journals, Runs
from orchestrator.runs.progress import Progress, fold
from orchestrator.runs.workbench import device_call, log_unexpected

MAX_SUMMARY_CHARS = 8_000
MAX_DEVICES_AT_A_TIME = 32

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Informed:
    """What came of telling a device.

    Attributes:
        told: Whether it need not be told again.
        counted: What the device itself counted, by kind and entity type; None when it did not say.
    """

    told: bool
    counted: dict[str, dict[str, int]] | None = None


async def inform(run: Run, progress: Progress, devices: Devices, *, within: timedelta) -> Informed:
    """Send `complete_run` for a concluded run, and wait so long for the answer.

    The call is the same whenever it is sent, so the device closes the run once.

    Raises:
        Fenced: the device has seen a newer worker of this run.
    """
    if not progress.device_id:
        # It never heard of the run.
        return Informed(told=True)
    call = device_call(
        run,
        progress.device_id,
        tool="complete_run",
        arguments_json=canonical_json(completion_arguments(progress)),
        call_id=call_id(run.run_id, Phase.FINISHING.value, "", "complete", 0),
        phase=Phase.FINISHING,
    )
    failpoint("orchestrator.before_complete_run")
    try:
        async with asyncio.timeout(within.total_seconds()):
            outcome = await devices.call(call)
    except (RunFault, TimeoutError):
        return Informed(told=False)
    except Exception as error:  # noqa: BLE001 - a run ends also when its device cannot be told; it is logged
        log_unexpected(error, run.run_id)
        return Informed(told=False)
    failure = outcome.failure
    if failure is None:
        counted = _counted(outcome.result_json or "{}")
        if counted is None:
            logger.error("completion_unreadable", run_id=run.run_id, device_id=progress.device_id)
        return Informed(told=True, counted=counted)
    if failure.reason == "STALE_EPOCH":
        raise Fenced(run.run_id)
    logger.error("device_not_informed", run_id=run.run_id, device_id=progress.device_id, reason=failure.reason)
    # What passes is tried again when the device comes back; a refusal would be the same for ever.
    return Informed(told=not (failure.retryable or failure.reason in {"TIMEOUT", "UNAVAILABLE", "INTERNAL"}))


def completion_arguments(progress: Progress) -> JsonObject:
    """Return the arguments of `complete_run`: what was known when the run was concluded, and nothing that came later.

    Raises:
        ValueError: the run is not concluded.
    """
    if progress.concluded is None:
        raise ValueError("the run is not concluded")
    groups = [group.group_id for group in progress.groups or ()]
    ended = [progress.finished_groups[group] for group in groups if group in progress.finished_groups]
    summary = "\n\n".join(group.summary for group in ended if group.summary)
    counts: JsonObject = {"items_found": len(progress.items or ()), "items_processed": len(progress.processed)}
    for kind in EffectKind:
        counts[kind.value.lower()] = dict(sorted(progress.counts(kind.value, concluded=True).items()))
    return {"state": progress.concluded.value, "summary": summary[:MAX_SUMMARY_CHARS], "counts": counts}


def differences(progress: Progress, counted: dict[str, dict[str, int]]) -> list[str]:
    """Return which counts of the device are not the run's, as `created.task: 3 here, 4 on the device`."""
    found: list[str] = []
    for kind in EffectKind:
        ours = progress.counts(kind.value)
        theirs = counted.get(kind.value.lower(), {})
        found.extend(
            f"{kind.value.lower()}.{entity}: {ours[entity]} here, {theirs.get(entity, 0)} on the device"
            for entity in sorted({*ours, *theirs})
            if ours[entity] != theirs.get(entity, 0)
        )
    return found


def log_differences(run: Run, progress: Progress, counted: dict[str, dict[str, int]]) -> bool:
    """Log at error level when the device counted otherwise, and return whether it did."""
    found = differences(progress, counted)
    if found:
        logger.error(
            "counts_differ",
            run_id=run.run_id,
            device_id=progress.device_id,
            differences=found,
            unsettled_calls=len(progress.unsettled),
        )
    return bool(found)


async def keep_informing(
    devices: Devices, runs: Runs, journals: Journals, *, within: timedelta = timedelta(seconds=30)
) -> None:
    """Tell each device that connects of the runs that ended without it, for ever.

    One run after another on each device, and at most `MAX_DEVICES_AT_A_TIME` devices at a time.
    """
    slots = asyncio.Semaphore(MAX_DEVICES_AT_A_TIME)
    busy: set[str] = set()
    async with asyncio.TaskGroup() as tasks:

        async def tell(device: DeviceInfo) -> None:
            try:
                async with slots:
                    await _tell(device, devices, runs, journals, within)
            except Exception as error:  # noqa: BLE001 - the next presence change tries again
                logger.warning("device_not_informed", device_id=device.device_id, error=type(error).__name__)
            finally:
                busy.discard(device.device_id)

        async for device in devices.watch():
            if device.online and device.device_id not in busy:
                busy.add(device.device_id)
                tasks.create_task(tell(device))


async def _tell(device: DeviceInfo, devices: Devices, runs: Runs, journals: Journals, within: timedelta) -> None:
    for run in await runs.uninformed(device.user_id):
        progress = fold(await journals.read(run.run_id))
        if progress.device_id != device.device_id:
            continue
        informed = await inform(run, progress, devices, within=within)
        if not informed.told:
            return
        if informed.counted is not None:
            log_differences(run, progress, informed.counted)
        await runs.informed(run.run_id)


def _counted(result_json: str) -> dict[str, dict[str, int]] | None:
    try:
        return parse_answer(CompletedRun, result_json).effects
    except RunFault:
        return None
