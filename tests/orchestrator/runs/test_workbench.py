"""What the parts of a run share."""

from __future__ import annotations

import pytest
from inline_snapshot import snapshot

from orchestrator.runs.answers import ChangedFiles, CompletedRun, Projects, ReadFile, parse_answer
from orchestrator.runs.budgets import Budget
from orchestrator.runs.domain import (
    DeviceOffline,
    Fenced,
    Phase,
    RunError,
    RunFault,
    ToolFailure,
    ToolOutcome,
    ToolTimedOut,
)
from orchestrator.runs.workbench import DeviceRefused, Workbench, error_of
from tests.orchestrator.runs.lab import QUICK, Lab


async def bench(lab: Lab) -> Workbench:
    journal = await lab.journal()
    made = Workbench(
        journal=journal,
        devices=lab.devices,
        model=lab.model,
        budget=Budget(lab.definition.budgets, journal.progress, started_at=lab.clock.now, clock=lab.clock),
        cancellation=lab.cancellation,
        clock=lab.clock,
        limits=QUICK,
    )
    journal.progress.device_id = "laptop"
    return made


async def test_an_error_is_recorded_once() -> None:
    lab = Lab()
    at_work = await bench(lab)
    error = RunError(reason="FILE_UNREADABLE", message="x", items=("a",))

    await at_work.record(error)
    await at_work.record(error)
    await at_work.record()

    assert at_work.progress.errors == [error]
    assert len(await lab.events()) == 1


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("TIMEOUT", ToolTimedOut), ("POLICY_DENIED", DeviceRefused), ("STALE_EPOCH", Fenced), ("INTERNAL", DeviceRefused)],
)
async def test_a_call_that_the_run_needs_and_that_fails_is_an_error(reason: str, expected: type[Exception]) -> None:
    lab = Lab()
    at_work = await bench(lab)
    lab.laptop.answers["begin_run"] = lambda _call: ToolOutcome(failure=ToolFailure(reason=reason, message="no"))

    with pytest.raises(expected):
        await at_work.begin(Phase.TRIAGE)


async def test_a_device_that_is_gone_is_an_error() -> None:
    lab = Lab()
    at_work = await bench(lab)
    lab.laptop.online = False

    with pytest.raises(DeviceOffline):
        await at_work.begin(Phase.TRIAGE)


async def test_a_policy_may_be_given_again() -> None:
    lab = Lab()
    at_work = await bench(lab)

    await at_work.begin(Phase.TRIAGE)
    await at_work.begin(Phase.TRIAGE)

    assert len(lab.laptop.runs[lab.run_id].policies) == 1


def test_a_declared_error_says_its_reason_and_sentence() -> None:
    assert error_of(DeviceOffline("The device was lost."), "run-1", group="g1", items=("a",)) == snapshot(
        RunError(reason="DEVICE_OFFLINE", message="The device was lost.", group="g1", items=("a",))
    )


def test_what_a_device_answers_is_read_with_whatever_else_it_says() -> None:
    files = '{"files": [{"path": "r/a", "size_bytes": 1, "mtime_ns": 2, "modified_at": "x"}], "extra": {}}'

    assert parse_answer(ChangedFiles, files).files[0].path == "r/a"
    assert parse_answer(Projects, '{"projects": [{"id": "p", "name": "n", "status": null}]}').projects[0].status is None
    assert parse_answer(CompletedRun, '{"effects": {"created": {"task": 2}}}').effects == {"created": {"task": 2}}
    assert parse_answer(ReadFile, '{"path": "r/a", "text": "x"}').next_offset is None


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "no JSON",
        "[]",
        '{"files": [{"path": "", "size_bytes": 1, "mtime_ns": 1}]}',
        '{"files": [{"path": "SECRET"}]}',
        '{"files": [{"path": "a", "size_bytes": -1, "mtime_ns": 1}]}',
        "[" * 100_000,
    ],
    ids=range(7),
)
def test_an_answer_that_is_something_else_is_a_fault_without_its_text(answer: str) -> None:
    with pytest.raises(RunFault) as refused:
        parse_answer(ChangedFiles, answer)

    assert "SECRET" not in refused.value.message
