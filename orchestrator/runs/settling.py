"""After the end: learning what became of effects whose answer never came.

A call that was abandoned when the run was cancelled, or that was not answered in time, may have had its effect all the
same. Once the device has closed the run it makes no new call of it, but its ledger still answers for the old ones: so
asking again now tells what happened, and makes nothing happen.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from orchestrator.runs.arguments import BadArguments, canonical_json, parse_arguments
from orchestrator.runs.domain import EffectClass, Phase, RunFault, ToolOutcome
from orchestrator.runs.events import ToolAnswered, ToolCalled
from orchestrator.runs.journal import RunJournal
from orchestrator.runs.ports import Devices
from orchestrator.runs.workbench import device_call, log_unexpected


async def settle(journal: RunJournal, devices: Devices, *, within: timedelta) -> None:
    """Journal the effects of calls whose outcome is not known, so that the run's counts are the device's.

    Only for a run that the device has just closed. What cannot be learnt in time stays unknown.

    Raises:
        WorkerStopped: this worker is not the run's any more.
    """
    progress = journal.progress
    if not progress.unsettled:
        return
    try:
        async with asyncio.timeout(within.total_seconds()):
            manifest = await devices.tools(journal.run.user_id, progress.device_id)
            reading = {tool.name for tool in manifest.tools if tool.effect is EffectClass.READ_ONLY}
            open_calls = [called for called in progress.unsettled.values() if called.tool not in reading]
            learnt = [(called, await _ask_again(journal, devices, called)) for called in open_calls]
    except (RunFault, TimeoutError):
        return
    except Exception as error:  # noqa: BLE001 - a run ends also when this is not to be learnt; it is logged
        log_unexpected(error, journal.run.run_id)
        return
    for called, outcome in learnt:
        if outcome.effects:
            await journal.append(_answered(journal, called, outcome))


async def _ask_again(journal: RunJournal, devices: Devices, called: ToolCalled) -> ToolOutcome:
    request = journal.progress.conversations[called.conversation].steps[called.step].answer.tool_requests[called.index]
    try:
        arguments_json = canonical_json(parse_arguments(request.arguments_json))
    except BadArguments:
        return ToolOutcome()
    # Groups have conversations of their own name, and triage has no effects.
    call = device_call(
        journal.run,
        journal.progress.device_id,
        tool=called.tool,
        arguments_json=arguments_json,
        call_id=called.call_id,
        phase=Phase.PROCESSING,
        group=called.conversation,
    )
    return await devices.call(call)


def _answered(journal: RunJournal, called: ToolCalled, outcome: ToolOutcome) -> ToolAnswered:
    step = journal.progress.conversations[called.conversation].steps[called.step]
    return ToolAnswered(
        conversation=called.conversation,
        step=called.step,
        index=called.index,
        call_id=called.call_id,
        tool=called.tool,
        outcome=outcome,
        # A call that was answered with a timeout has been counted.
        sent=called.index not in step.outcomes,
    )
