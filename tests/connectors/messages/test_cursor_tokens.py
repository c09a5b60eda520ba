"""Places in a round: who may commit them, begin at them, and which are refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from connectors.errors import (
    CursorInvalid,
    StaleFetch,
)
from connectors.messages.domain import MessageFilter
from connectors.messages.events import Checkpoint
from tests.connectors.messages.lab import Lab


@pytest.fixture
async def lab() -> Lab:
    return await Lab.linked()


async def test_a_repeated_commit_of_nothing_changes_nothing(lab: Lab) -> None:
    fetched = await lab.consume()
    steps = lab.store.steps

    await lab.commit(fetched.token)

    assert lab.store.steps == steps


async def test_the_newest_fetch_wins(lab: Lab) -> None:
    ids = lab.mails(3)
    older = await lab.fetch()
    newer = await lab.fetch()

    with pytest.raises(StaleFetch):
        await lab.commit(older.token)

    await lab.commit(newer.token)
    await lab.commit(older.token)
    assert newer.keys == ids
    assert (await lab.fetch()).keys == []


async def test_a_fetch_that_was_overtaken_while_it_listed_delivers_nothing(lab: Lab) -> None:
    ids = lab.mails(3)

    async def overtake() -> None:
        lab.fake.during_listing = None
        await lab.fetch()

    lab.fake.during_listing = overtake
    fetched = await lab.fetch()

    assert isinstance(fetched.error, StaleFetch)
    assert fetched.keys == []
    assert (await lab.fetch()).keys == ids


async def test_a_cursor_token_begins_where_it_was_given(lab: Lab) -> None:
    ids = lab.mails(45)
    first = await lab.fetch()
    marks = [event.cursor_token for event in first.of(Checkpoint)]

    assert (await lab.fetch(cursor_token=marks[0])).keys == ids[20:]
    assert (await lab.fetch(cursor_token=marks[1])).keys == ids[40:]
    assert (await lab.fetch()).keys == ids[40:], "it has become the cursor"
    assert (await lab.fetch(cursor_token=marks[0])).keys == ids[20:], "also backward"


async def test_the_token_of_the_end_lists_anew(lab: Lab) -> None:
    lab.mails(3)
    first = await lab.fetch()
    lab.mail("later", ago=timedelta(0))

    assert (await lab.fetch(cursor_token=first.token)).keys == ["later"]


@pytest.mark.parametrize(
    "other",
    [{"subscriber": "agent-2"}, {"filter": MessageFilter(containers=("archive",))}],
    ids=["subscriber", "filter"],
)
async def test_a_cursor_token_of_something_else_is_refused(lab: Lab, other: dict[str, Any]) -> None:
    lab.mails(3)
    first = await lab.fetch()
    await lab.fetch(**other)

    fetched = await lab.fetch(cursor_token=first.token, **other)

    assert isinstance(fetched.error, CursorInvalid)


async def test_a_cursor_token_of_another_connection_is_refused(lab: Lab) -> None:
    lab.mails(3)
    await lab.connections.add("c-2")
    token = (await lab.fetch()).token

    fetched = await lab.fetch(connection_id="c-2", cursor_token=token)

    assert isinstance(fetched.error, CursorInvalid)
    with pytest.raises(CursorInvalid):
        await lab.commit(token, connection_id="c-2")


async def test_a_cursor_token_of_a_round_long_over_is_refused_and_disturbs_nobody(lab: Lab) -> None:
    lab.mails(3)
    old = (await lab.consume()).token
    lab.mail("later", ago=timedelta(0))
    under_way = await lab.fetch()

    fetched = await lab.fetch(cursor_token=old)

    assert isinstance(fetched.error, CursorInvalid)
    await lab.commit(under_way.token)
