from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from adiuva_rpc.errors import InvalidArgument, NotFound
from orchestrator.agents.domain import AgentDefinition, AgentView, DataType, LocalDirectory, Schedule
from orchestrator.agents.errors import AgentEtagStale, ClientAgentIdTaken, NoSchedule, ScheduleInvalid
from orchestrator.agents.service import AgentService, Edit
from tests.conformance.orchestrator.agents import a_mutation
from tests.fakes.agents import InMemoryAgents

USER = "anna"
DEFINITION = AgentDefinition(
    display_name="Clients",
    source=LocalDirectory(directory_paths=("clients",)),
    data_types=frozenset({DataType.TASKS}),
)
DAILY = Schedule(cron="0 9 * * *", time_zone="Europe/Rome")
INVALID = Schedule(cron="never")


class Bench:
    """The use cases, with a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 7, 1, 12, tzinfo=UTC)
        self.store = InMemoryAgents()
        self.service = AgentService(self.store, now=lambda: self.now)

    async def create(self, schedule: Schedule | None = None, definition: AgentDefinition = DEFINITION) -> AgentView:
        return await self.service.create(a_mutation(USER), definition, schedule)

    async def with_stored(self, schedule: Schedule | None, problem: str = "", *, paused: bool = False) -> str:
        """Return the id of an agent whose stored schedule no rule has seen."""
        view = await self.create()
        self.store.put(replace(view.agent, schedule=schedule, schedule_problem=problem, paused=paused))
        return view.agent.agent_id


@pytest.fixture
def bench() -> Bench:
    return Bench()


def rename(name: str) -> Edit:
    return Edit(definition=lambda current: replace(current, display_name=name), schedule=None)


def reschedule(schedule: Schedule | None) -> Edit:
    return Edit(definition=None, schedule=lambda _current: schedule)


async def test_a_new_agent_has_an_id_an_etag_and_its_times(bench: Bench) -> None:
    view = await bench.create(DAILY)

    uuid.UUID(view.agent.agent_id)
    assert view.agent.etag
    assert view.agent.created_at == view.agent.updated_at == bench.now
    assert view.agent.last_run_at is None
    assert await bench.service.get(USER, view.agent.agent_id) == view


async def test_the_next_run_is_the_next_firing_from_now(bench: Bench) -> None:
    agent_id = (await bench.create(DAILY)).agent.agent_id
    assert (await bench.service.get(USER, agent_id)).next_run_at == datetime(2026, 7, 2, 7, tzinfo=UTC)

    bench.now += timedelta(days=1)

    assert (await bench.service.get(USER, agent_id)).next_run_at == datetime(2026, 7, 3, 7, tzinfo=UTC)


async def test_an_agent_without_a_schedule_or_past_its_end_runs_no_more(bench: Bench) -> None:
    assert (await bench.create()).next_run_at is None
    assert (await bench.create(replace(DAILY, end_time=bench.now))).next_run_at is None


async def test_a_wrong_definition_or_schedule_is_refused_and_stores_nothing(bench: Bench) -> None:
    with pytest.raises(InvalidArgument, match=r"definition\.display_name"):
        await bench.create(definition=replace(DEFINITION, display_name=""))
    with pytest.raises(InvalidArgument, match=r"schedule\.cron"):
        await bench.create(INVALID)

    assert await bench.service.page(USER, limit=10, before=None) == ([], None)


async def test_checking_a_new_agent_stores_nothing_and_shows_what_would_be_stored(bench: Bench) -> None:
    view = await bench.service.create(a_mutation(USER), DEFINITION, DAILY, validate_only=True)

    assert (view.agent.agent_id, view.agent.etag) == ("", "")
    assert (view.agent.definition, view.agent.schedule) == (DEFINITION, DAILY)
    assert view.next_run_at is not None
    assert await bench.service.page(USER, limit=10, before=None) == ([], None)


async def test_a_list_ends_when_there_are_no_more(bench: Bench) -> None:
    created = []
    for _ in range(5):
        bench.now += timedelta(seconds=1)
        created.append((await bench.create()).agent.agent_id)

    first, more = await bench.service.page(USER, limit=3, before=None)
    rest, end = await bench.service.page(USER, limit=3, before=more)

    assert [view.agent.agent_id for view in first + rest] == created[::-1]
    assert end is None
    assert (await bench.service.page(USER, limit=5, before=None))[1] is None


async def test_an_update_changes_the_etag_and_the_time(bench: Bench) -> None:
    before = (await bench.create()).agent
    bench.now += timedelta(hours=1)

    after = (await bench.service.update(a_mutation(USER), before.agent_id, rename("New"))).agent

    assert after.definition.display_name == "New"
    assert after.etag != before.etag
    assert (after.created_at, after.updated_at) == (before.created_at, bench.now)
    assert (await bench.service.get(USER, before.agent_id)).agent == after


async def test_an_update_that_changes_nothing_keeps_the_etag(bench: Bench) -> None:
    before = (await bench.create()).agent
    bench.now += timedelta(hours=1)

    assert (await bench.service.update(a_mutation(USER), before.agent_id, rename("Clients"))).agent == before


async def test_a_stale_etag_is_refused_and_the_present_one_is_not(bench: Bench) -> None:
    first = (await bench.create()).agent
    second = (await bench.service.update(a_mutation(USER), first.agent_id, rename("Second"), etag=first.etag)).agent

    with pytest.raises(AgentEtagStale):
        await bench.service.update(a_mutation(USER), first.agent_id, rename("Third"), etag=first.etag)
    with pytest.raises(AgentEtagStale):
        await bench.service.delete(a_mutation(USER), first.agent_id, etag=first.etag)

    await bench.service.delete(a_mutation(USER), first.agent_id, etag=second.etag)


async def test_an_update_repeated_after_its_success_gets_its_answer_not_a_stale_etag(bench: Bench) -> None:
    first, mutation = (await bench.create()).agent, a_mutation(USER)
    done = await bench.service.update(mutation, first.agent_id, rename("New"), etag=first.etag)

    assert await bench.service.update(mutation, first.agent_id, rename("New"), etag=first.etag) == done


async def test_what_an_update_makes_is_checked(bench: Bench) -> None:
    before = (await bench.create(DAILY)).agent

    with pytest.raises(InvalidArgument, match=r"definition\.display_name"):
        await bench.service.update(a_mutation(USER), before.agent_id, rename(""))
    with pytest.raises(InvalidArgument, match=r"schedule\.cron"):
        await bench.service.update(a_mutation(USER), before.agent_id, reschedule(INVALID))

    assert (await bench.service.get(USER, before.agent_id)).agent == before


async def test_checking_an_update_stores_nothing_and_keeps_the_etag(bench: Bench) -> None:
    before = (await bench.create()).agent

    view = await bench.service.update(a_mutation(USER), before.agent_id, reschedule(DAILY), validate_only=True)

    assert view.agent == replace(before, schedule=DAILY)
    assert view.next_run_at is not None
    assert (await bench.service.get(USER, before.agent_id)).agent == before


async def test_an_update_cannot_take_the_client_agent_id_of_another_agent(bench: Bench) -> None:
    wanted = replace(DEFINITION, client_agent_id=str(uuid.uuid4()))
    await bench.create(definition=wanted)
    other = (await bench.create()).agent

    with pytest.raises(ClientAgentIdTaken):
        await bench.service.update(
            a_mutation(USER), other.agent_id, Edit(definition=lambda _current: wanted, schedule=None)
        )


@pytest.mark.parametrize(
    ("stored", "problem", "shown"),
    [(INVALID, "", "cron: "), (None, "what is stored cannot be read as a schedule", "cannot be read")],
    ids=["invalid", "unreadable"],
)
class TestAnInvalidScheduleInTheDatabase:
    async def test_breaks_no_read_and_is_shown(
        self, bench: Bench, stored: Schedule | None, problem: str, shown: str
    ) -> None:
        agent_id = await bench.with_stored(stored, problem)

        view = await bench.service.get(USER, agent_id)
        (listed,), _ = await bench.service.page(USER, limit=10, before=None)

        assert shown in view.schedule_problem
        assert view.next_run_at is None
        assert listed == view

    async def test_does_not_stand_in_the_way_of_other_changes(
        self, bench: Bench, stored: Schedule | None, problem: str, shown: str
    ) -> None:
        agent_id = await bench.with_stored(stored, problem)

        view = await bench.service.update(a_mutation(USER), agent_id, rename("New"))

        assert view.agent.definition.display_name == "New"
        assert shown in view.schedule_problem

    @pytest.mark.parametrize("schedule", [DAILY, None], ids=["replaced", "removed"])
    async def test_is_repaired_by_an_update(
        self, bench: Bench, stored: Schedule | None, problem: str, shown: str, schedule: Schedule | None
    ) -> None:
        agent_id = await bench.with_stored(stored, problem)

        view = await bench.service.update(a_mutation(USER), agent_id, reschedule(schedule))

        assert view.schedule_problem == ""
        assert (view.next_run_at is None) is (schedule is None)

    async def test_can_be_paused_but_neither_resumed_nor_previewed(
        self, bench: Bench, stored: Schedule | None, problem: str, shown: str
    ) -> None:
        agent_id = await bench.with_stored(stored, problem)
        await bench.service.pause(a_mutation(USER), agent_id, "Broken")

        with pytest.raises(ScheduleInvalid, match=shown):
            await bench.service.resume(a_mutation(USER), agent_id)
        with pytest.raises(ScheduleInvalid, match=shown):
            await bench.service.preview(USER, agent_id)
        assert (await bench.service.get(USER, agent_id)).agent.paused


async def test_the_same_invalid_schedule_sent_again_is_refused(bench: Bench) -> None:
    agent_id = await bench.with_stored(INVALID)

    with pytest.raises(InvalidArgument):
        await bench.service.update(a_mutation(USER), agent_id, reschedule(INVALID))


async def test_a_paused_agent_has_no_next_run_until_it_is_resumed(bench: Bench) -> None:
    created = await bench.create(DAILY)
    agent_id = created.agent.agent_id

    paused = await bench.service.pause(a_mutation(USER), agent_id, "Holidays")
    resumed = await bench.service.resume(a_mutation(USER), agent_id)

    assert (paused.agent.paused, paused.agent.pause_reason, paused.next_run_at) == (True, "Holidays", None)
    assert (resumed.agent.paused, resumed.agent.pause_reason) == (False, "")
    assert resumed.next_run_at == created.next_run_at
    assert len({created.agent.etag, paused.agent.etag, resumed.agent.etag}) == 3


async def test_a_pause_with_another_reason_and_a_resume_without_need_are_answered(bench: Bench) -> None:
    agent = (await bench.create()).agent

    assert (await bench.service.resume(a_mutation(USER), agent.agent_id)).agent == agent
    await bench.service.pause(a_mutation(USER), agent.agent_id, "One")
    assert (await bench.service.pause(a_mutation(USER), agent.agent_id, "Two")).agent.pause_reason == "Two"


async def test_a_pause_needs_a_sound_reason(bench: Bench) -> None:
    agent = (await bench.create()).agent

    with pytest.raises(InvalidArgument):
        await bench.service.pause(a_mutation(USER), agent.agent_id, "x" * 501)


async def test_a_preview_tells_ten_firings_from_now_also_while_paused(bench: Bench) -> None:
    agent_id = (await bench.create(replace(DAILY, jitter=timedelta(minutes=30)))).agent.agent_id
    view = await bench.service.pause(a_mutation(USER), agent_id, "")

    firings = await bench.service.preview(USER, agent_id)

    assert len(firings) == 10
    assert all(firing.time > bench.now for firing in firings)
    assert view.next_run_at is None
    assert firings[0].time == (await bench.service.resume(a_mutation(USER), agent_id)).next_run_at


async def test_a_preview_of_a_schedule_that_no_agent_has_is_without_jitter(bench: Bench) -> None:
    after = datetime(2028, 1, 1, tzinfo=UTC)

    firings = bench.service.preview_schedule(replace(DAILY, jitter=timedelta(hours=1)), count=2, after=after)

    assert [firing.local_time.isoformat() for firing in firings] == [
        "2028-01-01T09:00:00+01:00",
        "2028-01-02T09:00:00+01:00",
    ]


async def test_a_preview_ends_with_the_schedule(bench: Bench) -> None:
    schedule = replace(DAILY, end_time=bench.now + timedelta(days=3))

    assert len(bench.service.preview_schedule(schedule, count=100)) == 3


@pytest.mark.parametrize("count", [-1, 101, 2**31 - 1])
async def test_a_preview_has_a_limit(bench: Bench, count: int) -> None:
    with pytest.raises(InvalidArgument, match="count"):
        bench.service.preview_schedule(DAILY, count=count)


async def test_there_is_no_preview_without_a_valid_schedule(bench: Bench) -> None:
    agent = (await bench.create()).agent

    with pytest.raises(NoSchedule):
        await bench.service.preview(USER, agent.agent_id)
    with pytest.raises(InvalidArgument, match=r"schedule\.cron"):
        bench.service.preview_schedule(INVALID)


async def test_another_users_agent_is_not_found(bench: Bench) -> None:
    agent_id = (await bench.create(DAILY)).agent.agent_id
    berta, service = "berta", bench.service

    for answer in (
        service.get(berta, agent_id),
        service.update(a_mutation(berta), agent_id, rename("Mine")),
        service.delete(a_mutation(berta), agent_id),
        service.pause(a_mutation(berta), agent_id, ""),
        service.resume(a_mutation(berta), agent_id),
        service.preview(berta, agent_id),
    ):
        with pytest.raises(NotFound):
            await answer
