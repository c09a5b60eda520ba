"""What every implementation of `runs.ports.Journals` keeps.

A test module makes a subclass with a fixture `harness`:

    class TestSqlJournals(JournalsConformance):
        @pytest.fixture
        async def harness(self, …) -> JournalsHarness: …
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import pytest

from orchestrator.runs.domain import (
    Checkpoint,
    Effect,
    EffectKind,
    Fenced,
    Group,
    Item,
    Phase,
    RunError,
    RunState,
    ToolFailure,
    ToolOutcome,
)
from orchestrator.runs.events import (
    KINDS,
    Claimed,
    Concluded,
    ConversationStarted,
    DeviceChosen,
    ErrorRecorded,
    Event,
    Finished,
    Grouped,
    GroupFinished,
    ItemFailed,
    ItemProcessed,
    ItemsFound,
    MessagesFetched,
    ModelAnswered,
    ModelCalled,
    PhaseStarted,
    ToolAnswered,
    ToolCalled,
)
from orchestrator.runs.messages import ProjectSummary, ToolRequest
from orchestrator.runs.ports import Journals

ITEM = Item(path="sample/Grüße 🌿.md", size_bytes=12, mtime_ns=1_772_000_000_123_456_789)
MESSAGE = Item(path="message:gmail:18c2", size_bytes=3, mtime_ns=1, thread="t1", tries=2, failures=1)
REQUEST = ToolRequest(request_id="call_1", name="create_task", arguments_json='{"title":"naïve \\u0000"')
EFFECT = Effect(kind=EffectKind.CREATED, entity_type="task", entity_id="t1", title="Send it", source=ITEM.path)

EVERY_KIND: tuple[Event, ...] = (
    Claimed(epoch=1),
    DeviceChosen(device_id="laptop", tools_hash="h", data_marker="m" * 16),
    PhaseStarted(phase=Phase.TRIAGE),
    ItemsFound(items=(ITEM, MESSAGE), projects=(ProjectSummary(project_id="p1", name="Acme"),)),
    MessagesFetched(checkpoints=(Checkpoint(items=1, cursor_token="sealed"),), redelivered=3, outrun=1, more=True),
    Grouped(groups=(Group(group_id="g1", project_id="", title="", items=(ITEM,)),)),
    ConversationStarted(conversation="g1", system="s", user="u\n“u”", prepared=(REQUEST,)),
    ModelCalled(conversation="g1", step=1, kind="again", remark="No."),
    ModelAnswered(
        conversation="g1",
        step=1,
        text="",
        tool_requests=(REQUEST,),
        model="m",
        input_tokens=7,
        attempts=2,
        seconds=0.25,
    ),
    ToolCalled(conversation="g1", step=1, index=0, call_id="c", tool="create_task"),
    ToolAnswered(
        conversation="g1",
        step=1,
        index=0,
        call_id="c",
        tool="create_task",
        outcome=ToolOutcome(result_json='{"id":"t1"}', effects=(EFFECT,)),
    ),
    ToolAnswered(
        conversation="g1",
        step=1,
        index=1,
        call_id="d",
        tool="nothing",
        outcome=ToolOutcome(failure=ToolFailure(reason="UNKNOWN_TOOL", message="No.", retryable=True)),
        sent=False,
    ),
    ItemProcessed(group="g1", item=ITEM.path),
    ItemFailed(group="g1", item=MESSAGE.path, blamed=True, given_up=True),
    GroupFinished(group="g1", succeeded=True, summary="Done."),
    ErrorRecorded(error=RunError(reason="INTERNAL", message="x", group="g1", items=(ITEM.path,))),
    Concluded(state=RunState.PARTIAL),
)
FINISHED = Finished(state=RunState.PARTIAL, device_informed=False, reason="")


class JournalsHarness(Protocol):
    """What a test module gives the suite."""

    @property
    def journals(self) -> Journals:
        """The implementation under test, ready to use."""
        ...

    async def new_run(self) -> str:
        """Make a run that a worker has claimed once (epoch 1), and return its id."""
        ...

    async def take(self, run_id: str) -> int:
        """Claim the run again, as a takeover does, and return the new epoch."""
        ...


class JournalsConformance:
    """The suite."""

    @pytest.fixture
    async def harness(self) -> JournalsHarness:
        raise NotImplementedError

    async def test_events_of_every_kind_are_read_back_as_they_were(self, harness: JournalsHarness) -> None:
        events = (*EVERY_KIND, FINISHED)
        assert {type(event) for event in events} == set(KINDS.values())
        run_id = await harness.new_run()

        await harness.journals.append(run_id, 1, list(enumerate(events, start=1)))

        stored = await harness.journals.read(run_id)
        assert tuple(entry.event for entry in stored) == events
        assert [entry.seq for entry in stored] == list(range(1, len(events) + 1))
        assert all(entry.at.tzinfo is not None for entry in stored)

    async def test_an_empty_journal_and_an_unknown_run_read_as_nothing(self, harness: JournalsHarness) -> None:
        assert await harness.journals.read(await harness.new_run()) == []
        assert await harness.journals.read("no-such-run") == []

    async def test_reading_goes_on_after_a_seq_and_stops_at_the_limit(self, harness: JournalsHarness) -> None:
        run_id = await harness.new_run()
        await harness.journals.append(run_id, 1, [(seq, Claimed(epoch=seq)) for seq in (1, 2, 4, 7)])

        assert [entry.seq for entry in await harness.journals.read(run_id, after_seq=1)] == [2, 4, 7]
        assert [entry.seq for entry in await harness.journals.read(run_id, after_seq=1, limit=2)] == [2, 4]
        assert await harness.journals.read(run_id, after_seq=7) == []

    async def test_a_stale_worker_stores_nothing(self, harness: JournalsHarness) -> None:
        run_id = await harness.new_run()
        await harness.journals.append(run_id, 1, [(1, Claimed(epoch=1))])
        epoch = await harness.take(run_id)

        with pytest.raises(Fenced):
            await harness.journals.append(run_id, 1, [(2, PhaseStarted(phase=Phase.TRIAGE)), (3, FINISHED)])

        await harness.journals.append(run_id, epoch, [(2, Claimed(epoch=epoch))])
        assert [entry.event for entry in await harness.journals.read(run_id)] == [
            Claimed(epoch=1),
            Claimed(epoch=epoch),
        ]

    async def test_an_epoch_that_was_never_given_stores_nothing(self, harness: JournalsHarness) -> None:
        run_id = await harness.new_run()

        with pytest.raises(Fenced):
            await harness.journals.append(run_id, 2, [(1, Claimed(epoch=2))])
        with pytest.raises(Fenced):
            await harness.journals.append("no-such-run", 1, [(1, Claimed(epoch=1))])

        assert await harness.journals.read(run_id) == []

    async def test_nothing_follows_the_finished_event(self, harness: JournalsHarness) -> None:
        run_id = await harness.new_run()
        await harness.journals.append(run_id, 1, [(1, Concluded(state=RunState.PARTIAL)), (2, FINISHED)])

        with pytest.raises(Fenced):
            await harness.journals.append(run_id, 1, [(3, ItemProcessed(group="g1", item="x"))])

        assert [entry.event for entry in await harness.journals.read(run_id)][-1] == FINISHED

    async def test_appends_at_the_same_time_are_all_stored_in_the_order_of_their_seq(
        self, harness: JournalsHarness
    ) -> None:
        runs = [await harness.new_run() for _ in range(5)]

        async with asyncio.TaskGroup() as tasks:
            for seq in range(1, 41):
                for run_id in runs:
                    event = ItemProcessed(group="g1", item=f"{run_id}/{seq}")
                    tasks.create_task(harness.journals.append(run_id, 1, [(seq, event)]))

        for run_id in runs:
            stored = await harness.journals.read(run_id)
            assert [entry.event for entry in stored] == [
                ItemProcessed(group="g1", item=f"{run_id}/{seq}") for seq in range(1, 41)
            ]

    async def test_a_fenced_append_does_not_disturb_those_beside_it(self, harness: JournalsHarness) -> None:
        stale, sound = await harness.new_run(), await harness.new_run()
        await harness.take(stale)

        results = await asyncio.gather(
            harness.journals.append(sound, 1, [(1, Claimed(epoch=1))]),
            harness.journals.append(stale, 1, [(1, Claimed(epoch=1))]),
            harness.journals.append(sound, 1, [(2, PhaseStarted(phase=Phase.TRIAGE))]),
            return_exceptions=True,
        )

        assert [type(result) for result in results] == [type(None), Fenced, type(None)]
        assert len(await harness.journals.read(sound)) == 2
        assert await harness.journals.read(stale) == []

    async def test_a_large_payload_survives(self, harness: JournalsHarness) -> None:
        run_id = await harness.new_run()
        outcome = ToolOutcome(result_json='{"text":"' + "ä" * 300_000 + '"}')
        event = ToolAnswered(conversation="g1", step=0, index=0, call_id="c", tool="read_file_content", outcome=outcome)

        await harness.journals.append(run_id, 1, [(1, event)])

        assert (await harness.journals.read(run_id))[0].event == event
