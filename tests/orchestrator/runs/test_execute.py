"""A run from its claim to its end, and all the ways in which it can end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import anyio
import pytest
from inline_snapshot import snapshot

from orchestrator.agents.domain import Budgets
from orchestrator.runs.domain import (
    DeviceCall,
    Fenced,
    JournalLost,
    ModelRateLimited,
    RunState,
)
from orchestrator.runs.events import Claimed, Concluded, DeviceChosen, Finished, ModelCalled, PhaseStarted
from orchestrator.runs.execute import new_marker
from orchestrator.runs.marking import mark_as_data
from orchestrator.runs.progress import Progress
from tests.fakes.models import HangingModel, diligent, say
from tests.orchestrator.runs.lab import QUICK, Lab, cloud_definition, definition, lab_with_work


def reasons(progress: Progress) -> list[tuple[str, str]]:
    return [(error.reason, error.message) for error in progress.errors]


async def test_the_events_of_the_smallest_run() -> None:
    lab = Lab()
    lab.files({"sample/a.md": "TODO one\n"})
    await lab.work()
    lab.run_id = "the-next-run"

    await lab.work()

    assert [str(event) for event in await lab.events()] == snapshot(
        [
            "Claimed(epoch=1)",
            "DeviceChosen(device_id='laptop', tools_hash='fake', data_marker='marker-0123456789')",
            "PhaseStarted(phase=<Phase.TRIAGE: 'triage'>)",
            "ItemsFound(items=(), projects=())",
            "PhaseStarted(phase=<Phase.FINISHING: 'control'>)",
            "Concluded(state=<RunState.SUCCEEDED: 'SUCCEEDED'>)",
            "Finished(state=<RunState.SUCCEEDED: 'SUCCEEDED'>, device_informed=True, reason='')",
        ]
    )


async def test_the_device_is_told_how_the_run_ended_with_its_counts() -> None:
    lab = lab_with_work()

    progress = await lab.work()

    assert lab.laptop.called("complete_run") == snapshot(
        [
            {
                "counts": {
                    "commented": {"task": 1},
                    "created": {"note": 1, "project": 1, "task": 6},
                    "items_found": 8,
                    "items_processed": 8,
                    "proposed": {"task": 1},
                    "updated": {},
                },
                "state": "SUCCEEDED",
                "summary": """\
Processed 2 files.

Processed 1 files.

Processed 2 files.

