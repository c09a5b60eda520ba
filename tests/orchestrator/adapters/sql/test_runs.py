"""The runs in PostgreSQL: what a request, a worker and a cancellation do to them."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from adiuva_rpc.errors import NotFound
from orchestrator.adapters.sql.journals import SqlJournals
from orchestrator.adapters.sql.runs import MAX_WAITING_RUNS, SqlRuns, TooManyRuns
from orchestrator.agents.domain import AgentDefinition, CloudConnector, DataType, LocalDirectory, MessageFilter
from orchestrator.agents.errors import RequestIdReused
from orchestrator.runs.domain import RunState, Trigger
from orchestrator.runs.events import Finished
from orchestrator.runs.ports import NewRun, RunQuery
from orchestrator.runs.report import RunReport


@pytest.fixture
def runs(pool: AsyncEngine) -> SqlRuns:
    return SqlRuns(pool)


@pytest.fixture
def user() -> str:
    """A user of this test alone: the tests of a module share a database."""
    return f"user-{uuid.uuid4()}"


def new_run(user: str, *, request_id: str = "", request_hash: str = "same") -> NewRun:
    return NewRun(
        user_id=user,
        agent_id="",
        definition=AgentDefinition(
            display_name="Clients",
            source=LocalDirectory(directory_paths=("clients",), file_extensions=(".md",)),
            data_types=frozenset({DataType.TASKS, DataType.NOTES}),
            client_agent_id=str(uuid.uuid4()),
            prompt_template="Only what is urgent.",
        ),
        trigger=Trigger.API,
        request_id=request_id or str(uuid.uuid4()),
        request_hash=request_hash,
    )


async def jobs_of(pool: AsyncEngine, user: str) -> int:
    async with pool.connect() as connection:
        found = await connection.execute(
            text("SELECT count(*) FROM procrastinate_jobs WHERE lock = :lock"), {"lock": f"user:{user}"}
        )
        return int(found.scalar_one())


async def test_a_run_and_its_job_are_written_together(runs: SqlRuns, pool: AsyncEngine, user: str) -> None:
    new = new_run(user)

    run = await runs.start(new)

    assert run.definition == new.definition
    assert run.state is RunState.QUEUED
    assert await runs.get(user, run.run_id) == run
    assert await jobs_of(pool, user) == 1


async def test_the_same_request_starts_one_run_however_often_and_how_closely_it_comes(
    runs: SqlRuns, pool: AsyncEngine, user: str
) -> None:
    new = new_run(user)

    started = await asyncio.gather(*(runs.start(new) for _ in range(8)))

    assert len({run.run_id for run in started}) == 1
    assert await jobs_of(pool, user) == 1


async def test_a_request_id_that_was_used_for_another_request_is_refused(runs: SqlRuns, user: str) -> None:
    first = new_run(user)
    await runs.start(first)

    with pytest.raises(RequestIdReused):
        await runs.start(new_run(user, request_id=first.request_id, request_hash="another"))


async def test_two_users_may_use_the_same_request_id(runs: SqlRuns, user: str) -> None:
    mine = await runs.start(new_run(user, request_id="r"))
    theirs = await runs.start(new_run(f"{user}-other", request_id="r"))

    assert mine.run_id != theirs.run_id


async def test_a_user_who_has_too_many_runs_waiting_is_told_when_to_come_back(runs: SqlRuns, user: str) -> None:
    for _ in range(MAX_WAITING_RUNS):
        await runs.start(new_run(user))

    with pytest.raises(TooManyRuns) as refused:
        await runs.start(new_run(user))

    assert refused.value.retry_after


async def test_a_run_of_another_user_does_not_exist(runs: SqlRuns, user: str) -> None:
    run = await runs.start(new_run(user))

    with pytest.raises(NotFound):
        await runs.get("somebody else", run.run_id)
    with pytest.raises(NotFound):
        await runs.request_cancel("somebody else", run.run_id, "")


async def test_every_claim_raises_the_epoch(runs: SqlRuns, user: str) -> None:
    run = await runs.start(new_run(user))

    claims = [await runs.claim(run.run_id) for _ in range(3)]

    assert [claim.epoch for claim in claims if claim] == [1, 2, 3]
    assert len({claim.started_at for claim in claims if claim}) == 1


async def test_a_run_that_waits_is_cancelled_at_once_and_never_claimed(
    runs: SqlRuns, pool: AsyncEngine, user: str
) -> None:
    run = await runs.start(new_run(user))

    cancelled = await runs.request_cancel(user, run.run_id, "changed my mind")

    assert cancelled.state is RunState.CANCELLED
    assert cancelled.cancel_reason == "changed my mind"
    assert await runs.claim(run.run_id) is None
    assert [type(entry.event) for entry in await SqlJournals(pool).read(run.run_id)] == [Finished]


async def test_a_run_under_way_is_asked_to_end_and_keeps_the_first_reason(runs: SqlRuns, user: str) -> None:
    run = await runs.start(new_run(user))
    await runs.claim(run.run_id)

    await runs.request_cancel(user, run.run_id, "first")
    asked = await runs.request_cancel(user, run.run_id, "second")

    assert asked.state is RunState.RUNNING
    assert asked.cancel_requested
    assert asked.cancel_reason == "first"


async def test_pages_follow_each_other_without_gap_or_repeat(runs: SqlRuns, user: str) -> None:
    started = [(await runs.start(new_run(user))).run_id for _ in range(5)]

    first = await runs.page(RunQuery(user_id=user, limit=3))
    rest = await runs.page(RunQuery(user_id=user, limit=3, before=(first[-1].created_at, first[-1].run_id)))

    assert [run.run_id for run in (*first, *rest)] == started[::-1]


async def test_a_list_can_be_narrowed_to_a_state_and_to_an_agent(runs: SqlRuns, user: str) -> None:
    one, other = await runs.start(new_run(user)), await runs.start(new_run(user))
    await runs.claim(other.run_id)

    running = await runs.page(RunQuery(user_id=user, states=frozenset({RunState.RUNNING})))
    of_agent = await runs.page(RunQuery(user_id=user, agent_id=one.agent_key))

    assert [run.run_id for run in running] == [other.run_id]
    assert [run.run_id for run in of_agent] == [one.run_id]


async def test_a_report_is_kept_for_a_terminal_run_only(runs: SqlRuns, user: str) -> None:
    run = await runs.start(new_run(user))
    report = RunReport(items_found=3, effects={"CREATED": {"task": 2}}, summaries=("Two tasks.",), last_seq=9)

    await runs.keep_report(run.run_id, report)
    before = await runs.report(run.run_id)
    await runs.request_cancel(user, run.run_id, "")
    await runs.keep_report(run.run_id, report)

    assert before is None
    assert await runs.report(run.run_id) == report


async def test_a_cloud_definition_survives_storage(runs: SqlRuns, user: str) -> None:
    new = new_run(user)
    definition = AgentDefinition(
        display_name="Mail",
        source=CloudConnector(connection_id="c1", filter=MessageFilter(containers=("clients",))),
        data_types=frozenset({DataType.TASKS}),
    )

    run = await runs.start(
        NewRun(
            user_id=user,
            agent_id="a1",
            definition=definition,
            trigger=new.trigger,
            request_id=new.request_id,
            request_hash="h",
        )
    )

    assert run.definition == definition
