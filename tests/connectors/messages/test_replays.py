"""What was delivered does not come again, and what was not is not lost: breaks, resyncs, moves, other filters."""

from __future__ import annotations

from datetime import timedelta

import pytest

from connectors.messages.domain import FetchMode, MessageFilter
from tests.connectors.messages.lab import Lab, Stopped, leaving_after


@pytest.fixture
async def lab() -> Lab:
    return await Lab.linked()


async def test_without_a_commit_everything_comes_again(lab: Lab) -> None:
    ids = lab.mails(5)

    assert (await lab.fetch()).keys == ids
    assert (await lab.fetch()).keys == ids
    assert len(lab.fake.queries) == 1, "the round is stored: it is not listed again"


async def test_a_message_that_comes_back_after_it_was_gone_is_delivered(lab: Lab) -> None:
    lab.mails(2)
    lab.fake.left_out.add("m0000")
    await lab.consume()
    lab.fake.left_out.clear()
    lab.fake.forget()

    assert (await lab.consume()).keys == ["m0000"]


async def test_a_forgotten_state_reads_a_window_again_and_repeats_nothing(lab: Lab) -> None:
    lab.mails(5)
    await lab.consume()
    lab.mail("missed", ago=timedelta(minutes=1))
    lab.fake.forget()

    fetched = await lab.consume()

    assert fetched.keys == ["missed"]
    assert fetched.started.mode is FetchMode.RESYNC
    assert fetched.completed.skipped == 5
    assert lab.notices.resyncs == ["c-1"]
    assert lab.fake.queries[-1].since == lab.fake.queries[0].now - timedelta(days=1)


async def test_another_filter_begins_a_window_anew_without_repeats(lab: Lab) -> None:
    lab.mail("a", sender="anna@example.org", ago=timedelta(days=3))
    lab.mail("b", sender="berta@example.org", ago=timedelta(days=2))
    await lab.consume(filter=MessageFilter(senders=("anna@example.org",)))

    fetched = await lab.consume(filter=MessageFilter())

    assert fetched.keys == ["b"]
    assert fetched.started.mode is FetchMode.WINDOW
    assert fetched.started.since == lab.clock.now() - timedelta(days=7)


async def test_the_same_filter_in_other_words_is_the_same(lab: Lab) -> None:
    await lab.consume(filter=MessageFilter(senders=("Anna@Example.org", "berta@example.org")))

    await lab.consume(filter=MessageFilter(senders=("berta@example.org ", "anna@example.org")))

    assert lab.fake.queries[-1].state is not None


async def test_since_looks_back_as_far_as_asked(lab: Lab) -> None:
    lab.mail("old", ago=timedelta(days=20))
    lab.mail("new")
    await lab.consume()

    fetched = await lab.consume(since=lab.clock.now() - timedelta(days=30))

    assert fetched.keys == ["old"]
    assert fetched.started.mode is FetchMode.WINDOW
    assert (await lab.consume()).started.mode is FetchMode.INCREMENTAL


async def test_an_edit_is_a_message_of_its_own(lab: Lab) -> None:
    lab.mail("chat", alias="a")
    await lab.consume()
    lab.mail("chat", version="2", alias="a")

    assert (await lab.consume()).keys == ["chat@2"]


async def test_a_moved_message_does_not_come_again_under_its_new_id(lab: Lab) -> None:
    lab.mail("in-inbox", alias="<1@example.org>")
    await lab.consume()
    lab.fake.move("in-inbox", new_id="in-archive", container="archive")

    assert (await lab.consume()).keys == []


@pytest.mark.parametrize("new_id", ["a-new-id", "z-new-id"], ids=["before", "after"])
async def test_a_message_that_was_moved_while_it_was_listed_comes_once(lab: Lab, new_id: str) -> None:
    lab.mails(2)
    await lab.consume()
    lab.mail("in-inbox", alias="<1@example.org>", ago=timedelta(0))
    lab.fake.move("in-inbox", new_id=new_id, container="archive")

    assert (await lab.consume()).keys == [new_id]
    assert (await lab.consume()).keys == []


async def test_of_two_copies_the_second_is_passed_over_also_after_a_break(lab: Lab) -> None:
    lab.mail("copy-1", alias="<1@example.org>")
    lab.mail("copy-2", alias="<1@example.org>")
    first = await lab.consume(max_messages=1)

    second = await lab.consume()

    assert (first.keys, first.completed.has_more) == (["copy-1"], True)
    assert (second.keys, second.completed.skipped) == ([], 1)


async def test_messages_of_one_name_and_different_times_are_different(lab: Lab) -> None:
    lab.mail("scan-1", alias="<scanner@example.org>", ago=timedelta(minutes=2))
    lab.mail("scan-2", alias="<scanner@example.org>", ago=timedelta(minutes=1))

    assert (await lab.consume()).keys == ["scan-1", "scan-2"]


async def test_a_listing_that_names_messages_twice_delivers_them_once(lab: Lab) -> None:
    ids = lab.mails(4)
    lab.fake.repeats = 3

    assert (await lab.consume()).keys == ids


async def test_a_caller_that_leaves_gets_the_same_round_again(lab: Lab) -> None:
    ids = lab.mails(10)
    with pytest.raises(Stopped):
        await lab.fetch(leaving_after(4))

    assert lab.fake.running == 0
    assert (await lab.fetch()).keys == ids


async def test_a_lost_data_key_costs_no_message(lab: Lab) -> None:
    ids = lab.mails(10)
    await lab.consume(max_messages=4)
    await lab.connections.rekey("c-1")

    fetched = await lab.consume()

    assert fetched.keys == ids[4:]
    await lab.connections.rekey("c-1")
    lab.mail("later", ago=timedelta(0))
    again = await lab.consume()
    assert (again.keys, again.started.mode) == (["later"], FetchMode.RESYNC)


async def test_what_was_delivered_long_ago_is_forgotten(lab: Lab) -> None:
    lab.mails(3)
    await lab.consume()
    assert lab.store.remembered(lab.name) == 3

    lab.clock.advance(timedelta(days=31))
    await lab.consume()

    assert lab.store.remembered(lab.name) == 0
