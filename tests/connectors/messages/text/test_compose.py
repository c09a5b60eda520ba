from __future__ import annotations

from hypothesis import given, strategies as st

from connectors.messages.text.clipping import DEFAULT_MAX_CHARS
from connectors.messages.text.compose import compose

QUOTED = "\n\nOn 3 Nov 2025 Bob <bob@cee.example> wrote:\n> hello\n"
FORWARDED = "For you.\n\nFrom: Bob\nSent: Monday\nTo: Ann\nSubject: Plan\n\nThe plan."


def test_a_reply_has_its_new_text_and_the_whole() -> None:
    message = compose("Yes.\r\n" + QUOTED, subject="Re: Plan")

    assert message.text == "Yes.\n" + QUOTED.rstrip()
    assert message.new_text == "Yes."
    assert message.quoted_text_present
    assert message.full_chars == len(message.text)
    assert not message.text_truncated


def test_a_message_without_quotations_is_all_new() -> None:
    message = compose("Yes.", subject="Plan")

    assert message.new_text == message.text == "Yes."
    assert not message.quoted_text_present


def test_what_the_provider_says_is_new_is_believed() -> None:
    message = compose("Ja.\n\nSomething unusual wrote Bob\nhello", subject="Re: Plan", unique_body="Ja.\r\n")

    assert message.new_text == "Ja."
    assert message.quoted_text_present


def test_what_the_provider_says_is_new_may_differ_in_its_spaces() -> None:
    message = compose("Yes,\n\nof  course.", subject="Re: Plan", unique_body="Yes,\nof course.")

    assert not message.quoted_text_present


def test_a_forward_is_whole_whatever_the_provider_says() -> None:
    for subject in ("FW: Plan", "Plan"):
        body = FORWARDED if subject.startswith("FW") else "For you.\n\nBegin forwarded message:\n\n" + FORWARDED
        message = compose(body, subject=subject, unique_body="For you.")

        assert message.new_text == body
        assert not message.quoted_text_present


def test_an_empty_new_part_is_not_believed() -> None:
    message = compose("From the provider", subject="Re: Plan", unique_body=" \n")

    assert message.new_text == "From the provider"


def test_a_long_message_is_cut_visibly_and_its_length_told() -> None:
    message = compose("word " * 4_000, subject="")

    assert len(message.text) <= DEFAULT_MAX_CHARS
    assert message.text.endswith("more characters]")
    assert message.text_truncated
    assert message.full_chars == 19_999
    assert len(message.new_text) <= DEFAULT_MAX_CHARS


def test_a_long_quotation_does_not_cut_the_new_text() -> None:
    message = compose("Yes." + QUOTED + "> more\n" * 5_000, subject="Re: Plan")

    assert message.text_truncated
    assert message.new_text == "Yes."


def test_controls_are_removed_and_the_repr_shows_nothing() -> None:
    message = compose("a\0b\x1b[31m", subject="")

    assert message.text == "ab[31m"
    assert "ab" not in repr(message)


@given(st.text(alphabet=st.characters(), max_size=200), st.none() | st.text(max_size=50), st.integers(0, 300))
def test_it_never_fails_and_the_bounds_hold(body: str, unique: str | None, limit: int) -> None:
    message = compose(body, subject="Re: x", unique_body=unique, max_chars=limit)

    assert len(message.text) <= limit
    assert len(message.new_text) <= limit
    (message.text + message.new_text).encode("utf-8")
