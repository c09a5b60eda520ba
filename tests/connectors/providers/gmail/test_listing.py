"""What Gmail's history and searches tell, and what we make of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import parse_qs

import pytest

from connectors.errors import ProviderUnavailable
from connectors.messages.domain import FetchMode, MessageFilter
from connectors.providers.gmail.config import LOOK_BACK, SEARCH_FROM, GmailConfig
from tests.conformance.connectors.provider_lab import Subscriber, held, session
from tests.connectors.providers.gmail.lab import ME, GmailLab, gmail_lab
from tests.emulator.core import Fault
from tests.emulator.mails import Mail, compose

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MESSAGES = r"/messages$"
MESSAGE = r"/messages/[^/]+$"
HISTORY = r"/history$"


@pytest.fixture
def in_california(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


async def ids_of(subscriber: Subscriber) -> list[str]:
    return [message.provider_id for message in await subscriber.fetch()]


def queries(lab: GmailLab, route: str = MESSAGES) -> list[dict[str, list[str]]]:
    return [parse_qs(call.query) for call in lab.core.counters.matching(route)]


async def test_a_mailbox_that_was_quiet_for_a_month_is_not_listed_as_a_whole_again_and_again(lab: GmailLab) -> None:
    lab.mail()
    lab.core.clock.advance(30 * DAY)
    subscriber = Subscriber(lab)

    assert await ids_of(subscriber) == []
    for _ in range(4):
        lab.core.clock.advance(6 * DAY)
        assert await ids_of(subscriber) == []

    assert subscriber.modes == [FetchMode.WINDOW, *[FetchMode.INCREMENTAL] * 4]
    assert lab.core.counters.count(MESSAGES) == 1


@pytest.mark.parametrize("is_first", [True, False])
async def test_what_comes_in_between_any_two_pages_is_delivered_once(is_first: bool) -> None:
    async with gmail_lab(GmailConfig(page_size=2)) as lab:
        for skip in range(8):
            subscriber = Subscriber(lab)
            if not is_first:
                await subscriber.fetch()
            expected = {lab.mail(at=lab.core.now() - number * SECOND) for number in range(6)}
            listed: list[str] = []

            async def work(subscriber: Subscriber = subscriber, listed: list[str] = listed) -> None:
                listed.extend(ref.provider_id for ref in await subscriber.list_new())

            async with held(lab, work, skip=skip) as is_held:
                expected |= {lab.mail() for _ in range(3)}
            listed += [ref.provider_id for ref in await subscriber.list_new()]
            for message_id in expected:
                assert listed.count(message_id) == 1
                lab.mailbox.remove(message_id)
            if not is_held:
                return
        pytest.fail("no listing has so many pages")


async def test_an_empty_page_of_the_history_does_not_end_it(lab: GmailLab) -> None:
    lab.google.switches.empty_history_pages = True
    subscriber = Subscriber(lab)
    await subscriber.fetch()
    ids = [lab.mail() for _ in range(3)]

    assert await ids_of(subscriber) == ids
    assert lab.core.counters.count(HISTORY) == 2


async def test_mail_of_a_rescue_from_spam_is_delivered_though_it_came_in_before(lab: GmailLab) -> None:
    spam = lab.mail(folder="junk")
    subscriber = Subscriber(lab)
    assert await ids_of(subscriber) == []
    lab.core.clock.advance(2 * DAY)
    other = lab.mail(folder="junk")

    assert await ids_of(subscriber) == []
    lab.core.clock.advance(HOUR)
    lab.mailbox.move(spam, "inbox")

    assert await ids_of(subscriber) == [spam]
    assert other not in await ids_of(subscriber)


async def test_mail_that_was_moved_away_and_back_is_delivered_once(lab: GmailLab) -> None:
    known = lab.mail()
    subscriber = Subscriber(lab)
    assert await ids_of(subscriber) == [known]
    new = lab.mail()
    for message_id in (known, new):
        lab.mailbox.move(message_id, "archive")
        lab.mailbox.move(message_id, "inbox")

    assert await ids_of(subscriber) == [new]
    assert await ids_of(subscriber) == []


async def test_another_label_on_old_mail_is_no_news(lab: GmailLab) -> None:
    old = lab.mail(at=lab.core.now() - 8 * DAY, unread=False)
    subscriber = Subscriber(lab)
    await subscriber.fetch()
    lab.mailbox.relabel(old, add=["STARRED", "UNREAD", "Receipts"])

    assert await ids_of(subscriber) == []
    assert lab.core.counters.count(MESSAGE) == 0


async def test_mail_older_than_a_month_is_no_news_when_it_turns_up(lab: GmailLab) -> None:
    at = lab.core.now() - LOOK_BACK
    old, older = (lab.mail(at=at + difference, folder="archive") for difference in (HOUR, -HOUR))
    subscriber = Subscriber(lab)
    await subscriber.fetch()
    for message_id in (old, older):
        lab.mailbox.move(message_id, "inbox")

    assert await ids_of(subscriber) == [old]
    assert subscriber.left_out == [older]


async def test_a_subscriber_that_comes_seldom_gets_what_is_older_than_a_month(lab: GmailLab) -> None:
    lab.mailbox.history_lifetime = 100 * DAY
    begun = lab.core.now()
    subscriber = Subscriber(lab, since=begun)
    await subscriber.fetch()
    new = lab.mail()
    lab.core.clock.advance(60 * DAY)

    assert await ids_of(subscriber) == [new]


async def test_mail_that_was_put_away_before_it_was_read_is_left_out(lab: GmailLab) -> None:
    subscriber = Subscriber(lab)
    await subscriber.fetch()
    archived, trashed, deleted, kept = (lab.mail() for _ in range(4))
    lab.mailbox.move(archived, "archive")
    lab.mailbox.move(trashed, "deleted")
    lab.mailbox.remove(deleted)

    assert await ids_of(subscriber) == [kept]
    assert (subscriber.left_out, subscriber.vanished) == ([archived, trashed], [deleted])


async def test_what_is_no_mail_of_anybody_is_never_read(lab: GmailLab) -> None:
    subscriber = Subscriber(lab)
    await subscriber.fetch()
    lab.mail(labels=("DRAFT",))
    lab.mail(labels=("CHAT",))
    for folder in ("junk", "deleted", "sent", "archive"):
        lab.mail(folder=folder)

    listing = await lab.provider.list_new(session(lab), subscriber.query())

    assert (listing.refs, listing.left_out) == ((), 6)
    assert await ids_of(Subscriber(lab)) == []


@pytest.mark.parametrize("compares", ["internalDate", "Date"])
async def test_it_does_not_matter_which_of_its_times_gmail_searches_by(
    lab: GmailLab, compares: Literal["internalDate", "Date"]
) -> None:
    lab.google.switches.after_compares = compares
    begin = lab.core.now() - 10 * HOUR
    late = lab.mail(at=begin + HOUR, sent_at=begin - 20 * HOUR)
    early = lab.mail(at=begin - HOUR, sent_at=begin + 5 * HOUR)
    on_time = lab.mail(at=begin + 2 * HOUR, sent_at=begin + 2 * HOUR)
    subscriber = Subscriber(lab, since=begin)

    assert await ids_of(subscriber) == [late, on_time]
    assert subscriber.left_out == [early]


@pytest.mark.usefixtures("in_california")
@pytest.mark.parametrize("midnight", [datetime(2026, 3, 8, 8, tzinfo=UTC), datetime(2026, 11, 1, 7, tzinfo=UTC)])
async def test_days_on_which_californias_clocks_change_are_days_like_any_other(
    lab: GmailLab, midnight: datetime
) -> None:
    expected = []
    for hour in range(-3, 28):
        lab.core.clock.set(midnight + hour * HOUR)
        expected.append(lab.mail())
    lab.google.grants.access_lifetime = 365 * DAY
    subscriber = Subscriber(lab, since=midnight)

    assert await ids_of(subscriber) == expected[3:]
    (asked,) = queries(lab)
    assert asked["q"] == [f"after:{int((midnight - DAY).timestamp())}"]


async def test_a_message_that_cannot_be_searched_for_yet_is_delivered_by_the_next_listing(lab: GmailLab) -> None:
    wanted = MessageFilter(provider_query="invoice")
    subscriber = Subscriber(lab, wanted=wanted)
    await subscriber.fetch()
    lab.mail(subject="Lunch")
    invoice = lab.mail(subject="Invoice 17")
    lab.core.faults.add(Fault(route=MESSAGES, status=200, body={"resultSizeEstimate": 0}))

    assert await ids_of(subscriber) == []
    lab.core.clock.advance(5 * MINUTE)

    assert await ids_of(subscriber) == [invoice]
    assert await ids_of(subscriber) == []
    assert subscriber.state is not None
    assert set(subscriber.state) == {"history_id"}


async def test_among_many_changes_those_that_a_filter_means_are_searched_for(lab: GmailLab) -> None:
    wanted = MessageFilter(senders=("boss@example.com",))
    subscriber = Subscriber(lab, wanted=wanted)
    await subscriber.fetch()
    for _ in range(SEARCH_FROM):
        lab.mail()
    meant = lab.mail(sender="The Boss <Boss@Example.com>")

    assert await ids_of(subscriber) == [meant]
    assert lab.core.counters.count(MESSAGE) == 1


async def test_among_few_changes_each_is_looked_at(lab: GmailLab) -> None:
    wanted = MessageFilter(senders=("boss@example.com",))
    subscriber = Subscriber(lab, wanted=wanted)
    await subscriber.fetch()
    lab.core.counters.reset()
    lab.mail()
    meant = lab.mail(sender="boss@example.com")

    assert await ids_of(subscriber) == [meant]
    assert lab.core.counters.count(MESSAGES) == 0


@pytest.mark.parametrize("body", [{"history": [7, {"messagesAdded": [{}, 7, {"message": 7}], "labelsAdded": 7}]}, {}])
async def test_a_history_that_makes_no_sense_is_no_news(lab: GmailLab, body: object) -> None:
    subscriber = Subscriber(lab)
    await subscriber.fetch()
    lab.core.faults.add(Fault(route=HISTORY, status=200, body=body))
    new = lab.mail()

    assert await ids_of(subscriber) == []
    assert await ids_of(subscriber) == [new]


async def test_pages_without_end_are_given_up() -> None:
    async with gmail_lab(GmailConfig(max_pages=3)) as lab:
        lab.core.faults.add(Fault(route=MESSAGES, times=0, status=200, body={"nextPageToken": "again"}))

        with pytest.raises(ProviderUnavailable, match="without end"):
            await Subscriber(lab).fetch()

        assert lab.core.counters.count(MESSAGES) == 3


async def test_mailboxes_do_not_mix(lab: GmailLab) -> None:
    lab.google.add_account("you@example.com").mailbox.deliver(Mail(raw=compose(), received_at=lab.core.now()))
    mine = lab.mail()

    assert await ids_of(Subscriber(lab)) == [mine]
    assert {call.account for call in lab.core.counters.calls} == {ME}
