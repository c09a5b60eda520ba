"""Runs and their events on the wire: total functions between the domain and the contract."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import singledispatch
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from adiuva.orchestrator.v1 import run_pb2 as pb
from adiuva_rpc.errors import InvalidArgument
from orchestrator.agents.conversion import definition_to_proto
from orchestrator.agents.domain import AgentDefinition
from orchestrator.runs import events
from orchestrator.runs.domain import Effect, Phase, RunError, RunState, Trigger, Usage
from orchestrator.runs.report import RunReport
from orchestrator.runs.service import RunRecord

STATES: dict[RunState, pb.RunState.ValueType] = {
    RunState.QUEUED: pb.RUN_STATE_QUEUED,
    RunState.RUNNING: pb.RUN_STATE_RUNNING,
    RunState.SUCCEEDED: pb.RUN_STATE_SUCCEEDED,
    RunState.PARTIAL: pb.RUN_STATE_PARTIAL,
    RunState.FAILED: pb.RUN_STATE_FAILED,
    RunState.CANCELLED: pb.RUN_STATE_CANCELLED,
}
PHASES = {
    Phase.NONE: pb.RUN_PHASE_UNSPECIFIED,
    Phase.TRIAGE: pb.RUN_PHASE_TRIAGE,
    Phase.PROCESSING: pb.RUN_PHASE_PROCESSING,
    Phase.FINISHING: pb.RUN_PHASE_FINISHING,
}
TRIGGERS = {
    Trigger.MANUAL: pb.TRIGGER_MANUAL,
    Trigger.API: pb.TRIGGER_API,
    Trigger.SCHEDULE: pb.TRIGGER_SCHEDULE,
    Trigger.DEVICE_CONNECTED: pb.TRIGGER_DEVICE_CONNECTED,
}
_STATES_BACK = {value: state for state, value in STATES.items()}
_REQUESTED_TRIGGERS = {
    pb.TRIGGER_UNSPECIFIED: Trigger.API,
    pb.TRIGGER_API: Trigger.API,
    pb.TRIGGER_MANUAL: Trigger.MANUAL,
}


def trigger_from_proto(value: pb.Trigger.ValueType) -> Trigger:
    """Return the trigger that a caller may name.

    Raises:
        InvalidArgument: the scheduler's own, or unknown.
    """
    try:
        return _REQUESTED_TRIGGERS[value]
    except KeyError:
        raise InvalidArgument("trigger", "must be TRIGGER_MANUAL or TRIGGER_API") from None


def state_from_proto(value: pb.RunState.ValueType) -> RunState:
    """Return the state that a caller asks for.

    Raises:
        InvalidArgument: unspecified or unknown.
    """
    try:
        return _STATES_BACK[value]
    except KeyError:
        raise InvalidArgument("states", "holds a value that is no state of a run") from None


def run_to_proto(record: RunRecord, *, full: bool) -> pb.Run:
    """Return a run as callers see it; without `full` neither summaries nor the user's instructions."""
    run, report = record.run, record.report
    message = pb.Run(
        run_id=run.run_id,
        user_id=run.user_id,
        agent_id=run.agent_id,
        definition=definition_to_proto(run.definition),
        trigger=TRIGGERS[run.trigger],
        state=STATES[run.state],
        phase=PHASES[report.phase],
        counts=counts_to_proto(report),
        usage=usage_to_proto(report.usage),
        errors=[error_to_proto(error) for error in report.errors],
        summaries=report.summaries if full else (),
        create_time=timestamp(run.created_at),
        start_time=timestamp(run.started_at),
        end_time=timestamp(run.ended_at),
        device_id=report.device_id,
        cancel_reason=run.cancel_reason,
        model=report.model,
        last_seq=report.last_seq,
        epoch=run.epoch,
        device_informed=run.device_informed,
        slot_time=timestamp(run.slot_time),
    )
    if not full:
        message.definition.prompt_template = ""
    return message


def planned_run_to_proto(user_id: str, definition: AgentDefinition, trigger: Trigger) -> pb.Run:
    """Return what StartRun answers with validate_only: the run that would be created, without an id."""
    return pb.Run(
        user_id=user_id,
        definition=definition_to_proto(definition),
        trigger=TRIGGERS[trigger],
        state=pb.RUN_STATE_QUEUED,
    )


def timestamp(at: datetime | None) -> Timestamp | None:
    """Return the time on the wire; None, which leaves the field unset, for None."""
    if at is None:
        return None
    message = Timestamp()
    message.FromDatetime(at)
    return message


def duration(seconds: float) -> Duration:
    """Return a duration on the wire, to the millisecond."""
    message = Duration()
    message.FromMilliseconds(round(seconds * 1000))
    return message


