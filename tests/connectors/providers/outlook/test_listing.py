"""What is new in a mailbox."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from connectors.errors import FilterInvalid, WindowTooLarge
from connectors.messages.domain import FetchMode, MessageFilter
from connectors.providers.http import Bounds
from connectors.providers.outlook.config import OutlookConfig
from tests.connectors.providers.outlook.lab import WEEK, Subscriber, ids, outlook_lab
from tests.emulator.core import Fault

SMALL = OutlookConfig(page_size=5, slim_page_size=5)


async def test_the_first_listing_is_a_window_of_the_inbox() -> None:
    async with outlook_lab() as lab:
        new = lab.mail()
        lab.mail(ago=timedelta(days=8))
        lab.mail(folder="archive")
        lab.mail(folder="junk")
        lab.mail(folder="deleted")
        lab.mail(folder="sent")
        found = await lab.list_new()

    assert found.mode is FetchMode.WINDOW
    assert ids(found) == {new}
    (ref,) = found.refs
    assert ref.received_at == lab.time.now() - timedelta(minutes=5)
    assert ref.container == "inbox"
    assert ref.alias == "<1@example.com>"


async def test_what_came_since_is_listed_and_nothing_else() -> None:
    async with outlook_lab() as lab:
        lab.mail()
        first = await lab.list_new()
        new = lab.mail()
        second = await lab.list_new(first.state)
        third = await lab.list_new(second.state)

    assert second.mode is FetchMode.INCREMENTAL
    assert ids(second) == {new}
    assert ids(third) == set()


async def test_nothing_new_takes_one_call_a_folder() -> None:
    async with outlook_lab() as lab:
        lab.mail()
        found = await lab.list_new(wanted=MessageFilter(include_sent=True))
        before = lab.calls()
        await lab.list_new(found.state, wanted=MessageFilter(include_sent=True))
        after = lab.calls()

    assert after - before == 2


async def test_ten_looks_without_news_bring_nothing() -> None:
    async with outlook_lab(OutlookConfig(sweep_every=3)) as lab:
        lab.mail()
        subscriber = Subscriber(lab=lab, since=lab.time.now() - WEEK)
        first = await subscriber.fetch()
        rest = [await subscriber.fetch() for _ in range(10)]

    assert len(first) == 1
    assert rest == [[]] * 10


async def test_what_the_user_does_with_a_mail_is_no_news() -> None:
    async with outlook_lab() as lab:
        mail = lab.mail()
        found = await lab.list_new()
        lab.mailbox.mark(mail, unread=False)
        found = await lab.list_new(found.state)
        lab.mailbox.move(mail, "archive")
        last = await lab.list_new(found.state)

    assert ids(found) == ids(last) == set()


async def test_all_pages_are_read() -> None:
    async with outlook_lab() as lab:
        sent = {lab.mail() for _ in range(1_250)}
        found = await lab.list_new()

    assert ids(found) == sent
    assert len(found.refs) == 1_250
    assert lab.calls() == 25


async def test_mails_of_the_same_second_are_each_listed_once() -> None:
    async with outlook_lab(SMALL) as lab:
        subscriber = Subscriber(lab=lab, since=lab.time.now() - WEEK)
        second = lab.time.now()
        before = {lab.mail(at=second + timedelta(milliseconds=number)) for number in range(7)}
        first = await subscriber.fetch()
        after = {lab.mail(at=second + timedelta(milliseconds=500 + number)) for number in range(7)}
        rest = [*await subscriber.fetch(), *await subscriber.fetch()]

    assert set(first) == before
    assert set(rest) == after
    assert len(subscriber.got) == 14


async def test_a_mail_of_the_second_in_which_the_window_begins_is_in_it() -> None:
    async with outlook_lab() as lab:
        begin = lab.time.now() - timedelta(hours=1)
        mail = lab.mail(at=begin)
        found = await lab.list_new(since=begin + timedelta(milliseconds=300))

    assert ids(found) == {mail}


async def test_what_comes_in_while_a_listing_runs_is_in_it_or_in_the_next() -> None:
    async with outlook_lab(SMALL) as lab:
        for _ in range(12):
            lab.mail()
        held = lab.emulator.faults.add(Fault(route="/delta$", skip=1, times=1, hold=True))
        subscriber = Subscriber(lab=lab, since=lab.time.now() - WEEK)

        async def deliver() -> None:
            await lab.emulator.faults.until_held(held)
            lab.mail()
            await lab.emulator.faults.release(held)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(subscriber.fetch())
            tasks.create_task(deliver())
        await subscriber.fetch()

    assert len(subscriber.got) == len(set(subscriber.got)) == 13


async def test_empty_pages_duplicates_replays_and_strays_change_nothing() -> None:
    async with outlook_lab(SMALL) as lab:
        switches = lab.emulator.microsoft.delta
        switches.empty_pages, switches.duplicates, switches.replays, switches.strays = 2, True, 3, 2
        sent = {lab.mail() for _ in range(12)}
        subscriber = Subscriber(lab=lab, since=lab.time.now() - WEEK)
        first = await subscriber.fetch()
        more = {lab.mail() for _ in range(6)}
        second = await subscriber.fetch()

    assert set(first) == sent
    assert set(second) == more
    assert len(subscriber.got) == 18


async def test_a_mail_that_goes_while_it_is_listed_is_left_out() -> None:
    async with outlook_lab() as lab:
        stays, goes = lab.mail(), lab.mail()
        page = {
            "value": [
                {"id": stays, "receivedDateTime": "2026-11-02T08:00:00Z"},
                {"id": goes, "receivedDateTime": "2026-11-02T08:00:00Z"},
                {"id": goes, "@removed": {"reason": "deleted"}},
            ],
            "@odata.deltaLink": f"{lab.emulator.base_url}/v1.0/x",
        }
        lab.emulator.faults.add(Fault(route="/delta$", status=200, body=page))
        found = await lab.list_new()

    assert ids(found) == {stays}


async def test_more_than_graph_gives_in_a_round_is_listed_in_another_way() -> None:
    async with outlook_lab(OutlookConfig(page_size=5, filtered_at_most=20)) as lab:
        lab.emulator.microsoft.delta.filtered_at_most = 20
        sent = {lab.mail(ago=timedelta(minutes=number)) for number in range(33)}
        found = await lab.list_new()
        new = lab.mail()
        then = await lab.list_new(found.state)

    assert ids(found) == sent
    assert ids(then) == {new}


async def test_too_many_mails_end_the_listing() -> None:
    async with outlook_lab() as lab:
        for _ in range(11):
            lab.mail()
        found = await lab.list_new(max_refs=11)
        with pytest.raises(WindowTooLarge):
            await lab.list_new(max_refs=10)

    assert len(found.refs) == 11


async def test_folders_are_named_by_their_names_or_ids() -> None:
    async with outlook_lab() as lab:
        clients = lab.mailbox.add_folder("Clients")
        inside, archived = lab.mail(), lab.mail(folder="archive")
        lab.mailbox.move(inside, clients.folder_id)
        lab.mail()
        wanted = MessageFilter(containers=(clients.folder_id, "Archive"))
        found = await lab.list_new(wanted=wanted)
        again = await lab.list_new(found.state, wanted=wanted)

    assert ids(found) == {inside, archived}
    assert {ref.container for ref in found.refs} == {clients.folder_id, "archive"}
    assert ids(again) == set()


async def test_what_the_user_wrote_is_listed_if_that_is_wanted() -> None:
    async with outlook_lab() as lab:
        got, written = lab.mail(), lab.mail(folder="sent")
        found = await lab.list_new(wanted=MessageFilter(include_sent=True))

    assert ids(found) == {got, written}


async def test_a_folder_that_is_not_there_is_told_by_the_filters_name() -> None:
    async with outlook_lab() as lab:
        with pytest.raises(FilterInvalid, match=r"filter\.containers"):
            await lab.list_new(wanted=MessageFilter(containers=("AQMkADAwATM3ZmYAZS0xyz",)))


async def test_drafts_are_left_out_and_so_is_what_the_filter_excludes() -> None:
    async with outlook_lab() as lab:
        draft = lab.mail(sender="boss@example.com")
        lab.mailbox.move(draft, "drafts")
        wanted = MessageFilter(senders=("boss@example.com",), containers=("inbox",))
        mail = lab.mail(sender="boss@example.com")
        lab.mail(sender="other@example.com")
        found = await lab.list_new(wanted=wanted)

    assert ids(found) == {mail}
    assert found.left_out == 1


async def test_pages_that_are_too_large_are_listed_without_bodies() -> None:
    async with outlook_lab(bounds=Bounds(body_bytes=200_000)) as lab:
        sent = {lab.mail(text="x" * 30_000) for _ in range(10)}
        found = await lab.list_new()
        texts = [(await lab.read(ref)).full_chars for ref in found.refs]

    assert ids(found) == sent
    assert texts == [30_000] * 10


async def test_what_is_brought_along_is_limited_and_the_rest_is_read_one_by_one() -> None:
    async with outlook_lab(OutlookConfig(carried_bytes=50_000)) as lab:
        for _ in range(10):
            lab.mail(text="y" * 10_000)
        found = await lab.list_new()
        before = lab.calls()
        texts = [(await lab.read(ref)).full_chars for ref in found.refs]
        after = lab.calls()

    assert 0 < sum(ref.carried is not None for ref in found.refs) < 10
    assert texts == [10_000] * 10
    assert after - before == sum(ref.carried is None for ref in found.refs)
