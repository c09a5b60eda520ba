"""The loop: what a model asks for, what it is answered, and when it has said its last word."""

from __future__ import annotations

import asyncio
import json

import anyio
import pytest
from inline_snapshot import snapshot

from orchestrator.agents.domain import DataType
from orchestrator.runs.domain import DeviceCall, Fenced, RunState, ToolFailure, ToolOutcome, ToolTimedOut
from orchestrator.runs.events import ModelAnswered, ModelCalled, ToolAnswered, ToolCalled, encode
from orchestrator.runs.messages import Assistant, ModelAnswer, ModelRequest, ToolAnswer, ToolRequest, User
from orchestrator.runs.progress import Progress
from tests.fakes.models import ask, by_turn, calls, say, tool
from tests.orchestrator.runs.lab import Lab, definition

A = "sample/a.md"


def lab_with(*answers: ModelAnswer, data_types: frozenset[DataType] = frozenset({DataType.TASKS})) -> Lab:
    """One file and no project, so one group; the model processes it with these answers."""
    lab = Lab(script=by_turn(*answers), definition=definition(data_types=data_types))
    lab.files({A: "TODO one\n"})
    return lab


def outcomes(progress: Progress, step: int = 1) -> list[ToolOutcome]:
    found = progress.conversations["g1"].steps[step].outcomes
    return [found[index] for index in sorted(found)]


def failures(progress: Progress, step: int = 1) -> list[str]:
    return [outcome.failure.reason if outcome.failure else "" for outcome in outcomes(progress, step)]


async def test_a_conversation_is_stored_once_and_read_back_as_the_model_saw_it() -> None:
    lab = lab_with(calls(tool("create_task", title="one", source=A)), say("Made one task."))

    progress = await lab.work()

    last = lab.model.requests[-1].messages
    assert last == progress.conversations["g1"].messages()[:-1]
    assert [type(message).__name__ for message in last] == snapshot(
        ["System", "User", "Assistant", "ToolAnswer", "ToolAnswer", "ToolAnswer", "Assistant", "ToolAnswer"]
    )
    assert progress.finished_groups["g1"].summary == "Made one task."
    payloads = [encode(event)[1] for event in await lab.events()]
    assert sum(payload.count("TODO one") for payload in payloads) == 1


async def test_every_call_is_journaled_before_and_after() -> None:
    lab = lab_with(calls(tool("create_task", title="one", source=A)), say("Made one task."))

    await lab.work()

    kinds = [
        (type(event).__name__, event.step)
        for event in await lab.events()
        if isinstance(event, ModelCalled | ModelAnswered | ToolCalled | ToolAnswered) and event.step > 0
    ]
    assert kinds == snapshot(
        [
            ("ModelCalled", 1),
            ("ModelAnswered", 1),
            ("ToolCalled", 1),
            ("ToolAnswered", 1),
            ("ModelCalled", 2),
            ("ModelAnswered", 2),
        ]
    )


async def test_bad_calls_are_answered_to_the_model_and_never_sent() -> None:
    lab = lab_with(
        calls(
            tool("create_task", "no JSON"),
            tool("create_task", title="one", is_approved=True),
            tool("create_task", title=""),
            tool("format_disk", path="/"),
            tool("create_note", title="x", content="y"),
            tool("begin_run", phase="triage"),
            tool("find_changed_files", paths=["sample"], extensions=[]),
            tool("x" * 500),
        ),
        say("Sorry."),
    )

    progress = await lab.work()

    assert failures(progress) == snapshot(
        [
            "INVALID_ARGUMENT",
            "INVALID_ARGUMENT",
            "INVALID_ARGUMENT",
            "UNKNOWN_TOOL",
            "POLICY_DENIED",
            "UNKNOWN_TOOL",
            "POLICY_DENIED",
            "UNKNOWN_TOOL",
        ]
    )
    assert [outcome.failure.message for outcome in outcomes(progress)[:3] if outcome.failure] == snapshot(
        [
            "The arguments are no JSON that can be sent: every key once, numbers within 64 bits, 8 levels.",
            "arguments: has no argument named is_approved.",
            "title: must have at least 1 characters.",
        ]
    )
    assert (
        lab.laptop.called("create_task") == lab.laptop.called("format_disk") == lab.laptop.called("create_note") == []
    )
    answered = [event for event in await lab.events() if isinstance(event, ToolAnswered) and event.step == 1]
    assert [event.sent for event in answered] == [False] * 8
    assert {event.tool for event in answered} == snapshot(
        {"begin_run", "create_note", "create_task", "find_changed_files", "format_disk", "unnamed"}
    )
    assert progress.concluded is RunState.SUCCEEDED
    assert progress.usage.tool_calls == len(progress.conversations["g1"].steps[0].outcomes)


