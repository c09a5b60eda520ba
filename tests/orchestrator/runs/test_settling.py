"""After the end: effects whose answer never came are still counted, and never made twice."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from orchestrator.runs.domain import DeviceCall, RunState, ToolOutcome, ToolTimedOut
from orchestrator.runs.progress import Progress
from tests.fakes.models import by_turn, calls, say, tool
from tests.orchestrator.runs.lab import Lab

TWO_TASKS = calls(
    tool("create_task", title="one", source="sample/a.md"), tool("create_task", title="two", source="sample/a.md")
)


def lab() -> Lab:
    made = Lab(script=by_turn(TWO_TASKS, say("Made two tasks.")))
    made.files({"sample/a.md": "x"})
    return made


def counts_are_the_devices(made: Lab, progress: Progress) -> bool:
    return progress.counts("CREATED") == {"task": len(made.laptop.workspace.rows["task"])} and not any(
        error.reason == "COUNTS_DIFFER" for error in progress.errors
    )


async def test_an_effect_that_was_answered_too_late_is_counted_at_the_end() -> None:
    made = lab()
    lost = 0

    async def lose_the_answer(call: DeviceCall) -> None:
        nonlocal lost
        if '"one"' in call.arguments_json and not lost:
            lost += 1
            raise ToolTimedOut("The device did not answer in time.")

    made.laptop.after = lose_the_answer

    progress = await made.work()

    assert made.laptop.workspace.titles("task") == ["one", "two"]
    assert counts_are_the_devices(made, progress)
    assert set(made.laptop.executed.values()) == {1}
    assert progress.concluded is RunState.SUCCEEDED


async def test_a_call_that_never_arrived_is_not_made_after_the_end() -> None:
    made = lab()

    async def never_arrives(call: DeviceCall) -> None:
        if '"one"' in call.arguments_json and made.laptop.runs[made.run_id].completed is None:
            raise ToolTimedOut("The device did not answer in time.")

    made.laptop.before = never_arrives

    progress = await made.work()

    assert made.laptop.workspace.titles("task") == ["two"]
    assert counts_are_the_devices(made, progress)


async def test_an_effect_abandoned_by_a_cancellation_is_counted_at_the_end() -> None:
    made = lab()
    done = asyncio.Event()

    async def hang_after_the_effect(call: DeviceCall) -> None:
        if '"one"' in call.arguments_json and not done.is_set():
            done.set()
            await asyncio.Event().wait()

    made.laptop.after = hang_after_the_effect

    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(made.work())
        with anyio.fail_after(5):
            await done.wait()
            made.cancellation.request("Enough.")
            progress = await work

    assert progress.concluded is RunState.CANCELLED
    assert made.laptop.workspace.titles("task") == ["one"]
    assert counts_are_the_devices(made, progress)
    assert progress.unsettled == {}


async def test_what_the_device_was_told_does_not_change_with_what_is_learnt_later() -> None:
    """Otherwise a takeover would send another call under the same id."""
    made = lab()
    told_once = False

    async def lose_the_answer(call: DeviceCall) -> None:
        nonlocal told_once
        if '"one"' in call.arguments_json and not told_once:
            told_once = True
            raise ToolTimedOut("The device did not answer in time.")

    made.laptop.after = lose_the_answer
    await made.work()
    length = len(await made.events())
    made.journals.cut(made.run_id, length - 1)

    progress = await made.work()

    first, second = made.laptop.called("complete_run")
    assert first == second
    assert first["counts"]["created"] == {"task": 1}
    assert counts_are_the_devices(made, progress)


@pytest.mark.parametrize("answer", ["late", "offline"])
async def test_what_cannot_be_learnt_in_time_does_not_keep_the_run_from_ending(answer: str) -> None:
    made = lab()

    async def trouble(call: DeviceCall) -> None:
        if '"one"' not in call.arguments_json:
            return
        if made.laptop.runs[made.run_id].completed is None:
            raise ToolTimedOut("The device did not answer in time.")
        if answer == "offline":
            made.laptop.online = False
        else:
            raise ToolTimedOut("Again.")

    made.laptop.before = trouble

    progress = await made.work()

    assert progress.finished is not None
    assert progress.concluded is RunState.SUCCEEDED


async def test_counts_that_differ_are_recorded_and_logged(capsys: pytest.CaptureFixture[str]) -> None:
    made = lab()
    made.laptop.answers["complete_run"] = lambda _call: ToolOutcome(
        result_json='{"effects": {"created": {"task": 3, "note": 1}}}'
    )

    progress = await made.work()

    assert [error.reason for error in progress.errors] == ["COUNTS_DIFFER"]
    assert progress.finished is not None
    assert progress.finished.state is RunState.SUCCEEDED
    logged = capsys.readouterr().out
    assert "created.task: 2 here, 3 on the device" in logged
    assert "created.note: 0 here, 1 on the device" in logged
