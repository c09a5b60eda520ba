"""Which mails are meant."""

from __future__ import annotations

import pytest

from connectors.errors import FilterInvalid, FilterUnsupported
from connectors.messages.domain import JsonObject, LeftOut, MessageFilter, Ref
from connectors.providers.outlook.filters import check, folders_of, matches
from tests.connectors.providers.outlook.lab import ids, outlook_lab
from tests.emulator.mails import Attachment


def person(address: str | None, name: str = "Somebody") -> JsonObject:
    return {"emailAddress": {"address": address, "name": name}}


MAIL: JsonObject = {
    "subject": "Offer for the Website",
    "from": person("Ada@Example.com"),
    "toRecipients": [person("mia@contoso.example"), person("bob@example.org")],
    "ccRecipients": [person("carl@example.net")],
    "isRead": False,
    "isDraft": False,
    "hasAttachments": False,
}


@pytest.mark.parametrize(
    "wanted",
    [
        MessageFilter(),
        MessageFilter(senders=("ada@example.com",)),
        MessageFilter(senders=("x@y.z", "ADA@EXAMPLE.COM")),
        MessageFilter(senders=("@example.com",)),
        MessageFilter(recipients=("BOB@example.org",)),
        MessageFilter(recipients=("@example.net",)),
        MessageFilter(subject_contains=("website",)),
        MessageFilter(subject_contains=("invoice", "OFFER")),
        MessageFilter(unread_only=True),
        MessageFilter(senders=("@example.com",), subject_contains=("offer",), unread_only=True),
    ],
    ids=repr,
)
def test_a_mail_that_is_meant(wanted: MessageFilter) -> None:
    assert matches(MAIL, wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        MessageFilter(senders=("example.com@ada",)),
        MessageFilter(senders=("@ample.com",)),
        MessageFilter(senders=("da@example.com",)),
        MessageFilter(recipients=("ada@example.com",)),
        MessageFilter(subject_contains=("invoice",)),
        MessageFilter(has_attachment=True),
        MessageFilter(senders=("@example.com",), subject_contains=("invoice",)),
    ],
    ids=repr,
)
def test_a_mail_that_is_not_meant(wanted: MessageFilter) -> None:
    assert not matches(MAIL, wanted)


@pytest.mark.parametrize("change", [{"isDraft": True}, {"isRead": True}], ids=str)
def test_drafts_and_read_mails_are_not_meant_by_who_wants_unread_ones(change: JsonObject) -> None:
    assert not matches(MAIL | change, MessageFilter(unread_only=True))


@pytest.mark.parametrize(
    "broken",
    [{}, {"from": None}, {"from": {"emailAddress": None}}, {"from": person(None)}, {"toRecipients": None}, {"from": 3}],
    ids=str,
)
def test_what_a_mail_does_not_say_is_not_meant_and_breaks_nothing(broken: JsonObject) -> None:
    wanted = MessageFilter(senders=("@example.com",), recipients=("@example.com",))

    assert not matches(broken, wanted)
    assert matches(broken, MessageFilter())


@pytest.mark.parametrize(
    ("wanted", "folders"),
    [
        (MessageFilter(), ("inbox",)),
        (MessageFilter(include_sent=True), ("inbox", "sentitems")),
        (MessageFilter(containers=("Inbox", "INBOX", "Archive")), ("inbox", "archive")),
        (MessageFilter(containers=("sentitems",), include_sent=True), ("sentitems",)),
        (MessageFilter(containers=("AAMkADAwATM3ZmYAZS0xyz",)), ("AAMkADAwATM3ZmYAZS0xyz",)),
    ],
)
def test_folders_are_told_by_name_or_id(wanted: MessageFilter, folders: tuple[str, ...]) -> None:
    check(wanted)

    assert folders_of(wanted) == folders


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (MessageFilter(provider_query="from:ada"), "filter.provider_query"),
        (MessageFilter(containers=("chat:19:x@thread.v2",)), "filter.containers"),
        (MessageFilter(containers=("channel:a/b",)), "filter.containers"),
    ],
)
def test_what_outlook_cannot_do_is_refused_by_its_name(wanted: MessageFilter, field: str) -> None:
    with pytest.raises(FilterUnsupported) as refused:
        check(wanted)

    assert refused.value.field == field


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (MessageFilter(senders=("ada",)), "filter.senders"),
        (MessageFilter(senders=("",)), "filter.senders"),
        (MessageFilter(senders=("a b@example.com",)), "filter.senders"),
        (MessageFilter(recipients=("a@b@c",)), "filter.recipients"),
        (MessageFilter(recipients=("@",)), "filter.recipients"),
        (MessageFilter(subject_contains=(" ",)), "filter.subject_contains"),
        (MessageFilter(subject_contains=("a\nb",)), "filter.subject_contains"),
        (MessageFilter(subject_contains=("a" * 201,)), "filter.subject_contains"),
        (MessageFilter(senders=("a@b.c",) * 101), "filter"),
        (MessageFilter(containers=("Clients",)), "filter.containers"),
        (MessageFilter(containers=("../me",)), "filter.containers"),
        (MessageFilter(containers=("inbox?$top=1",)), "filter.containers"),
        (MessageFilter(containers=("drafts",)), "filter.containers"),
        (MessageFilter(containers=tuple(f"AAMkADAwATM3ZmYAZS{n:03d}" for n in range(21))), "filter.containers"),
    ],
)
def test_what_is_not_well_formed_is_refused_by_its_name(wanted: MessageFilter, field: str) -> None:
    with pytest.raises(FilterInvalid) as refused:
        check(wanted)

    assert refused.value.field == field


async def test_the_filter_counts_what_it_leaves_out_of_a_listing() -> None:
    async with outlook_lab() as lab:
        paid = lab.mail("Invoice 1", sender="Shop <shop@example.com>", attachments=[Attachment("1.pdf", b"1")])
        lab.mail("Invoice 2", sender="Shop <shop@example.com>")
        lab.mail("Invoice 3", sender="Other <other@example.org>", attachments=[Attachment("3.pdf", b"3")])
        lab.mail("Offer", sender="Shop <shop@example.com>", attachments=[Attachment("4.pdf", b"4")])
        wanted = MessageFilter(senders=("@example.com",), subject_contains=("invoice",), has_attachment=True)
        found = await lab.list_new(wanted=wanted)

    assert ids(found) == {paid}
    assert found.left_out == 3


async def test_a_mail_that_is_read_alone_is_looked_at_again() -> None:
    async with outlook_lab() as lab:
        mail = lab.mail(sender="other@example.org")
        ref = Ref(provider_id=mail, received_at=lab.time.now(), container="inbox")
        with pytest.raises(LeftOut):
            await lab.read(ref, wanted=MessageFilter(senders=("@example.com",)))
