"""How each kind of record is kept up to date: the part of the processing prompt that depends on the chosen types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.agents.domain import DataType

_RULES: Mapping[DataType, str] = {
    DataType.TASKS: """\
# Tasks
Look with list_tasks for the same task, by its title or by what it is about.
- There is one: call add_task_comment with author "Adiuva" and what the {one} newly says about it, then update_task when
  its state, its assignees or another field is different now. When the {one} says nothing new, leave it alone.
- There is none: call create_task.
The state of a task is exactly one of "ToDo", "In Progress" and "Completed". A box that is ticked, or work reported as
done, is "Completed"; work that has begun is "In Progress".""",
    DataType.NOTES: """\
# Notes
Look with list_notes for a note on the same subject, by its title, and read it with get_note.
- There is one: call update_note with the whole content: the old text, with the new facts merged in at their place and
  nothing lost or said twice.
- There is none: call create_note. A note keeps knowledge worth finding again: decisions, agreements, facts, figures. It
  is no copy of the {one}.""",
    DataType.TIMELINES: """\
# Timelines
A timeline entry is a dated event: a milestone, a deadline, an appointment, a phase with a beginning and an end. Look
with list_timelines for the same one, by its title or its date.
- There is one: call update_timeline to edit what changed, or to mark it as completed when it is over and done.
- There is none: call create_timeline. An entry without a date that the {one} gives is no timeline entry.""",
    DataType.PROJECTS: """\
# Projects
Look with list_all_projects whether the project exists already, perhaps under a similar name or as finished.
- It does: call update_project for what is newly known of its name, client, description or status.
- It does not: call create_project only when the {many} clearly show a project of some weight, with a purpose of its own
  and several things to do or to know. A single {one} or a single task is no project. Create it first, and give
  its id to the records that belong to it.""",
}


def rules(data_types: Iterable[DataType], *, one: str, many: str) -> str:
    """Return the rules of these data types, in their order.

    Args:
        data_types: The chosen ones; only their rules are shown.
        one: What the records come from, such as "file".
        many: The same in the plural.
    """
    return "\n\n".join(_RULES[kind].format(one=one, many=many) for kind in data_types)
