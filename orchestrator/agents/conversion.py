"""Agents on the wire: total functions between the domain and the contract. What is sound is decided by `rules`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from adiuva.connectors.v1 import message_pb2
from adiuva.orchestrator.v1 import agent_pb2 as pb, agent_service_pb2 as service_pb
from adiuva_rpc.errors import InvalidArgument
from orchestrator.agents.domain import (
    AgentDefinition,
    AgentView,
    Budgets,
    CatchUp,
    CloudConnector,
    DataType,
    LocalDirectory,
    LostSlots,
    MessageFilter,
    OnOffline,
    Overlap,
    Schedule,
)
from orchestrator.agents.rules import normal_extension, normal_path
from orchestrator.agents.service import Edit
from orchestrator.schedules.domain import Firing

DATA_TYPES: Final[dict[DataType, pb.DataType.ValueType]] = {
    DataType.TASKS: pb.DATA_TYPE_TASKS,
    DataType.NOTES: pb.DATA_TYPE_NOTES,
    DataType.TIMELINES: pb.DATA_TYPE_TIMELINES,
    DataType.PROJECTS: pb.DATA_TYPE_PROJECTS,
}
CATCH_UPS: Final[dict[CatchUp, pb.CatchUp.ValueType]] = {
    CatchUp.COALESCE: pb.CATCH_UP_COALESCE,
    CatchUp.NONE: pb.CATCH_UP_NONE,
}
OVERLAPS: Final[dict[Overlap, pb.Overlap.ValueType]] = {
    Overlap.SKIP: pb.OVERLAP_SKIP,
    Overlap.QUEUE_ONE: pb.OVERLAP_QUEUE_ONE,
    Overlap.CANCEL_OTHER: pb.OVERLAP_CANCEL_OTHER,
}
ON_OFFLINES: Final[dict[OnOffline, pb.OnOffline.ValueType]] = {
    OnOffline.WAIT: pb.ON_OFFLINE_WAIT,
    OnOffline.SKIP: pb.ON_OFFLINE_SKIP,
}
_DATA_TYPES_BACK = {value: data_type for data_type, value in DATA_TYPES.items()}
_CATCH_UPS_BACK = {pb.CATCH_UP_UNSPECIFIED: CatchUp.COALESCE, **{value: name for name, value in CATCH_UPS.items()}}
_OVERLAPS_BACK = {pb.OVERLAP_UNSPECIFIED: Overlap.SKIP, **{value: name for name, value in OVERLAPS.items()}}
_ON_OFFLINES_BACK = {pb.ON_OFFLINE_UNSPECIFIED: OnOffline.WAIT, **{value: name for name, value in ON_OFFLINES.items()}}

_Value = TypeVar("_Value")
_Name = TypeVar("_Name")

_Path = Sequence[str]
"""The names of the fields on the way, outermost first."""

MAX_MASK_PATHS: Final = 100
_SHOWN_CHARS = 100
_OWN_PACKAGES: Final = {service_pb.DESCRIPTOR.package, message_pb2.DESCRIPTOR.package}
"""Of the messages whose fields a mask may name one by one."""
_MAX_DURATION_SECONDS = 315_576_000_000
"""The range of google.protobuf.Duration."""
_NANOS = 1_000_000_000


def definition_from_proto(message: pb.AgentDefinition) -> AgentDefinition:
    """Return the definition, with normal paths, extensions and ids, and the defaults for budgets of 0.

    Raises:
        InvalidArgument: What the domain cannot express: no source, an unknown data type, a duration out of range.
    """
    return AgentDefinition(
        display_name=message.display_name,
        client_agent_id=message.client_agent_id.lower(),
        source=_source_from_proto(message),
        data_types=frozenset(map(_data_type_from_proto, range(len(message.data_types)), message.data_types)),
        prompt_template=message.prompt_template,
        budgets=_budgets_from_proto(message.budgets),
    )


def definition_to_proto(definition: AgentDefinition) -> pb.AgentDefinition:
    """Return the definition on the wire, with every budget as it holds."""
    message = pb.AgentDefinition(
        display_name=definition.display_name,
        client_agent_id=definition.client_agent_id,
        data_types=sorted(DATA_TYPES[data_type] for data_type in definition.data_types),
        prompt_template=definition.prompt_template,
        budgets=_budgets_to_proto(definition.budgets),
    )
    match definition.source:
        case LocalDirectory() as local:
            message.local_directory.CopyFrom(
                pb.LocalDirectory(
                    device_id=local.device_id,
                    directory_paths=local.directory_paths,
                    file_extensions=local.file_extensions,
                )
            )
        case CloudConnector() as cloud:
            message.cloud_connector.connection_id = cloud.connection_id
            if cloud.filter != MessageFilter():
                message.cloud_connector.filter.CopyFrom(filter_to_proto(cloud.filter))
    return message


def filter_to_proto(wanted: MessageFilter) -> message_pb2.MessageFilter:
    """Return the filter on the wire."""
    return message_pb2.MessageFilter(
        senders=wanted.senders,
        recipients=wanted.recipients,
        subject_contains=wanted.subject_contains,
        containers=wanted.containers,
        unread_only=wanted.unread_only,
        has_attachment=wanted.has_attachment,
        include_sent=wanted.include_sent,
        provider_query=wanted.provider_query,
    )


def filter_from_proto(message: message_pb2.MessageFilter) -> MessageFilter:
    """Return the filter."""
    return MessageFilter(
        senders=tuple(message.senders),
        recipients=tuple(message.recipients),
        subject_contains=tuple(message.subject_contains),
        containers=tuple(message.containers),
        unread_only=message.unread_only,
        has_attachment=message.has_attachment,
        include_sent=message.include_sent,
        provider_query=message.provider_query,
    )


def schedule_from_proto(message: pb.Schedule) -> Schedule:
    """Return the schedule, with the defaults for what is unset.

    Raises:
        InvalidArgument: What the domain cannot express: an unknown policy, a time or duration out of range.
    """
    return Schedule(
        cron=message.cron,
        time_zone=message.time_zone or "UTC",
        jitter=_timedelta("schedule.jitter", message.jitter),
        catch_up=_known(_CATCH_UPS_BACK, message.catch_up, "schedule.catch_up"),
        grace=_timedelta("schedule.grace", message.grace) if message.HasField("grace") else None,
        overlap=_known(_OVERLAPS_BACK, message.overlap, "schedule.overlap"),
        on_offline=_known(_ON_OFFLINES_BACK, message.on_offline, "schedule.on_offline"),
        start_time=_datetime("schedule.start_time", message.start_time) if message.HasField("start_time") else None,
        end_time=_datetime("schedule.end_time", message.end_time) if message.HasField("end_time") else None,
        pause_after_failures=message.pause_after_failures,
    )


def schedule_to_proto(schedule: Schedule) -> pb.Schedule:
    """Return the schedule on the wire, with every policy as it holds."""
    return pb.Schedule(
        cron=schedule.cron,
        time_zone=schedule.time_zone,
        jitter=_duration(schedule.jitter) if schedule.jitter else None,
        catch_up=CATCH_UPS[schedule.catch_up],
        grace=None if schedule.grace is None else _duration(schedule.grace),
        overlap=OVERLAPS[schedule.overlap],
        on_offline=ON_OFFLINES[schedule.on_offline],
        start_time=timestamp(schedule.start_time),
        end_time=timestamp(schedule.end_time),
        pause_after_failures=schedule.pause_after_failures,
    )


def agent_to_proto(view: AgentView) -> pb.Agent:
    """Return an agent as callers see it."""
    agent = view.agent
    return pb.Agent(
        agent_id=agent.agent_id,
        user_id=agent.user_id,
        definition=definition_to_proto(agent.definition),
        schedule=None if agent.schedule is None else schedule_to_proto(agent.schedule),
        etag=agent.etag,
        create_time=timestamp(agent.created_at),
        update_time=timestamp(agent.updated_at),
        last_run_at=timestamp(agent.last_run_at),
        next_run_at=timestamp(view.next_run_at),
        paused=agent.paused,
        pause_reason=agent.pause_reason,
        schedule_problem=view.schedule_problem,
        waiting_for_device=agent.waits_for_device,
        missed=_lost_to_proto(agent.missed),
        skipped=_lost_to_proto(agent.skipped),
        failures_in_a_row=agent.failures_in_a_row,
    )


def firing_to_proto(firing: Firing) -> service_pb.Firing:
    """Return a firing on the wire."""
    return service_pb.Firing(time=timestamp(firing.time), local_time=firing.local_time.isoformat(timespec="seconds"))


def timestamp(at: datetime | None) -> Timestamp | None:
    """Return the time on the wire; None, which leaves the field unset, for None."""
    if at is None:
        return None
    message = Timestamp()
    message.FromDatetime(at)
    return message


def after_from_proto(request: service_pb.PreviewScheduleRequest) -> datetime | None:
    """Return the time after which a preview is asked for, None for now.

    Raises:
        InvalidArgument: It is out of range.
    """
    return _datetime("after", request.after) if request.HasField("after") else None


def edit_from_proto(request: service_pb.UpdateAgentRequest) -> Edit:
    """Return the change that a request asks for: the fields that its update_mask names, and nothing else.

    A path names `definition`, `schedule` or any field below them; a field that is named and not set is cleared. The
    functions of the edit raise InvalidArgument when the result is nothing that the domain can express.

    Raises:
        InvalidArgument: `update_mask` is empty, or names something else.
    """
    paths = [path.split(".") for path in request.update_mask.paths]
    if not 0 < len(paths) <= MAX_MASK_PATHS:
        raise InvalidArgument("update_mask", "name the fields to change, such as 'definition.prompt_template'")
    for path in paths:
        _check_path(path)
    return Edit(
        definition=_definition_edit(request, [path[1:] for path in paths if path[0] == "definition"]),
        schedule=_schedule_edit(request, [path[1:] for path in paths if path[0] == "schedule"]),
    )


def request_hash(request: Message) -> str:
    """Return what tells a request from any other: the same request sent again has the same hash."""
    content = request.SerializeToString(deterministic=True)
    return hashlib.sha256(request.DESCRIPTOR.full_name.encode() + b"\0" + content).hexdigest()


def _lost_to_proto(lost: LostSlots) -> pb.LostSlots:
    return pb.LostSlots(count=lost.count, last_reason=lost.last_reason, last_slot_time=timestamp(lost.last_slot))


def _source_from_proto(message: pb.AgentDefinition) -> LocalDirectory | CloudConnector:
    match message.WhichOneof("source"):
        case "local_directory":
            local = message.local_directory
            return LocalDirectory(
                device_id=local.device_id,
                directory_paths=tuple(map(normal_path, local.directory_paths)),
                file_extensions=tuple(map(normal_extension, local.file_extensions)),
            )
        case "cloud_connector":
            cloud = message.cloud_connector
            return CloudConnector(connection_id=cloud.connection_id, filter=filter_from_proto(cloud.filter))
        case _:
            raise InvalidArgument("definition.source", "local_directory or cloud_connector is required")


def _data_type_from_proto(index: int, value: pb.DataType.ValueType) -> DataType:
    return _known(_DATA_TYPES_BACK, value, f"definition.data_types[{index}]")


def _budgets_from_proto(message: pb.Budgets) -> Budgets:
    default = Budgets()
    return Budgets(
        max_model_calls=message.max_model_calls or default.max_model_calls,
        max_tokens=message.max_tokens or default.max_tokens,
        max_tool_calls=message.max_tool_calls or default.max_tool_calls,
        max_read_bytes=message.max_read_bytes or default.max_read_bytes,
        max_creates=message.max_creates or default.max_creates,
        max_wall_time=_timedelta("definition.budgets.max_wall_time", message.max_wall_time) or default.max_wall_time,
    )


def _budgets_to_proto(budgets: Budgets) -> pb.Budgets:
    return pb.Budgets(
        max_model_calls=budgets.max_model_calls,
        max_tokens=budgets.max_tokens,
        max_tool_calls=budgets.max_tool_calls,
        max_read_bytes=budgets.max_read_bytes,
        max_creates=budgets.max_creates,
        max_wall_time=_duration(budgets.max_wall_time),
    )


def _known(names: Mapping[_Value, _Name], value: _Value, field: str) -> _Name:
    try:
        return names[value]
    except KeyError:
        raise InvalidArgument(field, "is not one of the values that this server knows") from None


def _timedelta(field: str, message: Duration) -> timedelta:
    if abs(message.seconds) > _MAX_DURATION_SECONDS or abs(message.nanos) >= _NANOS:
        raise InvalidArgument(field, "is out of range")
    return message.ToTimedelta()


def _duration(value: timedelta) -> Duration:
    message = Duration()
    message.FromTimedelta(value)
    return message


def _datetime(field: str, message: Timestamp) -> datetime:
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidArgument(field, "is out of range") from None


def _definition_edit(
    request: service_pb.UpdateAgentRequest, paths: Sequence[_Path]
) -> Callable[[AgentDefinition], AgentDefinition] | None:
    def edit(current: AgentDefinition) -> AgentDefinition:
        if [] in paths:
            return definition_from_proto(request.definition)
        message = definition_to_proto(current)
        for path in paths:
            _copy(path, request.definition, message)
        return definition_from_proto(message)

    return edit if paths else None


def _schedule_edit(
    request: service_pb.UpdateAgentRequest, paths: Sequence[_Path]
) -> Callable[[Schedule | None], Schedule | None] | None:
    def edit(current: Schedule | None) -> Schedule | None:
        if [] in paths:
            return schedule_from_proto(request.schedule) if request.HasField("schedule") else None
        message = pb.Schedule() if current is None else schedule_to_proto(current)
        for path in paths:
            _copy(path, request.schedule, message)
        return schedule_from_proto(message)

    return edit if paths else None


def _check_path(path: _Path) -> None:
    """Refuse a path that names no field of the contract below `definition` or `schedule`."""
    descriptor: Descriptor | None = service_pb.UpdateAgentRequest.DESCRIPTOR
    for name in path:
        field = descriptor.fields_by_name.get(name) if descriptor is not None else None
        if field is None or path[0] not in {"definition", "schedule"}:
            shown = ".".join(path)[:_SHOWN_CHARS]
            raise InvalidArgument("update_mask", f"{shown!r} is no field of an agent that can be changed")
        descriptor = _below(field)


def _below(field: FieldDescriptor) -> Descriptor | None:
    """Return the message whose fields a path may go on to name; None for what is changed as a whole."""
    below = field.message_type
    if field.is_repeated or below is None or below.file.package not in _OWN_PACKAGES:
        return None
    return below


def _copy(path: _Path, source: Message, target: Message) -> None:
    """Make the field that `path` names in `target` what it is in `source`, also when it is unset there."""
    *way, name = path
    for step in way:
        source, target = getattr(source, step), getattr(target, step)
    target.ClearField(name)
    field = source.DESCRIPTOR.fields_by_name[name]
    if field.is_repeated:
        getattr(target, name).extend(getattr(source, name))
    elif field.message_type is None:
        setattr(target, name, getattr(source, name))
    elif source.HasField(name):
        getattr(target, name).CopyFrom(getattr(source, name))
