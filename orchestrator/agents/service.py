"""What can be done with agents, whoever asks."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from adiuva_rpc.errors import InvalidArgument
from orchestrator.agents.domain import Agent, AgentDefinition, AgentView, Schedule
from orchestrator.agents.errors import AgentEtagStale, NoSchedule, ScheduleInvalid
from orchestrator.agents.ports import AgentQuery, AgentStore, Mutation
from orchestrator.agents.rules import check_definition, check_pause_reason, check_schedule
from orchestrator.paging import Key
from orchestrator.schedules.domain import Firing, firings, next_firing
from orchestrator.schedules.validity import problem

DEFAULT_PREVIEW = 10
MAX_PREVIEW = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A change of an agent: what becomes of its parts; None leaves a part alone."""

    definition: Callable[[AgentDefinition], AgentDefinition] | None
    schedule: Callable[[Schedule | None], Schedule | None] | None
    """Is given None also when what is stored cannot be read."""


def key_of(view: AgentView) -> Key:
    """Return where an agent stands in lists."""
    return view.agent.created_at, view.agent.agent_id


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _random_id() -> str:
    return str(uuid.uuid4())


class AgentService:
    """The use cases of agents.

    Args:
        store: Keeps them.
        now: The present time, with its zone.
        new_id: A random UUID at each call: for agents and etags.
    """

    def __init__(
        self, store: AgentStore, *, now: Callable[[], datetime] = _utc_now, new_id: Callable[[], str] = _random_id
    ) -> None:
        self._store = store
        self._now = now
        self._new_id = new_id

    async def create(
        self, mutation: Mutation, definition: AgentDefinition, schedule: Schedule | None, *, validate_only: bool = False
    ) -> AgentView:
        """Store a new agent; with `validate_only` return what would be stored, without id and etag.

        Raises:
            InvalidArgument: A field of the definition or the schedule.
            ClientAgentIdTaken: The user has another agent with this client_agent_id.
            RequestIdReused: The request_id was used for another request.
        """
        check_definition(definition, inline=False)
        if schedule is not None:
            check_schedule(schedule)
        now = self._now()
        agent = Agent(
            agent_id=self._new_id(),
            user_id=mutation.user_id,
            definition=definition,
            schedule=schedule,
            etag=self._new_id(),
            created_at=now,
            updated_at=now,
        )
        agent = await self._store.add(mutation, agent, validate_only=validate_only)
        return self._view(replace(agent, agent_id="", etag="") if validate_only else agent)

    async def get(self, user_id: str, agent_id: str) -> AgentView:
        """Return an agent of the user.

        Raises:
            NotFound: The user has no such agent.
        """
        return self._view(await self._store.get(user_id, agent_id))

    async def page(self, user_id: str, *, limit: int, before: Key | None) -> tuple[list[AgentView], Key | None]:
        """Return the user's agents, newest first, and the key after which there are more, if there are.

        Args:
            user_id: Their owner.
            limit: At most so many.
            before: The key after which to begin; None for the newest.
        """
        agents = await self._store.page(AgentQuery(user_id=user_id, limit=limit + 1, before=before))
        views = list(map(self._view, agents[:limit]))
        return views, key_of(views[-1]) if len(agents) > limit else None

    async def update(
        self, mutation: Mutation, agent_id: str, edit: Edit, *, etag: str = "", validate_only: bool = False
    ) -> AgentView:
        """Change an agent; with `validate_only` return what would be stored, with the present etag.

        Args:
            mutation: Who asks.
            agent_id: The agent.
            edit: The change.
            etag: What the caller read; empty to change whatever is there.
            validate_only: Check everything, store nothing.

        Raises:
            NotFound: The user has no such agent.
            AgentEtagStale: The etag is not the present one.
            InvalidArgument: A field that the edit touches.
            ClientAgentIdTaken: The user has another agent with the new client_agent_id.
            RequestIdReused: The request_id was used for another request.
        """

        def change(agent: Agent) -> Agent:
            _check_etag(agent, etag)
            changed = agent
            if edit.definition is not None:
                changed = replace(changed, definition=edit.definition(agent.definition))
                check_definition(changed.definition, inline=False)
            if edit.schedule is not None:
                changed = replace(changed, schedule=edit.schedule(agent.schedule), schedule_problem="")
                if changed.schedule is not None:
                    check_schedule(changed.schedule)
            return changed if validate_only else self._stamped(agent, changed)

        return self._view(await self._store.change(mutation, agent_id, change, validate_only=validate_only))

    async def delete(self, mutation: Mutation, agent_id: str, *, etag: str = "") -> None:
        """Delete an agent; its runs stay.

        Raises:
            NotFound: The user has no such agent.
            AgentEtagStale: The etag is not the present one.
            RequestIdReused: The request_id was used for another request.
        """
        await self._store.remove(mutation, agent_id, lambda agent: _check_etag(agent, etag))

    async def pause(self, mutation: Mutation, agent_id: str, reason: str) -> AgentView:
        """Stop an agent's schedule. An agent that is paused stays so, with the new reason.

        Raises:
            InvalidArgument: The reason.
            NotFound: The user has no such agent.
            RequestIdReused: The request_id was used for another request.
        """
        check_pause_reason(reason)

        def change(agent: Agent) -> Agent:
            return self._stamped(agent, replace(agent, paused=True, pause_reason=reason))

        return self._view(await self._store.change(mutation, agent_id, change))

    async def resume(self, mutation: Mutation, agent_id: str) -> AgentView:
        """Let an agent's schedule go on from now.

        Raises:
            NotFound: The user has no such agent.
            ScheduleInvalid: Its stored schedule would never fire.
            RequestIdReused: The request_id was used for another request.
        """

        def change(agent: Agent) -> Agent:
            _check_fires(agent)
            return self._stamped(agent, replace(agent, paused=False, pause_reason="", failures_in_a_row=0))

        return self._view(await self._store.change(mutation, agent_id, change))

    async def preview(
        self, user_id: str, agent_id: str, *, count: int = 0, after: datetime | None = None
    ) -> list[Firing]:
        """Return the next firings of an agent's schedule, also while it is paused.

        Args:
            user_id: Its owner.
            agent_id: The agent.
            count: At most so many; 10 when 0.
            after: Only later ones; now when None.

        Raises:
            NotFound: The user has no such agent.
            NoSchedule: The agent has none.
            ScheduleInvalid: Its stored schedule would never fire.
            InvalidArgument: The count.
        """
        count = _preview_count(count)
        agent = await self._store.get(user_id, agent_id)
        _check_fires(agent)
        if agent.schedule is None:
            raise NoSchedule
        return firings(agent.schedule, agent.agent_id, after or self._now(), count)

    def preview_schedule(self, schedule: Schedule, *, count: int = 0, after: datetime | None = None) -> list[Firing]:
        """Return the next firings of a schedule that no agent has yet: without jitter. Arguments as of `preview`.

        Raises:
            InvalidArgument: A field of the schedule, or the count.
        """
        count = _preview_count(count)
        check_schedule(schedule)
        return firings(schedule, "", after or self._now(), count)

    def _stamped(self, before: Agent, after: Agent) -> Agent:
        """Return the changed agent with its new etag and time; the agent as it was when nothing has changed."""
        return before if after == before else replace(after, etag=self._new_id(), updated_at=self._now())

    def _view(self, agent: Agent) -> AgentView:
        found = _schedule_problem(agent)
        firing = None
        if agent.schedule is not None and not agent.paused and not found:
            firing = next_firing(agent.schedule, agent.agent_id, self._now())
        return AgentView(agent=agent, next_run_at=firing.time if firing else None, schedule_problem=found)


def _schedule_problem(agent: Agent) -> str:
    if agent.schedule_problem or agent.schedule is None:
        return agent.schedule_problem
    return str(problem(agent.schedule) or "")


def _check_fires(agent: Agent) -> None:
    if found := _schedule_problem(agent):
        raise ScheduleInvalid(f"The agent's stored schedule is not valid ({found}). Update it first.")


def _check_etag(agent: Agent, etag: str) -> None:
    if etag and etag != agent.etag:
        raise AgentEtagStale


def _preview_count(asked: int) -> int:
    if not 0 <= asked <= MAX_PREVIEW:
        raise InvalidArgument("count", f"must be from 1 to {MAX_PREVIEW}, or 0 for {DEFAULT_PREVIEW}")
    return asked or DEFAULT_PREVIEW
