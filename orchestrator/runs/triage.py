"""Triage: asking a model which project each changed file belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from orchestrator.agents.domain import LocalDirectory
from orchestrator.runs.domain import Item, Phase, TriageUnusable
from orchestrator.runs.events import Grouped
from orchestrator.runs.grouping import make_groups
from orchestrator.runs.loop import Talk, converse
from orchestrator.runs.mapping import parse_mapping, sort_files, triage_schema
from orchestrator.runs.messages import TriageBrief
from orchestrator.runs.policy import offered_tools
from orchestrator.runs.progress import Conversation
from orchestrator.runs.prompts import STANDALONE, item_line, triage_system, triage_user
from orchestrator.runs.together import together
from orchestrator.runs.workbench import Workbench

MAX_PART_ITEMS = 200
MAX_PART_BYTES = 60_000
"""Of the lines of the inventory in one prompt."""
MAX_REMARKS = 2
"""How often an answer is sent back before what is usable of it is taken."""


async def triage(bench: Workbench, source: LocalDirectory) -> None:
    """Sort the files of the inventory into groups, and journal the groups.

    Without any project there is nothing to choose from, and no model is asked.

    Raises:
        TriageUnusable: an answer held no mapping at all, also after asking again.
        ModelFault, BudgetExceeded, DeviceOffline, DeviceUnknown, RunCancelled, WorkerStopped: as `loop.converse`.
    """
    progress = bench.progress
    items = progress.items or ()
    project_of: dict[str, str] = {}
    if progress.projects:
        talks = [_talk(bench, source, number, part) for number, part in enumerate(parts(items), start=1)]
        sorted_parts = await together(
            [partial(_sorted, bench, talk, part) for talk, part in talks], at_most=bench.limits.groups
        )
        for sorted_part in sorted_parts:
            project_of.update(sorted_part)
    groups = make_groups(items, project_of, progress.projects, source.directory_paths)
    await bench.journal.append(Grouped(groups=groups))


def parts(items: Sequence[Item]) -> Iterator[tuple[Item, ...]]:
    """Yield the files in parts that fit one prompt each, in order."""
    part: list[Item] = []
    size = 0
    for item in items:
        line = len(item_line(item).encode()) + 1
        if part and (len(part) == MAX_PART_ITEMS or size + line > MAX_PART_BYTES):
            yield tuple(part)
            part, size = [], 0
        part.append(item)
        size += line
    if part:
        yield tuple(part)


def _talk(
    bench: Workbench, source: LocalDirectory, number: int, part: tuple[Item, ...]
) -> tuple[Talk, tuple[Item, ...]]:
    definition = bench.run.definition
    brief = TriageBrief(
        directories=source.directory_paths,
        items=part,
        projects=bench.progress.projects,
        data_types=definition.data_types,
        file_extensions=source.file_extensions,
        instructions=definition.prompt_template,
    )
    project_ids = [project.project_id for project in brief.projects]
    talk = Talk(
        conversation="triage" if number == 1 else f"triage{number}",
        phase=Phase.TRIAGE,
        group="",
        system=triage_system(brief, bench.progress.data_marker),
        user=triage_user(brief),
        brief=brief,
        tools=offered_tools(Phase.TRIAGE, definition.data_types, bench.tools),
        max_steps=bench.limits.triage_steps,
        response_schema=triage_schema(project_ids),
        review=partial(_review, [item.path for item in part], frozenset(project_ids)),
        max_remarks=MAX_REMARKS,
    )
    return talk, part


def _review(offered: list[str], project_ids: frozenset[str], text: str, _conversation: Conversation) -> str:
    mapping = parse_mapping(text)
    if mapping is None:
        return (
            "That is not the answer that was asked for. Answer with one JSON object alone:\n"
            f'project ids and "{STANDALONE}" as keys, arrays of paths as values.'
        )
    complaints = sort_files(mapping, offered, project_ids).complaints
    if not complaints:
        return ""
    return "\n".join([*complaints, "Answer with the whole JSON object again, with this put right."])


async def _sorted(bench: Workbench, talk: Talk, part: tuple[Item, ...]) -> dict[str, str]:
    text = await converse(bench, talk)
    mapping = parse_mapping(text)
    if mapping is None:
        raise TriageUnusable(
            "The model did not sort the files in the form that was asked for. Try again, or use another model."
        )
    project_ids = frozenset(project.project_id for project in bench.progress.projects)
    return sort_files(mapping, [item.path for item in part], project_ids).project_of
