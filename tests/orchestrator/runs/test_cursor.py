"""How far a cursor may be moved."""

from __future__ import annotations

import pytest

from orchestrator.runs.cursor import committable
from orchestrator.runs.domain import Checkpoint, Item
from orchestrator.runs.events import ItemFailed, MessagesFetched
from orchestrator.runs.progress import Progress

ITEMS = tuple(Item(path=f"message:gmail:{number}", size_bytes=1, mtime_ns=number) for number in range(4))
MARKS = (0, 2, 3, 4)


def progress(
    done: set[int], *, given_up: frozenset[int] = frozenset(), failed: frozenset[int] = frozenset()
) -> Progress:
    held = Progress(items=ITEMS, processed={ITEMS[number].path for number in done})
    held.fetched = MessagesFetched(
        checkpoints=tuple(Checkpoint(items=items, cursor_token=f"after-{items}") for items in MARKS)
    )
    for number in given_up | failed:
        path = ITEMS[number].path
        held.failed[path] = ItemFailed(group="g", item=path, blamed=True, given_up=number in given_up)
    return held


@pytest.mark.parametrize(
    ("done", "token"),
    [
        (set(), "after-0"),
        ({0}, "after-0"),
        ({1, 2, 3}, "after-0"),
        ({0, 1}, "after-2"),
        ({0, 1, 3}, "after-2"),
        ({0, 1, 2}, "after-3"),
        ({0, 1, 2, 3}, "after-4"),
    ],
)
def test_it_moves_to_the_last_checkpoint_before_which_everything_is_done(done: set[int], token: str) -> None:
    assert committable(progress(done)) == token


def test_what_is_given_up_is_done_and_what_only_failed_is_not() -> None:
    assert committable(progress({0, 2, 3}, given_up=frozenset({1}))) == "after-4"
    assert committable(progress({0, 2, 3}, failed=frozenset({1}))) == "after-0"


def test_without_a_fetch_or_a_checkpoint_it_stays() -> None:
    assert committable(Progress()) == ""
    assert committable(Progress(items=ITEMS, fetched=MessagesFetched())) == ""
