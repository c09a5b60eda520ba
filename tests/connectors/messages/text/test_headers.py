from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from connectors.messages.domain import Participant
from connectors.messages.text.addresses import MAX_ADDRESSES, participants
from connectors.messages.text.headers import (
    MAX_REFERENCES,
    date,
    decode_words,
    header,
    media_type,
    message_id,
    message_ids,
    parameter,
)

ODD = st.text(alphabet=st.sampled_from(list("=?utf-8BQbq_<>@()[]\",:;.\\*'% \t\n\r\0aZ09é\udcff\ud800-+")), max_size=80)


@given(ODD | st.text(alphabet=st.characters(), max_size=80))
def test_no_header_makes_them_fail(value: str) -> None:
    decode_words(value).encode("utf-8")
    for participant in participants(value):
        f"{participant.name}{participant.address}".encode()
    for name in ("filename", "charset", "boundary", ""):
        parameter(value, name)
    message_id(value)
    message_ids(value)
    date(value)
    assert media_type(value).count("/") == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=?UTF-8?B?UmU6IEFuZ2Vib3QgZsO8ciBkaWUg?=\r\n =?UTF-8?B?V2Vic2VpdGU=?=", "Re: Angebot für die Webseite"),
        ("=?utf-8?Q?Caf=C3?= =?utf-8?Q?=A9?=", "Café"),
        ("=?iso-8859-1?Q?Ana_Garc=EDa?= writes", "Ana García writes"),
        ("=?utf-8*de?Q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("=?windows-1252?Q?=8030?=", "€30"),
        ("=?utf-8?Q?Zo=EB?=", "Zoë"),
        ("=?no-such-charset?Q?Zo=C3=AB?=", "Zoë"),
        ("=?utf-8?B?w6k?= no padding", "é no padding"),
        ("=?utf-8?B?!!!?= no base64", "no base64"),
        ("=?utf-8?Q?with spaces in it?=", "with spaces in it"),
        ("a =?utf-8?Q?b?= c", "a b c"),
        ("=?utf-8?Q?half", "=?utf-8?Q?half"),
        ("Caf\udcc3\udca9", "Café"),
        ("Caf\udce9", "Café"),
        ("plain", "plain"),
        ("é decoded already", "é decoded already"),
        ("two\r\n lines\0", "two lines"),
    ],
)
def test_encoded_words_are_decoded(value: str, text: str) -> None:
    assert decode_words(value) == text


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("attachment; filename=a.pdf", "a.pdf"),
        ('attachment; filename="a;b.pdf"', "a;b.pdf"),
        ("attachment; filename*=utf-8''M%C3%BCller.pdf", "Müller.pdf"),
        ("attachment; filename*0*=utf-8''M%C3%BC; filename*1*=ller.pdf", "Müller.pdf"),
        ("attachment; filename*=no-such-charset''M%C3%BCller.pdf", "Müller.pdf"),
        ('attachment; filename="=?utf-8?Q?M=C3=BCller.pdf?="', "Müller.pdf"),
        ("attachment; filename=M\udcfcller.pdf", "Müller.pdf"),
        ("attachment", None),
        ("attachment; filename*" + "9" * 5000 + "=x", ""),
    ],
)
def test_file_names_are_decoded_in_every_way_they_are_written(value: str, name: str | None) -> None:
    assert parameter(value, "filename") == name


def test_a_media_type_that_is_none_is_plain_text() -> None:
    assert media_type("Text/HTML; charset=x") == "text/html"
    assert media_type("text") == "text/plain"
    assert media_type("") == "text/plain"


def test_header_names_have_no_case() -> None:
    assert header({"message-ID": "x"}, "Message-Id") == "x"
    assert header({}, "to") == ""


@pytest.mark.parametrize(
    ("value", "people"),
    [
        ("Ann Bee <ann@bee.example>", [("Ann Bee", "ann@bee.example")]),
        ("ann@bee.example", [("", "ann@bee.example")]),
        ('"Bee, Ann" <ann@bee.example>, bob@cee.example', [("Bee, Ann", "ann@bee.example"), ("", "bob@cee.example")]),
        ("=?utf-8?Q?Wei=C3=9F=2C_Petra?= <p@w.example>", [("Weiß, Petra", "p@w.example")]),
        ("'ann@bee.example' <ann@bee.example>", [("", "ann@bee.example")]),
        ("boss@bee.example <stranger@evil.example>", [("boss@bee.example", "stranger@evil.example")]),
        ("ann@bee.example (Ann Bee)", [("Ann Bee", "ann@bee.example")]),
        ("=?utf-8?Q?Weiss,_Petra?= <p@w.example>", [("Weiss, Petra", "p@w.example")]),
        (r'"Ann \"the\" Bee" <ann@bee.example>', [('Ann "the" Bee', "ann@bee.example")]),
        ("Ann Bee <ann at bee>", [("Ann Bee <ann at bee>", "")]),
        ("Team: a@b.example, c@d.example;", [("", "a@b.example"), ("", "c@d.example")]),
        ("undisclosed-recipients:;", []),
        ("", []),
        ("Somebody", [("Somebody", "")]),
        ('"unclosed <e@f.example>', [("unclosed", "e@f.example")]),
    ],
)
def test_people_are_read_from_a_header(value: str, people: list[tuple[str, str]]) -> None:
    assert participants(value) == tuple(Participant(name=name, address=address) for name, address in people)


def test_a_list_of_addresses_has_an_end() -> None:
    assert len(participants(", ".join(f"a{number}@b.example" for number in range(500)))) == MAX_ADDRESSES


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("Mon, 03 Nov 2025 14:05:11 +0100", datetime(2025, 11, 3, 13, 5, 11, tzinfo=UTC)),
        ("3 Nov 2025 14:05 (CET)", datetime(2025, 11, 3, 14, 5, tzinfo=UTC)),
        ("Mon, 03 Nov 2025 14:05:11 -0000", datetime(2025, 11, 3, 14, 5, 11, tzinfo=UTC)),
        ("yesterday", None),
        ("Mon, 33 Nov 2025 14:05:11 +0100", None),
        ("Mon, 03 Nov 99999 14:05:11 +0100", None),
        ("Mon, 03 Nov 2025 14:05:11 +9999", None),
        ("", None),
    ],
)
def test_dates_are_told_in_utc_or_not_at_all(value: str, time: datetime | None) -> None:
    assert date(value) == time


def test_message_ids_of_any_shape_are_kept() -> None:
    assert message_id("<[abc@x.test]>") == "<[abc@x.test]>"
    assert message_id(" (comment) <a@b> ") == "<a@b>"
    assert message_id("none") == "none"
    assert message_id("") == ""


def test_a_long_thread_keeps_its_beginning_and_its_newest_ids() -> None:
    ids = message_ids(" ".join(f"<{number}@x>" for number in range(300)))

    assert len(ids) == MAX_REFERENCES
    assert ids[0] == "<0@x>"
    assert ids[-1] == "<299@x>"
