"""From our messages to the request of a chat completion."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from orchestrator.runs.domain import JsonObject, ToolSpec
from orchestrator.runs.marking import mark_as_data
from orchestrator.runs.messages import Assistant, Message, ModelRequest, System, ToolAnswer, ToolRequest, User

_MAX_DESCRIPTION_CHARS = 1024
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")
_UNANSWERED = json.dumps({"error": {"reason": "CANCELLED", "message": "The call was not made."}})


def parameters(request: ModelRequest, *, model: str, temperature: float | None, with_schema: bool) -> JsonObject:
    """Return the arguments of the call.

    What stays the same between the questions of a conversation comes first and is always written in the same way, so
    that the endpoint can reuse what it has read before.

    Args:
        request: The question.
        model: Which model to ask.
        temperature: None for the endpoint's own.
        with_schema: Whether to send the request's response schema, if it has one.

    Raises:
        ValueError: a tool answer stands where nothing asked for it.
    """
    result: JsonObject = {"model": model}
    if request.tools:
        result["tools"] = [_tool(spec) for spec in request.tools]
    result["messages"] = chat_messages(request.messages, marker=request.data_marker)
    if temperature is not None:
        result["temperature"] = temperature
    if with_schema and request.response_schema is not None:
        result["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": dict(request.response_schema)},
        }
    return result


def chat_messages(messages: Sequence[Message], *, marker: str) -> list[JsonObject]:
    """Return the conversation with every tool call followed by its one answer, marked as data.

    Calls get ids of our own, unique in the whole conversation: some models use the same ids in every answer. A call
    without an answer is given one that says so; endpoints refuse a conversation otherwise.

    Raises:
        ValueError: a tool answer stands where nothing asked for it.
    """
    result: list[JsonObject] = []
    waiting = _Waiting(marker)
    for message in messages:
        if isinstance(message, ToolAnswer):
            waiting.take(message)
            continue
        result.extend(waiting.answers())
        match message:
            case System(text=text):
                result.append({"role": "system", "content": text})
            case User(text=text):
                result.append({"role": "user", "content": text})
            case Assistant(text=text, tool_requests=requests):
                result.append(_assistant(text, waiting.begin(requests)))
    result.extend(waiting.answers())
    return result


class _Waiting:
    """The tool calls of one assistant message, until something else than their answers comes."""

    def __init__(self, marker: str) -> None:
        self._marker = marker
        self._made = 0
        self._requests: dict[str, str] = {}
        self._answers: dict[str, str] = {}

    def begin(self, requests: Sequence[ToolRequest]) -> list[JsonObject]:
        calls: list[JsonObject] = []
        for request in requests:
            self._made += 1
            call_id = f"call_{self._made}"
            self._requests[request.request_id] = call_id
            calls.append(_call(call_id, request))
        return calls

    def take(self, answer: ToolAnswer) -> None:
        if answer.request_id not in self._requests:
            raise ValueError("a tool answer without its request")
        self._answers[answer.request_id] = mark_as_data(answer.content_json, self._marker)

    def answers(self) -> Iterator[JsonObject]:
        for request_id, call_id in self._requests.items():
            content = self._answers.get(request_id, _UNANSWERED)
            yield {"role": "tool", "tool_call_id": call_id, "content": content}
        self._requests, self._answers = {}, {}


def _assistant(text: str, calls: list[JsonObject]) -> JsonObject:
    if calls:
        return {"role": "assistant", "content": text or None, "tool_calls": calls}
    return {"role": "assistant", "content": text}


def _call(call_id: str, request: ToolRequest) -> JsonObject:
    # A model may have asked for a tool by a name, or with arguments, that the endpoint would refuse to read back.
    name = _NOT_IN_NAMES.sub("_", request.name)[:64] or "unnamed"
    arguments = request.arguments_json
    if not _is_json_object(arguments):
        arguments = json.dumps({"unreadable_arguments": arguments}, ensure_ascii=False)
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _tool(spec: ToolSpec) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": spec.name,
            "description": spec.description[:_MAX_DESCRIPTION_CHARS],
            "parameters": dict(spec.input_schema),
        },
    }
