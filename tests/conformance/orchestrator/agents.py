"""What every store of agents does. A test module inherits the suite and gives it a `store`."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from adiuva_rpc.errors import InvalidArgument, NotFound
from orchestrator.agents.domain import (
    Agent,
    AgentDefinition,
    Budgets,
    CatchUp,
    CloudConnector,
    DataType,
    LocalDirectory,
    MessageFilter,
    OnOffline,
    Overlap,
    Schedule,
)
from orchestrator.agents.errors import ClientAgentIdTaken, RequestIdReused
from orchestrator.agents.ports import AgentQuery, AgentStore, Mutation

NOON = datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)

LOCAL = AgentDefinition(
    display_name="Clients ✓",
    source=LocalDirectory(directory_paths=("clients/acme", "clients/gufo"), file_extensions=(".md", ".eml")),
    data_types=frozenset({DataType.TASKS, DataType.NOTES}),
    prompt_template='Only "important" things.\n\tNothing else.',
    budgets=Budgets(max_tokens=1_000_000, max_wall_time=timedelta(minutes=90)),
)
CLOUD = AgentDefinition(
    display_name="Mail",
    source=CloudConnector(
        connection_id="gmail-1", filter=MessageFilter(senders=("anna@example.org",), unread_only=True)
    ),
    data_types=frozenset(DataType),
)
SCHEDULE = Schedule(
    cron="*/15 8-18 * * mon-fri",
    time_zone="Europe/Rome",
    jitter=timedelta(minutes=3, seconds=20),
    catch_up=CatchUp.NONE,
    grace=timedelta(minutes=7),
    overlap=Overlap.CANCEL_OTHER,
    on_offline=OnOffline.SKIP,
    start_time=NOON,
    end_time=NOON + timedelta(days=400),
    pause_after_failures=3,
)


def an_agent(user_id: str, **fields: object) -> Agent:
    """Return an agent with the given fields."""
    usual = Agent(
        agent_id=str(uuid.uuid4()),
        user_id=user_id,
        definition=LOCAL,
        schedule=None,
        etag=str(uuid.uuid4()),
        created_at=NOON,
        updated_at=NOON,
    )
    return replace(usual, **fields)  # type: ignore[arg-type] # the callers name fields of Agent


def a_mutation(user_id: str, request_hash: str = "hash", request_id: str = "") -> Mutation:
    """Return a new request, or the one with this id."""
    return Mutation(user_id=user_id, request_id=request_id or str(uuid.uuid4()), request_hash=request_hash)


def renamed(agent: Agent) -> Agent:
    """Return the agent with another name and etag."""
    definition = replace(agent.definition, display_name="Renamed")
    return replace(agent, definition=definition, etag="new", updated_at=NOON + timedelta(hours=1))


class AgentStoreConformance:
    """The suite. `store` may hold agents of other tests: every test has users of its own."""

    @pytest.fixture
    def user(self) -> str:
        return f"user-{uuid.uuid4()}"

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"definition": CLOUD},
            {"schedule": SCHEDULE},
            {"schedule": Schedule(cron="0 9 * * *")},
            {"schedule": Schedule(cron="not cron at all")},
            {"definition": replace(LOCAL, client_agent_id=str(uuid.uuid4()))},
            {"paused": True, "pause_reason": "Holidays"},
        ],
        ids=["local", "cloud", "all of a schedule", "a plain schedule", "an invalid schedule", "client id", "paused"],
    )
    async def test_an_agent_comes_back_as_it_was_stored(
        self, store: AgentStore, user: str, fields: dict[str, object]
    ) -> None:
        agent = an_agent(user, **fields)

        assert await store.add(a_mutation(user), agent) == agent
        assert await store.get(user, agent.agent_id) == agent

    @pytest.mark.parametrize("agent_id", ["", "nothing", str(uuid.UUID(int=7)), "with\0nul", "x" * 10_000])
    async def test_an_unknown_agent_is_not_found(self, store: AgentStore, user: str, agent_id: str) -> None:
        with pytest.raises(NotFound):
            await store.get(user, agent_id)
        with pytest.raises(NotFound):
            await store.change(a_mutation(user), agent_id, renamed)
        with pytest.raises(NotFound):
            await store.remove(a_mutation(user), agent_id, lambda _agent: None)

    async def test_another_users_agent_is_not_found(self, store: AgentStore, user: str) -> None:
        agent = await store.add(a_mutation(user), an_agent(user))
        other = f"not-{user}"

        with pytest.raises(NotFound):
            await store.get(other, agent.agent_id)
        with pytest.raises(NotFound):
            await store.change(a_mutation(other), agent.agent_id, renamed)
        with pytest.raises(NotFound):
            await store.remove(a_mutation(other), agent.agent_id, lambda _agent: None)
        assert await store.page(AgentQuery(user_id=other, limit=10)) == []
        assert await store.get(user, agent.agent_id) == agent

    async def test_pages_go_from_the_newest_to_the_oldest_and_repeat_none(self, store: AgentStore, user: str) -> None:
        agents = [an_agent(user, created_at=NOON + timedelta(microseconds=number // 2)) for number in range(7)]
        for agent in agents:
            await store.add(a_mutation(user), agent)

        first = await store.page(AgentQuery(user_id=user, limit=3))
        await store.add(a_mutation(user), an_agent(user, created_at=NOON + timedelta(days=1)))
        key = (first[-1].created_at, first[-1].agent_id)
        rest = await store.page(AgentQuery(user_id=user, limit=10, before=key))

        assert first + rest == sorted(agents, key=lambda agent: (agent.created_at, agent.agent_id), reverse=True)

    async def test_a_change_is_stored_and_returned(self, store: AgentStore, user: str) -> None:
        agent = await store.add(a_mutation(user), an_agent(user))

        changed = await store.change(a_mutation(user), agent.agent_id, renamed)

        assert changed == renamed(agent)
        assert await store.get(user, agent.agent_id) == changed

    @pytest.mark.parametrize("schedule", [None, SCHEDULE])
    async def test_a_schedule_can_be_set_and_removed(
        self, store: AgentStore, user: str, schedule: Schedule | None
    ) -> None:
        agent = await store.add(a_mutation(user), an_agent(user, schedule=Schedule(cron="0 9 * * *")))

        await store.change(a_mutation(user), agent.agent_id, lambda agent: replace(agent, schedule=schedule))

        assert (await store.get(user, agent.agent_id)).schedule == schedule

    async def test_a_change_that_is_refused_stores_nothing_and_uses_up_no_request(
        self, store: AgentStore, user: str
    ) -> None:
        agent = await store.add(a_mutation(user), an_agent(user))
        mutation = a_mutation(user)

        def refuse(_agent: Agent) -> Agent:
            raise InvalidArgument("definition.display_name", "is not to our taste")

        with pytest.raises(InvalidArgument):
            await store.change(mutation, agent.agent_id, refuse)

        assert await store.get(user, agent.agent_id) == agent
        assert await store.change(mutation, agent.agent_id, renamed) == renamed(agent)

    async def test_a_deleted_agent_is_gone(self, store: AgentStore, user: str) -> None:
        agent = await store.add(a_mutation(user), an_agent(user))

        await store.remove(a_mutation(user), agent.agent_id, lambda _agent: None)

        with pytest.raises(NotFound):
            await store.get(user, agent.agent_id)
        with pytest.raises(NotFound):
            await store.remove(a_mutation(user), agent.agent_id, lambda _agent: None)

    async def test_a_removal_that_is_refused_removes_nothing(self, store: AgentStore, user: str) -> None:
        agent = await store.add(a_mutation(user), an_agent(user))
        seen: list[Agent] = []

        def refuse(agent: Agent) -> None:
            seen.append(agent)
            raise InvalidArgument("etag", "is not to our taste")

        with pytest.raises(InvalidArgument):
            await store.remove(a_mutation(user), agent.agent_id, refuse)

        assert [await store.get(user, agent.agent_id)] == seen == [agent]

    async def test_the_same_request_adds_one_agent_and_gets_it_as_it_stands(self, store: AgentStore, user: str) -> None:
        mutation = a_mutation(user)
        agent = await store.add(mutation, an_agent(user))
        await store.change(a_mutation(user), agent.agent_id, renamed)

        again = await store.add(mutation, an_agent(user))

        assert again == renamed(agent)
        assert await store.page(AgentQuery(user_id=user, limit=10)) == [again]

    async def test_the_same_request_for_an_agent_that_is_gone_is_not_found(self, store: AgentStore, user: str) -> None:
        mutation = a_mutation(user)
        agent = await store.add(mutation, an_agent(user))
        await store.remove(a_mutation(user), agent.agent_id, lambda _agent: None)

        with pytest.raises(NotFound):
            await store.add(mutation, an_agent(user))

    async def test_the_same_request_changes_once(self, store: AgentStore, user: str) -> None:
        agent = await store.add(a_mutation(user), an_agent(user))
        mutation = a_mutation(user)
        await store.change(mutation, agent.agent_id, renamed)
        newest = await store.change(a_mutation(user), agent.agent_id, lambda agent: replace(agent, etag="newest"))

        def unexpected(_agent: Agent) -> Agent:
            raise AssertionError("changed twice")

        assert await store.change(mutation, agent.agent_id, unexpected) == newest

    async def test_the_same_request_removes_once(self, store: AgentStore, user: str) -> None:
        agent = await store.add(a_mutation(user), an_agent(user))
        mutation = a_mutation(user)
        await store.remove(mutation, agent.agent_id, lambda _agent: None)

        await store.remove(mutation, agent.agent_id, lambda _agent: None)

    async def test_a_request_id_of_another_request_is_refused(self, store: AgentStore, user: str) -> None:
        mutation = a_mutation(user, "one")
        agent = await store.add(mutation, an_agent(user))
        other = a_mutation(user, "other", mutation.request_id)

        with pytest.raises(RequestIdReused):
            await store.add(other, an_agent(user))
        with pytest.raises(RequestIdReused):
            await store.change(other, agent.agent_id, renamed)
        with pytest.raises(RequestIdReused):
            await store.remove(other, agent.agent_id, lambda _agent: None)
        assert await store.page(AgentQuery(user_id=user, limit=10)) == [agent]

    async def test_request_ids_of_two_users_have_nothing_to_do_with_each_other(
        self, store: AgentStore, user: str
    ) -> None:
        mutation = a_mutation(user)
        other = replace(mutation, user_id=f"not-{user}", request_hash="other")

        mine = await store.add(mutation, an_agent(user))
        theirs = await store.add(other, an_agent(other.user_id))

        assert mine.agent_id != theirs.agent_id

    async def test_a_client_agent_id_is_unique_for_its_user(self, store: AgentStore, user: str) -> None:
        wanted = replace(LOCAL, client_agent_id=str(uuid.uuid4()))
        await store.add(a_mutation(user), an_agent(user, definition=wanted))
        without = await store.add(a_mutation(user), an_agent(user))
        mutation = a_mutation(user)

        with pytest.raises(ClientAgentIdTaken):
            await store.add(mutation, an_agent(user, definition=wanted))
        with pytest.raises(ClientAgentIdTaken):
            await store.change(mutation, without.agent_id, lambda agent: replace(agent, definition=wanted))
        with pytest.raises(ClientAgentIdTaken):
            await store.add(mutation, an_agent(user, definition=wanted), validate_only=True)

        assert await store.get(user, without.agent_id) == without
        other = f"not-{user}"
        await store.add(a_mutation(other), an_agent(other, definition=wanted))

    async def test_the_client_agent_id_of_a_deleted_agent_is_free(self, store: AgentStore, user: str) -> None:
        wanted = replace(LOCAL, client_agent_id=str(uuid.uuid4()))
        agent = await store.add(a_mutation(user), an_agent(user, definition=wanted))
        await store.remove(a_mutation(user), agent.agent_id, lambda _agent: None)

        await store.add(a_mutation(user), an_agent(user, definition=wanted))

    async def test_checking_only_stores_and_remembers_nothing(self, store: AgentStore, user: str) -> None:
        agent = await store.add(a_mutation(user), an_agent(user))
        mutation = a_mutation(user)
        another = an_agent(user)

        assert await store.add(mutation, another, validate_only=True) == another
        assert await store.change(mutation, agent.agent_id, renamed, validate_only=True) == renamed(agent)

        assert await store.page(AgentQuery(user_id=user, limit=10)) == [agent]
        assert await store.add(replace(mutation, request_hash="other"), another) == another
