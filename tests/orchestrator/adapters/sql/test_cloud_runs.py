"""Runs over messages on PostgreSQL: what was processed is remembered with the event that says so."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from orchestrator.adapters.sql.journals import SqlJournals
from orchestrator.adapters.sql.message_memory import SqlMessageMemory
from orchestrator.adapters.sql.runs import SqlRuns
from orchestrator.runs.domain import ModelBadAnswer, RunState
from orchestrator.runs.execute import execute
from orchestrator.runs.journal import open_journal
from orchestrator.runs.messages import ModelAnswer, ModelRequest, ToolAnswer
from orchestrator.runs.ports import Inbox
from orchestrator.runs.progress import Progress
from tests.fakes.devices import FakeDevices
from tests.fakes.mailbox import FakeMailbox, FakeMessages
from tests.fakes.models import ScriptedModel, diligent
from tests.orchestrator.adapters.sql.test_runs import new_run
from tests.orchestrator.runs.lab import QUICK, ManualClock, cloud_definition


@dataclass
class Office:
    """A mailbox and a laptop, with everything else on PostgreSQL."""

    pool: AsyncEngine
    journals: SqlJournals
    user: str = field(default_factory=lambda: f"user-{uuid.uuid4()}")

    def __post_init__(self) -> None:
        self.mailbox = FakeMailbox(user_id=self.user)
        self.devices = FakeDevices()
        self.laptop = self.devices.add("laptop", user_id=self.user)
        self.inbox = Inbox(messages=FakeMessages(self.mailbox), memory=SqlMessageMemory(self.pool))
        self.definition = replace(cloud_definition(), client_agent_id=str(uuid.uuid4()))

    async def run(self, model: ScriptedModel | None = None) -> Progress:
        """Start a run of the agent and take it to its end."""
        runs = SqlRuns(self.pool)
        started = await runs.start(replace(new_run(self.user), definition=self.definition))
        claimed = await runs.claim(started.run_id)
        assert claimed is not None
        journal = await open_journal(claimed, self.journals)
        await execute(
            journal,
            devices=self.devices,
            model=model or ScriptedModel(diligent),
            clock=ManualClock(),
            inbox=self.inbox,
            limits=QUICK,
        )
        assert (await runs.get(self.user, started.run_id)).state is journal.progress.concluded
        return journal.progress

    async def remembered(self, table: str) -> list[str]:
        """The messages of a table."""
        statement = text(f"SELECT message_key FROM {table} WHERE user_id = :user ORDER BY 1")  # noqa: S608 - a table
        async with self.pool.connect() as connection:
            return list((await connection.execute(statement, {"user": self.user})).scalars())


@pytest.fixture
async def office(pool: AsyncEngine) -> AsyncIterator[Office]:
    journals = SqlJournals(pool)
    async with asyncio.TaskGroup() as tasks:
        writer = tasks.create_task(journals.run())
        yield Office(pool, journals)
        writer.cancel()


async def test_what_comes_again_is_not_processed_again(office: Office) -> None:
    for number in range(3):
        office.mailbox.add(f"m{number}", f"TODO job {number}")

    first = await office.run()
    office.mailbox.cursors.clear()
    second = await office.run()

    assert first.concluded is second.concluded is RunState.SUCCEEDED
    assert second.items == ()
    assert office.laptop.workspace.titles("task") == ["job 0", "job 1", "job 2"]
    assert await office.remembered("processed_messages") == [f"message:gmail:m{number}" for number in range(3)]


async def test_a_message_is_given_up_after_three_runs(office: Office) -> None:
    def script(request: ModelRequest) -> ModelAnswer | ModelBadAnswer:
        texts = [message.content_json for message in request.messages if isinstance(message, ToolAnswer)]
        return ModelBadAnswer("Garbage.") if any("poison" in text for text in texts) else diligent(request)

    office.mailbox.add("bad", "poison")
    office.mailbox.add("good", "TODO job")
    poisoned = ScriptedModel(script)

    runs = [await office.run(poisoned) for _ in range(4)]

    given_up = [any(error.reason == "MESSAGE_GIVEN_UP" for error in run.errors) for run in runs]
    assert given_up == [False, False, True, False]
    assert await office.remembered("processed_messages") == ["message:gmail:bad", "message:gmail:good"]
    assert await office.remembered("message_failures") == []
    assert office.mailbox.behind(office.definition.client_agent_id) == ["bad", "good"]