async def test_the_model_is_told_of_a_failure_as_data() -> None:
    lab = lab_with(calls(tool("update_task", task_id="no-such-task", status="Completed")), say("There is none."))

    await lab.work()

    answers = [message for message in lab.model.requests[-1].messages if isinstance(message, ToolAnswer)]
    assert answers[-1].failed
    assert json.loads(answers[-1].content_json) == {"error": {"reason": "NOT_FOUND", "message": "NOT_FOUND"}}


async def test_a_call_that_times_out_is_a_failure_for_the_model_and_the_run_goes_on() -> None:
    lab = lab_with(calls(tool("create_task", title="one", source=A), tool("list_tasks")), say("One did not answer."))

    async def slow(call: DeviceCall) -> None:
        if call.tool == "create_task":
            raise ToolTimedOut("The device did not answer create_task in time.")

    lab.laptop.before = slow

    progress = await lab.work()

    assert failures(progress) == ["TIMEOUT", ""]
    assert progress.concluded is RunState.SUCCEEDED


async def test_reads_go_together_and_effects_one_by_one_in_their_order() -> None:
    lab = lab_with(
        calls(
            tool("list_tasks"),
            tool("get_file_metadata", path=A),
            tool("create_task", title="first", source=A),
            tool("create_task", title="second", source=A),
            tool("list_tasks", status="ToDo"),
        ),
        say("Done."),
    )
    under_way: list[str] = []
    seen: list[tuple[str, ...]] = []

    async def enter(call: DeviceCall) -> None:
        if call.call_id.split(":")[-2] != "1":
            return
        under_way.append(call.tool)
        for _ in range(20):
            await asyncio.sleep(0)
        seen.append(tuple(under_way))

    async def leave(call: DeviceCall) -> None:
        if call.call_id.split(":")[-2] == "1":
            under_way.remove(call.tool)

    lab.laptop.before, lab.laptop.after = enter, leave

    progress = await lab.work()

    assert sorted(set(seen)) == snapshot(
        [("create_task",), ("get_file_metadata",), ("list_tasks",), ("list_tasks", "get_file_metadata")]
    )
    titles = [row["title"] for row in json.loads(outcomes(progress)[4].result_json or "")["tasks"]]
    assert titles == ["first", "second"]


async def test_answers_stand_in_the_order_of_the_requests_whatever_came_first() -> None:
    lab = lab_with(calls(tool("list_tasks"), tool("get_file_metadata", path=A)), say("Done."))
    second_done = asyncio.Event()

    async def first_waits(call: DeviceCall) -> None:
        if call.call_id.endswith(":1:0"):
            await second_done.wait()

    async def second_tells(call: DeviceCall) -> None:
        if call.call_id.endswith(":1:1"):
            second_done.set()

    lab.laptop.before, lab.laptop.after = first_waits, second_tells

    with anyio.fail_after(5):
        await lab.work()

    names = [message.name for message in lab.model.requests[-1].messages if isinstance(message, ToolAnswer)]
    assert names[-2:] == ["list_tasks", "get_file_metadata"]


async def test_after_the_last_step_comes_one_question_without_tools() -> None:
    lab = lab_with(calls(tool("list_tasks")))

    progress = await lab.work()

    assert [bool(request.tools) for request in lab.model.requests] == [True] * 12 + [False]
    assert progress.conversations["g1"].called[13].kind == "last"
    assert progress.conversations["g1"].steps[13].answer == Assistant("")
    assert progress.concluded is RunState.SUCCEEDED


