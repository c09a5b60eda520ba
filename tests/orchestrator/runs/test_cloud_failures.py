"""Messages whose groups fail: tried again, and given up only when they are to blame."""

from __future__ import annotations

from dataclasses import replace

import pytest
from inline_snapshot import snapshot

from orchestrator.runs.domain import (
    DeviceCall,
    ModelBadAnswer,
    ModelFault,
    ModelRateLimited,
    ModelUnauthenticated,
    RunState,
    ToolFailure,
    ToolOutcome,
)
from orchestrator.runs.messages import ModelAnswer, ModelRequest, ToolAnswer
from tests.fakes.models import Script, ScriptedModel, diligent
from tests.orchestrator.runs.lab import QUICK, CloudLab, cloud_lab_with_mail
from tests.orchestrator.runs.test_cloud_faults import SUBSCRIBER, reasons


def failing_on(*words: str, fault: ModelFault | Exception | None = None) -> Script:
    """A model that fails on the messages that hold one of the words."""

    def script(request: ModelRequest) -> ModelAnswer | ModelFault:
        texts = [message.content_json for message in request.messages if isinstance(message, ToolAnswer)]
        if any(word in text for word in words for text in texts):
            if fault is not None and not isinstance(fault, ModelFault):
                raise fault
            return fault or ModelBadAnswer("The model answered with garbage.")
        return diligent(request)

    return script


async def test_the_cursor_stays_before_a_message_whose_group_failed() -> None:
    lab = cloud_lab_with_mail()

    progress = await lab.work(model=ScriptedModel(failing_on("office is closed")))

    assert progress.concluded is RunState.PARTIAL
    assert [(error.reason, error.items) for error in progress.errors] == [("MODEL_BAD_ANSWER", ("message:gmail:m2",))]
    assert progress.processed == {"message:gmail:m1", "message:gmail:m3", "message:gmail:m4"}
    assert lab.mailbox.behind(SUBSCRIBER) == []


async def test_what_was_processed_behind_it_is_skipped_and_the_failed_one_tried_again() -> None:
    lab = cloud_lab_with_mail()
    await lab.work(model=ScriptedModel(failing_on("office is closed")))

    progress = await lab.next_run()

    assert progress.concluded is RunState.SUCCEEDED
    assert [item.path for item in progress.items or ()] == ["message:gmail:m2"]
    assert lab.laptop.workspace.titles("task") == ["Send the invoice", "Send the logo"]
    assert lab.mailbox.behind(SUBSCRIBER) == ["m1", "m2", "m3", "m4"]


async def test_a_message_on_which_three_runs_failed_is_given_up_and_blocks_nothing() -> None:
    lab = cloud_lab_with_mail()
    poisoned = ScriptedModel(failing_on("office is closed"))

    first = await lab.work(model=poisoned)
    second = await lab.next_run(model=poisoned)
    third = await lab.next_run(model=poisoned)
    fourth = await lab.next_run(model=poisoned)

    assert [reasons(run) for run in (first, second, third, fourth)] == [
        ["MODEL_BAD_ANSWER"],
        ["MODEL_BAD_ANSWER"],
        ["MODEL_BAD_ANSWER", "MESSAGE_GIVEN_UP"],
        [],
    ]
    given_up = third.errors[-1]
    assert given_up.items == ("message:gmail:m2",)
    assert given_up.message == snapshot("These messages failed in 3 runs and are given up. Look at them yourself.")
    assert fourth.concluded is RunState.SUCCEEDED
    assert fourth.items == ()
    assert lab.mailbox.behind(SUBSCRIBER) == ["m1", "m2", "m3", "m4"]


@pytest.mark.parametrize("fault", [ZeroDivisionError("SECRET"), ModelBadAnswer("Garbage.")])
async def test_a_message_that_fails_all_alone_is_given_up_too(fault: ModelFault | Exception) -> None:
    lab = CloudLab()
    lab.mailbox.add("m1", "poison")
    poisoned = ScriptedModel(failing_on("poison", fault=fault))

    runs = [await lab.work(model=poisoned), await lab.next_run(model=poisoned), await lab.next_run(model=poisoned)]

    assert [run.concluded for run in runs] == [RunState.FAILED] * 3
    assert "MESSAGE_GIVEN_UP" in reasons(runs[-1])
    assert not any("SECRET" in error.message for run in runs for error in run.errors)
    assert lab.mailbox.behind(SUBSCRIBER) == ["m1"]


