"""The agents in memory: `agents.ports.AgentStore`, and passes the same conformance suite as the real one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from adiuva_rpc.errors import NotFound
from orchestrator.agents.domain import Agent
from orchestrator.agents.errors import ClientAgentIdTaken, RequestIdReused
from orchestrator.agents.ports import AgentQuery, Mutation


class InMemoryAgents:
    """Nothing here waits, so each method is one step, as a transaction is."""

    def __init__(self) -> None:
        self._agents: dict[str, Agent] = {}
        self._requests: dict[tuple[str, str], tuple[str, str]] = {}

    def put(self, agent: Agent) -> None:
        """Store an agent as it is: what an older version, or somebody at the database, may have left."""
        self._agents[agent.agent_id] = agent

    def ran(self, agent_id: str, at: datetime) -> None:
        """Remember that a run of the agent started."""
        self._agents[agent_id] = replace(self._agents[agent_id], last_run_at=at)

    async def add(self, mutation: Mutation, agent: Agent, *, validate_only: bool = False) -> Agent:
        known = self._recall(mutation)
        if known is not None:
            return await self.get(mutation.user_id, known)
        self._refuse_taken(agent)
        if not validate_only:
            self._remember(mutation, agent.agent_id)
            self._agents[agent.agent_id] = agent
        return agent

    async def get(self, user_id: str, agent_id: str) -> Agent:
        agent = self._agents.get(agent_id)
        if agent is None or agent.user_id != user_id:
            raise NotFound("agent")
        return agent

    async def page(self, query: AgentQuery) -> list[Agent]:
        def key(agent: Agent) -> tuple[datetime, str]:
            return agent.created_at, agent.agent_id

        mine = [agent for agent in self._agents.values() if agent.user_id == query.user_id]
        older = [agent for agent in mine if query.before is None or key(agent) < query.before]
        return sorted(older, key=key, reverse=True)[: query.limit]

    async def change(
        self, mutation: Mutation, agent_id: str, change: Callable[[Agent], Agent], *, validate_only: bool = False
    ) -> Agent:
        known = self._recall(mutation)
        current = await self.get(mutation.user_id, agent_id)
        if known is not None:
            return current
        changed = change(current)
        self._refuse_taken(changed)
        if not validate_only:
            self._remember(mutation, agent_id)
            self._agents[agent_id] = changed
        return changed

    async def remove(self, mutation: Mutation, agent_id: str, check: Callable[[Agent], None]) -> None:
        if self._recall(mutation) is not None:
            return
        check(await self.get(mutation.user_id, agent_id))
        self._remember(mutation, agent_id)
        del self._agents[agent_id]

    def _recall(self, mutation: Mutation) -> str | None:
        known = self._requests.get((mutation.user_id, mutation.request_id))
        if known is None:
            return None
        request_hash, answer_id = known
        if request_hash != mutation.request_hash:
            raise RequestIdReused
        return answer_id

    def _remember(self, mutation: Mutation, answer_id: str) -> None:
        self._requests[mutation.user_id, mutation.request_id] = (mutation.request_hash, answer_id)

    def _refuse_taken(self, agent: Agent) -> None:
        wanted = agent.definition.client_agent_id
        for other in self._agents.values():
            same = other.user_id == agent.user_id and other.definition.client_agent_id == wanted
            if wanted and same and other.agent_id != agent.agent_id:
                raise ClientAgentIdTaken
