"""What every provider behind the port does. A test module inherits the suite and gives it a `lab`.

For a new provider write, below `tests/connectors/providers/<name>/`:

1. `lab.py` with a class that keeps `ProviderLab`: the provider with an `EmulatedTime` as its clock and sleep
   (`tests/connectors/providers/emulated.py`), what stands behind it, and an `async with` that starts and ends both.
   What stands behind it is a half of `tests/emulator`, or an aiohttp application of its own that lets every request in
   through `tests.emulator.door.arrive`, so that faults and counters work: see `postbox_service.py` there.
2. `test_conformance.py`:

       class TestOutlook(ProviderConformance):
           @pytest.fixture
           async def lab(self) -> AsyncIterator[ProviderLab]:
               async with outlook_lab() as lab:
                   yield lab

Everything is told by the virtual clock: nothing waits.
"""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest

from connectors.errors import AttachmentGone, FilterInvalid, FilterUnsupported, ProviderUnavailable, WindowTooLarge
from connectors.messages.domain import FetchMode, Query, Ref, Unreadable, Vanished
from tests.conformance.connectors.provider_failures import MOST_REQUESTS, ProviderFailures
from tests.conformance.connectors.provider_lab import (
    ProviderLab,
    Subscriber,
    held,
    passing,
    refs_of,
    say,
    session,
    stored,
)
from tests.connectors.providers.support import FakeTokens
from tests.emulator.core import Fault

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
MANY = 1_250


