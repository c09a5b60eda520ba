from __future__ import annotations

from hypothesis import given, strategies as st

from connectors.messages.text.cleaning import clean, one_line


@given(st.text(alphabet=st.characters()))
def test_what_is_clean_can_be_encoded_and_holds_no_control_but_line_feeds_and_tabs(text: str) -> None:
    cleaned = clean(text)

    cleaned.encode("utf-8")
    assert not any(ord(character) < 32 and character not in "\n\t" for character in cleaned)
    assert clean(cleaned) == cleaned


def test_every_line_end_is_a_line_feed() -> None:
    assert clean("a\r\nb\rc\x0bd\x0ce\x85f\u2028g\u2029h\ni") == "a\nb\nc\nd\ne\nf\ng\nh\ni"


def test_two_half_characters_become_a_whole_one_and_a_single_one_a_replacement() -> None:
    assert clean("\ud83d\ude00 \ud83d x") == "😀 \ufffd x"


def test_invisible_characters_stay_for_whoever_marks_them() -> None:
    assert clean("a\u200b\u202eb\xa0c") == "a\u200b\u202eb\xa0c"


def test_one_line_has_single_spaces_only() -> None:
    assert one_line(" a\r\n\tb\0 c ") == "a b c"
