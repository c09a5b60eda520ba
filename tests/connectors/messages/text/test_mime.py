from __future__ import annotations

import base64
from contextlib import suppress
from email.message import EmailMessage

import pytest
from hypothesis import given, strategies as st

from connectors.messages.domain import Participant, SourceFormat, Unreadable
from connectors.messages.text import parsing
from connectors.messages.text.mime import (
    AttachmentInfo,
    MailText,
    Part,
    UnreadableCode,
    UnreadableMessage,
    read_mime,
    read_parts,
)
from connectors.messages.text.walking import MAX_NESTED_MAILS, MAX_TEXT_CHARS
from tests.connectors.messages.text import golden

HEAD = b"From: ann@bee.example\n"


def plain(text: str, **changes: str) -> Part:
    return Part("text/plain", data=text.encode(), charset="utf-8", **changes)  # type: ignore[arg-type]  # str fields


def html(text: str) -> Part:
    return Part("text/html", data=text.encode(), charset="utf-8")


def file(name: str, kind: str = "application/pdf", attachment_id: str = "a1") -> Part:
    return Part(kind, filename=name, size=7, attachment_id=attachment_id)


def multipart(kind: str, *parts: Part) -> Part:
    return Part(f"multipart/{kind}", parts=parts)


def unreadable(raw: bytes) -> UnreadableCode:
    with pytest.raises(UnreadableMessage) as raised:
        read_mime(raw)
    return raised.value.code


def test_a_tree_of_parts_reads_as_the_bytes_do() -> None:
    root = Part(
        "multipart/mixed",
        headers={
            "FROM": "=?utf-8?Q?Zo=C3=AB?= <zoe@zoe.example>",
            "To": "Tom <tom@reed.example>",
            "Subject": "Re: =?utf-8?Q?Caf=C3=A9?=",
            "Date": "Mon, 03 Nov 2025 14:05:11 +0100",
            "Message-Id": "<1@zoe.example>",
            "References": "<0@x> <1@x>",
        },
        parts=(multipart("alternative", plain("Hello."), html("<p>Hello.</p>")), file("plan.pdf")),
    )

    mail = read_parts(root)

    assert mail.from_ == Participant(name="Zoë", address="zoe@zoe.example")
    assert mail.to == (Participant(name="Tom", address="tom@reed.example"),)
    assert (mail.subject, mail.message_id, mail.references) == ("Re: Café", "<1@zoe.example>", ("<0@x>", "<1@x>"))
    assert (mail.text, mail.source_format) == ("Hello.", SourceFormat.TEXT)
    assert mail.attachments == (AttachmentInfo("plan.pdf", "application/pdf", 7, "a1", inline=False),)


@pytest.mark.parametrize("name", golden.names())
def test_the_bytes_of_a_mail_and_its_parts_give_the_same(name: str) -> None:
    assert read_parts(parsing.parse(golden.raw(name))) == golden.mail(name)


def test_an_empty_plain_alternative_gives_way_to_the_html() -> None:
    for empty in ("", " \n\xa0\r\n"):
        mail = read_parts(multipart("alternative", plain(empty), html("<p>Hello.</p>")))

        assert (mail.text, mail.source_format) == ("Hello.", SourceFormat.HTML)


@pytest.mark.parametrize(
    "stub",
    [
        "View this email in your browser: https://a.example/v/1",
        "Your mail program does not support HTML messages.",
        "Diese E-Mail im Browser ansehen: https://a.example",
        "Voir ce message dans votre navigateur",
        "Visualizza nel browser",
        "Ver en el navegador",
    ],
)
def test_a_plain_alternative_that_only_points_to_the_html_gives_way_to_it(stub: str) -> None:
    assert read_parts(multipart("alternative", plain(stub), html("<p>Hello.</p>"))).text == "Hello."
    assert read_parts(multipart("alternative", plain(stub))).text == stub
    assert read_parts(multipart("alternative", plain(stub), html("<img src=x>"))).text == stub


def test_a_plain_text_that_speaks_of_a_browser_is_no_pointer() -> None:
    text = "Please open the page in your browser and tell me what you see. " * 10

    assert read_parts(multipart("alternative", plain(text), html("<p>x</p>"))).text == text.rstrip()


