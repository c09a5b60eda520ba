from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from orchestrator.adapters.openai_model.answers import read_reply
from orchestrator.adapters.openai_model.failures import Failed


def body(message: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"choices": [{"message": message}], **more}).encode()


def test_a_minimal_answer_is_enough() -> None:
    reply = read_reply(body({"content": "Yes"}))

    assert (reply.text, reply.tool_requests, reply.input_tokens) == ("Yes", (), 0)


def test_text_in_parts_is_joined() -> None:
    assert (
        read_reply(body({"content": [{"type": "text", "text": "Yes"}, {"type": "text", "text": " no"}]})).text
        == "Yes no"
    )


def test_arguments_that_come_as_an_object_or_not_at_all_are_text() -> None:
    calls = [{"id": "a", "function": {"name": "x", "arguments": {"p": 1}}}, {"id": "b", "function": {"name": "y"}}]

    requests = read_reply(body({"tool_calls": calls})).tool_requests

    assert [request.arguments_json for request in requests] == ['{"p": 1}', "{}"]


def test_calls_without_an_id_of_their_own_get_one() -> None:
    calls = [
        {"id": "a", "function": {"name": "x"}},
        {"id": "a", "function": {"name": "y"}},
        {"function": {"name": "z"}},
    ]

    requests = read_reply(body({"tool_calls": calls})).tool_requests

    assert [request.request_id for request in requests] == ["a", "a_", "unnamed_2"]


def test_what_no_database_stores_is_replaced() -> None:
    raw = b'{"choices": [{"message": {"content": "a\\ud800b\\u0000c \\ud83c\\udf89"}}]}'

    assert read_reply(raw).text == "a\ufffdb\ufffdc 🎉"


@pytest.mark.parametrize(
    "usage", [None, 7, {"prompt_tokens": "many", "prompt_tokens_details": None}, {"prompt_tokens": -4}]
)
def test_strange_usage_counts_as_none(usage: Any) -> None:
    assert read_reply(body({"content": "Yes"}, usage=usage)).input_tokens == 0


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "tool_calls", "function", "name", "arguments", "id", "usage"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.one_of(st.binary(), _json.map(lambda value: json.dumps(value).encode())))
def test_any_body_is_an_answer_or_a_failure(raw: bytes) -> None:
    try:
        reply = read_reply(raw)
    except Failed:
        return
    assert reply.text.strip() or reply.tool_requests
    assert reply.text.encode()