def counts_to_proto(report: RunReport) -> pb.RunCounts:
    """Return what a run did."""

    def of(kind: str) -> pb.EntityCounts:
        counts = report.effects.get(kind, {})
        return pb.EntityCounts(
            projects=counts.get("project", 0),
            tasks=counts.get("task", 0),
            notes=counts.get("note", 0),
            timelines=counts.get("timeline", 0),
        )

    return pb.RunCounts(
        items_found=report.items_found,
        items_processed=report.items_processed,
        created=of("CREATED"),
        updated=of("UPDATED"),
        commented=of("COMMENTED"),
        proposed=of("PROPOSED"),
    )


def usage_to_proto(usage: Usage) -> pb.Usage:
    """Return what a run used."""
    return pb.Usage(
        model_calls=usage.model_calls,
        input_tokens=usage.input_tokens,
        cached_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens,
        tool_calls=usage.tool_calls,
        read_bytes=usage.read_bytes,
    )


def error_to_proto(error: RunError) -> pb.RunError:
    """Return what went wrong."""
    return pb.RunError(reason=error.reason, message=error.message, group=error.group, items=error.items)


def effect_to_proto(effect: Effect) -> pb.RunEffect:
    """Return a change of a record."""
    return pb.RunEffect(
        kind=effect.kind.value,
        entity_type=effect.entity_type,
        entity_id=effect.entity_id,
        title=effect.title,
        source=effect.source,
    )


def event_to_proto(entry: events.StoredEvent) -> list[pb.RunEvent]:
    """Return what watchers are told of an event: never file or message text. Most often one event, sometimes none."""
    return [pb.RunEvent(seq=entry.seq, time=timestamp(entry.at), **told) for told in _told(entry.event)]


Told = Mapping[str, Any]
TRIAGE = "triage"


def _group(conversation: str) -> str:
    return "" if conversation.startswith(TRIAGE) else conversation


@singledispatch
def _told(event: object) -> list[Told]:
    """Events that are of no use to a watcher."""
    return []


@_told.register
def _(event: events.Claimed) -> list[Told]:
    return [{"state_changed": pb.StateChanged(state=pb.RUN_STATE_RUNNING)}]


@_told.register
def _(event: events.PhaseStarted) -> list[Told]:
    return [{"state_changed": pb.StateChanged(state=pb.RUN_STATE_RUNNING, phase=PHASES[event.phase])}]


@_told.register
def _(event: events.ItemsFound) -> list[Told]:
    size = sum(item.size_bytes for item in event.items)
    return [{"items_found": pb.ItemsFound(count=len(event.items), size_bytes=size)}]


@_told.register
def _(event: events.Grouped) -> list[Told]:
    return [
        {
            "group_started": pb.GroupStarted(
                group=group.group_id,
                project_id=group.project_id,
                title=group.title,
                items=[item.path for item in group.items],
            )
        }
        for group in event.groups
    ]


@_told.register
def _(event: events.ModelCalled) -> list[Told]:
    return [{"model_called": pb.ModelCalled(group=_group(event.conversation), step=event.step)}]


@_told.register
def _(event: events.ModelAnswered) -> list[Told]:
    answered = pb.ModelAnswered(
        group=_group(event.conversation),
        step=event.step,
        model=event.model,
        tool_calls=len(event.tool_requests),
        duration=duration(event.seconds),
    )
    return [{"model_answered": answered}]


@_told.register
def _(event: events.ToolAnswered) -> list[Told]:
    answered = pb.ToolAnswered(
        group=_group(event.conversation),
        tool=event.tool,
        failure_reason=event.outcome.failure.reason if event.outcome.failure else "",
        effects=[effect_to_proto(effect) for effect in event.outcome.effects],
    )
    return [{"tool_answered": answered}]


@_told.register
def _(event: events.ItemProcessed) -> list[Told]:
    return [{"item_processed": pb.ItemProcessed(group=event.group, item=event.item)}]


@_told.register
def _(event: events.GroupFinished) -> list[Told]:
    return [{"group_finished": pb.GroupFinished(group=event.group, succeeded=event.succeeded)}]


@_told.register
def _(event: events.ErrorRecorded) -> list[Told]:
    return [{"error": error_to_proto(event.error)}]


@_told.register
def _(event: events.Finished) -> list[Told]:
    return [{"state_changed": pb.StateChanged(state=STATES[event.state], phase=pb.RUN_PHASE_FINISHING)}]


def alive(after_seq: int) -> pb.RunEvent:
    """Return the event that tells a watcher that the run is alive."""
    return pb.RunEvent(seq=after_seq, alive=pb.Alive())