def test_the_files_beside_the_alternative_that_is_not_read_are_listed() -> None:
    rich = multipart("mixed", multipart("related", html("<p>x</p>"), file("logo.png", "image/png")), file("plan.pdf"))

    mail = read_parts(multipart("alternative", plain("Hello."), rich))

    assert mail.text == "Hello."
    assert [(one.name, one.inline) for one in mail.attachments] == [("logo.png", True), ("plan.pdf", False)]


def test_alternatives_without_text_are_read_as_far_as_they_can_be() -> None:
    mail = read_parts(multipart("alternative", multipart("mixed", plain("Hello."), file("plan.pdf"))))

    assert mail.text == "Hello."
    assert [one.name for one in mail.attachments] == ["plan.pdf"]


def test_the_root_of_related_parts_is_read_and_the_others_belong_to_it() -> None:
    root = Part(
        "multipart/related",
        headers={"Content-Type": 'multipart/related; start="<body>"'},
        parts=(
            Part("image/png", headers={"content-id": "<logo>"}, size=3),
            Part("text/html", headers={"Content-ID": "<body>"}, data=b"<p>Hello.</p>"),
        ),
    )

    mail = read_parts(root)

    assert mail.text == "Hello."
    assert mail.attachments == (AttachmentInfo("unnamed", "image/png", 3, "", inline=True),)


def test_text_with_a_name_or_an_attachments_disposition_is_listed_and_not_read() -> None:
    parts = (plain("Hello."), plain("1;2", filename="data.csv"), plain("notes", disposition="attachment"))

    mail = read_parts(multipart("mixed", *parts))

    assert mail.text == "Hello."
    assert [one.name for one in mail.attachments] == ["data.csv", "unnamed"]


def test_a_mail_that_is_one_text_is_read_even_if_it_has_a_name() -> None:
    assert read_parts(plain("Hello.", filename="body.txt")).text == "Hello."


def test_a_body_that_the_provider_keeps_back_is_listed() -> None:
    mail = read_parts(Part("text/plain", attachment_id="big", size=9_000_000))

    assert mail.source_format is SourceFormat.NONE
    assert mail.attachments == (AttachmentInfo("unnamed", "text/plain", 9_000_000, "big", inline=False),)


def test_the_other_alternative_is_no_file_even_if_the_provider_gave_it_by_itself() -> None:
    kept_back = Part("text/html", attachment_id="big", size=9_000_000)

    assert read_parts(multipart("alternative", plain("Hello."), kept_back)).attachments == ()


def test_a_file_has_a_name_without_folders_and_controls() -> None:
    mail = read_parts(multipart("mixed", file("../../etc/pass\0wd"), file("C:\\x\\a\r\nb.pdf"), file("x" * 999)))

    assert [one.name for one in mail.attachments] == ["passwd", "a b.pdf", "x" * 255]


def test_html_that_calls_itself_plain_is_read_as_html() -> None:
    assert read_parts(plain("<!DOCTYPE html><p>Hello.</p>")).text == "Hello."


def test_html_may_name_its_charset_itself() -> None:
    page = '<meta charset="koi8-r"><p>Привет</p>'.encode("koi8-r")

    assert read_parts(Part("text/html", data=page)).text == "Привет"


def test_an_attached_mail_is_listed_and_read() -> None:
    inner = Part("text/plain", headers={"Subject": "Plan/B", "From": "bob@cee.example"}, data=b"The plan.")
    outer = Part("message/rfc822", disposition="attachment", parts=(inner,), size=99, attachment_id="m1")

    mail = read_parts(multipart("mixed", plain("See below."), outer))

    assert mail.text == (
        "See below.\n\n---------- Forwarded message ----------\nFrom: bob@cee.example\nSubject: Plan/B\n\nThe plan."
    )
    assert mail.attachments == (AttachmentInfo("Plan_B.eml", "message/rfc822", 99, "m1", inline=False),)


def test_an_attached_mail_in_bytes_is_read_too() -> None:
    outer = Part("message/rfc822", data=b"Subject: Plan\n\nThe plan.")

    assert read_parts(outer).text.endswith("Subject: Plan\n\nThe plan.")


