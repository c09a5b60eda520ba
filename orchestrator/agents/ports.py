"""What the use cases of agents need from outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from orchestrator.agents.domain import Agent
from orchestrator.paging import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """Who asks for a change, and by which request: repeated within 24 hours, it gets its first answer again."""

    user_id: str
    request_id: str
    """A UUID of the caller's."""
    request_hash: str
    """Of the whole request: the same request_id with another hash is a conflict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentQuery:
    """Which agents to list."""

    user_id: str
    limit: int
    before: Key | None = None
    """The created_at and agent_id of the last agent of the page before."""


class AgentStore(Protocol):
    """The agents as they are stored. Each method is one transaction."""

    async def add(self, mutation: Mutation, agent: Agent, *, validate_only: bool = False) -> Agent:
        """Store a new agent, or return the one that the same request made, as it stands now.

        With `validate_only` nothing is stored or remembered, but what would be refused is refused.

        Raises:
            RequestIdReused: The request_id was used for another request.
            ClientAgentIdTaken: The user has another agent with this client_agent_id.
            adiuva_rpc.errors.NotFound: The agent that the same request made has been deleted since.
        """
        ...

    async def get(self, user_id: str, agent_id: str) -> Agent:
        """Return an agent of the user.

        What is stored as its schedule may be unreadable: then it has a `schedule_problem`.

        Raises:
            adiuva_rpc.errors.NotFound: The user has no such agent.
        """
        ...

    async def page(self, query: AgentQuery) -> list[Agent]:
        """Return the agents, newest first."""
        ...

    async def change(
        self, mutation: Mutation, agent_id: str, change: Callable[[Agent], Agent], *, validate_only: bool = False
    ) -> Agent:
        """Store what `change` makes of the agent, or return the agent as it stands when the request was served before.

        A schedule that cannot be read stays as it is until a change sets another or clears its problem.

        Args:
            mutation: Who asks.
            agent_id: The agent.
            change: Pure and quick: it runs in the transaction. What it raises ends the change, and nothing is stored.
            validate_only: As of `add`.

        Raises:
            adiuva_rpc.errors.NotFound: The user has no such agent.
            RequestIdReused: The request_id was used for another request.
            ClientAgentIdTaken: The user has another agent with the new client_agent_id.
        """
        ...

    async def remove(self, mutation: Mutation, agent_id: str, check: Callable[[Agent], None]) -> None:
        """Delete an agent, but none of its runs; nothing when the same request deleted it before.

        Args:
            mutation: Who asks.
            agent_id: The agent.
            check: What it raises ends the removal.

        Raises:
            adiuva_rpc.errors.NotFound: The user has no such agent.
            RequestIdReused: The request_id was used for another request.
        """
        ...
