"""Wherever the worker of a run over messages dies, the next one ends in the same place, and nothing is made twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from adiuva_rpc import failpoints
from orchestrator.runs.domain import ModelBadAnswer, RunState
from orchestrator.runs.events import Concluded, Event, Finished, GroupFinished, ItemsFound, MessagesFetched
from orchestrator.runs.incoming import Fetch, FetchEvent
from orchestrator.runs.messages import ModelAnswer, ModelRequest, ToolAnswer
from orchestrator.runs.ports import Inbox
from orchestrator.runs.progress import Progress
from tests.fakes.mailbox import FakeMessages, Refused
from tests.fakes.models import ScriptedModel, diligent
from tests.orchestrator.runs.lab import QUICK, CloudLab, cloud_lab_with_mail
from tests.orchestrator.runs.test_resume import DyingJournals, check_takeover, die

SUBSCRIBER = "client-agent-1"


def mail_work() -> CloudLab:
    return cloud_lab_with_mail(journals=DyingJournals())


def mail_with_trouble() -> CloudLab:
    """An unreadable message, and a group that fails."""

    def script(request: ModelRequest) -> ModelAnswer | ModelBadAnswer:
        texts = [message.content_json for message in request.messages if isinstance(message, ToolAnswer)]
        if any("office is closed" in text for text in texts):
            return ModelBadAnswer("Garbage.")
        return diligent(request)

    lab = cloud_lab_with_mail(journals=DyingJournals(), script=script)
    lab.mailbox.add_unreadable("bad")
    return lab


SCENARIOS: dict[str, Callable[[], CloudLab]] = {"plain": mail_work, "trouble": mail_with_trouble}


async def recorded(make: Callable[[], CloudLab]) -> tuple[CloudLab, Progress, int]:
    lab = make()
    progress = await lab.work()
    return lab, progress, len(await lab.events())


def first(events: list[Event], kind: type[Event]) -> int:
    """Return how many events there are up to the first of a kind."""
    return next(number for number, event in enumerate(events, start=1) if isinstance(event, kind))


@pytest.mark.parametrize("late", [False, True], ids=["at-once", "late"])
@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_run_cut_after_every_event_ends_in_the_same_workspace(name: str, late: bool) -> None:
    whole, expected, length = await recorded(SCENARIOS[name])

    for after in range(length):
        lab = SCENARIOS[name]()
        await die(lab, after, late=late)
        progress = await check_takeover(lab, whole)
        assert progress.finished == expected.finished
        assert progress.processed == expected.processed
        assert sorted(map(str, progress.errors)) == sorted(map(str, expected.errors))
        assert progress.failed == expected.failed
        assert lab.mailbox.behind(SUBSCRIBER) == whole.mailbox.behind(SUBSCRIBER)
        assert lab.journals.done == whole.journals.done
        assert lab.journals.failures == whole.journals.failures


@settings(max_examples=25, deadline=None)
@given(lives=st.lists(st.tuples(st.integers(0, 60), st.booleans()), min_size=2, max_size=5))
async def test_a_run_survives_any_number_of_deaths(lives: list[tuple[int, bool]]) -> None:
    whole, expected, _ = await recorded(mail_with_trouble)
    lab = mail_with_trouble()

    for after, late in lives:
        if not any(isinstance(event, Finished) for event in await lab.events()):
            await die(lab, after, late=late)

    progress = await check_takeover(lab, whole)
    assert progress.finished == expected.finished
    # A fetch that was begun and never used makes the marks of the journal worthless: the next run moves the cursor.
    await lab.next_run()
    await whole.next_run()
    assert lab.mailbox.behind(SUBSCRIBER) == whole.mailbox.behind(SUBSCRIBER)


async def test_a_takeover_that_has_everything_fetches_nothing() -> None:
    whole, _, _ = await recorded(mail_work)
    lab = mail_work()
    await die(lab, first(await whole.events(), Concluded) - 2, late=False)
    fetches = len(lab.mailbox.fetches)

    progress = await lab.work()

    assert progress.concluded is RunState.SUCCEEDED
    assert len(lab.mailbox.fetches) == fetches
    assert lab.mailbox.behind(SUBSCRIBER) == ["m1", "m2", "m3", "m4"]


async def test_a_takeover_fetches_what_is_not_committed_and_goes_on() -> None:
    whole, _, _ = await recorded(mail_work)
    lab = mail_work()
    await die(lab, first(await whole.events(), ItemsFound), late=False)
    lab.mailbox.add("m5", "TODO Call Anna\n")

    progress = await lab.work()

    assert progress.processed == {f"message:gmail:m{number}" for number in range(1, 5)}
    assert len(lab.mailbox.fetches) == 2
    assert sum(isinstance(event, MessagesFetched) for event in await lab.events()) == 2
    # What came in meanwhile is neither lost nor committed.
    assert "m5" not in lab.mailbox.behind(SUBSCRIBER)
    assert (await lab.next_run()).processed == {"message:gmail:m5"}


async def test_a_message_that_is_gone_by_then_is_done_with() -> None:
    whole, _, _ = await recorded(mail_work)
    lab = mail_work()
    await die(lab, first(await whole.events(), ItemsFound), late=False)
    lab.mailbox.remove("m4")

    progress = await lab.work()

    assert progress.concluded is RunState.SUCCEEDED
    assert len(progress.processed) == 4
    assert lab.laptop.workspace.titles("task") == ["Send the invoice", "Send the logo"]


@pytest.mark.parametrize("said", ["NEEDS_REAUTH", "PROVIDER_UNAVAILABLE"])
async def test_a_takeover_that_cannot_fetch_any_more_says_why(said: str) -> None:
    whole, _, _ = await recorded(mail_work)
    lab = mail_work()
    await die(lab, first(await whole.events(), ItemsFound), late=False)
    lab.mailbox.refused = Refused(said)

    progress = await lab.work()
    lab.mailbox.refused = None

    assert progress.concluded is RunState.FAILED
    assert [error.reason for error in progress.errors] == [said]
    assert len((await lab.next_run()).processed) == 4


async def test_a_takeover_whose_fetch_breaks_processes_the_groups_that_are_whole() -> None:
    whole, _, _ = await recorded(mail_work)
    lab = mail_work()
    await die(lab, first(await whole.events(), ItemsFound), late=False)
    lab.mailbox.breaks = [(3, Refused("PROVIDER_UNAVAILABLE"))]

    progress = await lab.work()

    assert progress.concluded is RunState.PARTIAL
    assert [error.reason for error in progress.errors] == ["PROVIDER_UNAVAILABLE"]
    # The thread of m1 and m3 waits, for m3 has not come.
    assert progress.processed == {"message:gmail:m2"}
    assert {"message:gmail:m1", "message:gmail:m3", "message:gmail:m4"} == (await lab.next_run()).processed


class DyingMessages(FakeMessages):
    """Lets the worker die around the commit."""

    dies: str = ""

    def __init__(self, lab: CloudLab) -> None:
        super().__init__(lab.mailbox)
        self.died = asyncio.Event()

    def fetch(self, wanted: Fetch) -> AsyncGenerator[FetchEvent, None]:
        return super().fetch(wanted)

    async def commit(self, user_id: str, connection_id: str, cursor_token: str) -> None:
        if self.dies == "after":
            await super().commit(user_id, connection_id, cursor_token)
        if self.dies:
            self.died.set()
            await asyncio.Event().wait()
        await super().commit(user_id, connection_id, cursor_token)


@pytest.mark.parametrize("dies", ["before", "after"])
async def test_a_worker_that_dies_around_the_commit_is_followed_by_one_that_commits(dies: str) -> None:
    lab = cloud_lab_with_mail(limits=replace(QUICK, groups=1))
    messages = DyingMessages(lab)
    assert isinstance(lab.inbox, Inbox)
    lab.inbox = replace(lab.inbox, messages=messages)
    messages.dies = dies
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(lab.work())
        await messages.died.wait()
        work.cancel()
    messages.dies = ""

    progress = await lab.work(model=ScriptedModel(lambda _request: pytest.fail("asked")))

    assert progress.finished == Finished(state=RunState.SUCCEEDED, device_informed=True)
    assert lab.mailbox.behind(SUBSCRIBER) == ["m1", "m2", "m3", "m4"]
    assert (await lab.next_run()).items == ()


@pytest.mark.parametrize("name", ["orchestrator.before_cursor_commit", "orchestrator.after_cursor_commit"])
async def test_there_is_a_failpoint_on_each_side_of_the_commit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = cloud_lab_with_mail()
    monkeypatch.setattr(failpoints, "_ACTIVE", failpoints.Failpoints(f"{name}=raise"))

    with pytest.raises(failpoints.FailpointError):
        await lab.work()

    monkeypatch.undo()
    moved = ["m1", "m2", "m3", "m4"] if name.startswith("orchestrator.after") else []
    assert lab.mailbox.behind(SUBSCRIBER) == moved
    assert (await lab.work()).concluded is RunState.SUCCEEDED
    assert lab.mailbox.behind(SUBSCRIBER) == ["m1", "m2", "m3", "m4"]


async def test_a_group_ends_once_however_often_its_worker_dies() -> None:
    whole, _, _ = await recorded(mail_with_trouble)
    after = first(await whole.events(), GroupFinished)
    lab = mail_with_trouble()
    await die(lab, after, late=True)

    await check_takeover(lab, whole)

    failed = [event for event in await lab.events() if isinstance(event, GroupFinished) and not event.succeeded]
    assert len(failed) == 1