def test_an_attached_mail_in_base64_is_read_though_it_must_not_be() -> None:
    code = base64.encodebytes(b"Subject: Plan\n\nThe plan.")
    raw = HEAD + b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + code

    assert read_mime(raw).text.endswith("Subject: Plan\n\nThe plan.")


def test_mails_within_mails_are_opened_so_far_and_then_listed() -> None:
    raw = b"\nbottom"
    for level in range(MAX_NESTED_MAILS + 3):
        raw = b"Subject: level %d\nContent-Type: message/rfc822\n\n" % level + raw

    mail = read_mime(raw)

    assert mail.text.count("Forwarded message") == MAX_NESTED_MAILS
    assert [one.media_type for one in mail.attachments] == ["message/rfc822"]


def test_an_attached_mail_that_is_broken_is_listed() -> None:
    broken = Part("message/rfc822", data=b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 600)

    mail = read_parts(multipart("mixed", plain("Hello."), broken))

    assert mail.text == "Hello."
    assert [one.media_type for one in mail.attachments] == ["message/rfc822"]


def test_an_invitation_is_told_in_a_few_lines() -> None:
    calendar = (
        "BEGIN:VCALENDAR\r\nMETHOD:CANCEL\r\nBEGIN:VEVENT\r\nSUMMARY:Call\\, weekly\r\nDTSTART;VALUE=DATE:20251110\r\n"
        "RRULE:FREQ=WEEKLY\r\nORGANIZER:mailto:ann@bee.example\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )

    mail = read_parts(multipart("alternative", plain("Sorry."), Part("text/calendar", data=calendar.encode())))

    assert mail.text == (
        "Sorry.\n\n[Cancelled invitation] Call, weekly\nWhen: 2025-11-10\nRepeats: FREQ=WEEKLY\n"
        "Organizer: ann@bee.example"
    )


def test_a_calendar_without_an_event_is_listed() -> None:
    mail = read_parts(multipart("mixed", plain("x"), Part("text/calendar", data=b"BEGIN:VCALENDAR\nEND:VCALENDAR")))

    assert [one.media_type for one in mail.attachments] == ["text/calendar"]


def test_bytes_that_are_no_mail_are_unreadable() -> None:
    assert unreadable(b"") is UnreadableCode.NOT_A_MAIL
    assert unreadable(b"just some text\n\nand more") is UnreadableCode.NOT_A_MAIL
    assert unreadable(bytes(range(256))) is UnreadableCode.NOT_A_MAIL


def test_a_mail_beyond_the_bounds_is_unreadable_and_says_so_without_a_word_of_it() -> None:
    many = HEAD + b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nsecret\n" * (parsing.MAX_PARTS + 1)
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(60))
    digits = b"Content-Type: multipart/mixed; boundary*" + b"9" * 5_000 + b"=secret\n\nx"

    assert unreadable(HEAD + b"\n" + b"\n" * parsing.MAX_LINES) is UnreadableCode.TOO_LARGE
    assert unreadable(many) is UnreadableCode.TOO_MANY_PARTS
    assert unreadable(HEAD + deep + b"\nsecret") is UnreadableCode.NESTED_TOO_DEEPLY
    assert unreadable(HEAD + b"Content-Type: message/rfc822\n\n" * 400) is UnreadableCode.NESTED_TOO_DEEPLY
    assert unreadable(HEAD + digits) is UnreadableCode.BROKEN
    with pytest.raises(Unreadable) as raised:
        read_mime(many)
    assert "secret" not in f"{raised.value!r} {raised.value} {raised.value.message}"
    assert raised.value.__cause__ is None


def test_a_mail_that_is_too_large_has_a_reason_of_its_own() -> None:
    assert UnreadableMessage(UnreadableCode.TOO_LARGE).reason == "MESSAGE_TOO_LARGE"
    assert UnreadableMessage(UnreadableCode.BROKEN).reason == "MESSAGE_UNREADABLE"


