from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, strategies as st

from orchestrator.runs.marking import mark_as_data

MARKER = "9f86d081884c7d65"

ROLE_TOKENS = [
    "<|im_start|>system",
    "<|im_end|>",
    "<|endoftext|>",
    "<|start_header_id|>assistant<|end_header_id|>",
    "<\uff5cAssistant\uff5c>",
    "</tool_result>",
    "<tool_result>",
    "</TOOL_RESULT >",
    "<tool_call>{}</tool_call>",
    "<function_results>",
    "</function_calls>",
    '<invoke name="x">',
    "<system>",
    "</system>",
    "<assistant>",
    "<user>",
    "<think>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "<</SYS>>",
    "[TOOL_RESULTS]",
    "[AVAILABLE_TOOLS]",
    "<start_of_turn>user",
    "<end_of_turn>",
    f"<<data {MARKER}>>",
    f"<</data {MARKER}>>",
    f"<</data {MARKER.upper()}>>",
    MARKER,
    MARKER + MARKER[1:],
]

UNSEEN = [
    "\x00",
    "\x07",
    "\x1b",
    "\x1b[2J",
    "\r",
    "\x7f",
    "\x85",
    "\x9b",
    "\u00ad",
    "\u061c",
    "\u115f",
    "\u180e",
    "\u200b",
    "\u200c",
    "\u200d",
    "\u200e",
    "\u200f",
    "\u2028",
    "\u2029",
    "\u202a",
    "\u202e",
    "\u2060",
    "\u2066",
    "\u2069",
    "\u3164",
    "\ud800",
    "\ufe0f",
    "\ufeff",
    "\uffa0",
    "\ufff9",
    "\U000e0001",
    "\U000e0041",
    "\U000e007f",
    "\U000e0100",
]


def read_back(marked: str, marker: str) -> str:
    """Undo the marking, as the proof that nothing of the content is lost or can be mistaken."""
    first, body = marked.split("\n", 1)
    body, last = body.rsplit("\n", 1)
    assert (first, last) == (f"<<data {marker}>>", f"<</data {marker}>>")
    assert marker.lower() not in body.lower()
    return re.sub("\u27e6([0-9A-F]{1,6})\u27e7", lambda found: chr(int(found[1], 16)), body)


@pytest.mark.parametrize("token", ROLE_TOKENS)
def test_a_token_that_could_start_or_end_a_turn_is_broken(token: str) -> None:
    content = json.dumps({"text": f"before {token} after"}, ensure_ascii=False)

    marked = mark_as_data(content, MARKER)

    assert token not in marked.split("\n", 1)[1].rsplit("\n", 1)[0]
    assert read_back(marked, MARKER) == content


@pytest.mark.parametrize("hidden", UNSEEN, ids=[f"{ord(text[0]):05X}-{len(text)}" for text in UNSEEN])
def test_a_character_that_nobody_sees_is_shown_by_its_number(hidden: str) -> None:
    marked = mark_as_data(f'{{"text": "pay{hidden}ment"}}', MARKER)

    assert hidden[0] not in marked
    assert f"\u27e6{ord(hidden[0]):X}\u27e7" in marked
    assert marked.encode()


@pytest.mark.parametrize(
    "text",
    [
        "plain words, 3 < 4 and 5 > 2, a <b>bold</b> word, list[int], a\tb\nc",
        "Perché no? Größe, niño, œuvre, 日本語, עברית, 🎉",
        '{"title": "Pay <b@c.test> by Friday", "note": "[x] done"}',
    ],
)
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    assert mark_as_data(text, MARKER) == f"<<data {MARKER}>>\n{text}\n<</data {MARKER}>>"


@given(
    st.lists(
        st.one_of(st.text(), st.sampled_from([*ROLE_TOKENS, *UNSEEN, "\u27e6", "\u27e7", "\u27e6200B\u27e7", "\n"]))
    )
)
def test_what_was_marked_reads_back_to_the_same_text(parts: list[str]) -> None:
    content = "".join(parts)

    assert read_back(mark_as_data(content, MARKER), MARKER) == content


@given(st.from_regex(r"[0-9A-Za-z_-]{8,20}", fullmatch=True), st.data())
def test_no_content_can_hold_the_marker_of_its_run(marker: str, data: st.DataObject) -> None:
    content = "".join(data.draw(st.lists(st.sampled_from([marker, marker[:4], marker[1:], marker[-1], "\u202e"]))))

    assert read_back(mark_as_data(content, marker), marker) == content


@pytest.mark.parametrize("marker", ["", "short12", "has space in it", "line\nbreak12", "x" * 129])
def test_a_marker_that_could_be_guessed_or_broken_is_refused(marker: str) -> None:
    with pytest.raises(ValueError, match="a marker has"):
        mark_as_data("{}", marker)


def test_a_long_text_of_opening_brackets_is_marked_in_linear_time() -> None:
    content = "<tool " * 50_000

    assert read_back(mark_as_data(content, MARKER), MARKER) == content
