"""Messages that cannot be read: they are told of, kept, and tried again when asked for."""

from __future__ import annotations

import pytest

from connectors.messages.domain import MessageFilter, Unreadable
from tests.connectors.messages.lab import Lab


@pytest.fixture
async def lab() -> Lab:
    return await Lab.linked()


async def test_one_message_that_cannot_be_read_does_not_keep_the_others(lab: Lab) -> None:
    ids = lab.mails(4)
    lab.fake.scripts["m0001"].append(Unreadable("The charset is unknown."))

    fetched = await lab.consume()

    assert fetched.keys == [ids[0], ids[2], ids[3]]
    assert [(error.key, error.reason) for error in fetched.errors] == [("m0001", "MESSAGE_UNREADABLE")]
    assert fetched.completed.unreadable == 1
    assert await lab.quarantined() == ["m0001"]
    again = await lab.consume()
    assert (again.keys, again.errors) == ([], [])


async def test_an_error_that_nobody_foresaw_is_that_of_one_message(lab: Lab) -> None:
    lab.mails(3)
    lab.fake.scripts["m0001"].append(LookupError("unknown encoding: secret text"))

    fetched = await lab.consume()

    assert fetched.keys == ["m0000", "m0002"]
    assert [error.message for error in fetched.errors] == ["The message could not be read."]


async def test_errors_of_all_messages_are_those_of_the_provider(lab: Lab) -> None:
    ids = lab.mails(40)
    for provider_id in ids:
        lab.fake.scripts[provider_id].append(KeyError("body"))

    fetched = await lab.fetch()

    assert fetched.error is not None
    assert fetched.error.reason == "INTERNAL"
    assert len(fetched.errors) <= 5
    assert len(lab.fake.begun) < 20


async def test_a_quarantined_message_is_tried_again_when_asked_for(lab: Lab) -> None:
    lab.mails(2)
    lab.fake.scripts["m0000"].append(Unreadable("broken"))
    await lab.consume()
    page = await lab.desk.page(user_id=None, connection_id="", limit=10, after=None)
    await lab.desk.request_retry([page[0].quarantine_id], user_id=None)

    fetched = await lab.fetch()

    assert fetched.keys == ["m0000"]
    assert await lab.quarantined() == ["m0000"], "until it is committed"
    await lab.commit(fetched.token)
    assert await lab.quarantined() == []
    assert (await lab.consume()).keys == []


async def test_a_retry_that_fails_again_counts_and_waits(lab: Lab) -> None:
    lab.mails(1)
    lab.fake.scripts["m0000"].extend([Unreadable("broken"), Unreadable("still broken")])
    await lab.consume()
    page = await lab.desk.page(user_id=None, connection_id="", limit=10, after=None)
    await lab.desk.request_retry([page[0].quarantine_id], user_id=None)

    assert len((await lab.consume()).errors) == 1

    (row,) = await lab.desk.page(user_id=None, connection_id="", limit=10, after=None)
    assert (row.attempts, row.message, row.retry_requested) == (2, "still broken", False)
    assert (await lab.consume()).errors == []


async def test_a_message_that_was_delivered_under_another_id_meanwhile_is_not_tried_again(lab: Lab) -> None:
    lab.mail("in-inbox", alias="<1@example.org>")
    lab.fake.scripts["in-inbox"].append(Unreadable("broken"))
    await lab.consume()
    lab.fake.move("in-inbox", new_id="in-archive", container="archive")
    assert (await lab.consume()).keys == ["in-archive"]
    page = await lab.desk.page(user_id=None, connection_id="", limit=10, after=None)
    await lab.desk.request_retry([page[0].quarantine_id], user_id=None)

    assert (await lab.consume()).keys == []

    assert await lab.quarantined() == []


async def test_a_retry_that_the_filter_leaves_out_comes_when_the_filter_wants_it(lab: Lab) -> None:
    lab.mail("archived", container="archive")
    lab.fake.scripts["archived"].append(Unreadable("broken"))
    await lab.consume()
    page = await lab.desk.page(user_id=None, connection_id="", limit=10, after=None)
    await lab.desk.request_retry([page[0].quarantine_id], user_id=None)

    assert (await lab.consume(filter=MessageFilter(containers=("inbox",)))).keys == []

    assert await lab.quarantined() == []
    assert (await lab.consume()).keys == ["archived"]


async def test_a_retry_joins_the_round_under_way(lab: Lab) -> None:
    ids = lab.mails(4)
    lab.fake.scripts["m0000"].append(Unreadable("broken"))
    await lab.consume(max_messages=2)
    page = await lab.desk.page(user_id=None, connection_id="", limit=10, after=None)
    await lab.desk.request_retry([page[0].quarantine_id], user_id=None)

    fetched = await lab.consume()

    assert fetched.keys == [ids[0], ids[2], ids[3]]
