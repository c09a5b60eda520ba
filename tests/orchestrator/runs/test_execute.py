"""A run from its claim to its end, and all the ways in which it can end."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from inline_snapshot import snapshot

from orchestrator.agents.domain import Budgets
from orchestrator.runs.domain import (
    DeviceCall,
    ModelRateLimited,
    RunState,
)
from orchestrator.runs.events import Concluded, Finished, PhaseStarted
from orchestrator.runs.execute import new_marker
from orchestrator.runs.marking import mark_as_data
from orchestrator.runs.progress import Progress
from tests.fakes.models import say
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
