"""Telling a device that a run ended, also when it was away at that moment."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import anyio
import pytest

from orchestrator.runs.completion import Informed, completion_arguments, inform, keep_informing
from orchestrator.runs.domain import DeviceCall, Fenced, Run, RunState, ToolFailure, ToolOutcome
from orchestrator.runs.ports import NewRun, RunQuery
from orchestrator.runs.progress import Progress
from tests.fakes.devices import nothing
from tests.orchestrator.runs.lab import Lab, lab_with_work

WITHIN = timedelta(seconds=2)


class FinishedRuns:
    """The part of `runs.ports.Runs` that the end of a run needs."""

    def __init__(self, *runs: Run) -> None:
        self.waiting = list(runs)
        self.told: list[str] = []
        self.changed = asyncio.Event()

    async def uninformed(self, user_id: str) -> list[Run]:
        return [run for run in self.waiting if run.user_id == user_id and run.run_id not in self.told]

    async def informed(self, run_id: str) -> None:
        self.told.append(run_id)
        self.changed.set()

    async def start(self, new: NewRun) -> Run:
        raise NotImplementedError

    async def get(self, user_id: str, run_id: str) -> Run:
        raise NotImplementedError

    async def page(self, query: RunQuery) -> list[Run]:
        raise NotImplementedError

    async def claim(self, run_id: str) -> Run | None:
        raise NotImplementedError

    async def request_cancel(self, user_id: str, run_id: str, reason: str) -> Run:
        raise NotImplementedError


async def run_without_its_device_at_the_end(lab: Lab) -> tuple[Run, Progress]:
    async def unplug(call: DeviceCall) -> None:
        if call.tool == "complete_run":
            lab.laptop.online = False

    lab.laptop.before = unplug
    journal = await lab.journal()
    await lab.work_on(journal)
    lab.laptop.before = nothing
    assert journal.progress.finished is not None
    assert not journal.progress.finished.device_informed
    return replace(journal.run, state=RunState.SUCCEEDED, device_informed=False), journal.progress


@asynccontextmanager
async def informing(lab: Lab, runs: FinishedRuns) -> Any:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(keep_informing(lab.devices, runs, lab.journals, within=WITHIN))
        with anyio.fail_after(10):
            yield
        task.cancel()

        await asyncio.sleep(0)


async def test_a_device_that_comes_back_is_told_of_the_run_it_missed() -> None:
    lab = lab_with_work()
    run, _ = await run_without_its_device_at_the_end(lab)
    runs = FinishedRuns(run)

    async with informing(lab, runs):
        assert runs.told == []
        lab.devices.connect(lab.laptop)
        await runs.changed.wait()

    assert runs.told == [lab.run_id]
    assert lab.laptop.runs[lab.run_id].completed is not None
    assert lab.laptop.called("complete_run")[0]["counts"]["created"] == {"note": 1, "project": 1, "task": 6}


async def test_a_device_that_is_connected_at_the_start_is_told() -> None:
    lab = lab_with_work()
    run, _ = await run_without_its_device_at_the_end(lab)
    lab.laptop.online = True
    runs = FinishedRuns(run)

    async with informing(lab, runs):
        await runs.changed.wait()

    assert runs.told == [lab.run_id]


async def test_another_device_of_the_user_is_not_told() -> None:
    lab = lab_with_work()
    run, _ = await run_without_its_device_at_the_end(lab)
    phone = lab.devices.add("phone")
    runs = FinishedRuns(run)

    async with informing(lab, runs):
        lab.devices.connect(phone)
        lab.devices.connect(lab.laptop)
        await runs.changed.wait()

    assert phone.calls == []
    assert runs.told == [lab.run_id]


async def test_a_device_that_leaves_again_is_told_the_next_time() -> None:
    lab = lab_with_work()
    run, _ = await run_without_its_device_at_the_end(lab)
    runs = FinishedRuns(run)
    tried = asyncio.Event()

    async def unplug(_call: DeviceCall) -> None:
        lab.laptop.online = False
        tried.set()

    async with informing(lab, runs):
        lab.laptop.before = unplug
        lab.devices.connect(lab.laptop)
        await tried.wait()
        lab.laptop.before = nothing
        for _ in range(20):
            await asyncio.sleep(0)
        assert runs.told == []
        lab.devices.connect(lab.laptop)
        await runs.changed.wait()

    assert runs.told == [lab.run_id]


async def test_trouble_with_one_device_does_not_end_the_telling(capsys: pytest.CaptureFixture[str]) -> None:
    lab = lab_with_work()
    run, _ = await run_without_its_device_at_the_end(lab)
    bob = lab.devices.add("bobs", user_id="bob")
    broken = replace(run, user_id="bob", run_id="no-journal")
    runs = FinishedRuns(broken, run)
    lab.journals.take("no-journal")
    original = lab.journals.read

    async def read(run_id: str, *, after_seq: int = 0, limit: int | None = None) -> Any:
        if run_id == "no-journal":
            raise OSError("the database is away")
        return await original(run_id, after_seq=after_seq, limit=limit)

    lab.journals.read = read  # type: ignore[method-assign]  # the one call that is to fail

    async with informing(lab, runs):
        lab.devices.connect(bob)
        lab.devices.connect(lab.laptop)
        await runs.changed.wait()

    assert runs.told == [lab.run_id]
    assert "OSError" in capsys.readouterr().out


async def test_a_repeat_is_the_same_call_and_closes_the_run_once() -> None:
    lab = lab_with_work()
    journal = await lab.journal()
    await lab.work_on(journal)

    informed = await inform(journal.run, journal.progress, lab.devices, within=WITHIN)

    first, second = [call for call in lab.laptop.calls if call.tool == "complete_run"]
    assert (first.call_id, first.arguments_json) == (second.call_id, second.arguments_json)
    assert informed.told
    assert informed.counted is not None


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (ToolFailure(reason="INTERNAL", message="x"), False),
        (ToolFailure(reason="TIMEOUT", message="x"), False),
        (ToolFailure(reason="OTHER", message="x", retryable=True), False),
        (ToolFailure(reason="POLICY_DENIED", message="x"), True),
        (ToolFailure(reason="CALL_ID_REUSED", message="x"), True),
        (ToolFailure(reason="UNKNOWN_TOOL", message="x"), True),
    ],
    ids=lambda value: value.reason if isinstance(value, ToolFailure) else str(value),
)
async def test_what_may_pass_is_tried_again_and_a_refusal_is_not(failure: ToolFailure, told: bool) -> None:
    lab = lab_with_work()
    journal = await lab.journal()
    await lab.work_on(journal)
    lab.laptop.answers["complete_run"] = lambda _call: ToolOutcome(failure=failure)

    informed = await inform(journal.run, journal.progress, lab.devices, within=WITHIN)

    assert informed == Informed(told=told)


async def test_a_device_that_has_seen_a_newer_worker_stops_the_telling() -> None:
    lab = lab_with_work()
    journal = await lab.journal()
    await lab.work_on(journal)
    stale = ToolOutcome(failure=ToolFailure(reason="STALE_EPOCH", message="x"))
    lab.laptop.answers["complete_run"] = lambda _call: stale

    with pytest.raises(Fenced):
        await inform(journal.run, journal.progress, lab.devices, within=WITHIN)


async def test_a_device_that_does_not_answer_holds_the_end_up_only_for_so_long() -> None:
    lab = lab_with_work()
    journal = await lab.journal()
    await lab.work_on(journal)

    async def hang(_call: DeviceCall) -> None:
        await asyncio.Event().wait()

    lab.laptop.before = hang

    with anyio.fail_after(5):
        informed = await inform(journal.run, journal.progress, lab.devices, within=timedelta(milliseconds=20))

    assert informed == Informed(told=False)


async def test_an_answer_that_cannot_be_read_counts_as_told() -> None:
    lab = lab_with_work()
    journal = await lab.journal()
    lab.laptop.answers["complete_run"] = lambda _call: ToolOutcome(result_json='{"effects": 3}')

    await lab.work_on(journal)

    assert journal.progress.finished is not None
    assert journal.progress.finished.device_informed


def test_a_run_that_is_not_concluded_has_no_end_to_tell() -> None:
    with pytest.raises(ValueError, match="not concluded"):
        completion_arguments(Progress())


async def test_summaries_come_in_the_order_of_the_groups() -> None:
    lab = Lab()
    lab.files({f"sample/f{number:02}/a.md": "x" for number in range(12)})

    await lab.work()

    [told] = lab.laptop.called("complete_run")
    assert told["summary"] == "\n\n".join(["Processed 1 files."] * 12)
    assert json.dumps(told)
