"""A conversation as the offline model reads it: which calls were made, and what came of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.runs.domain import JsonObject
from orchestrator.runs.messages import Assistant, Message, ToolAnswer, ToolRequest


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call. Two with the same name and arguments are the same call, and it is made once."""

    name: str
    arguments: JsonObject = field(repr=False)

    @property
    def key(self) -> tuple[str, str]:
        """What tells two calls apart."""
        return self.name, json.dumps(self.arguments, sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Result:
    """How a call ended."""

    data: JsonObject = field(repr=False)
    """What the tool returned; empty when it failed."""
    failure: str = ""
    """The reason; empty when it did not fail."""

    @property
    def ok(self) -> bool:
        """Whether it did not fail."""
        return not self.failure

    def text(self, name: str) -> str:
        """Return a field of the result that is a text; empty for any other."""
        return text_of(self.data.get(name))

    def rows(self, name: str) -> list[JsonObject]:
        """Return a field of the result that is a list of records; empty for any other."""
        listed = self.data.get(name)
        return [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []


class Conversation:
    """The calls of a conversation with their results."""

    def __init__(self, messages: Sequence[Message]) -> None:
        """Read the messages. A call that was made twice has the result of the first time it worked."""
        self.turns = 0
        """How many messages asked for calls, those prepared before the first question included."""
        self._results: dict[tuple[str, str], tuple[Call, Result]] = {}
        open_calls: dict[str, Call] = {}
        for message in messages:
            if isinstance(message, Assistant):
                self.turns += 1
                open_calls = {request.request_id: _call(request) for request in message.tool_requests}
            elif isinstance(message, ToolAnswer) and message.request_id in open_calls:
                self._take(open_calls[message.request_id], _result(message))

    def result(self, call: Call) -> Result | None:
        """Return how the call ended; None when it was never made."""
        known = self._results.get(call.key)
        return known[1] if known else None

    def made(self, *names: str) -> Iterator[tuple[Call, Result]]:
        """Yield the calls of these tools with their results, in order."""
        return (entry for entry in self._results.values() if entry[0].name in names)

    def requests(self, calls: Sequence[Call]) -> tuple[ToolRequest, ...]:
        """Return the calls as they are asked for, with ids that are new in this conversation."""
        return tuple(
            ToolRequest(
                request_id=f"offline-{self.turns}-{index}",
                name=call.name,
                arguments_json=json.dumps(call.arguments, ensure_ascii=False),
            )
            for index, call in enumerate(calls)
        )

    def _take(self, call: Call, result: Result) -> None:
        known = self._results.get(call.key)
        if known is None or not known[1].ok:
            self._results[call.key] = (call, result)


def text_of(value: Any) -> str:
    """Return a text as it is, and nothing for anything else."""
    return value if isinstance(value, str) else ""


def _call(request: ToolRequest) -> Call:
    return Call(request.name, _loaded(request.arguments_json))


def _result(answer: ToolAnswer) -> Result:
    data = _loaded(answer.content_json)
    if not answer.failed:
        return Result(data)
    error = data.get("error")
    reason = text_of(error.get("reason")) if isinstance(error, dict) else ""
    return Result({}, reason or "INTERNAL")


def _loaded(text: str) -> JsonObject:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
