"""Which tools a run may use, by phase and chosen data types, and how the device is told so.

Silence means no: a tool that stands in no table here is never offered to a model and never allowed on the device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.agents.domain import CloudConnector, DataType, LocalDirectory
from orchestrator.runs.domain import Item, JsonObject, Phase, Run, ToolSpec

FILE_TOOLS = ("list_directory", "get_file_metadata", "read_file_content")
PROJECT_READING_TOOLS = ("list_projects", "list_all_projects", "get_project")
"""Open to every run: whatever is extracted is filed under a project."""

TRIAGE_TOOLS = (*FILE_TOOLS, *PROJECT_READING_TOOLS)

INVENTORY_TOOLS = ("find_changed_files", "list_all_projects")
"""What the run itself asks in the scope of triage. A model is shown only those that are triage's own."""

DATA_TYPE_TOOLS: Mapping[DataType, tuple[str, ...]] = {
    DataType.TASKS: ("list_tasks", "create_task", "update_task", "add_task_comment"),
    DataType.NOTES: ("list_notes", "get_note", "create_note", "update_note"),
    DataType.TIMELINES: ("list_timelines", "create_timeline", "update_timeline"),
    DataType.PROJECTS: ("create_project", "update_project"),
}

MAX_INVENTORY_CALLS = 2_000
"""Room for the inventory in the scope of triage. It is the run's own, so it is not on the budget of the model."""

# What a device accepts at most in one scope (device_bridge.agent.tools.control).
_MOST_CALLS, _MOST_READ_BYTES, _MOST_CREATES = 100_000, 2**40, 10_000


def allowed_tools(phase: Phase, data_types: Iterable[DataType], *, files: bool = True) -> tuple[str, ...]:
    """Return the names of the tools that a model may call in a phase, in the order in which it is shown them.

    Args:
        phase: The phase.
        data_types: What the agent works on.
        files: Whether it works on files. A run over messages has no business with the user's files, and no triage.
    """
    if phase is Phase.TRIAGE:
        return TRIAGE_TOOLS if files else ()
    if phase is Phase.PROCESSING:
        chosen = [name for kind in ordered(data_types) for name in DATA_TYPE_TOOLS[kind]]
        return (*(FILE_TOOLS if files else ()), *PROJECT_READING_TOOLS, *chosen)
    return ()


def offered_tools(
    phase: Phase, data_types: Iterable[DataType], tools: Mapping[str, ToolSpec], *, files: bool = True
) -> tuple[ToolSpec, ...]:
    """Return the tools that a model is shown: the allowed ones that the device has. Arguments as `allowed_tools`."""
    return tuple(tools[name] for name in allowed_tools(phase, data_types, files=files) if name in tools)


def ordered(data_types: Iterable[DataType]) -> list[DataType]:
    """Return data types in the one order in which they are always named."""
    chosen = frozenset(data_types)
    return [kind for kind in DataType if kind in chosen]


def begin_run_arguments(run: Run, phase: Phase, group: str = "", items: Iterable[Item] | None = None) -> JsonObject:
    """Return the arguments of `begin_run` for one scope. They follow from the run alone, so a repeat is the same.

    Args:
        run: The run.
        phase: TRIAGE or PROCESSING.
        group: The group's id; empty for triage.
        items: The group's files or messages, to which reading and sources are limited; None for no list.
    """
    definition = run.definition
    source = definition.source
    reading = phase is Phase.TRIAGE
    files = not isinstance(source, CloudConnector)
    inventory = INVENTORY_TOOLS if reading and files else ()
    tools = {*allowed_tools(phase, definition.data_types, files=files), *inventory}
    budgets = definition.budgets
    return {
        "phase": phase.value,
        "group": group,
        "agent_name": definition.display_name,
        "trigger": run.trigger.value,
        "tools": sorted(tools),
        "read_only": reading,
        "directories": sorted(source.directory_paths) if isinstance(source, LocalDirectory) else [],
        "files": None if items is None else sorted(item.path for item in items),
        "data_types": [kind.value for kind in ordered(definition.data_types)],
        "budgets": {
            "max_calls": min(budgets.max_tool_calls + (MAX_INVENTORY_CALLS if reading else 0), _MOST_CALLS),
            "max_read_bytes": min(budgets.max_read_bytes, _MOST_READ_BYTES),
            "max_creates": min(budgets.max_creates, _MOST_CREATES),
        },
    }
