from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, strategies as st

from connectors.messages.text.clipping import DEFAULT_MAX_CHARS, clip

FAMILY = "👩\u200d👩\u200d👧"


@given(st.text(max_size=400), st.integers(0, 300))
def test_a_clipped_text_is_never_longer_than_asked_for(text: str, limit: int) -> None:
    clipped = clip(text, limit)

    assert len(clipped.text) <= limit
    assert clipped.full_chars == len(text)
    assert clipped.truncated == (len(text) > limit)


@given(st.text(min_size=200, max_size=400))
def test_what_is_kept_and_what_is_counted_are_the_whole(text: str) -> None:
    clipped = clip(text, 150)

    kept, _, mark = clipped.text.rpartition("\n")
    counted = re.fullmatch(r"\[… ([\d,]+) more characters\]", mark)
    assert counted is not None
    assert text.startswith(kept)
    assert len(kept) + int(counted[1].replace(",", "")) == len(text)


@given(
    st.lists(st.sampled_from(["a", "é", "e\u0301", FAMILY, "🇩🇪", "👍🏽", "a\u0301\u0302"]), min_size=61, max_size=90)
)
def test_no_character_that_a_reader_sees_is_cut_in_two(characters: list[str]) -> None:
    text = "".join(characters)
    clipped = clip(text, 60)

    kept = clipped.text.rpartition("\n")[0]
    rest = text[len(kept) :]
    assert not kept.endswith("\u200d")
    assert unicodedata.combining(rest[0]) == 0
    assert not rest.startswith(("\u200d", "\U0001f3fd"))
    assert sum("\U0001f1e6" <= character <= "\U0001f1ff" for character in kept) % 2 == 0


def test_a_text_that_fits_is_left_alone() -> None:
    assert clip("x" * DEFAULT_MAX_CHARS).text == "x" * DEFAULT_MAX_CHARS


def test_a_line_end_that_is_near_is_where_it_is_cut() -> None:
    clipped = clip("word " * 17 + "end\n" + "word " * 20, 125)

    assert clipped.text == "word " * 17 + "end\n[… 101 more characters]"


def test_else_it_is_cut_between_two_words() -> None:
    clipped = clip("twelve chars " * 30, 131)

    assert clipped.text.startswith("twelve chars")
    assert re.search(r" (twelve|chars)\n\[…", clipped.text)


def test_one_endless_character_is_cut_somewhere() -> None:
    assert len(clip("e" + "\u0301" * 10_000, 100).text) <= 100


def test_a_negative_length_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        clip("x", -1)
