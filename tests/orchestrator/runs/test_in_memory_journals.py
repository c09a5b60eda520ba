"""The journals that the tests of runs use keep what the real ones keep."""

from __future__ import annotations

import itertools

import pytest

from tests.conformance.orchestrator.journals import JournalsConformance, JournalsHarness
from tests.fakes.journals import InMemoryJournals


class _Harness:
    def __init__(self) -> None:
        self._memory = InMemoryJournals()
        self._numbers = itertools.count(1)

    @property
    def journals(self) -> InMemoryJournals:
        return self._memory

    async def new_run(self) -> str:
        run_id = f"run-{next(self._numbers)}"
        self._memory.take(run_id)
        return run_id

    async def take(self, run_id: str) -> int:
        return self._memory.take(run_id)


class TestInMemoryJournals(JournalsConformance):
    @pytest.fixture
    async def harness(self) -> JournalsHarness:
        return _Harness()