def test_a_tree_beyond_the_bounds_is_unreadable() -> None:
    deep = plain("x")
    for _ in range(parsing.MAX_DEPTH + 5):
        deep = multipart("mixed", deep)

    for tree in (deep, multipart("mixed", *[plain("x")] * parsing.MAX_PARTS)):
        with pytest.raises(UnreadableMessage):
            read_parts(tree)


def test_a_text_longer_than_any_mail_is_cut_visibly() -> None:
    mail = read_parts(plain("word\n" * 300_000))

    assert len(mail.text) <= MAX_TEXT_CHARS
    assert mail.text.endswith("more characters]")


def test_what_the_standard_library_writes_is_read_back() -> None:
    message = EmailMessage()
    message["From"] = "Zoë Weiß <zoe@weiss.example>"
    message["To"] = "tom@reed.example"
    message["Subject"] = "Größe " * 30
    message.set_content("Grüße aus Köln\n")
    message.add_alternative("<p>Grüße</p>", subtype="html")
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="Übersicht für Müller.pdf")

    mail = read_mime(message.as_bytes())

    assert mail.from_ == Participant(name="Zoë Weiß", address="zoe@weiss.example")
    assert mail.subject == ("Größe " * 30).strip()
    assert mail.text == "Grüße aus Köln"
    assert mail.attachments == (AttachmentInfo("Übersicht für Müller.pdf", "application/pdf", 4, "", inline=False),)


FIXTURES = [golden.raw(name) for name in golden.names()]
ODD = [b"\n", b"\n\n", b"--", b";", b"=", b"\0", b"\xff", b"=?", b"boundary=", b"Content-Type: multipart/mixed\n", b'"']


@given(st.sampled_from(FIXTURES), st.lists(st.tuples(st.integers(0, 3_000), st.sampled_from(ODD)), max_size=8))
def test_a_damaged_mail_is_read_or_unreadable_and_nothing_else(raw: bytes, damages: list[tuple[int, bytes]]) -> None:
    for place, damage in damages:
        raw = raw[:place] + damage + raw[place + len(damage) // 2 :]

    try:
        mail = read_mime(raw)
    except UnreadableMessage:
        return

    assert isinstance(mail, MailText)
    mail.text.encode("utf-8")


@given(st.binary(max_size=500))
def test_any_bytes_are_read_or_unreadable(raw: bytes) -> None:
    with suppress(UnreadableMessage):
        read_mime(HEAD + raw)


def _repeated(part: bytes, times: int) -> bytes:
    return HEAD + b"Content-Type: multipart/mixed; boundary=b\n\n" + (b"--b\n" + part) * times


WORST = {
    "lines": HEAD + b"\n" + b"x\n" * 990_000,
    "headers": HEAD + b"a: b\n" * 990_000 + b"\n",
    "a folded header": HEAD + b"Subject: a\n" + b" b\n" * 990_000 + b"\n",
    "parameters": HEAD + b"Content-Type: multipart/mixed;" + b';a=";' * 1_000_000 + b"\n\nx",
    "html parts": _repeated(b"Content-Type: text/html\n\n" + b"<div>x" * 20_000 + b"\n", 300),
    "nested boundaries": HEAD
    + b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(20))
    + b"\n"
    + b"x\n" * 900_000,
    "addresses": b"From: " + b"(" * 16_000 + b"\nTo: " + b'"\\' * 8_000 + b"\nCc: " + b"a@b," * 4_000 + b"\n\nx",
    "encoded words": HEAD + b"Subject: " + b"=?utf-8?q?" * 1_600 + b"\nDate: " + b"9" * 16_000 + b"\n\nx",
    "a calendar": HEAD
    + b"Content-Type: text/calendar\n\nBEGIN:VCALENDAR\nX"
    + b";A=b" * 60_000
    + b"\n"
    + b"X;A=\n" * 4_000,
    "shifts": HEAD + b"Content-Type: text/plain; charset=iso-2022-jp\n\n" + b"\x1b$" * 10_000_000,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WORST)
@pytest.mark.timeout(45)
def test_the_worst_mail_comes_to_an_end(name: str) -> None:
    with suppress(UnreadableMessage):
        assert len(read_mime(WORST[name]).text) <= MAX_TEXT_CHARS
