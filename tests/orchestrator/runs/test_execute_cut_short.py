"""Runs that are cut short: cancelled by somebody, or left by a worker that stops, and taken up by another."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import anyio
import pytest

from orchestrator.runs.domain import DeviceCall, Fenced, JournalLost, RunState
from orchestrator.runs.events import Claimed, DeviceChosen, Finished, ModelCalled
from tests.fakes.devices import nothing
from tests.fakes.models import HangingModel, diligent
from tests.orchestrator.runs.lab import QUICK, Lab, lab_with_work


async def test_a_run_cancelled_before_it_was_taken_calls_nobody() -> None:
    lab = lab_with_work(cancel_requested=True)

    progress = await lab.work()

    assert progress.concluded is RunState.CANCELLED
    assert progress.finished == Finished(state=RunState.CANCELLED, device_informed=True, reason="Not needed any more.")
    assert lab.laptop.calls == []
    assert lab.model.requests == []
    assert progress.errors == []


async def test_a_run_cancelled_while_a_model_thinks_ends_at_once() -> None:
    lab = lab_with_work()
    model = HangingModel(diligent)

    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(lab.work(model=model))
        with anyio.fail_after(5):
            await model.asked.wait()
            lab.cancellation.request("Wrong folder.")
            progress = await work

    assert progress.concluded is RunState.CANCELLED
    assert progress.finished == Finished(state=RunState.CANCELLED, device_informed=True, reason="Wrong folder.")
    assert lab.laptop.runs[lab.run_id].completed is not None
    assert lab.laptop.called("complete_run")[0]["state"] == "CANCELLED"


async def test_a_run_cancelled_while_a_tool_hangs_abandons_the_call() -> None:
    lab = lab_with_work()
    reached = asyncio.Event()

    async def hang(call: DeviceCall) -> None:
        if call.tool == "create_task":
            reached.set()
            await asyncio.Event().wait()

    lab.laptop.before = hang

    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(lab.work())
        with anyio.fail_after(5):
            await reached.wait()
            lab.laptop.before = nothing
            lab.cancellation.request("Enough.")
            progress = await work

    assert progress.concluded is RunState.CANCELLED
    assert "create_task" in [called.tool for called in progress.unsettled.values()]


async def test_what_a_cancelled_run_had_made_stays_and_is_counted() -> None:
    lab = Lab(limits=replace(QUICK, groups=1))
    lab.files({f"sample/f{number}/a.md": f"TODO job {number}\n" for number in range(3)})

    async def cancel(call: DeviceCall) -> None:
        if call.tool == "mark_processed":
            lab.cancellation.request("Enough.")

    lab.laptop.after = cancel

    progress = await lab.work()

    assert progress.concluded is RunState.CANCELLED
    assert progress.counts("CREATED") == {"task": 1}
    assert lab.laptop.workspace.titles("task") == ["job 0"]


async def test_a_worker_whose_process_stops_writes_nothing_more() -> None:
    lab = lab_with_work()
    model = HangingModel(diligent)

    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(lab.work(model=model))
        with anyio.fail_after(5):
            await model.asked.wait()
        before = await lab.events()
        work.cancel()

    assert work.cancelled()
    assert await lab.events() == before
    assert isinstance(before[-1], ModelCalled)
    assert lab.laptop.called("complete_run") == []


async def test_a_stale_worker_stops_at_once_and_writes_nothing() -> None:
    lab = lab_with_work()
    stale = await lab.journal()
    lab.journals.take(lab.run_id)

    with pytest.raises(Fenced):
        await lab.work_on(stale)

    assert await lab.events() == []
    assert lab.laptop.calls == []
    assert lab.model.requests == []


async def test_a_worker_that_is_overtaken_in_the_middle_stops_and_calls_nothing_more() -> None:
    lab = lab_with_work()

    async def overtake(call: DeviceCall) -> None:
        if call.tool == "create_task":
            lab.journals.take(lab.run_id)
            lab.laptop.after = nothing

    lab.laptop.after = overtake
    journal = await lab.journal()

    with anyio.fail_after(5), pytest.raises(Fenced):
        await lab.work_on(journal)

    made = sum(lab.laptop.executed.values())
    assert lab.laptop.runs[lab.run_id].completed is None
    assert made <= 4


async def test_a_journal_that_cannot_be_written_stops_the_worker_for_another_to_go_on() -> None:
    lab = lab_with_work()

    async def lose(call: DeviceCall) -> None:
        if call.tool == "create_task":
            lab.journals.lost = True

    lab.laptop.after = lose
    with anyio.fail_after(5), pytest.raises(JournalLost):
        await lab.work()
    lab.journals.lost = False
    lab.laptop.after = nothing

    progress = await lab.work()

    assert progress.concluded is RunState.SUCCEEDED
    assert set(lab.laptop.executed.values()) == {1}


async def test_a_finished_run_is_left_alone() -> None:
    lab = lab_with_work()
    journal = await lab.journal()
    await lab.work_on(journal)
    asked, called = len(lab.model.requests), len(lab.laptop.calls)

    await lab.work_on(journal)

    assert (len(lab.model.requests), len(lab.laptop.calls)) == (asked, called)


async def test_a_takeover_waits_for_its_device_and_keeps_it() -> None:
    lab = Lab(script=diligent)
    lab.files({"sample/a.md": "TODO one\n"})
    model = HangingModel(diligent)
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(lab.work(model=model))
        await model.asked.wait()
        work.cancel()
    lab.devices.add("newer-laptop")
    lab.laptop.online = False

    async def come_back(_call: DeviceCall) -> None:
        lab.laptop.online = True

    lab.laptop.before = come_back

    progress = await lab.work()

    assert progress.device_id == "laptop"
    assert progress.concluded is RunState.SUCCEEDED
    assert [type(event) for event in await lab.events()].count(DeviceChosen) == 1
    assert [event.epoch for event in await lab.events() if isinstance(event, Claimed)] == [1, 2]
