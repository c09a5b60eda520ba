"""The memory that the tests of runs use keeps what the real one keeps."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from orchestrator.agents.domain import AgentDefinition
from orchestrator.runs.domain import Run, RunState, Trigger
from tests.conformance.orchestrator.message_memory import MAIL, MemoryHarness, MessageMemoryConformance
from tests.fakes.journals import STARTED_AT, InMemoryJournals, InMemoryMessageMemory


class _Harness:
    def __init__(self) -> None:
        self.journals = InMemoryJournals()
        self.memory = InMemoryMessageMemory(self.journals)
        self._numbers = itertools.count(1)

    async def new_run(self, definition: AgentDefinition = MAIL, *, user: str = "ada") -> Run:
        run_id = f"run-{next(self._numbers)}"
        run = Run(
            run_id=run_id,
            user_id=user,
            agent_id="",
            definition=definition,
            trigger=Trigger.API,
            state=RunState.RUNNING,
            created_at=STARTED_AT,
            epoch=self.journals.take(run_id),
        )
        self.journals.own(run)
        return run

    async def take(self, run: Run) -> Run:
        return replace(run, epoch=self.journals.take(run.run_id))


class TestInMemoryMessageMemory(MessageMemoryConformance):
    @pytest.fixture
    async def harness(self) -> MemoryHarness:
        return _Harness()
