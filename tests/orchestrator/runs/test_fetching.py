"""What a fetch leaves in the journal."""

from __future__ import annotations

from datetime import UTC, datetime

from orchestrator.runs.domain import Item
from orchestrator.runs.events import ItemsFound, MessagesFetched
from orchestrator.runs.fetching import MAX_CHECKPOINTS
from orchestrator.runs.incoming import Participant
from tests.fakes.mailbox import FakeMailbox
from tests.orchestrator.runs.lab import CloudLab


async def fetched(lab: CloudLab) -> tuple[ItemsFound, MessagesFetched]:
    await lab.work()
    events = await lab.events()
    found = next(event for event in events if isinstance(event, ItemsFound))
    return found, next(event for event in events if isinstance(event, MessagesFetched))


async def test_an_item_tells_all_but_what_the_message_says() -> None:
    lab = CloudLab(mailbox=FakeMailbox(provider="outlook"))
    at = datetime(2026, 3, 2, 9, 30, 15, 123_456, tzinfo=UTC)
    lab.mailbox.add("k/1=", "Grüße\n", thread="conversation", received_at=at, sender=Participant(name="Anna"))

    found, _ = await fetched(lab)

    assert found.items == (
        Item(
            path="message:outlook:k/1=",
            size_bytes=8,
            mtime_ns=1_772_443_815_123_456_000,
            thread="conversation",
        ),
    )


async def test_a_message_without_a_time_has_none() -> None:
    lab = CloudLab()
    lab.mailbox.add("k", "x", received_at=None)

    found, _ = await fetched(lab)

    assert found.items[0].mtime_ns == 0


async def test_a_message_that_comes_twice_in_one_fetch_is_taken_once() -> None:
    lab = CloudLab()
    lab.mailbox.add("k", "TODO one")
    lab.mailbox.add("k", "TODO one")

    found, event = await fetched(lab)

    assert len(found.items) == 1
    assert [checkpoint.items for checkpoint in event.checkpoints] == [1]


async def test_the_last_checkpoint_after_each_item_is_kept() -> None:
    lab = CloudLab(mailbox=FakeMailbox(checkpoint_every=1))
    lab.mailbox.add("m1", "x")
    lab.mailbox.add_unreadable("bad")
    lab.mailbox.add("m2", "x")
    lab.mailbox.add_unreadable("worse")

    _, event = await fetched(lab)

    assert [checkpoint.items for checkpoint in event.checkpoints] == [1, 2]
    assert lab.mailbox.behind("client-agent-1") == ["m1", "bad", "m2", "worse"]


async def test_no_more_checkpoints_are_kept_than_are_worth_it() -> None:
    lab = CloudLab(mailbox=FakeMailbox(checkpoint_every=1))
    for number in range(250):
        lab.mailbox.add(f"m{number}", "x", thread="all")

    _, event = await fetched(lab)

    assert len(event.checkpoints) <= MAX_CHECKPOINTS
    assert event.checkpoints[-1].items == 250
    assert [checkpoint.items for checkpoint in event.checkpoints] == sorted(
        checkpoint.items for checkpoint in event.checkpoints
    )


async def test_what_came_again_is_counted_and_what_it_overtook() -> None:
    lab = CloudLab()
    for number in range(4):
        lab.mailbox.add(f"m{number}", f"TODO job {number}")
    await lab.work()
    owner = next(iter(lab.journals.done))
    del lab.journals.done[owner]["message:gmail:m1"]
    lab.mailbox.cursors.clear()

    progress = await lab.next_run()

    assert progress.fetched is not None
    assert (progress.fetched.redelivered, progress.fetched.outrun) == (3, 1)
    assert [checkpoint.items for checkpoint in progress.fetched.checkpoints] == [1]
