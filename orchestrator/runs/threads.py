"""From messages to groups: a thread is processed together. Pure, and the same for the same input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.runs.domain import Group, Item

MAX_MESSAGES = 25
MAX_BYTES = 128 * 1024
"""Of one group; a single message that is larger is a group by itself."""


def make_thread_groups(items: Sequence[Item]) -> tuple[Group, ...]:
    """Return the groups `g1`, `g2` …: one a thread, its messages in the order of time.

    Threads come in the order of their first message, and never share a group. A thread that is too large becomes
    several groups of one title, which are processed one after another. What was left unprocessed before comes last,
    message by message: so it holds nobody up, and what fails again is known to be that one message.

    Args:
        items: The messages, oldest first.
    """
    threads: dict[str, list[Item]] = {}
    for item in items:
        threads.setdefault(item.thread or item.path, []).append(item)
    parts: list[tuple[bool, str, tuple[Item, ...]]] = []
    for number, thread in enumerate(threads.values(), start=1):
        ordered = sorted(thread, key=lambda item: item.mtime_ns)
        parts.extend((part[0].tries > 0, f"Conversation {number}", part) for part in _parts(ordered))
    # The sort is stable: within what is fresh, and within what is not, the order stays.
    return tuple(
        Group(group_id=f"g{number}", project_id="", title=title, items=part)
        for number, (_tried, title, part) in enumerate(sorted(parts, key=lambda part: part[0]), start=1)
    )


def _parts(items: Sequence[Item]) -> Iterator[tuple[Item, ...]]:
    part: list[Item] = []
    size = 0
    for item in items:
        full = len(part) == MAX_MESSAGES or size + item.size_bytes > MAX_BYTES
        if part and (full or item.tries or part[-1].tries):
            yield tuple(part)
            part, size = [], 0
        part.append(item)
        size += item.size_bytes
    if part:
        yield tuple(part)
