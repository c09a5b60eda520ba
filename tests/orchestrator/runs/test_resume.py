"""The central promise: wherever a worker dies, the one that takes over ends in the same place.

For a recorded run, the worker is made to die after every single event of the journal, in two ways: at once when the
event is committed, or as late as it can be, when everything that goes on without a further commit has happened. Then
another worker takes the run, with the same device.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import anyio
import pytest
from hypothesis import given, settings, strategies as st

from orchestrator.agents.domain import Budgets
from orchestrator.runs.domain import DeviceCall, ModelBadAnswer, RunState, ToolTimedOut
from orchestrator.runs.events import (
    ErrorRecorded,
    Event,
    Finished,
    GroupFinished,
    ItemProcessed,
    ModelAnswered,
    ModelCalled,
    ToolAnswered,
)
from orchestrator.runs.messages import ModelAnswer, ModelRequest, ProcessingBrief, TriageBrief
from orchestrator.runs.progress import Progress
from tests.fakes.device_tools import FakeFile
from tests.fakes.journals import InMemoryJournals
from tests.fakes.models import ScriptedModel, calls, diligent, say, tool, turn
from tests.orchestrator.runs.lab import ACME, Lab, definition, lab_with_work

SETTLED_TURNS = 60
"""Turns of the event loop after which a worker that cannot commit has done all else that it can."""


class DyingJournals(InMemoryJournals):
    """Lets its worker die: after so many events nothing more is committed."""

    def __init__(self) -> None:
        super().__init__()
        self.dies_after: int | None = None
        self.died = asyncio.Event()
        self._committed = 0

    async def append(self, run_id: str, epoch: int, events: Sequence[tuple[int, Event]]) -> None:
        """Commit, unless the worker is dead by then."""
        if self.dies_after is None:
            await super().append(run_id, epoch, events)
            return
        last = events[: self.dies_after - self._committed]
        self._committed += len(last)
        if last:
            await super().append(run_id, epoch, last)
        if self._committed >= self.dies_after:
            self.died.set()
        if len(last) < len(events):
            await asyncio.Event().wait()


def plain_work() -> Lab:
    return lab_with_work(journals=DyingJournals())


def work_with_every_kind_of_trouble() -> Lab:
    """Answers that are refused, failing groups, unreadable files, timeouts, bad calls: all at once."""

    def script(request: ModelRequest) -> ModelAnswer | ModelBadAnswer:
        if isinstance(request.brief, TriageBrief):
            return say("no JSON at all") if turn(request) == 0 else diligent(request)
        if any("nuvola" in path for path in request.brief.items):
            return ModelBadAnswer("Garbage.")
        if any("acme" in path for path in request.brief.items) and turn(request) == 0:
            return calls(tool("format_disk"), tool("create_task", "no JSON"), tool("list_notes"))
        if any("garden" in path for path in request.brief.items) and turn(request) == 0:
            return say("I have not looked at anything.")
        return diligent(request)

    lab = lab_with_work(journals=DyingJournals(), script=script)
    lab.files(
        {
            "sample/garden-club/gone.md": FakeFile(failure="NOT_FOUND"),
            "sample/garden-club/unlisted": FakeFile(failure="UNLISTED"),
        }
    )

    async def lose_an_answer(call: DeviceCall) -> None:
        if "Buy seeds" in call.arguments_json:
            lab.laptop.after = nothing
            raise ToolTimedOut("The device did not answer in time.")

    async def nothing(_call: DeviceCall) -> None:
        pass

    lab.laptop.after = lose_an_answer
    return lab


def work_that_ends_by_its_budget() -> Lab:
    lab = lab_with_work(
        journals=DyingJournals(), definition=definition(budgets=Budgets(max_creates=4)), script=one_after_another
    )
    lab.limits = type(lab.limits)(completion_wait=lab.limits.completion_wait, groups=1)
    return lab


def one_after_another(request: ModelRequest) -> ModelAnswer:
    return diligent(request)


def work_that_is_cancelled() -> Lab:
    lab = lab_with_work(journals=DyingJournals())
    lab.limits = type(lab.limits)(completion_wait=lab.limits.completion_wait, groups=1)

    async def cancel(call: DeviceCall) -> None:
        if call.context.group == "g2" and call.tool == "mark_processed":
            lab.cancellation.request("Enough.")
            lab.cancel_requested = True

    lab.laptop.after = cancel
    return lab


SCENARIOS: dict[str, Callable[[], Lab]] = {
    "plain": plain_work,
    "trouble": work_with_every_kind_of_trouble,
    "budget": work_that_ends_by_its_budget,
    "cancelled": work_that_is_cancelled,
}


async def die(lab: Lab, after: int, *, late: bool) -> None:
    """Have a worker run the run until so many events are committed in its own life, and kill it."""
    journals = lab.journals
    assert isinstance(journals, DyingJournals)
    journals.dies_after, journals._committed = after, 0
    journals.died.clear()

    async def watch() -> None:
        await journals.died.wait()
        for _ in range(SETTLED_TURNS if late else 0):
            await asyncio.sleep(0)
        work.cancel()

    with anyio.fail_after(10):
        async with asyncio.TaskGroup() as tasks:
            watcher = tasks.create_task(watch())
            work = tasks.create_task(lab.work())
            with suppress(asyncio.CancelledError):
                await work
            watcher.cancel()
    journals.dies_after = None


async def recorded(make: Callable[[], Lab]) -> tuple[Lab, Progress, int]:
    lab = make()
    progress = await lab.work()
    return lab, progress, len(await lab.events())


def journaled_questions(lab: Lab, events: list[Event]) -> set[tuple[str, int]]:
    del lab
    return {(event.conversation, event.step) for event in events if isinstance(event, ModelAnswered)}


def questions(requests: list[ModelRequest]) -> set[tuple[str, int]]:
    """Which steps were asked: the conversation by its brief, the step by what the model had said before."""
    asked = set()
    for request in requests:
        if isinstance(request.brief, ProcessingBrief):
            asked.add((request.brief.items[0], turn(request) + 1))
        else:
            asked.add(("triage", turn(request) + 1))
    return asked


def by_first_item(progress: Progress, steps: set[tuple[str, int]]) -> set[tuple[str, int]]:
    names = {group.group_id: group.items[0].path for group in progress.groups or ()}
    return {(names.get(conversation, conversation), step) for conversation, step in steps}


async def check_takeover(lab: Lab, whole: Lab, *, same_workspace: bool = True) -> Progress:
    """Have another worker take the run, and check everything that is promised."""
    before = await lab.events()
    died_at = len(lab.model.requests)

    progress = await lab.work()

    again = questions(lab.model.requests[died_at:]) & by_first_item(progress, journaled_questions(lab, before))
    assert again == set(), "a journaled answer was asked for again"
    assert progress.finished is not None
    assert set(lab.laptop.executed.values()) <= {1}, "an effect was made twice"
    told = lab.laptop.runs[lab.run_id].effects
    assert {
        (kind.lower(), entity_type): number
        for kind in ("CREATED", "UPDATED", "COMMENTED", "PROPOSED")
        for entity_type, number in progress.counts(kind).items()
    } == dict(told), "the counts are not the device's"
    events = await lab.events()
    answered = [(e.conversation, e.step) for e in events if isinstance(e, ModelAnswered)]
    assert len(set(answered)) == len(answered), "an answer was journaled twice"
    finished = [event.group for event in events if isinstance(event, GroupFinished)]
    assert len(set(finished)) == len(finished), "a group ended twice"
    processed = [event.item for event in events if isinstance(event, ItemProcessed)]
    assert len(set(processed)) == len(processed), "a file was processed twice"
    if same_workspace:
        assert lab.laptop.snapshot() == whole.laptop.snapshot()
    return progress


@pytest.mark.parametrize("late", [False, True], ids=["at-once", "late"])
@pytest.mark.parametrize("name", ["plain", "trouble"])
async def test_a_run_cut_after_every_event_ends_in_the_same_workspace(name: str, late: bool) -> None:
    whole, expected, length = await recorded(SCENARIOS[name])

    for after in range(length):
        lab = SCENARIOS[name]()
        await die(lab, after, late=late)
        assert len(await lab.events()) == after
        progress = await check_takeover(lab, whole)
        assert progress.finished == expected.finished
        assert progress.processed == expected.processed
        assert sorted(map(str, progress.errors)) == sorted(map(str, expected.errors))


@pytest.mark.parametrize("late", [False, True], ids=["at-once", "late"])
@pytest.mark.parametrize("name", ["budget", "cancelled"])
async def test_a_run_that_ends_early_keeps_its_promises_wherever_it_is_cut(name: str, late: bool) -> None:
    whole, expected, length = await recorded(SCENARIOS[name])
    assert expected.concluded in {RunState.PARTIAL, RunState.CANCELLED}

    for after in range(length):
        lab = SCENARIOS[name]()
        await die(lab, after, late=late)
        progress = await check_takeover(lab, whole, same_workspace=False)
        assert progress.concluded is expected.concluded
        if name == "budget":
            assert progress.counts("CREATED").total() == 4


@settings(max_examples=40, deadline=None)
@given(lives=st.lists(st.tuples(st.integers(0, 60), st.booleans()), min_size=2, max_size=5))
async def test_a_run_survives_any_number_of_deaths(lives: list[tuple[int, bool]]) -> None:
    whole, expected, _ = await recorded(work_with_every_kind_of_trouble)
    lab = work_with_every_kind_of_trouble()

    for after, late in lives:
        if not any(isinstance(event, Finished) for event in await lab.events()):
            await die(lab, after, late=late)

    progress = await check_takeover(lab, whole)
    assert progress.finished == expected.finished


async def test_the_call_in_flight_at_a_death_is_counted_as_spent() -> None:
    whole, expected, _ = await recorded(plain_work)
    events = await whole.events()
    after = next(number for number, event in enumerate(events, start=1) if isinstance(event, ModelCalled))
    lab = plain_work()
    await die(lab, after, late=False)

    progress = await check_takeover(lab, whole)

    assert progress.usage.model_calls == expected.usage.model_calls + 1


async def test_an_effect_whose_answer_was_not_journaled_is_sent_again_under_the_same_id() -> None:
    whole, _, _ = await recorded(plain_work)
    events = await whole.events()
    after = next(
        number
        for number, event in enumerate(events)
        if isinstance(event, ToolAnswered) and event.tool == "create_task" and event.outcome.effects
    )
    lab = plain_work()
    await die(lab, after, late=True)

    await check_takeover(lab, whole)

    made = [call.call_id for call in lab.laptop.calls if call.tool == "create_task"]
    assert len(made) > len(set(made))
    assert ACME in {row["project_id"] for row in lab.laptop.workspace.rows["task"].values()}
    assert isinstance(lab.model, ScriptedModel)


async def test_a_group_that_was_seen_to_fail_stays_failed_in_this_run() -> None:
    lab = work_with_every_kind_of_trouble()
    whole, _, _ = await recorded(work_with_every_kind_of_trouble)
    events = await whole.events()
    after = next(
        number
        for number, event in enumerate(events, start=1)
        if isinstance(event, ErrorRecorded) and event.error.reason == "MODEL_BAD_ANSWER"
    )
    await die(lab, after, late=False)

    progress = await lab.work(model=ScriptedModel(diligent))

    assert progress.concluded is RunState.PARTIAL
    assert "sample/nuvola/plan.md" in progress.unprocessed()
