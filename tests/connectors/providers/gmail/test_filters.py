"""Our filter in Gmail's words, and what of it is checked again here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest

from connectors.errors import FilterInvalid
from connectors.messages.domain import MessageFilter
from tests.conformance.connectors.provider_lab import Subscriber
from tests.connectors.providers.gmail.lab import GmailLab
from tests.emulator.core import Fault
from tests.emulator.mails import Attachment

MINUTE = timedelta(minutes=1)
MESSAGES = r"/messages$"


Wishes = Mapping[str, Any]


async def subjects(lab: GmailLab, wanted: MessageFilter) -> list[str]:
    """Return the subjects that a window delivers."""
    return [message.subject for message in await Subscriber(lab, wanted=wanted).fetch()]


async def both(lab: GmailLab, wanted: MessageFilter, *mails: Wishes) -> list[str]:
    """Return the subjects of these mails that a filter delivers, which has to be the same from window and history."""
    subscriber = Subscriber(lab, wanted=wanted)
    await subscriber.fetch()
    for mail in mails:
        lab.core.clock.advance(MINUTE)
        lab.mail(**mail)
    incremental = [message.subject for message in await subscriber.fetch()]
    assert await subjects(lab, wanted) == incremental
    return incremental


async def test_senders_are_addresses_or_domains_in_any_case(lab: GmailLab) -> None:
    wanted = MessageFilter(senders=("ada@example.com", "@acme.example"))
    found = await both(
        lab,
        wanted,
        {"subject": "1", "sender": "Ada <ADA@example.com>"},
        {"subject": "2", "sender": "anybody@Acme.Example"},
        {"subject": "not 1", "sender": "canada@example.com"},
        {"subject": "not 2", "sender": "a@acme.example.org"},
        {"subject": "not 3", "sender": "ada@example.com.evil.example"},
        {"subject": "not 4", "sender": '"ada@example.com" <eve@evil.example>'},
    )

    assert found == ["1", "2"]


async def test_recipients_are_those_of_to_and_cc(lab: GmailLab) -> None:
    found = await both(
        lab,
        MessageFilter(recipients=("team@example.com",)),
        {"subject": "to", "to": "me@example.com, team@example.com"},
        {"subject": "cc", "cc": "Team <team@example.com>"},
        {"subject": "neither"},
        {"subject": "bcc", "headers": {"Bcc": "team@example.com"}},
    )

    assert found == ["to", "cc"]


async def test_a_subject_holds_one_of_the_texts(lab: GmailLab) -> None:
    found = await both(
        lab,
        MessageFilter(subject_contains=("invoice", "past due", "(3rd)")),
        {"subject": "Your INVOICE 17"},
        {"subject": "It is past due"},
        {"subject": "Re: (3rd) reminder"},
        {"subject": "due in the past"},
    )

    assert found == ["Your INVOICE 17", "It is past due", "Re: (3rd) reminder"]


async def test_all_that_is_asked_for_has_to_hold(lab: GmailLab) -> None:
    found = await both(
        lab,
        MessageFilter(senders=("@example.com",), subject_contains=("report",), unread_only=True, has_attachment=True),
        {"subject": "report", "attachments": [Attachment("report.pdf", b"%PDF")]},
        {"subject": "report read", "attachments": [Attachment("report.pdf", b"%PDF")], "unread": False},
        {"subject": "report without"},
        {"subject": "other", "attachments": [Attachment("report.pdf", b"%PDF")]},
    )

    assert found == ["report"]


async def test_what_the_user_sent_comes_only_when_asked_for_and_in_its_order(lab: GmailLab) -> None:
    mails: list[Wishes] = [
        {"subject": "question"},
        {"subject": "answer", "folder": "sent"},
        {"subject": "thanks"},
        {"subject": "archived", "folder": "archive"},
    ]

    assert await both(lab, MessageFilter(), *mails) == ["question", "thanks"]
    assert await subjects(lab, MessageFilter(include_sent=True)) == ["question", "answer", "thanks"]
    assert await subjects(lab, MessageFilter(containers=("sent",))) == ["answer"]


async def test_sent_mail_is_listed_by_the_history_when_asked_for(lab: GmailLab) -> None:
    found = await both(lab, MessageFilter(include_sent=True), {"subject": "in"}, {"subject": "out", "folder": "sent"})

    assert found == ["in", "out"]


async def test_a_note_to_oneself_is_mail_like_any_other(lab: GmailLab) -> None:
    note = {"subject": "Buy milk", "sender": "me@example.com", "labels": ("SENT",)}

    assert await both(lab, MessageFilter(), note) == ["Buy milk"]


@pytest.mark.parametrize("name", ["Projects/Acme & Co", "projects/acme & co", "Label_1"])
async def test_labels_go_by_name_or_id(lab: GmailLab, name: str) -> None:
    lab.mailbox.label("Projects/Acme & Co")
    found = await both(
        lab,
        MessageFilter(containers=(name,)),
        {"subject": "labelled", "folder": "archive", "labels": ("Projects/Acme & Co",)},
        {"subject": "labelled, sent", "folder": "sent", "labels": ("Projects/Acme & Co",)},
        {"subject": "labelled, spam", "folder": "junk", "labels": ("Projects/Acme & Co",)},
        {"subject": "other", "labels": ("Projects",)},
        {"subject": "none"},
    )

    assert found == ["labelled"]


async def test_several_labels_are_listed_in_one_order(lab: GmailLab) -> None:
    lab.mailbox.label("Projects/Acme")
    lab.mailbox.label("Ärger (2)")
    lab.mailbox.label("Quiet")
    found = await both(
        lab,
        MessageFilter(
            containers=("Projects/Acme", "Ärger (2)", "INBOX", "starred", "category_social"), include_sent=True
        ),
        {"subject": "1", "folder": "archive", "labels": ("Projects/Acme",)},
        {"subject": "2"},
        {"subject": "3", "folder": "sent"},
        {"subject": "4", "folder": "archive", "labels": ("STARRED",)},
        {"subject": "5", "folder": "archive", "labels": ("CATEGORY_SOCIAL",)},
        {"subject": "6", "folder": "sent", "labels": ("Projects/Acme",)},
        {"subject": "7", "folder": "archive", "labels": ("Ärger (2)",)},
        {"subject": "not 1", "folder": "archive", "labels": ("Quiet",)},
        {"subject": "not 2", "folder": "archive"},
    )

    assert found == ["1", "2", "3", "4", "5", "6", "7"]


async def test_a_label_that_is_put_on_old_mail_of_this_month_makes_it_news_for_whoever_reads_the_label(
    lab: GmailLab,
) -> None:
    old = lab.mail(subject="old", folder="archive", at=lab.core.now() - timedelta(days=20))
    lab.mailbox.label("Projects")
    subscriber = Subscriber(lab, wanted=MessageFilter(containers=("Projects",)))
    assert await subscriber.fetch() == []
    lab.mailbox.relabel(old, add=["Projects"])

    assert [message.subject for message in await subscriber.fetch()] == ["old"]


async def test_a_label_that_the_mailbox_does_not_have_is_said_so(lab: GmailLab) -> None:
    lab.mailbox.label("Projects")
    subscriber = Subscriber(lab, wanted=MessageFilter(containers=("Projects",)))
    await subscriber.fetch()
    lab.mailbox.user_labels.clear()

    for one in (subscriber, Subscriber(lab, wanted=MessageFilter(containers=("Secret plan",)))):
        with pytest.raises(FilterInvalid) as caught:
            await one.fetch()
        assert caught.value.field == "filter.containers"
        assert "plan" not in str(caught.value)


async def test_a_search_in_gmails_own_words_is_combined_with_the_rest(lab: GmailLab) -> None:
    found = await both(
        lab,
        MessageFilter(provider_query='from:bob OR "quarterly figures"', unread_only=True),
        {"subject": "from Bob", "sender": "bob@example.com"},
        {"subject": "figures", "text": "Here are the quarterly figures."},
        {"subject": "from Bob, read", "sender": "bob@example.com", "unread": False},
        {"subject": "figures, archived", "text": "the quarterly figures", "folder": "archive"},
        {"subject": "neither"},
    )

    assert found == ["from Bob", "figures"]


@pytest.mark.parametrize("words", ["in:spam", "in:anywhere", "ada) OR (in:trash", "label:DRAFT"])
async def test_a_search_that_breaks_out_of_the_window_finds_no_more_for_that(lab: GmailLab, words: str) -> None:
    lab.mail(subject="old", at=lab.core.now() - timedelta(days=60))
    for folder in ("junk", "deleted", "archive"):
        lab.mail(subject=folder, folder=folder)
    lab.mail(subject="draft", labels=("DRAFT",))

    assert set(await subjects(lab, MessageFilter(provider_query=words))) == set()


async def test_the_query_is_written_as_gmail_documents_it(lab: GmailLab) -> None:
    wanted = MessageFilter(
        senders=("ada@example.com", "@acme.example"),
        recipients=("team@example.com",),
        subject_contains=("past due",),
        containers=("INBOX", "CATEGORY_PERSONAL"),
        unread_only=True,
        has_attachment=True,
        provider_query="larger:1M OR smaller:1K",
    )
    lab.core.faults.add(_nothing_found())

    await Subscriber(lab, wanted=wanted).fetch()

    (call,) = lab.core.counters.matching(MESSAGES)
    begin = int((lab.core.now() - timedelta(days=2)).timestamp())
    assert parse_qs(call.query) == {
        "q": [
            f"after:{begin} {{in:inbox category:primary}} {{from:ada@example.com from:@acme.example}} "
            'subject:"past due" {to:team@example.com cc:team@example.com} is:unread has:attachment '
            "(larger:1M OR smaller:1K)"
        ],
        "maxResults": ["500"],
    }


def _nothing_found() -> Fault:
    return Fault(route=MESSAGES, status=200, body={"resultSizeEstimate": 0})
