"""What became of the files of a group: which of them its conversation has really read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from orchestrator.runs.answers import ReadFile, parse_answer
from orchestrator.runs.domain import Item, RunError, RunFault, ToolOutcome
from orchestrator.runs.incoming import MESSAGE_PREFIX
from orchestrator.runs.messages import ToolRequest
from orchestrator.runs.progress import READING_TOOLS, Conversation

UNREADABLE = "FILE_UNREADABLE"
UNREAD = "FILE_UNREAD"
TRUNCATED = "FILE_TRUNCATED"
MESSAGE_UNREAD = "MESSAGE_UNREAD"
ITEM_REASONS = frozenset({UNREADABLE, UNREAD, TRUNCATED, MESSAGE_UNREAD})
"""Reasons of errors that are about single files or messages; their group went on."""

NOTHING_TO_READ = frozenset({"BINARY", "UNSUPPORTED_ENCODING"})
"""Failures of files that hold nothing to extract for as long as they do not change: they are done with."""

_UNREAD_SENTENCE = "The model ended without reading these {what}. The next run offers them again."

_SENTENCES: Mapping[str, str] = {
    "NOT_FOUND": "These files are gone from the device. The next run looks again.",
    "RESULT_TOO_LARGE": "These files are too large to be read.",
    "TIMEOUT": "The device took too long to read these files. The next run tries again.",
    "PATH_DENIED": "The device does not let the agent read these files.",
    "DENIED_BY_POLICY": "The device does not let the agent read these files.",
    "POLICY_DENIED": "The device does not let the agent read these files.",
}
_OTHERWISE = "These files could not be read on the device. Look at their permissions; the next run tries again."


@dataclass(slots=True)
class Reading:
    """The files or messages of a group, by what became of them. Paths in the order of the group."""

    done: list[Item] = field(default_factory=list)
    """Read, or with nothing in them that could be read."""
    unfinished: list[str] = field(default_factory=list)
    """Those of `done` whose end was not reached."""
    failed: dict[str, list[str]] = field(default_factory=dict)
    """Paths by the reason of the failure."""
    unread: list[str] = field(default_factory=list)
    """Nobody tried to read them."""

    def errors(self, group: str) -> list[RunError]:
        """Return what the run's record says of the files that were not read to their end, a sentence for each cause."""
        paths: dict[tuple[str, str], list[str]] = {}
        for reason, failed in self.failed.items():
            paths.setdefault((UNREADABLE, _SENTENCES.get(reason, _OTHERWISE)), []).extend(failed)
        for path in self.unread:
            message = path.startswith(MESSAGE_PREFIX)
            sentence = _UNREAD_SENTENCE.format(what="messages" if message else "files")
            paths.setdefault((MESSAGE_UNREAD if message else UNREAD, sentence), []).append(path)
        if self.unfinished:
            # They count as processed: they would never get further, and must not be read again by every run.
            paths[TRUNCATED, "Only the beginning of these long files was read. Split them to have all of it read."] = (
                self.unfinished
            )
        return [
            RunError(reason=reason, message=message, group=group, items=tuple(named))
            for (reason, message), named in sorted(paths.items())
        ]


def look_at_reading(items: Iterable[Item], conversation: Conversation) -> Reading:
    """Return what became of each file or message, from the reading calls that the conversation holds."""
    reached_end: dict[str, bool] = {}
    failures: dict[str, str] = {}
    for request, outcome in _reads(conversation):
        path = _path(request)
        if outcome.failure is not None:
            failures[path] = outcome.failure.reason
            continue
        try:
            read = parse_answer(ReadFile, outcome.result_json or "{}")
        except RunFault:
            failures[path] = "INTERNAL"
            continue
        for name in {path, read.path}:
            reached_end[name] = reached_end.get(name, False) or read.next_offset is None
    reading = Reading()
    for item in items:
        if item.path in reached_end:
            reading.done.append(item)
            if not reached_end[item.path]:
                reading.unfinished.append(item.path)
        elif item.path not in failures:
            reading.unread.append(item.path)
        elif failures[item.path] in NOTHING_TO_READ or item.path.startswith(MESSAGE_PREFIX):
            # A message that cannot be given is gone from its mailbox.
            reading.done.append(item)
        else:
            reading.failed.setdefault(failures[item.path], []).append(item.path)
    return reading


def _reads(conversation: Conversation) -> Iterator[tuple[ToolRequest, ToolOutcome]]:
    for number in sorted(conversation.steps):
        step = conversation.steps[number]
        for index, request in enumerate(step.answer.tool_requests):
            if request.name in READING_TOOLS and index in step.outcomes:
                yield request, step.outcomes[index]


def _path(request: ToolRequest) -> str:
    try:
        arguments = json.loads(request.arguments_json)
    except (ValueError, RecursionError):
        return ""
    path = arguments.get("path", arguments.get("message_id")) if isinstance(arguments, dict) else None
    return path if isinstance(path, str) else ""
