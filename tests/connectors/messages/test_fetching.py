"""Fetches, end to end in memory: what comes, and in which order."""

from __future__ import annotations

from datetime import timedelta

import pytest

from adiuva_rpc.errors import InvalidArgument
from connectors.errors import (
    FilterUnsupported,
    ProviderUnavailable,
    WindowTooLarge,
)
from connectors.messages.domain import FetchMode, MessageFilter
from connectors.messages.events import Checkpoint, Started
from tests.connectors.messages.lab import SUBSCRIBER, Fetched, Lab


@pytest.fixture
async def lab() -> Lab:
    return await Lab.linked()


async def test_the_first_fetch_gives_seven_days_oldest_first(lab: Lab) -> None:
    lab.mail("too-old", ago=timedelta(days=7, seconds=1))
    lab.mail("newest", ago=timedelta(minutes=1))
    lab.mail("oldest", ago=timedelta(days=6, hours=23))

    fetched = await lab.fetch()

    assert fetched.keys == ["oldest", "newest"]
    assert fetched.events[0] == Started(mode=FetchMode.WINDOW, since=lab.clock.now() - timedelta(days=7), candidates=2)
    assert (fetched.completed.delivered, fetched.completed.has_more) == (2, False)


async def test_the_next_fetch_gives_what_came_in_since(lab: Lab) -> None:
    lab.mails(3)
    await lab.consume()
    lab.mail("later", ago=timedelta(0))

    fetched = await lab.consume()

    assert fetched.keys == ["later"]
    assert fetched.started == Started(mode=FetchMode.INCREMENTAL, since=None, candidates=1)


async def test_ten_fetches_without_new_mail_deliver_nothing_and_cost_one_call_each(lab: Lab) -> None:
    lab.mails(3)
    await lab.consume()

    for _ in range(10):
        fetched = await lab.consume()

        assert (fetched.keys, fetched.completed.provider_calls) == ([], 1)


async def test_a_listing_without_anything_to_deliver_needs_no_commit(lab: Lab) -> None:
    inbox = MessageFilter(containers=("inbox",))
    lab.mails(3)
    await lab.consume(filter=inbox)
    lab.mail("elsewhere", container="archive")

    for _ in range(2):
        assert (await lab.fetch(filter=inbox)).completed.delivered == 0

    state = lab.fake.queries[-1].state
    assert state is not None
    assert state["place"] == 4


async def test_fourteen_mails_of_the_same_second_come_once_each_across_a_boundary(lab: Lab) -> None:
    second = lab.clock.now() - timedelta(hours=1)
    ids = [f"s{number:02d}" for number in range(14)]
    for provider_id in ids[:9]:
        lab.mail(provider_id, ago=lab.clock.now() - second)
    first = await lab.consume(max_messages=4)
    for provider_id in ids[9:]:
        lab.mail(provider_id, ago=lab.clock.now() - second)

    rest: list[Fetched] = []
    while not rest or rest[-1].completed.has_more or rest[-1].keys:
        rest.append(await lab.consume(max_messages=4))

    assert first.keys + [key for fetched in rest for key in fetched.keys] == ids


async def test_a_message_that_comes_in_while_it_is_listed_is_delivered(lab: Lab) -> None:
    lab.mails(2)

    def arrive() -> None:
        lab.fake.during_listing = None
        lab.mail("just-now", ago=timedelta(0))

    lab.fake.during_listing = arrive
    first = await lab.consume()

    second = await lab.consume()

    assert sorted(first.keys + second.keys) == ["just-now", "m0000", "m0001"]


async def test_a_failure_in_the_middle_loses_nothing_that_is_older_or_newer(lab: Lab) -> None:
    ids = lab.mails(6)
    lab.fake.scripts["m0002"].append(ProviderUnavailable())

    first = await lab.fetch()

    assert isinstance(first.error, ProviderUnavailable)
    assert first.keys == ids[:2]
    assert isinstance(first.events[-1], Checkpoint), "what was delivered can be committed"
    await lab.commit(first.token)
    assert (await lab.consume()).keys == ids[2:]


async def test_messages_that_are_gone_or_left_out_are_counted(lab: Lab) -> None:
    ids = lab.mails(5)
    lab.fake.vanished.add("m0001")
    lab.fake.scripts["m0001"].clear()
    lab.fake.left_out.add("m0003")
    await lab.fetch()
    lab.fake.vanished.add("m0004")

    fetched = await lab.consume()

    completed = fetched.completed
    assert fetched.keys == [ids[0], ids[2]]
    assert (completed.delivered, completed.vanished, completed.skipped) == (2, 1, 1)


async def test_subscribers_have_cursors_of_their_own(lab: Lab) -> None:
    ids = lab.mails(3)
    await lab.consume()

    assert (await lab.consume(subscriber="agent-2")).keys == ids


async def test_checkpoints_come_every_twenty_messages_and_at_the_end(lab: Lab) -> None:
    lab.mails(45)

    fetched = await lab.fetch()

    kinds = [type(event).__name__ for event in fetched.events]
    places = [index for index, kind in enumerate(kinds) if kind == "Checkpoint"]
    assert [kinds[:place].count("Message") for place in places] == [20, 40, 45]
    assert kinds[-2:] == ["Checkpoint", "Completed"]


async def test_max_messages_ends_a_fetch_and_says_so(lab: Lab) -> None:
    ids = lab.mails(5)

    first = await lab.consume(max_messages=3)
    second = await lab.consume(max_messages=3)

    assert (first.keys, first.completed.has_more) == (ids[:3], True)
    assert (second.keys, second.completed.has_more) == (ids[3:], False)
    assert second.started.candidates == 2
    assert len(lab.fake.begun) == 5, "nothing is read that may not be delivered"


async def test_sixty_thousand_messages_are_too_many(lab: Lab) -> None:
    lab.mails(10)
    lab.fake.repeats = 6_000

    fetched = await lab.fetch()

    assert isinstance(fetched.error, WindowTooLarge)


async def test_a_filter_that_the_provider_cannot_express_is_refused(lab: Lab) -> None:
    fetched = await lab.fetch(filter=MessageFilter(provider_query="from:anna"))

    assert isinstance(fetched.error, FilterUnsupported)
    assert fetched.error.field == "filter.provider_query"


async def test_a_subscriber_has_a_name(lab: Lab) -> None:
    for name in ("", "a\0b", "x" * 129):
        with pytest.raises(InvalidArgument, match="subscriber"):
            lab.request(subscriber=name)
    assert lab.request(subscriber=SUBSCRIBER).subscriber == SUBSCRIBER
