"""Mails as messages, and the files that came with them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from connectors.errors import AttachmentGone, AttachmentTooLarge, ProviderUnavailable
from connectors.messages.domain import LeftOut, MessageFilter, Ref, SourceFormat, Unreadable, Vanished
from connectors.providers.http import Bounds
from connectors.providers.outlook.config import OutlookConfig
from tests.connectors.providers.outlook.lab import MIA, OutlookLab, outlook_lab
from tests.emulator.core import Fault
from tests.emulator.mails import Attachment, Mail
from tests.emulator.microsoft.graph import GraphError

OFFER = Attachment("Offer 12.pdf", b"%PDF-1.7 offer", "application/pdf")
REPLY = """\
<html><head><style>p {color: red}</style></head><body><p>Yes, Friday is fine.</p>
<div id="divRplyFwdMsg"><b>From:</b> Mia</div><p>Shall we meet on Friday?</p></body></html>"""


async def read_bare(lab: OutlookLab, provider_id: str, *, wanted: MessageFilter | None = None) -> object:
    """Read a mail of which the listing brought nothing along."""
    ref = Ref(provider_id=provider_id, received_at=lab.time.now(), container="inbox")
    return await lab.read(ref, wanted=wanted or MessageFilter())


async def bytes_of(lab: OutlookLab, provider_id: str, attachment_id: str) -> bytes:
    return b"".join([piece async for piece in lab.outlook.attachment(lab.session(), provider_id, attachment_id)])


async def test_a_mail_says_what_it_says() -> None:
    async with outlook_lab() as lab:
        mail = lab.mail(
            "Offer for the website",
            sender="Ada Lovelace <ada@example.com>",
            to=f"Mia <{MIA}>, bob@example.com",
            cc="Carl <carl@example.com>",
            text="Please send it by Friday.\n",
            labels=("Customers",),
            message_id="<offer-1@example.com>",
            in_reply_to="<ask-1@contoso.example>",
        )
        message = await lab.only()
        now = lab.time.now()

    assert message.key == message.provider_id == mail
    assert message.subject == "Offer for the website"
    assert message.text == message.new_text == "Please send it by Friday."
    assert (message.sender.name, message.sender.address) == ("Ada Lovelace", "ada@example.com")
    assert [(one.name, one.address) for one in message.to] == [("Mia", MIA), ("", "bob@example.com")]
    assert [one.address for one in message.cc] == ["carl@example.com"]
    assert message.received_at == message.sent_at == now - timedelta(minutes=5)
    assert message.internet_message_id == "<offer-1@example.com>"
    assert message.in_reply_to == "<ask-1@contoso.example>"
    assert message.references == ("<ask-1@contoso.example>",)
    assert message.labels == ("inbox", "Customers")
    assert message.source_format is SourceFormat.TEXT
    assert message.web_link.startswith("https://outlook.office365.com/")
    assert message.thread_id not in {"", mail}
    assert message.attachments == ()


async def test_a_mail_that_a_listing_brought_along_takes_no_call() -> None:
    async with outlook_lab() as lab:
        lab.mail()
        (ref,) = (await lab.list_new()).refs
        before = lab.calls()
        await lab.read(ref)

    assert lab.calls() == before


async def test_a_mail_reads_the_same_whether_it_was_brought_along_or_not() -> None:
    async with outlook_lab() as lab:
        lab.mail(html=REPLY, attachments=[OFFER])
        (ref,) = (await lab.list_new()).refs
        along = await lab.read(ref)
        alone = await read_bare(lab, ref.provider_id)

    assert along == alone


async def test_html_becomes_text_and_what_is_new_is_told_apart() -> None:
    async with outlook_lab() as lab:
        lab.mail("Re: Friday", html=REPLY)
        message = await lab.only()

    assert "Shall we meet on Friday?" in message.text
    assert "color: red" not in message.text
    assert message.new_text == "Yes, Friday is fine."
    assert message.quoted_text_present


async def test_html_that_comes_in_spite_of_our_wish_becomes_text_too() -> None:
    async with outlook_lab() as lab:
        mail = lab.mail()
        body = {
            "id": mail,
            "receivedDateTime": "2026-11-02T08:00:00Z",
            "subject": None,
            "from": None,
            "body": {"contentType": "HTML", "content": "<p>One<p>Two<script>evil()</script>"},
            "uniqueBody": None,
        }
        lab.emulator.faults.add(Fault(route=f"/messages/{mail}$", status=200, body=body))
        message = await lab.read(Ref(provider_id=mail, received_at=lab.time.now()))

    assert "One" in message.text
    assert "Two" in message.text
    assert "evil" not in message.text
    assert message.source_format is SourceFormat.HTML
    assert (message.subject, message.sender.address, message.labels) == ("", "", ())


async def test_a_forward_is_new_as_a_whole() -> None:
    text = "FYI\n\n-----Original Message-----\nFrom: Bob\nSubject: Invoice\n\nPlease pay 300 EUR.\n"
    async with outlook_lab() as lab:
        lab.mail("Fwd: Invoice", text=text)
        message = await lab.only()

    assert "300 EUR" in message.new_text


async def test_a_long_mail_is_cut_so_that_it_shows() -> None:
    async with outlook_lab() as lab:
        lab.mail(text="word " * 4_000)
        (ref,) = (await lab.list_new()).refs
        message = await lab.read(ref, max_body_chars=500)

    assert len(message.text) <= 500
    assert message.text_truncated
    assert message.full_chars > 15_000


async def test_a_mail_without_a_body_is_told_as_one() -> None:
    async with outlook_lab() as lab:
        lab.mail(text="")
        message = await lab.only()

    assert (message.text, message.source_format) == ("", SourceFormat.NONE)


@pytest.mark.parametrize(
    "raw",
    [
        b"Subject: =?iso-2022-jp?B?GyRCJUYl=?=\r\nContent-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$B%F",
        b"From: x\r\nContent-Type: text/plain; charset=unknown-8bit\r\n\r\n\xff\xfe\x80 bad\r\n",
        b"Message-ID: <[x]>\r\nReferences: <[y\r\n\r\nhello\r\n",
        b"",
        b"\x00\x01\x02",
    ],
    ids=["broken charset", "unknown charset", "broken ids", "nothing", "no mail"],
)
async def test_a_broken_mail_does_not_stop_the_others(raw: bytes) -> None:
    async with outlook_lab() as lab:
        lab.mailbox.deliver(Mail(raw=raw, received_at=lab.time.now()))
        lab.mail("Well formed")
        found = await lab.list_new()
        subjects = [(await lab.read(ref)).subject for ref in found.refs]

    assert len(subjects) == 2
    assert "Well formed" in subjects


async def test_attachments_are_named_with_one_call() -> None:
    picture = Attachment("logo.png", b"png", "image/png")
    async with outlook_lab() as lab:
        lab.mail(attachments=[OFFER, picture])
        (ref,) = (await lab.list_new()).refs
        before = lab.calls()
        message = await lab.read(ref)
        after = lab.calls()

    first, second = message.attachments
    assert (first.name, first.media_type, first.size_bytes) == ("Offer 12.pdf", "application/pdf", 14)
    assert (second.name, second.inline) == ("logo.png", False)
    assert after - before == 1
    assert not any("contentBytes" in call.query for call in lab.emulator.counters.calls)


async def test_an_attachment_comes_in_pieces() -> None:
    content = bytes(range(256)) * 4_096
    async with outlook_lab() as lab:
        lab.mail(attachments=[Attachment("data.bin", content)])
        message = await lab.only()
        (attachment,) = message.attachments
        stream = lab.outlook.attachment(lab.session(), message.provider_id, attachment.attachment_id)
        pieces = [piece async for piece in stream]

    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= 256 * 1024


async def test_an_attachment_that_is_too_large_is_not_fetched_to_its_end() -> None:
    async with outlook_lab(OutlookConfig(attachment_bytes=1_000)) as lab:
        lab.mail(attachments=[Attachment("data.bin", b"x" * 5_000)])
        message = await lab.only()
        with pytest.raises(AttachmentTooLarge):
            await bytes_of(lab, message.provider_id, message.attachments[0].attachment_id)


@pytest.mark.parametrize(
    ("provider_id", "attachment_id"),
    [
        ("", "x"),
        ("x", ""),
        ("../../me", "x"),
        ("x", "../../../me/messages"),
        ("x?$select=id", "x"),
        ("AAkALgAAnothing=", "AAMkADnothing="),
    ],
)
async def test_an_attachment_that_is_not_there_is_gone(provider_id: str, attachment_id: str) -> None:
    async with outlook_lab() as lab:
        with pytest.raises(AttachmentGone):
            await bytes_of(lab, provider_id, attachment_id)

    assert all(call.path.endswith("/$value") for call in lab.emulator.counters.calls)


async def test_the_attachment_of_a_mail_that_was_moved_is_still_there() -> None:
    async with outlook_lab() as lab:
        lab.mail(attachments=[OFFER])
        message = await lab.only()
        lab.mailbox.move(message.provider_id, "archive")
        content = await bytes_of(lab, message.provider_id, message.attachments[0].attachment_id)

    assert content == OFFER.content


async def test_a_mail_that_is_gone_has_vanished() -> None:
    async with outlook_lab() as lab:
        mail = lab.mail()
        lab.mailbox.remove(mail)
        with pytest.raises(Vanished):
            await read_bare(lab, mail)


async def test_a_mail_that_goes_before_its_attachments_are_named_has_vanished() -> None:
    async with outlook_lab() as lab:
        mail = lab.mail(attachments=[OFFER])
        (ref,) = (await lab.list_new()).refs
        lab.mailbox.remove(mail)
        with pytest.raises(Vanished):
            await lab.read(ref)


async def test_a_mail_that_was_moved_is_read_where_it_is_now() -> None:
    async with outlook_lab() as lab:
        mail = lab.mail("Moved")
        lab.mailbox.move(mail, "archive")
        ref = Ref(provider_id=mail, received_at=lab.time.now(), container="inbox")
        message = await lab.read(ref)

    assert message.subject == "Moved"


async def test_a_mail_that_does_not_match_any_more_is_left_out() -> None:
    async with outlook_lab() as lab:
        mail = lab.mail()
        lab.mailbox.mark(mail, unread=False)
        with pytest.raises(LeftOut):
            await read_bare(lab, mail, wanted=MessageFilter(unread_only=True))


async def test_an_answer_that_is_no_mail_is_unreadable() -> None:
    async with outlook_lab() as lab:
        mail = lab.mail()
        lab.emulator.faults.add(Fault(route=f"/messages/{mail}$", status=200, body={"id": mail}))
        with pytest.raises(Unreadable):
            await read_bare(lab, mail)


async def test_a_mail_that_is_longer_than_may_be_read_is_too_large() -> None:
    async with outlook_lab(bounds=Bounds(body_bytes=20_000)) as lab:
        mail = lab.mail(text="z" * 50_000)
        with pytest.raises(Unreadable) as unreadable:
            await read_bare(lab, mail)

    assert unreadable.value.reason == "MESSAGE_TOO_LARGE"


async def test_a_request_that_graph_does_not_understand_is_unavailable() -> None:
    async with outlook_lab() as lab:
        mail = lab.mail()
        body = GraphError(400, "BadRequest", "no").body(lab.time.now(), "r")
        lab.emulator.faults.add(Fault(route=f"/messages/{mail}$", status=400, body=body))
        with pytest.raises(ProviderUnavailable) as refused:
            await read_bare(lab, mail)

    assert refused.value.metadata["cause"] == "HTTP_400"
