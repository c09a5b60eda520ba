"""From the body of a chat completion to our answer: tolerant, as endpoints differ in everything that is optional."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from orchestrator.adapters.openai_model.failures import bad_answer
from orchestrator.runs.domain import JsonObject
from orchestrator.runs.messages import ToolRequest

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Of an answer; more than any model writes at once."""

_LONGEST_NAME = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the body said."""

    text: str
    tool_requests: tuple[ToolRequest, ...]
    input_tokens: int
    cached_tokens: int
    output_tokens: int


def read_reply(body: bytes) -> Reply:
    """Return what the body says.

    Raises:
        Failed: it is no answer, or one that was cut off.
    """
    answer = _object(_parsed(body))
    choices = answer.get("choices")
    choice = _object(choices[0] if isinstance(choices, list) and choices else None)
    message = _object(choice.get("message"))
    if not message:
        raise bad_answer("answered without any choice")
    finish_reason = choice.get("finish_reason")
    # Asking the same model again would cost the same and end at the same place.
    if finish_reason == "length":
        raise bad_answer("was cut off before its answer was complete", retryable=False)
    if finish_reason == "content_filter" or message.get("refusal"):
        raise bad_answer("declined to answer", retryable=False)
    text = _text(message.get("content"))
    requests = _tool_requests(message.get("tool_calls"))
    if not text.strip() and not requests:
        raise bad_answer("gave an empty answer")
    usage = _object(answer.get("usage"))
    return Reply(
        text=text,
        tool_requests=requests,
        input_tokens=_count(usage.get("prompt_tokens")),
        cached_tokens=_count(_object(usage.get("prompt_tokens_details")).get("cached_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
    )


def _parsed(body: bytes) -> Any:
    # Decided here and raised below, so that the body is in no chain of exceptions.
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        pass
    raise bad_answer("endpoint answered with something that is no JSON")


def _object(value: object) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int:
    return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else 0


def _text(content: object) -> str:
    if isinstance(content, list):
        parts = (_object(part).get("text") for part in content)
        return _storable("".join(part for part in parts if isinstance(part, str)))
    return _storable(content) if isinstance(content, str) else ""


def _tool_requests(calls: object) -> tuple[ToolRequest, ...]:
    if not isinstance(calls, list):
        return ()
    requests: list[ToolRequest] = []
    used: set[str] = set()
    for index, call in enumerate(calls):
        function = _object(_object(call).get("function"))
        arguments = function.get("arguments")
        if not isinstance(arguments, str):
            # Some endpoints send the object itself, and some send nothing for a tool without arguments.
            arguments = json.dumps(arguments if arguments is not None else {})
        request_id = _name(_object(call).get("id")) or f"unnamed_{index}"
        while request_id in used:
            request_id += "_"
        used.add(request_id)
        requests.append(
            ToolRequest(
                request_id=request_id,
                name=_name(function.get("name")),
                arguments_json=_storable(arguments.strip() or "{}"),
            )
        )
    return tuple(requests)


def _name(value: object) -> str:
    return _storable(value)[:_LONGEST_NAME] if isinstance(value, str) else ""


def _storable(text: str) -> str:
    """Replace what is in no valid text, and what PostgreSQL does not store: lone surrogates and NUL."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
