from __future__ import annotations

import codecs

import pytest
from hypothesis import given, strategies as st

from connectors.messages.text.charsets import Decoded, charset_of_html, decode

LABELS = [
    None, "", "utf-8", "UTF8", '"utf-8"', "us-ascii", "iso-8859-1", "windows-1252", "iso-2022-jp", "shift_jis",
    "gb2312", "big5", "ks_c_5601-1987", "iso-8859-8-i", "utf-16", "utf-7", "unknown-8bit", "x-user-defined", "rot13",
    "idna", "hex", "unicode_escape", "../../etc/passwd", "a\0b", "\udcff", "undefined", "9" * 5000,
]  # fmt: skip


@given(st.binary(max_size=300), st.sampled_from(LABELS) | st.text(max_size=30))
def test_no_bytes_and_no_label_make_it_fail(data: bytes, label: str | None) -> None:
    decoded = decode(data, label)

    decoded.text.encode("utf-8")
    assert "\0" not in decoded.text
    assert "\r" not in decoded.text


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=200))
def test_true_utf_8_is_read_as_it_is_whatever_the_label_of_a_single_byte_charset_says(text: str) -> None:
    text = text.lstrip("\ufeff")

    assert decode(text.encode(), "utf-8") == Decoded(text, "utf-8", guessed=False)
    assert decode(text.encode(), "iso-8859-1").text == text
    assert decode(text.encode(), "koi8-r").text == text


@pytest.mark.parametrize(
    ("text", "charset"),
    [
        ("Zoë \u2013 „naïve“ €", "windows-1252"),
        ("Zoë", "iso-8859-1"),
        ("Žluťoučký kůň", "iso-8859-2"),
        ("Привет, мир", "koi8-r"),
        ("Привет, мир", "windows-1251"),
        ("Καλημέρα", "iso-8859-7"),
        ("納期は11月20日です。", "iso-2022-jp"),
        ("納期は①11月20日です。", "shift_jis"),
        ("納期は11月20日です。", "euc-jp"),
        ("截止日期是十一月", "gb2312"),
        ("截止日期是十一月", "gbk"),
        ("截止日期", "big5"),
        ("마감일은 11월", "euc-kr"),
        ("שלום", "iso-8859-8"),
        ("hello ü", "utf-16"),
    ],
)
def test_a_label_that_fits_is_believed(text: str, charset: str) -> None:
    codec = {"shift_jis": "cp932"}.get(charset, charset)

    decoded = decode(text.encode(codec), charset)

    assert decoded.text == text
    assert not decoded.guessed


@pytest.mark.parametrize(
    ("data", "label", "text", "charset"),
    [
        ("Zoë schuldet 30 €".encode("cp1252"), "utf-8", "Zoë schuldet 30 €", "cp1252"),
        ("Zoë schuldet 30 €".encode("cp1252"), "unknown-8bit", "Zoë schuldet 30 €", "cp1252"),
        ("Zoë".encode("latin-1"), None, "Zoë", "cp1252"),
        ("Zoë".encode(), "us-ascii", "Zoë", "utf-8"),
        ("Zoë".encode(), "no-such-charset", "Zoë", "utf-8"),
        ("日本".encode("cp932"), "iso-2022-jp", "日本", "cp932"),
        ("日本語".encode(), "iso-2022-jp", "日本語", "utf-8"),
        ("日本語".encode("iso2022_jp"), "utf-8", "日本語", "iso2022_jp_ext"),
        ("日本語".encode("iso2022_jp"), None, "日本語", "iso2022_jp_ext"),
        (codecs.BOM_UTF16_LE + "hé".encode("utf-16-le"), "utf-8", "hé", "utf-16-le"),
    ],
)
def test_a_label_that_lies_is_not_believed_and_that_is_told(data: bytes, label: str, text: str, charset: str) -> None:
    assert decode(data, label) == Decoded(text, charset, guessed=True)


def test_the_direction_of_hebrew_is_no_other_charset() -> None:
    assert decode("שלום".encode("iso8859-8"), "iso-8859-8-i") == Decoded("שלום", "iso8859-8", guessed=False)


def test_utf_7_is_not_decoded() -> None:
    assert decode(b"+ADw-script+AD4-", "utf-7").text == "+ADw-script+AD4-"


def test_one_damaged_character_does_not_turn_utf_8_into_another_charset() -> None:
    decoded = decode("übergrößenträger".encode()[:-1] + b"\xff tail", "utf-8")

    assert decoded.text.startswith("übergrößenträge")
    assert decoded.text.endswith("tail")
    assert decoded.charset == "utf-8"


def test_the_lines_after_a_damaged_japanese_one_are_read() -> None:
    data = "一行目".encode("iso2022_jp") + b"\n\x1b$BF|K\x1b(B\n" + "三行目".encode("iso2022_jp")

    first, _, third = decode(data, "iso-2022-jp").text.split("\n")

    assert (first, third) == ("一行目", "三行目")


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert decode(codecs.BOM_UTF8 + b"x", "utf-8") == Decoded("x", "utf-8", guessed=False)


def test_an_html_document_may_name_its_charset_itself() -> None:
    assert charset_of_html(b'<html><meta http-equiv="Content-Type" content="text/html; charset=koi8-r">') == "koi8-r"
    assert charset_of_html(b"<meta charset='utf-8'>") == "utf-8"
    assert charset_of_html(b"<p>charset=utf-8</p>") is None