class ProviderConformance(ProviderFailures):
    """The suite."""

    # --- what it is

    def test_it_says_what_it_is(self, lab: ProviderLab) -> None:
        provider = lab.provider

        assert re.fullmatch(r"[a-z][a-z0-9_-]*", provider.name)
        assert provider.concurrency >= 1
        assert provider.identity.flows
        assert all(scope == scope.lower() for scope in provider.identity.required_scopes)

    async def test_it_tells_whose_account_it_is_with_one_call(self, lab: ProviderLab) -> None:
        here = session(lab)

        assert await lab.provider.account(here) == lab.account
        assert here.calls == 1

    def test_filters_that_it_cannot_express_are_refused_with_the_field(self, lab: ProviderLab) -> None:
        lab.provider.check_filter(lab.wanted)
        for name, filters in lab.refused.items():
            for wanted in filters:
                with pytest.raises((FilterUnsupported, FilterInvalid)) as caught:
                    lab.provider.check_filter(wanted)
                assert caught.value.field == name

    # --- listings

    async def test_a_window_lists_what_came_in_since_its_beginning(self, lab: ProviderLab) -> None:
        await say(lab, "too old", ago=2 * HOUR + MINUTE)
        await say(lab, "first", ago=2 * HOUR - MINUTE)
        await say(lab, "second", ago=MINUTE)
        subscriber = Subscriber(lab, since=lab.core.now() - 2 * HOUR)

        messages = await subscriber.fetch()

        assert [message.text.strip() for message in messages] == ["first", "second"]
        assert subscriber.modes[-1] is FetchMode.WINDOW

    async def test_after_that_only_what_is_new_is_delivered(self, lab: ProviderLab) -> None:
        await say(lab, "old", ago=HOUR)
        subscriber = Subscriber(lab)
        await subscriber.fetch()
        passing(lab, HOUR)
        await say(lab, "new")

        messages = await subscriber.fetch()

        assert [message.text.strip() for message in messages] == ["new"]
        assert subscriber.modes[-1] is FetchMode.INCREMENTAL

    async def test_when_nothing_is_new_a_listing_is_cheap_and_delivers_nothing(self, lab: ProviderLab) -> None:
        for number in range(5):
            await say(lab, f"number {number}", ago=number * MINUTE)
        subscriber = Subscriber(lab)
        assert len(await subscriber.fetch()) == 5

        for _ in range(10):
            passing(lab, HOUR)

            assert await subscriber.fetch() == []
            assert subscriber.calls <= lab.calls_when_idle
            assert subscriber.modes[-1] is FetchMode.INCREMENTAL

    async def test_an_empty_mailbox_is_listed_and_then_what_comes_in(self, lab: ProviderLab) -> None:
        subscriber = Subscriber(lab)
        assert await subscriber.fetch() == []
        passing(lab, MINUTE)
        await say(lab, "at last")

        messages = await subscriber.fetch()

        assert [message.text.strip() for message in messages] == ["at last"]

    @pytest.mark.parametrize("is_first", [True, False])
    async def test_a_message_that_comes_in_at_any_time_of_a_listing_is_delivered_once(
        self, lab: ProviderLab, is_first: bool
    ) -> None:
        subscriber = Subscriber(lab)
        expected: list[str] = []
        delivered: list[str] = []
        for skip in range(MOST_REQUESTS):
            subscriber = Subscriber(lab) if is_first else subscriber
            await say(lab, f"before {skip}")
            passing(lab, SECOND)
            listed: list[Ref] = []

            async def work(subscriber: Subscriber = subscriber, listed: list[Ref] = listed) -> None:
                listed.extend(await subscriber.list_new())

            async with held(lab, work, skip=skip) as is_held:
                meanwhile = await say(lab, f"meanwhile {skip}")
            passing(lab, SECOND)
            listed.extend(await subscriber.list_new())

            expected, delivered = [*expected, meanwhile], [*delivered, *(ref.provider_id for ref in listed)]
            assert [ref.provider_id for ref in listed].count(meanwhile) == 1
            if not is_held:
                break
        assert 1 < len(expected) < MOST_REQUESTS
        assert is_first or len(delivered) == 2 * len(expected)

    async def test_a_forgotten_state_becomes_a_window_that_delivers_nothing_twice(self, lab: ProviderLab) -> None:
        await say(lab, "known", ago=HOUR)
        subscriber = Subscriber(lab)
        await subscriber.fetch()
        passing(lab, HOUR)
        await say(lab, "new")
        if not await lab.forget():
            pytest.skip("this provider has no states that could be forgotten")

        messages = await subscriber.fetch()

        assert [message.text.strip() for message in messages] == ["new"]
        assert await subscriber.fetch() == []
        assert subscriber.modes[1:] == [FetchMode.RESYNC, FetchMode.INCREMENTAL]

    async def test_every_page_is_read_and_the_oldest_comes_first(self, lab: ProviderLab) -> None:
        subscriber, empty = Subscriber(lab), Subscriber(lab)
        await empty.fetch()
        ids = [await say(lab, f"number {number}", ago=(MANY - number) * SECOND) for number in range(MANY)]

        assert [ref.provider_id for ref in await subscriber.list_new()] == ids
        assert {ref.provider_id for ref in await empty.list_new()} == set(ids)

    async def test_messages_of_the_same_second_are_all_delivered_once(self, lab: ProviderLab) -> None:
        subscriber = Subscriber(lab)
        ids = [await say(lab, f"number {number}") for number in range(7)]
        listed = await subscriber.list_new()
        ids += [await say(lab, f"number {number}") for number in range(7, 14)]
        listed += await subscriber.list_new()

        assert sorted(ref.provider_id for ref in listed) == sorted(ids)
        assert await subscriber.list_new() == []

    async def test_more_messages_than_allowed_are_refused(self, lab: ProviderLab) -> None:
        for number in range(3):
            await say(lab, f"number {number}")
        now = lab.core.now()
        query = Query(filter=lab.wanted, state=None, since=now - HOUR, now=now, max_refs=2)

        with pytest.raises(WindowTooLarge):
            await lab.provider.list_new(session(lab), query)

    async def test_keys_are_the_same_at_every_listing(self, lab: ProviderLab) -> None:
        for number in range(3):
            await say(lab, f"number {number}")

        first, second = Subscriber(lab), Subscriber(lab)

        keys = [ref.key for ref in await first.list_new()]
        assert [message.key for message in await second.fetch()] == keys
        assert len(set(keys)) == 3

    async def test_a_state_is_json_without_any_token(self, lab: ProviderLab) -> None:
        await say(lab, "hello")
        tokens = FakeTokens(tokens=[lab.token()])
        subscriber = Subscriber(lab)

        listing = await lab.provider.list_new(session(lab, tokens=tokens), subscriber.query())

        text = json.dumps(listing.state)
        assert json.loads(text) == listing.state
        assert not [token for token in tokens.tokens if token in text]

    # --- reading

    async def test_a_message_tells_when_and_where_it_came_in(self, lab: ProviderLab) -> None:
        provider_id = await say(lab, "hello", ago=HOUR)
        subscriber = Subscriber(lab)

        (message,) = await subscriber.fetch()

        assert message.provider_id == provider_id
        assert message.received_at == lab.core.now() - HOUR
        assert message.thread_id
        assert message.sender.address or message.sender.name

    async def test_a_ref_from_the_store_reads_as_a_new_one(self, lab: ProviderLab) -> None:
        await say(lab, "hello")
        (ref,) = await Subscriber(lab).list_new()

        new, old = [
            await lab.provider.read(session(lab), one, lab.wanted, max_body_chars=100) for one in (ref, stored(ref))
        ]

        assert new == old

    async def test_a_long_text_is_cut_and_says_so(self, lab: ProviderLab) -> None:
        await say(lab, "word " * 1_000)

        (message,) = await Subscriber(lab).fetch(max_body_chars=500)

        assert len(message.text) <= 500
        assert message.text_truncated
        assert message.full_chars >= 4_900

    async def test_a_message_that_is_gone_has_vanished(self, lab: ProviderLab) -> None:
        await say(lab, "gone", ago=SECOND)
        await say(lab, "still there")
        gone, there = await refs_of(lab)
        await lab.remove(gone.provider_id)

        with pytest.raises(Vanished):
            await lab.provider.read(session(lab), gone, lab.wanted, max_body_chars=100)
        message = await lab.provider.read(session(lab), there, lab.wanted, max_body_chars=100)

        assert message.text.strip() == "still there"

    async def test_a_message_that_cannot_be_read_harms_no_other(self, lab: ProviderLab) -> None:
        for text in ("first", "bad", "last"):
            await say(lab, text)
            passing(lab, SECOND)
        first, bad, last = await refs_of(lab)
        await lab.spoil(bad.provider_id)
        here = session(lab)

        with pytest.raises(Unreadable) as caught:
            await lab.provider.read(here, bad, lab.wanted, max_body_chars=100)
        texts = [
            (await lab.provider.read(here, ref, lab.wanted, max_body_chars=100)).text.strip() for ref in (first, last)
        ]

        assert texts == ["first", "last"]
        assert caught.value.reason in {"MESSAGE_UNREADABLE", "MESSAGE_TOO_LARGE"}
        assert "bad" not in caught.value.message

    async def test_a_message_whose_answer_breaks_off_is_not_taken_for_unreadable(self, lab: ProviderLab) -> None:
        await say(lab, "hello")
        (ref,) = await refs_of(lab)
        lab.core.faults.add(Fault(route=lab.api, times=0, reset_after_bytes=20))

        with pytest.raises(ProviderUnavailable):
            await lab.provider.read(session(lab), ref, lab.wanted, max_body_chars=100)

        await lab.core.faults.clear()
        message = await lab.provider.read(session(lab), ref, lab.wanted, max_body_chars=100)
        assert message.text.strip() == "hello"

    async def test_an_attachment_is_read_in_pieces(self, lab: ProviderLab) -> None:
        if not lab.has_attachments:
            pytest.skip("this provider has no attachments that could be read")
        content = bytes(range(256)) * 8_000
        await say(lab, "see below", attachment=content)
        (message,) = await Subscriber(lab).fetch()
        (attached,) = message.attachments

        pieces = [
            piece async for piece in lab.provider.attachment(session(lab), message.provider_id, attached.attachment_id)
        ]

        assert b"".join(pieces) == content
        assert max(map(len, pieces)) <= 2**20
        assert attached.name
        assert not attached.inline

    @pytest.mark.parametrize("attachment_id", ["nothing", "../../../me", "a b"])
    async def test_an_attachment_that_is_not_there_is_gone(self, lab: ProviderLab, attachment_id: str) -> None:
        provider_id = await say(lab, "nothing with it")

        with pytest.raises(AttachmentGone):
            async for _ in lab.provider.attachment(session(lab), provider_id, attachment_id):
                pass
