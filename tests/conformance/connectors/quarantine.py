"""What every quarantine does. A test module inherits the suite and gives it a `shelf`."""

from __future__ import annotations

from datetime import timedelta

import pytest

from connectors.admin.errors import NotInQuarantine
from connectors.messages.domain import Ref
from connectors.messages.ports import Advance, CursorName
from tests.conformance.connectors.cursor_store import NOW, Shelf


class QuarantineConformance:
    async def test_a_message_is_kept_once_with_its_tries(self, shelf: Shelf) -> None:
        name = await shelf.name()
        later = NOW + timedelta(hours=1)

        await shelf.put(name)
        await shelf.put(name, now=later)

        (kept,) = await shelf.desk.page(user_id=None, connection_id=name.connection_id, limit=10, after=None)
        assert (kept.attempts, kept.first_tried_at, kept.last_tried_at) == (2, NOW, later)
        assert (kept.user_id, kept.subscriber, kept.provider_id) == ("anna", "agent-1", "m-1")
        assert (kept.reason, kept.message) == ("MESSAGE_UNREADABLE", "The charset is unknown.")
        assert not kept.retry_requested

    async def test_versions_of_a_message_are_kept_apart(self, shelf: Shelf) -> None:
        name = await shelf.name()

        await shelf.put(name)
        await shelf.put(name, version="2")

        assert len(await shelf.ids(name)) == 2

    async def test_nothing_is_tried_again_unless_asked_for(self, shelf: Shelf) -> None:
        name = await shelf.name()
        await shelf.put(name)

        assert await shelf.quarantine.retries(name, limit=10) == []

    async def test_what_is_asked_for_is_tried_again_until_it_fails_again(self, shelf: Shelf) -> None:
        name = await shelf.name()
        await shelf.put(name, version="2")

        assert await shelf.desk.request_retry(await shelf.ids(name), user_id="anna") == 1

        wanted = Ref(provider_id="m-1", version="2", container="inbox", received_at=NOW, alias="<a>")
        assert await shelf.quarantine.retries(name, limit=10) == [wanted]
        await shelf.put(name, version="2")
        assert await shelf.quarantine.retries(name, limit=10) == []

    async def test_retries_are_those_of_the_subscriber_oldest_first(self, shelf: Shelf) -> None:
        name = await shelf.name()
        other = CursorName(connection_id=name.connection_id, subscriber="agent-2")
        for number in (2, 0, 1):
            await shelf.put(name, f"m-{number}", now=NOW + timedelta(minutes=number))
        await shelf.put(other, "m-9")
        await shelf.desk.request_retry(await shelf.ids(name), user_id=None)

        found = await shelf.quarantine.retries(name, limit=2)

        assert [ref.provider_id for ref in found] == ["m-0", "m-1"]

    async def test_all_are_asked_for_or_none(self, shelf: Shelf) -> None:
        name = await shelf.name()
        await shelf.put(name)
        known = await shelf.ids(name)

        with pytest.raises(NotInQuarantine):
            await shelf.desk.request_retry([*known, "0" * 32], user_id=None)
        with pytest.raises(NotInQuarantine):
            await shelf.desk.request_retry(known, user_id="berta")

        assert await shelf.quarantine.retries(name, limit=10) == []
        assert await shelf.desk.request_retry([*known, *known], user_id=None) == 1

    async def test_a_step_takes_messages_out_of_quarantine(self, shelf: Shelf) -> None:
        name = await shelf.name()
        epoch = await shelf.with_round(name)
        await shelf.put(name)
        await shelf.put(name, version="2")
        await shelf.put(CursorName(connection_id=name.connection_id, subscriber="agent-2"))
        clearing = Advance(
            epoch=epoch, round_id="r-1", position=1, seen=[], unseen=[], cleared=[("m-1", "2")], ended=None
        )

        assert await shelf.cursors.advance(name, clearing, now=NOW)

        page = await shelf.desk.page(user_id=None, connection_id=name.connection_id, limit=10, after=None)
        assert sorted(one.subscriber for one in page) == ["agent-1", "agent-2"]

    async def test_what_is_dropped_is_kept_no_longer(self, shelf: Shelf) -> None:
        name = await shelf.name()
        await shelf.put(name)
        await shelf.put(name, version="2")
        await shelf.desk.request_retry(await shelf.ids(name), user_id=None)
        kept, dropped = sorted(await shelf.quarantine.retries(name, limit=10), key=lambda ref: ref.version)

        await shelf.quarantine.drop(name, [dropped])

        assert await shelf.quarantine.retries(name, limit=10) == [kept]

    async def test_pages_are_newest_first_and_without_gaps(self, shelf: Shelf) -> None:
        name = await shelf.name()
        for number in range(7):
            await shelf.put(name, f"m-{number}", now=NOW + timedelta(minutes=number // 3))

        found = []
        after = None
        while page := await shelf.desk.page(user_id="anna", connection_id=name.connection_id, limit=2, after=after):
            found.extend(page)
            after = (page[-1].first_tried_at, page[-1].quarantine_id)

        assert len({one.provider_id for one in found}) == len(found) == 7
        assert [one.first_tried_at for one in found] == sorted((one.first_tried_at for one in found), reverse=True)

    async def test_a_page_is_of_one_user_if_one_is_named(self, shelf: Shelf) -> None:
        name = await shelf.name()
        await shelf.put(name)

        assert await shelf.desk.page(user_id="berta", connection_id="", limit=10, after=None) == []
        assert len(await shelf.desk.page(user_id="anna", connection_id="", limit=100, after=None)) >= 1
