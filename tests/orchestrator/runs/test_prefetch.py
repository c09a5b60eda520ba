"""What is fetched before a model is first asked."""

from __future__ import annotations

from inline_snapshot import snapshot

from orchestrator.agents.domain import DataType
from orchestrator.runs.domain import EffectClass, Group, Item, ToolSpec
from orchestrator.runs.prefetch import MAX_FILE_BYTES, MAX_GROUP_BYTES, prepared_requests
from tests.fakes.device_tools import TOOLS
from tests.orchestrator.runs.lab import ALL_TYPES

SPECS = tuple(spec for spec, _ in TOOLS.values())


def group(project_id: str, *sizes: int) -> Group:
    items = tuple(Item(path=f"r/{number}.md", size_bytes=size, mtime_ns=1) for number, size in enumerate(sizes))
    return Group(group_id="g1", project_id=project_id, title="", items=items)


def calls(of: Group, data_types: frozenset[DataType], specs: tuple[ToolSpec, ...] = SPECS) -> list[str]:
    return [f"{request.name} {request.arguments_json}" for request in prepared_requests(of, data_types, specs)]


def test_a_project_brings_its_own_records() -> None:
    assert calls(group("p1", 10, 20), ALL_TYPES) == snapshot(
        [
            'get_project {"project_id":"p1"}',
            'list_tasks {"project_id":"p1"}',
            'list_notes {"project_id":"p1"}',
            'list_timelines {"project_id":"p1"}',
            'read_file_content {"path":"r/0.md"}',
            'read_file_content {"path":"r/1.md"}',
        ]
    )


def test_standalone_files_bring_all_projects_and_the_records_of_none() -> None:
    assert calls(group("", 10), ALL_TYPES) == snapshot(
        [
            "list_all_projects {}",
            'list_tasks {"project_id":null}',
            'list_notes {"project_id":null}',
            'list_timelines {"project_id":null}',
            'read_file_content {"path":"r/0.md"}',
        ]
    )


def test_only_records_of_the_chosen_types_are_listed() -> None:
    assert calls(group("p1"), frozenset({DataType.NOTES})) == snapshot(['list_notes {"project_id":"p1"}'])


def test_large_files_and_what_goes_beyond_the_group_are_left_to_the_model() -> None:
    sizes = [MAX_FILE_BYTES + 1, *[MAX_FILE_BYTES] * (MAX_GROUP_BYTES // MAX_FILE_BYTES), 1, 0]

    read = [call for call in calls(group("p1", *sizes), frozenset()) if call.startswith("read")]

    assert read == snapshot(
        [
            'read_file_content {"path":"r/1.md"}',
            'read_file_content {"path":"r/2.md"}',
            'read_file_content {"path":"r/3.md"}',
            'read_file_content {"path":"r/4.md"}',
            'read_file_content {"path":"r/6.md"}',
        ]
    )


def test_a_device_that_cannot_list_what_has_no_project_lists_everything() -> None:
    strict = ToolSpec(
        name="list_tasks",
        description="",
        toolset="tasks",
        effect=EffectClass.READ_ONLY,
        input_schema={"type": "object", "properties": {"project_id": {"type": "string"}}},
    )

    assert calls(group(""), frozenset({DataType.TASKS}), (strict,)) == ["list_tasks {}"]


def test_each_prepared_request_has_an_id_of_its_own() -> None:
    requests = prepared_requests(group("", 1, 2, 3), ALL_TYPES, SPECS)

    assert len({request.request_id for request in requests}) == len(requests)
