"""The last word on a group: what was done, counted from the results, and what could not be done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from orchestrator.adapters.offline_model.conversation import Conversation
from orchestrator.adapters.offline_model.processing import found_in, read_items
from orchestrator.adapters.offline_model.reading import FileText
from orchestrator.runs.messages import ProcessingBrief

BEGINNING = "From the built-in offline rules, without a language model:"

_CREATING = {
    "create_project": "project",
    "create_task": "task",
    "create_note": "note",
    "create_timeline": "timeline",
}
_UPDATING = {"update_task": "task", "update_note": "note", "update_timeline": "timeline"}
_COMMENTING = "add_task_comment"
_LOOKING = ("list_all_projects", "list_tasks", "list_notes", "list_timelines", "get_note")
_MAX_NAMED = 5


def summary(conversation: Conversation, brief: ProcessingBrief) -> str:
    """Return the summary as a few sentences."""
    files = read_items(conversation, brief)
    item = "message" if brief.messages else "file"
    found = found_in(brief, files)
    read = [path for path, file in files.items() if file.text or file.whole]
    created = Counter(_CREATING[call.name] for call, result in conversation.made(*_CREATING) if result.ok)
    outcomes = [
        (_UPDATING[call.name], result.text("outcome")) for call, result in conversation.made(*_UPDATING) if result.ok
    ]
    updated = Counter(kind for kind, outcome in outcomes if outcome not in {"proposed", "unchanged"})
    proposed = Counter(kind for kind, outcome in outcomes if outcome == "proposed")
    commented = sum(result.ok for _, result in conversation.made(_COMMENTING))
    sentences = [
        f"{BEGINNING} {len(read)} of {_counted(len(files), item)} read",
        f"created {_listed(created)}",
        f"updated {_listed(updated)}",
        f"added {_counted(commented, 'comment')}" if commented else "",
        f"proposed changes to {_listed(proposed)}" if proposed else "",
        f"skipped {_counted(skipped, item)} without relevant data"
        if (skipped := sum(found[path].empty for path in read))
        else "",
    ]
    parts = [", ".join(sentence for sentence in sentences if sentence) + "."]
    parts += _troubles(conversation, files, [path for path in found if found[path].cut])
    return " ".join(parts)


def _troubles(conversation: Conversation, files: dict[str, FileText], cut: list[str]) -> Iterable[str]:
    unread = [f"{path} ({file.failure})" for path, file in files.items() if file.failure]
    if unread:
        yield f"Could not read {_named(unread)}."
    partly = [path for path, file in files.items() if file.missing and file.text]
    if partly:
        yield f"Read only the beginning of {_named(partly)}."
    if cut:
        yield f"Looked only at the first part of {_named(cut)}."
    failed = Counter(
        f"{call.name} ({result.failure})"
        for call, result in conversation.made(*_CREATING, *_UPDATING, _COMMENTING, *_LOOKING)
        if not result.ok
    )
    if failed:
        yield f"Could not do: {_named([f'{count} x {what}' for what, count in sorted(failed.items())])}."


def _listed(counts: Counter[str]) -> str:
    parts = [_counted(counts[kind], kind) for kind in _CREATING.values() if counts[kind]]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts) or "nothing"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _named(names: list[str]) -> str:
    shown = ", ".join(names[:_MAX_NAMED])
    return shown if len(names) <= _MAX_NAMED else f"{shown} and {len(names) - _MAX_NAMED} more"
