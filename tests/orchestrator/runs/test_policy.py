"""Which tools a run may use."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, combinations

import pytest
from inline_snapshot import snapshot

from orchestrator.agents.domain import Budgets, DataType
from orchestrator.runs.domain import EffectClass, Item, Phase
from orchestrator.runs.policy import DATA_TYPE_TOOLS, allowed_tools, begin_run_arguments, offered_tools
from tests.fakes.device_tools import TOOLS
from tests.orchestrator.runs.lab import Lab, definition

CONTROL = {"begin_run", "mark_processed", "complete_run", "get_call", "find_changed_files"}
SPECS = {name: spec for name, (spec, _) in TOOLS.items()}
ALL_CHOICES = [
    frozenset(chosen)
    for chosen in chain.from_iterable(combinations(DataType, size) for size in range(len(DataType) + 1))
]


def test_triage_only_reads() -> None:
    tools = offered_tools(Phase.TRIAGE, DataType, SPECS)

    assert [tool.name for tool in tools] == snapshot(
        [
            "list_directory",
            "get_file_metadata",
            "read_file_content",
            "list_projects",
            "list_all_projects",
            "get_project",
        ]
    )
    assert {tool.effect for tool in tools} == {EffectClass.READ_ONLY}


@pytest.mark.parametrize("chosen", ALL_CHOICES, ids=lambda chosen: "+".join(sorted(kind.value for kind in chosen)))
def test_processing_may_change_the_chosen_types_and_no_others(chosen: frozenset[DataType]) -> None:
    tools = offered_tools(Phase.PROCESSING, chosen, SPECS)

    reading = {tool.name for tool in tools if tool.effect is EffectClass.READ_ONLY}
    changing = {tool.toolset for tool in tools if tool.effect is EffectClass.EFFECT}
    assert changing == {kind.value for kind in chosen}
    assert {"read_file_content", "list_directory", "get_file_metadata"} <= reading
    assert {"list_projects", "list_all_projects", "get_project"} <= reading
    assert {tool.toolset for tool in tools} <= {"filesystem", "projects", *(kind.value for kind in chosen)}


def test_no_model_is_ever_shown_a_control_tool_or_the_inventory() -> None:
    for phase in Phase:
        assert not CONTROL & set(allowed_tools(phase, DataType))


def test_every_tool_of_the_built_in_set_has_its_place() -> None:
    placed = {*allowed_tools(Phase.TRIAGE, DataType), *chain.from_iterable(DATA_TYPE_TOOLS.values())}

    assert set(TOOLS) - placed == {"find_changed_files"}


def test_a_tool_that_the_device_does_not_have_is_not_offered() -> None:
    specs = {name: spec for name, spec in SPECS.items() if name != "get_project"}

    assert "get_project" not in [tool.name for tool in offered_tools(Phase.TRIAGE, DataType, specs)]


def test_what_the_device_is_told_of_triage() -> None:
    lab = Lab(definition=definition(data_types=frozenset({DataType.TASKS})))

    assert begin_run_arguments(lab.run(), Phase.TRIAGE) == snapshot(
        {
            "phase": "triage",
            "group": "",
            "agent_name": "Folder watcher",
            "trigger": "manual",
            "tools": [
                "find_changed_files",
                "get_file_metadata",
                "get_project",
                "list_all_projects",
                "list_directory",
                "list_projects",
                "read_file_content",
            ],
            "read_only": True,
            "directories": ["sample"],
            "files": None,
            "data_types": ["tasks"],
            "budgets": {"max_calls": 4000, "max_read_bytes": 67108864, "max_creates": 500},
        }
    )


def test_what_the_device_is_told_of_a_group() -> None:
    lab = Lab(definition=definition(data_types=frozenset({DataType.TASKS, DataType.PROJECTS}), paths=("b", "a")))
    items = [Item(path="b/2.md", size_bytes=1, mtime_ns=1), Item(path="a/1.md", size_bytes=1, mtime_ns=1)]

    assert begin_run_arguments(lab.run(), Phase.PROCESSING, "g1", items) == snapshot(
        {
            "phase": "processing",
            "group": "g1",
            "agent_name": "Folder watcher",
            "trigger": "manual",
            "tools": [
                "add_task_comment",
                "create_project",
                "create_task",
                "get_file_metadata",
                "get_project",
                "list_all_projects",
                "list_directory",
                "list_projects",
                "list_tasks",
                "read_file_content",
                "update_project",
                "update_task",
            ],
            "read_only": False,
            "directories": ["a", "b"],
            "files": ["a/1.md", "b/2.md"],
            "data_types": ["tasks", "projects"],
            "budgets": {"max_calls": 2000, "max_read_bytes": 67108864, "max_creates": 500},
        }
    )


def test_the_policy_of_a_scope_is_the_same_for_every_worker() -> None:
    lab = Lab()
    first, second = lab.run(), lab.run()

    assert first.epoch != second.epoch
    assert begin_run_arguments(first, Phase.TRIAGE) == begin_run_arguments(second, Phase.TRIAGE)


def test_budgets_beyond_what_a_device_takes_are_cut_to_it() -> None:
    huge = Budgets(max_tool_calls=10**9, max_read_bytes=2**60, max_creates=10**9)
    lab = Lab(definition=replace(definition(), budgets=huge))

    assert begin_run_arguments(lab.run(), Phase.PROCESSING, "g1")["budgets"] == snapshot(
        {"max_calls": 100000, "max_read_bytes": 1099511627776, "max_creates": 10000}
    )
