"""What every group needs anyway, fetched before its model is first asked: small files and the records there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.agents.domain import DataType
from orchestrator.runs.arguments import BadArguments, canonical_json, check_arguments
from orchestrator.runs.domain import Group, Item, JsonObject, ToolSpec
from orchestrator.runs.incoming import MESSAGE_PREFIX
from orchestrator.runs.messages import ToolRequest
from orchestrator.runs.policy import ordered
from orchestrator.runs.progress import READ_MESSAGE

MAX_FILE_BYTES = 64 * 1024
MAX_GROUP_BYTES = 256 * 1024

_LISTS = {DataType.TASKS: "list_tasks", DataType.NOTES: "list_notes", DataType.TIMELINES: "list_timelines"}


def prepared_requests(
    group: Group, data_types: frozenset[DataType], tools: Sequence[ToolSpec]
) -> tuple[ToolRequest, ...]:
    """Return the tool calls that are made for a model before it is first asked.

    The records of the group's project, or, for standalone files and messages, all projects and the records of none;
    then the small files, as many as fit, or all messages. Tools that are not among `tools` are left out.
    """
    by_name = {spec.name: spec for spec in tools}
    wanted = [*_record_calls(group, data_types, by_name), *_reading_calls(group.items)]
    calls = [(name, arguments) for name, arguments in wanted if name in by_name]
    return tuple(
        ToolRequest(request_id=f"prepared-{number}", name=name, arguments_json=canonical_json(arguments))
        for number, (name, arguments) in enumerate(calls, start=1)
    )


def _record_calls(
    group: Group, data_types: frozenset[DataType], tools: Mapping[str, ToolSpec]
) -> Iterator[tuple[str, JsonObject]]:
    if group.project_id and DataType.PROJECTS in data_types:
        yield "get_project", {"project_id": group.project_id}
    elif not group.project_id:
        yield "list_all_projects", {}
    for kind in ordered(data_types):
        if kind in _LISTS:
            yield _LISTS[kind], _of_project(group.project_id, tools.get(_LISTS[kind]))


def _of_project(project_id: str, tool: ToolSpec | None) -> JsonObject:
    """Return the arguments that list the records of a project, or of none where the tool can tell those apart."""
    arguments: JsonObject = {"project_id": project_id or None}
    if tool is not None:
        try:
            check_arguments(arguments, tool.input_schema)
        except BadArguments:
            return {}
    return arguments


def _reading_calls(items: Sequence[Item]) -> Iterator[tuple[str, JsonObject]]:
    size = 0
    for item in items:
        if item.path.startswith(MESSAGE_PREFIX):
            # Groups of messages are made so that all of them fit.
            yield READ_MESSAGE, {"message_id": item.path}
        elif item.size_bytes <= MAX_FILE_BYTES and size + item.size_bytes <= MAX_GROUP_BYTES:
            size += item.size_bytes
            yield "read_file_content", {"path": item.path}
