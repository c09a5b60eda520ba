"""What every implementation of `runs.ports.MessageMemory` keeps, with the journals that write it.

A test module makes a subclass with a fixture `harness`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import pytest

from orchestrator.agents.domain import AgentDefinition, CloudConnector, DataType, LocalDirectory
from orchestrator.runs.domain import Fenced, Run
from orchestrator.runs.events import Claimed, Event, ItemFailed, ItemProcessed
from orchestrator.runs.ports import Failures, Journals, MessageMemory, Remembered

AGENT = "0f8fad5b-d9cb-469f-a165-70867728950e"
MAIL = AgentDefinition(
    display_name="Mail",
    source=CloudConnector(connection_id="mail"),
    data_types=frozenset({DataType.TASKS}),
    client_agent_id=AGENT,
)
ONE, TWO, THREE = "message:gmail:1", "message:gmail:2", "message:teams:19:x@thread.v2/3"
ALL = (ONE, TWO, THREE)


class MemoryHarness(Protocol):
    """What a test module gives the suite. Each test has a user of its own, `ada`, and another one, `bob`."""

    @property
    def journals(self) -> Journals:
        """The journals that write the memory under test."""
        ...

    @property
    def memory(self) -> MessageMemory:
        """The memory under test."""
        ...

    async def new_run(self, definition: AgentDefinition = MAIL, *, user: str = "ada") -> Run:
        """Make a run that a worker has just claimed."""
        ...

    async def take(self, run: Run) -> Run:
        """Have another worker claim the run."""
        ...


class MessageMemoryConformance:
    """The suite."""

    @pytest.fixture
    async def harness(self) -> MemoryHarness:
        raise NotImplementedError

    async def tell(self, harness: MemoryHarness, run: Run, events: Sequence[Event], *, first: int = 1) -> None:
        await harness.journals.append(run.run_id, run.epoch, list(enumerate(events, start=first)))

    async def test_nothing_is_known_of_new_messages(self, harness: MemoryHarness) -> None:
        run = await harness.new_run()

        assert await harness.memory.recall(run, ALL) == Remembered()
        assert await harness.memory.recall(run, ()) == Remembered()

    async def test_a_processed_message_is_done_for_the_next_runs(self, harness: MemoryHarness) -> None:
        run = await harness.new_run()
        await self.tell(harness, run, [ItemProcessed(group="g1", item=ONE), ItemProcessed(group="g1", item=THREE)])

        following = await harness.new_run()

        assert await harness.memory.recall(following, ALL) == Remembered(done=frozenset({ONE, THREE}))
        assert await harness.memory.recall(following, [TWO]) == Remembered()

    async def test_it_is_done_for_this_user_agent_and_connection_alone(self, harness: MemoryHarness) -> None:
        run = await harness.new_run()
        await self.tell(harness, run, [ItemProcessed(group="g1", item=ONE)])

        others = [
            await harness.new_run(user="bob"),
            await harness.new_run(replace(MAIL, client_agent_id=AGENT.replace("0f", "1f"))),
            await harness.new_run(replace(MAIL, source=CloudConnector(connection_id="other"))),
        ]

        assert [await harness.memory.recall(other, ALL) for other in others] == [Remembered()] * 3

    async def test_failures_are_counted_by_runs(self, harness: MemoryHarness) -> None:
        first = await harness.new_run()
        await self.tell(
            harness, first, [ItemFailed(group="g1", item=ONE, blamed=True), ItemFailed(group="g1", item=TWO)]
        )
        # A takeover may tell it once more.
        again = await harness.take(first)
        await self.tell(harness, again, [Claimed(epoch=2), ItemFailed(group="g1", item=ONE, blamed=True)], first=3)
        second = await harness.new_run()
        await self.tell(harness, second, [ItemFailed(group="g1", item=ONE)])

        assert (await harness.memory.recall(await harness.new_run(), ALL)).failures == {
            ONE: Failures(tries=2, blamed=1),
            TWO: Failures(tries=1, blamed=0),
        }

    async def test_the_runs_own_failures_do_not_count(self, harness: MemoryHarness) -> None:
        run = await harness.new_run()
        await self.tell(harness, run, [ItemFailed(group="g1", item=ONE, blamed=True)])

        assert await harness.memory.recall(run, ALL) == Remembered()

    async def test_a_message_that_is_given_up_is_done(self, harness: MemoryHarness) -> None:
        first, second = await harness.new_run(), await harness.new_run()
        await self.tell(harness, first, [ItemFailed(group="g1", item=ONE, blamed=True)])
        await self.tell(harness, second, [ItemFailed(group="g1", item=ONE, blamed=True, given_up=True)])

        remembered = await harness.memory.recall(await harness.new_run(), ALL)

        assert remembered == Remembered(done=frozenset({ONE}))

    async def test_the_failures_of_a_message_that_is_processed_at_last_are_forgotten(
        self, harness: MemoryHarness
    ) -> None:
        first, second = await harness.new_run(), await harness.new_run()
        failed = [ItemFailed(group="g1", item=ONE, blamed=True), ItemFailed(group="g1", item=TWO, blamed=True)]
        await self.tell(harness, first, failed)
        await self.tell(harness, second, [ItemProcessed(group="g1", item=ONE)])

        remembered = await harness.memory.recall(await harness.new_run(), ALL)

        assert remembered == Remembered(done=frozenset({ONE}), failures={TWO: Failures(tries=1, blamed=1)})

    async def test_a_stale_worker_makes_nobody_remember_anything(self, harness: MemoryHarness) -> None:
        stale = await harness.new_run()
        await harness.take(stale)

        with pytest.raises(Fenced):
            await self.tell(harness, stale, [ItemProcessed(group="g1", item=ONE), ItemFailed(group="g1", item=TWO)])

        assert await harness.memory.recall(await harness.new_run(), ALL) == Remembered()

    async def test_files_are_not_remembered_here(self, harness: MemoryHarness) -> None:
        local = replace(MAIL, source=LocalDirectory(directory_paths=("sample",)))
        run = await harness.new_run(local)
        await self.tell(harness, run, [ItemProcessed(group="g1", item="sample/a.md")])

        assert await harness.memory.recall(await harness.new_run(local), ["sample/a.md"]) == Remembered()
        assert await harness.memory.recall(await harness.new_run(), ["sample/a.md"]) == Remembered()

    async def test_runs_of_several_users_are_remembered_at_the_same_time(self, harness: MemoryHarness) -> None:
        runs = [await harness.new_run(user=user) for user in ("ada", "bob") for _ in range(3)]

        async with asyncio.TaskGroup() as tasks:
            for number, run in enumerate(runs):
                for seq in range(1, 21):
                    event = ItemProcessed(group="g1", item=f"message:gmail:{number}-{seq}")
                    tasks.create_task(harness.journals.append(run.run_id, 1, [(seq, event)]))

        for number, run in enumerate(runs):
            wanted = [f"message:gmail:{number}-{seq}" for seq in range(1, 21)]
            assert (await harness.memory.recall(run, wanted)).done == frozenset(wanted)