async def test_the_failed_messages_of_a_thread_are_tried_again_one_by_one() -> None:
    lab = CloudLab()
    lab.mailbox.add("m1", "TODO one", thread="t")
    lab.mailbox.add("m2", "poison", thread="t")
    lab.mailbox.add("m3", "TODO three", thread="t")
    poisoned = ScriptedModel(failing_on("poison"))
    await lab.work(model=poisoned)
    lab.mailbox.add("m4", "TODO four", thread="fresh")

    progress = await lab.next_run(model=poisoned)

    assert [[item.path for item in group.items] for group in progress.groups or ()] == [
        ["message:gmail:m4"],
        ["message:gmail:m1"],
        ["message:gmail:m2"],
        ["message:gmail:m3"],
    ]
    assert progress.processed == {"message:gmail:m1", "message:gmail:m3", "message:gmail:m4"}


@pytest.mark.parametrize(
    "fault",
    [
        ModelFault("The model provider cannot be reached."),
        ModelRateLimited("Too many requests."),
        ModelUnauthenticated("The key was refused."),
    ],
    ids=lambda fault: fault.reason,
)
async def test_an_outage_of_the_model_makes_no_message_be_given_up(fault: ModelFault) -> None:
    lab = cloud_lab_with_mail()
    down = ScriptedModel(lambda _request: fault)

    runs = [await lab.work(model=down), *[await lab.next_run(model=down) for _ in range(5)]]
    last = await lab.next_run()

    assert {run.concluded for run in runs} == {RunState.FAILED}
    assert not any("MESSAGE_GIVEN_UP" in reasons(run) for run in runs)
    assert last.concluded is RunState.SUCCEEDED
    assert len(last.processed) == 4


async def test_a_bug_that_hits_every_message_makes_none_be_given_up() -> None:
    lab = cloud_lab_with_mail()
    broken = ScriptedModel(failing_on("message:", fault=ZeroDivisionError()))

    runs = [await lab.work(model=broken), *[await lab.next_run(model=broken) for _ in range(4)]]

    assert not any("MESSAGE_GIVEN_UP" in reasons(run) for run in runs)
    assert (await lab.next_run()).concluded is RunState.SUCCEEDED


async def test_a_message_that_no_model_takes_does_not_keep_the_mailbox_for_ever() -> None:
    """Its own size may be the trouble, which reads like an outage: it counts once something else gets through."""
    lab = CloudLab()
    lab.mailbox.add("huge", "poison")
    refusing = ScriptedModel(failing_on("poison", fault=ModelFault("The request was refused (HTTP 400).")))

    runs = [await lab.work(model=refusing), await lab.next_run(model=refusing)]
    for number in range(3):
        lab.mailbox.add(f"m{number}", f"TODO job {number}")
        runs.append(await lab.next_run(model=refusing))

    assert ["MESSAGE_GIVEN_UP" in reasons(run) for run in runs] == [False, False, False, False, True]
    assert lab.mailbox.behind(SUBSCRIBER) == ["huge", "m0", "m1", "m2"]


async def test_a_message_that_fills_the_whole_fetch_with_what_was_done_is_to_blame() -> None:
    """Nothing fresh can come behind it, so nothing else could show that the model works."""
    lab = CloudLab(limits=replace(QUICK, messages=3))
    lab.mailbox.add("huge", "poison")
    for number in range(4):
        lab.mailbox.add(f"m{number}", f"TODO job {number}")
    refusing = ScriptedModel(failing_on("poison", fault=ModelFault("The request was refused (HTTP 400).")))

    runs = [await lab.work(model=refusing), await lab.next_run(model=refusing), await lab.next_run(model=refusing)]
    last = await lab.next_run(model=refusing)

    assert "MESSAGE_GIVEN_UP" in reasons(runs[-1])
    assert last.processed == {"message:gmail:m2", "message:gmail:m3"}


async def test_the_device_may_refuse_a_group_and_the_others_go_on() -> None:
    lab = cloud_lab_with_mail()

    def refuse(call: DeviceCall) -> ToolOutcome:
        if "m2" in call.arguments_json:
            return ToolOutcome(failure=ToolFailure(reason="INVALID_ARGUMENT", message="No."))
        lab.laptop.answers.pop("begin_run")
        outcome = lab.laptop.answer(call)
        lab.laptop.answers["begin_run"] = refuse
        return outcome

    lab.laptop.answers["begin_run"] = refuse

    progress = await lab.work()

    assert progress.concluded is RunState.PARTIAL
    assert reasons(progress) == ["DEVICE_POLICY"]
    assert [(failed.item, failed.blamed) for failed in progress.failed.values()] == [("message:gmail:m2", True)]