Processed 3 files.\
""",
            }
        ]
    )
    assert progress.finished == Finished(state=RunState.SUCCEEDED, device_informed=True)


async def test_every_call_carries_the_run_and_its_scope() -> None:
    lab = lab_with_work()

    await lab.work()

    contexts = {(call.tool, call.context.phase, call.context.group) for call in lab.laptop.calls}
    assert {
        ("begin_run", "control", ""),
        ("begin_run", "control", "g1"),
        ("mark_processed", "control", "g1"),
    } <= contexts
    assert {phase for tool, phase, _ in contexts if tool == "find_changed_files"} == {"triage"}
    assert {(phase, group) for tool, phase, group in contexts if tool == "create_project"} == {("processing", "g3")}
    for call in lab.laptop.calls:
        assert (call.context.run_id, call.context.epoch, call.user_id) == (lab.run_id, 1, "ada")
        assert call.context.client_agent_id == "client-agent-1"
        assert call.context.agent_name == "Folder watcher"


async def test_an_offline_device_fails_the_run_and_nothing_else_is_done() -> None:
    lab = Lab()
    lab.laptop.online = False

    progress = await lab.work()

    assert progress.concluded is RunState.FAILED
    assert reasons(progress) == [("DEVICE_OFFLINE", "The device is not connected. Start the app on it.")]
    assert progress.finished is not None
    assert progress.finished.device_informed
    assert lab.laptop.calls == []
    assert lab.model.requests == []


@pytest.mark.parametrize("device_id", ["no-such-device", "someone-elses"])
async def test_a_device_that_is_not_the_users_fails_the_run(device_id: str) -> None:
    lab = Lab(definition=definition(device_id=device_id))
    lab.devices.add("someone-elses", user_id="bob")

    progress = await lab.work()

    assert progress.concluded is RunState.FAILED
    assert [reason for reason, _ in reasons(progress)] == ["DEVICE_UNKNOWN"]


async def test_a_cloud_agent_fails_as_long_as_nobody_fetches_messages() -> None:
    lab = Lab(definition=cloud_definition())

    progress = await lab.work()

    assert progress.concluded is RunState.FAILED
    assert reasons(progress) == snapshot(
        [
            (
                "CONNECTORS_UNAVAILABLE",
                "No connectors service is set up here, so messages cannot be fetched. The operator has to add one.",
            )
        ]
    )


async def test_a_device_lost_in_the_middle_leaves_what_was_not_done() -> None:
    lab = Lab(limits=replace(QUICK, groups=1))
    lab.files({f"sample/f{number}/a.md": f"TODO job {number}\n" for number in range(4)})

    async def unplug(call: DeviceCall) -> None:
        if call.context.group == "g3":
            lab.laptop.online = False

    lab.laptop.before = unplug

    progress = await lab.work()

    assert progress.concluded is RunState.PARTIAL
    assert progress.processed == {"sample/f0/a.md", "sample/f1/a.md"}
    assert [(error.reason, error.items) for error in progress.errors] == [
        ("DEVICE_OFFLINE", ("sample/f2/a.md", "sample/f3/a.md"))
    ]
    assert progress.finished == Finished(state=RunState.PARTIAL, device_informed=False)


async def test_a_rate_limit_that_lasts_is_told() -> None:
    lab = Lab(script=lambda _request: ModelRateLimited("The model's provider asks to wait for an hour."))
    lab.files({"sample/a.md": "x"})

    progress = await lab.work()

    assert progress.concluded is RunState.FAILED
    assert reasons(progress) == [("MODEL_RATE_LIMITED", "The model's provider asks to wait for an hour.")]


async def test_a_run_that_takes_too_long_ends_partial() -> None:
    lab = Lab(definition=definition(budgets=Budgets(max_wall_time=timedelta(minutes=5))))
    lab.files({"sample/a.md": "TODO one\n"})

    async def sleep(call: DeviceCall) -> None:
        if call.tool == "read_file_content":
            lab.clock.move(timedelta(minutes=6))

    lab.laptop.before = sleep

    progress = await lab.work()

    assert progress.concluded is RunState.PARTIAL
    assert [reason for reason, _ in reasons(progress)] == ["BUDGET_EXCEEDED"]
    assert lab.model.requests == []


async def test_an_error_that_nobody_expected_ends_the_run_failed_with_a_reference() -> None:
    lab = Lab()

    async def break_down(_call: DeviceCall) -> None:
        raise ZeroDivisionError("SECRET")

    lab.laptop.before = break_down

    progress = await lab.work()

    assert progress.concluded is RunState.FAILED
    assert [reason for reason, _ in reasons(progress)] == ["INTERNAL"]
    assert "SECRET" not in progress.errors[0].message
    assert progress.finished is not None


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
            lab.laptop.before = Lab().laptop.before
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
            lab.laptop.after = Lab().laptop.after

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
    lab.laptop.after = Lab().laptop.after

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


async def test_each_phase_is_begun_once() -> None:
    lab = lab_with_work()

    await lab.work()

    events = await lab.events()
    assert [event.phase.value for event in events if isinstance(event, PhaseStarted)] == [
        "triage",
        "processing",
        "control",
    ]
    assert [type(event) for event in events].count(Concluded) == 1


def test_a_new_marker_is_random_and_fit_for_marking() -> None:
    marker = new_marker()

    assert marker != new_marker()
    assert marker in mark_as_data("{}", marker)


async def test_the_model_is_given_the_marker_of_the_run() -> None:
    lab = Lab(script=lambda _request: say("Nothing."))
    lab.files({"sample/a.md": "x"})

    await lab.work()

    assert {request.data_marker for request in lab.model.requests} == {"marker-0123456789"}
