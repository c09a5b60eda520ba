"""A model endpoint for stacks of real processes: each test scripts the answers to its own runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tests.fakes.openai_api import FakeOpenAI, Received, Scripted, say

TRIAGE = "You sort the files"
PROCESSING = "You keep the workspace"
"""What tells the prompts of the phases apart."""


def nothing(_body: Mapping[str, Any]) -> None:
    """Do nothing."""


class Endpoint(FakeOpenAI):
    """An endpoint that runs of several tests may use at a time: a test's instructions tell its requests apart."""

    def __init__(self) -> None:
        super().__init__()
        self._hooks: dict[str, Callable[[Mapping[str, Any]], None]] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What makes a stack use this endpoint."""
        return {"OPENAI_API_KEY": self.key, "OPENAI_BASE_URL": self.url, "ADIUVA_MODEL": "fake-1"}

    def script(self, case: str, *answers: Scripted) -> None:
        """Answer the requests of runs whose instructions hold `case`."""
        self.add(*(replace(answer, when=case) for answer in answers))

    def before_answering(self, case: str, hook: Callable[[Mapping[str, Any]], None]) -> None:
        """Call `hook` with each request of these runs before it is answered."""
        self._hooks[case] = hook

    def requests_of(self, case: str) -> list[Mapping[str, Any]]:
        """Return the bodies of the requests of these runs, in order."""
        return [request.body for request in list(self.requests) if case in str(request.body)]

    def received(self, request: Received) -> None:
        """Remember a request, and do what a test wants done before it is answered."""
        super().received(request)
        for case, hook in self._hooks.items():
            if case in str(request.body):
                hook(request.body)


__all__ = ["PROCESSING", "TRIAGE", "Endpoint", "nothing", "say"]
