"""What Gmail tells of a mail, and what becomes of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import pytest

from connectors.errors import AttachmentGone, AttachmentTooLarge, ProviderUnavailable
from connectors.messages.domain import Message, Participant, SourceFormat, Unreadable
from connectors.providers.http import Bounds
from tests.conformance.connectors.provider_lab import Subscriber, session
from tests.connectors.providers.gmail.lab import GmailLab, gmail_lab
from tests.emulator.core import Fault
from tests.emulator.mails import Attachment

MESSAGE = r"/messages/[^/]+$"
TEXTS = {
    "iso-8859-1": "Grüße aus Köln",
    "windows-1252": "„Über“ zu 5 €",
    "iso-8859-8-i": "שלום עולם",
    "koi8-r": "Привет, мир",
    "shift_jis": "こんにちは、世界。請求書です",
    "iso-2022-jp": "こんにちは、世界。請求書です",
    "gb2312": "你好世界。联通",
    "euc-kr": "안녕하세요 세계",
    "big5": "你好世界",
    "utf-8": "naïve café ☕",
    "utf-16": "Hello from an old machine",
    "hz": "你好",
}


def mail_in(charset: str, text: str) -> bytes:
    return (
        f"From: =?utf-8?q?J=C3=B6rg?= <joerg@example.com>\r\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\r\n"
        f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    ).encode() + text.encode("iso-8859-8" if charset == "iso-8859-8-i" else charset)


async def only(lab: GmailLab) -> Message:
    """Return the one message of the mailbox."""
    (message,) = await Subscriber(lab).fetch()
    return message


@pytest.mark.parametrize("bodies", ["utf-8", "as-sent"])
@pytest.mark.parametrize("charset", TEXTS)
async def test_a_text_is_read_whether_gmail_brought_it_to_utf8_or_not(
    lab: GmailLab, charset: str, bodies: Literal["utf-8", "as-sent"]
) -> None:
    lab.google.switches.bodies = bodies
    lab.raw(mail_in(charset, TEXTS[charset]))

    message = await only(lab)

    assert message.text == TEXTS[charset]
    assert (message.subject, message.sender) == ("Grüße", Participant(address="joerg@example.com", name="Jörg"))


@pytest.mark.parametrize("bodies", ["utf-8", "as-sent"])
async def test_a_mail_that_breaks_every_rule_holds_up_no_other(
    lab: GmailLab, bodies: Literal["utf-8", "as-sent"]
) -> None:
    lab.google.switches.bodies = bodies
    lab.mail(subject="before")
    lab.raw(b"Subject: 1\r\nContent-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$B$3$s\xff\x1b(B?")
    lab.raw(b"Subject: 2\r\nContent-Type: text/plain; charset=unknown-8bit\r\n\r\nGr\xfc\xdfe")
    lab.raw(b"Subject: 3\r\nMessage-ID: <[abc@x.test]>\r\nDate: soon\r\nFrom: <<>\r\n\r\nHello")
    lab.raw(b"Subject: 4\r\nContent-Type: multipart/mixed\r\n\r\n--x\r\n\r\nHello\r\n--x--\r\n")
    lab.raw(b"Subject: 5\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!! aGVsbG8 ????")
    lab.raw(b"\xff\xfe\x00 no mail at all")
    lab.mail(subject="after")
    subscriber = Subscriber(lab)

    messages = {message.subject: message for message in await subscriber.fetch()}

    assert set(messages) == {"before", "1", "2", "3", "4", "5", "", "after"}
    assert (messages["2"].text, messages["3"].internet_message_id) == ("Grüße", "<[abc@x.test]>")
    assert subscriber.unreadable == []


async def test_long_texts_are_fetched_by_themselves(lab: GmailLab) -> None:
    lab.google.switches.largest_inline_body = 500
    line = "This is a rather long line of text.\n"
    lab.mail(text=line * 50, html=f"<p>{line * 50}</p>", attachments=[Attachment("a.txt", b"x" * 999, "text/plain")])

    message = await only(lab)

    assert message.text == (line * 50).strip()
    assert [one.name for one in message.attachments] == ["a.txt"]
    assert lab.core.counters.count("/attachments/") == 2


async def test_of_many_long_texts_only_the_first_ones_are_fetched(lab: GmailLab) -> None:
    lab.google.switches.largest_inline_body = 10
    part = b"--x\r\nContent-Type: text/plain\r\n\r\nThis is long enough.\r\n"
    lab.raw(b'Subject: many\r\nContent-Type: multipart/mixed; boundary="x"\r\n\r\n' + part * 40 + b"--x--\r\n")

    message = await only(lab)

    assert lab.core.counters.count("/attachments/") == 10
    assert message.text.count("This is long enough.") == 10
    assert len(message.attachments) == 30


async def test_a_text_that_is_far_too_long_is_told_as_a_file(lab: GmailLab) -> None:
    lab.mail(text="word " * 600_000)

    message = await only(lab)

    assert (message.text, message.source_format) == ("", SourceFormat.NONE)
    assert [one.size_bytes > 2 * 2**20 for one in message.attachments] == [True]
    assert lab.core.counters.count("/attachments/") == 0


async def test_a_mail_that_goes_while_its_long_text_is_fetched_has_vanished(lab: GmailLab) -> None:
    lab.google.switches.largest_inline_body = 10
    message_id = lab.mail(text="This is long enough.")
    fault = Fault(route="/attachments/", status=404, body={"error": {"code": 404}})
    lab.core.faults.add(fault)
    subscriber = Subscriber(lab)

    assert await subscriber.fetch() == []
    assert subscriber.vanished == [message_id]


async def test_the_tail_of_deeply_nested_html_is_there(lab: GmailLab) -> None:
    lab.mail(html="<div>" * 400 + "the tail" + "</div>" * 400)

    message = await only(lab)

    assert (message.text, message.source_format) == ("the tail", SourceFormat.HTML)


async def test_a_mail_is_told_with_its_thread_and_whom_it_concerns(lab: GmailLab) -> None:
    now = lab.core.now()
    first = lab.mail(thread="t", message_id="<1@example.com>", at=now - timedelta(minutes=2))
    lab.mail(
        thread="t",
        sender="Ada <ada@example.com>",
        to="me@example.com, Bob <bob@example.com>",
        cc="team@example.com",
        subject="Re: Hello",
        text="Fine.\n\nOn Mon, 2 Nov 2026 at 09:00, Me <me@example.com> wrote:\n> How are you?\n",
        message_id="<2@example.com>",
        in_reply_to="<1@example.com>",
        sent_at=now - timedelta(minutes=1),
        labels=("STARRED",),
    )

    _, message = await Subscriber(lab).fetch()

    assert (message.thread_id, message.internet_message_id) == (first, "<2@example.com>")
    assert (message.in_reply_to, message.references) == ("<1@example.com>", ("<1@example.com>",))
    assert message.sent_at == now - timedelta(minutes=1)
    assert message.sender == Participant(address="ada@example.com", name="Ada")
    assert [one.address for one in message.to] == ["me@example.com", "bob@example.com"]
    assert [one.address for one in message.cc] == ["team@example.com"]
    assert (message.new_text, message.quoted_text_present) == ("Fine.", True)
    assert message.labels == ("INBOX", "STARRED", "UNREAD")
    assert message.web_link.endswith(f"?authuser=me%40example.com#all/{message.provider_id}")


async def test_a_forwarded_mail_is_read_with_its_files(lab: GmailLab) -> None:
    inner = b"Subject: Offer\r\nFrom: Bob <bob@example.com>\r\nContent-Type: text/plain\r\n\r\nTwelve apples."
    raw = (
        b'Subject: Fwd: Offer\r\nContent-Type: multipart/mixed; boundary="x"\r\n\r\n'
        b"--x\r\nContent-Type: text/plain\r\n\r\nSee below.\r\n"
        b"--x\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment; filename=offer.eml\r\n\r\n"
        + inner
        + b"\r\n--x--\r\n"
    )
    lab.raw(raw)

    message = await only(lab)

    assert "See below." in message.text
    assert "Twelve apples." in message.text
    assert [one.name for one in message.attachments] == ["offer.eml"]


@pytest.mark.parametrize(
    "body",
    [
        {"id": "x", "internalDate": "1"},
        {"id": "x", "payload": {"mimeType": "text/plain"}},
        {"id": "x", "internalDate": "soon", "payload": {}},
        {"id": "x", "internalDate": "99999999999999999999", "payload": {}},
        {"id": "x", "internalDate": "1793610000000", "payload": {"headers": [7]}},
        {"id": "x", "internalDate": "1793610000000", "payload": {"body": {"data": "ä"}}},
        {"id": "x", "internalDate": "1793610000000", "payload": {"body": {"size": "big"}}},
        {"id": "x", "internalDate": "1793610000000", "payload": {"parts": [7]}},
    ],
)
async def test_an_answer_that_is_no_mail_is_unreadable(lab: GmailLab, body: object) -> None:
    message_id = lab.mail()
    lab.core.faults.add(Fault(route=MESSAGE, status=200, body=body))
    subscriber = Subscriber(lab, since=lab.core.now() - timedelta(days=36500))

    assert await subscriber.fetch() == []
    assert subscriber.unreadable == [message_id]


async def test_answers_that_are_too_large_are_told_apart() -> None:
    async with gmail_lab(bounds=Bounds(body_bytes=20_000)) as lab:
        big = lab.mail(text="word " * 10_000)
        message_id = lab.mail(text="small", attachments=[Attachment("a.bin", b"x" * 30_000)])
        big_ref, ref = await Subscriber(lab).list_new()
        message = await lab.provider.read(session(lab), ref, lab.wanted, max_body_chars=100)

        with pytest.raises(Unreadable) as unreadable:
            await lab.provider.read(session(lab), big_ref, lab.wanted, max_body_chars=100)
        with pytest.raises(AttachmentTooLarge):
            await _drained(lab, message_id, message.attachments[0].attachment_id)
        lab.core.faults.add(Fault(route="/messages$", status=200, body={"messages": ["x" * 30_000]}))
        with pytest.raises(ProviderUnavailable) as unavailable:
            await Subscriber(lab).list_new()

        assert big_ref.provider_id == big
        assert unreadable.value.reason == "MESSAGE_TOO_LARGE"
        assert unavailable.value.metadata["cause"] == "TOO_LARGE"


async def test_an_attachment_of_a_mail_that_is_gone_is_gone(lab: GmailLab) -> None:
    message_id = lab.mail(attachments=[Attachment("a.bin", b"x")])
    other_id = lab.mail(subject="other")
    message = next(one for one in await Subscriber(lab).fetch() if one.provider_id == message_id)
    attachment_id = message.attachments[0].attachment_id

    assert await _drained(lab, message_id, attachment_id) == b"x"
    with pytest.raises(AttachmentGone):
        await _drained(lab, other_id, attachment_id)
    with pytest.raises(AttachmentGone):
        await _drained(lab, "..", attachment_id)
    lab.mailbox.remove(message_id)
    with pytest.raises(AttachmentGone):
        await _drained(lab, message_id, attachment_id)


async def _drained(lab: GmailLab, message_id: str, attachment_id: str) -> bytes:
    return b"".join([piece async for piece in lab.provider.attachment(session(lab), message_id, attachment_id)])