async def test_a_model_that_has_not_read_a_file_is_told_so_once_and_may_then_read_it() -> None:
    big = "sample/big.md"
    lab = lab_with(say("Nothing in them."), calls(tool("read_file_content", path=big)), say("Now I have read it."))
    lab.files({big: "x" * 70_000})

    progress = await lab.work()

    remarks = [message.text for message in lab.model.requests[-1].messages if isinstance(message, User)][1:]
    assert remarks == snapshot(
        [
            """\
You have not read all files of the group in full:
- "sample/big.md": not read
Read them, do what they call for, then end.\
"""
        ]
    )
    assert progress.processed == {A, big}
    assert progress.concluded is RunState.SUCCEEDED


async def test_a_file_that_the_model_never_reads_is_left_to_the_next_run() -> None:
    big = "sample/big.md"
    lab = lab_with(say("Nothing in them."))
    lab.files({big: "x" * 70_000})

    progress = await lab.work()

    assert progress.processed == {A}
    assert [(error.reason, error.group, error.items) for error in progress.errors] == [("FILE_UNREAD", "g1", (big,))]
    assert progress.concluded is RunState.PARTIAL
    assert list(lab.laptop.processed["client-agent-1"]) == [A]


@pytest.mark.parametrize("ids", [("", ""), ("same", "same"), ("a", ""), ("\ud800", "b")])
async def test_requests_get_ids_of_their_own_where_the_model_gives_none(ids: tuple[str, str]) -> None:
    requests = [ToolRequest(request_id=name, name="list_tasks", arguments_json="{}") for name in ids]
    lab = lab_with(ask(*requests), say("Done."))

    progress = await lab.work()

    kept = [request.request_id for request in progress.conversations["g1"].steps[1].answer.tool_requests]
    assert len(set(kept)) == 2
    assert all(kept)


async def test_text_that_no_journal_can_hold_is_made_storable() -> None:
    broken = ToolRequest(request_id="1", name="create_\udfff", arguments_json='{"title": "\ud83d"}')
    lab = lab_with(ask(broken, text="half \ud83d"), say("half \ud83d"))

    progress = await lab.work()

    assert progress.finished_groups["g1"].summary == "half ?"
    assert progress.concluded is RunState.SUCCEEDED


async def test_a_device_that_has_seen_a_newer_worker_stops_this_one_at_once() -> None:
    lab = lab_with(calls(tool("create_task", title="one", source=A)), say("Done."))
    journal = await lab.journal()

    async def take_over(call: DeviceCall) -> None:
        if call.tool == "create_task":
            lab.laptop.runs[lab.run_id].epoch = 99

    lab.laptop.before = take_over

    with pytest.raises(Fenced):
        await lab.work_on(journal)

    assert isinstance((await lab.events())[-1], ToolCalled)
    assert lab.laptop.runs[lab.run_id].completed is None


async def test_the_limit_of_the_device_ends_the_run_as_a_budget() -> None:
    lab = lab_with(calls(tool("list_tasks")), say("Done."))
    refused = ToolOutcome(failure=ToolFailure(reason="BUDGET_EXCEEDED", message="All calls are used."))
    lab.laptop.answers["list_tasks"] = lambda call: refused if ":1:" in call.call_id else ToolOutcome(result_json="{}")

    progress = await lab.work()

    assert progress.concluded is RunState.PARTIAL
    assert [error.reason for error in progress.errors] == ["BUDGET_EXCEEDED"]
    assert len(lab.model.requests) == 1


async def test_what_a_model_asks_for_without_having_tools_is_dropped() -> None:
    def stubborn(_request: ModelRequest) -> ModelAnswer:
        return calls(tool("create_task", title="again", source=A))

    lab = lab_with()
    lab.model = type(lab.model)(stubborn)

    progress = await lab.work()

    assert progress.counts("CREATED")["task"] == 12
    assert len(lab.model.requests) == 13
