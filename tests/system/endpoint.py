"""A model endpoint for stacks of real processes: each test scripts the answers that its own runs get."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tests.fakes.openai_api import FakeOpenAI, Received, Scripted

Body = Mapping[str, Any]
Hook = Callable[[Body], None]


class Endpoint(FakeOpenAI):
    """An endpoint for the runs of many tests: a word in a run's instructions tells whose request it is."""

    def __init__(self) -> None:
        super().__init__()
        self._hooks: dict[str, Hook] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What makes a stack use this endpoint."""
        return {"OPENAI_API_KEY": self.key, "OPENAI_BASE_URL": self.url, "ADIUVA_MODEL": "fake-1"}

    def script(self, word: str, *answers: Scripted) -> None:
        """Answer the requests that hold the word."""
        self.add(*(replace(answer, when=word) for answer in answers))

    def before_answering(self, word: str, hook: Hook) -> None:
        """Call `hook` with each request that holds the word, before it is answered."""
        self._hooks[word] = hook

    def asked(self, word: str) -> list[Body]:
        """Return the requests that hold the word, in order."""
        return [request.body for request in list(self.requests) if word in _text(request.body)]

    def received(self, request: Received) -> None:
        """Remember a request, and do what is wanted before it is answered."""
        super().received(request)
        for word, hook in list(self._hooks.items()):
            if word in _text(request.body):
                hook(request.body)


def last_message(body: Body) -> str:
    """Return the text of a request's last message."""
    content: str = body["messages"][-1]["content"]
    return content


def _text(body: Body) -> str:
    return json.dumps(body, ensure_ascii=False)
