from __future__ import annotations

import pytest

from orchestrator.agents.ports import AgentStore
from tests.conformance.orchestrator.agents import AgentStoreConformance
from tests.fakes.agents import InMemoryAgents


class TestInMemoryAgents(AgentStoreConformance):
    @pytest.fixture
    def store(self) -> AgentStore:
        return InMemoryAgents()
