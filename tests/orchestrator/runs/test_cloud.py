"""Runs over messages, from the fetch to the cursor."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from inline_snapshot import snapshot

from orchestrator.agents.domain import Budgets, DataType, MessageFilter
from orchestrator.runs.conversion import event_to_proto
from orchestrator.runs.domain import RunState
from orchestrator.runs.events import ItemsFound, PhaseStarted, ToolAnswered, encode
from orchestrator.runs.incoming import Fetch, Participant
from orchestrator.runs.messages import ModelAnswer, ModelRequest, ProcessingBrief
from tests.fakes.models import ScriptedModel, calls, diligent, say, tool, turn
from tests.orchestrator.runs.lab import QUICK, CloudLab, cloud_definition, cloud_lab_with_mail

SUBSCRIBER = "client-agent-1"
WORD = Participant(address="WORD@example.org", name="WORD")


async def test_a_whole_run_does_what_the_messages_say() -> None:
    lab = cloud_lab_with_mail()

    progress = await lab.work()

    assert progress.concluded is RunState.SUCCEEDED
    assert lab.laptop.workspace.titles("task") == ["Send the invoice", "Send the logo"]
    assert lab.laptop.workspace.titles("note") == ["The office is closed on Friday"]
    assert {effect.title: effect.source for effect in progress.effects} == {
        "Send the logo": "message:gmail:m1",
        "Send the invoice": "message:gmail:m3",
        "The office is closed on Friday": "message:gmail:m2",
    }
    assert len(progress.processed) == 4
    assert lab.mailbox.behind(SUBSCRIBER) == ["m1", "m2", "m3", "m4"]


async def test_the_threads_are_the_groups() -> None:
    lab = cloud_lab_with_mail()

    progress = await lab.work()

    assert [(group.title, [item.path for item in group.items]) for group in progress.groups or ()] == snapshot(
        [
            ("Conversation 1", ["message:gmail:m1", "message:gmail:m3"]),
            ("Conversation 2", ["message:gmail:m2"]),
            ("Conversation 3", ["message:gmail:m4"]),
        ]
    )


async def test_what_is_prepared_for_a_group() -> None:
    lab = cloud_lab_with_mail(script=lambda _request: say("Nothing."))

    progress = await lab.work()

    prepared = progress.conversations["g1"].steps[0].answer.tool_requests
    assert [(request.name, request.arguments_json) for request in prepared] == snapshot(
        [
            ("list_all_projects", "{}"),
            ("list_tasks", '{"project_id":null}'),
            ("list_notes", '{"project_id":null}'),
            ("list_timelines", '{"project_id":null}'),
            ("read_message", '{"message_id":"message:gmail:m1"}'),
            ("read_message", '{"message_id":"message:gmail:m3"}'),
        ]
    )


async def test_the_device_is_given_the_messages_of_the_group_and_no_folder() -> None:
    lab = cloud_lab_with_mail(definition=cloud_definition(data_types=frozenset({DataType.TASKS})))

    await lab.work()

    assert lab.laptop.called("begin_run")[0] == snapshot(
        {
            "agent_name": "Mail watcher",
            "budgets": {"max_calls": 2000, "max_creates": 500, "max_read_bytes": 67108864},
            "data_types": ["tasks"],
            "directories": [],
            "files": ["message:gmail:m1", "message:gmail:m3"],
            "group": "g1",
            "phase": "processing",
            "read_only": False,
            "tools": [
                "add_task_comment",
                "create_task",
                "get_project",
                "list_all_projects",
                "list_projects",
                "list_tasks",
                "update_task",
            ],
            "trigger": "manual",
        }
    )
    assert {call["phase"] for call in lab.laptop.called("begin_run")} == {"processing"}


async def test_messages_never_travel_to_the_device_but_in_what_the_model_writes() -> None:
    lab = cloud_lab_with_mail()

    await lab.work()

    assert not {"read_message", "read_file_content", "mark_processed", "find_changed_files"} & {
        call.tool for call in lab.laptop.calls
    }
    assert not any("Nothing to do here" in call.arguments_json for call in lab.laptop.calls)


async def test_no_file_of_the_user_can_be_reached() -> None:
    def script(request: ModelRequest) -> ModelAnswer:
        if turn(request) == 0:
            return calls(
                tool("read_file_content", path="sample/a.md"), tool("list_directory"), tool("find_changed_files")
            )
        return say("Nothing.")

    lab = cloud_lab_with_mail(script=script)
    lab.files({"sample/a.md": "SECRET"})

    progress = await lab.work()

    outcomes = progress.conversations["g1"].steps[1].outcomes.values()
    assert {outcome.failure.reason for outcome in outcomes if outcome.failure} == {"POLICY_DENIED"}
    assert len(outcomes) == 3
    assert not any("read_file_content" in {spec.name for spec in request.tools} for request in lab.model.requests)


async def test_nothing_new_needs_no_model_and_no_device_but_to_tell_it() -> None:
    lab = cloud_lab_with_mail()
    await lab.work()
    asked, called = len(lab.model.requests), len(lab.laptop.calls)

    progress = await lab.next_run()

    assert progress.concluded is RunState.SUCCEEDED
    assert len(lab.model.requests) == asked
    assert [call.tool for call in lab.laptop.calls[called:]] == ["complete_run"]


async def test_an_empty_fetch_moves_the_cursor_too() -> None:
    lab = CloudLab()

    progress = await lab.work()

    assert progress.concluded is RunState.SUCCEEDED
    assert len(lab.mailbox.commits) == 1
    assert lab.model.requests == []


async def test_the_fetch_is_the_agents() -> None:
    lab = CloudLab(definition=cloud_definition(filter=MessageFilter(senders=("@acme.example",), unread_only=True)))

    await lab.work()

    assert lab.mailbox.fetches == [
        Fetch(
            user_id="ada",
            connection_id="mail",
            subscriber=SUBSCRIBER,
            filter=MessageFilter(senders=("@acme.example",), unread_only=True),
            max_messages=1_000,
            max_body_chars=8_000,
            within=QUICK.fetching,
        )
    ]


async def test_a_fetch_takes_no_longer_than_the_run_may() -> None:
    budgets = Budgets(max_wall_time=QUICK.fetching / 4)
    lab = CloudLab(definition=cloud_definition(budgets=budgets))

    await lab.work()

    assert lab.mailbox.fetches[0].within == budgets.max_wall_time


async def test_any_connected_device_will_do() -> None:
    lab = cloud_lab_with_mail()
    lab.laptop.online = False
    lab.devices.add("phone")

    progress = await lab.work()

    assert progress.device_id == "phone"
    assert progress.concluded is RunState.SUCCEEDED


async def test_no_message_text_stands_in_the_journal_but_in_tool_answers_and_once() -> None:
    lab = cloud_lab_with_mail(script=lambda _request: say("Nothing."))
    lab.mailbox.add("m5", "the WORD itself", thread="word", subject="the WORD", sender=WORD)

    await lab.work()

    holding = [event for event in await lab.events() if "WORD" in encode(event)[1]]
    assert [type(event) for event in holding] == [ToolAnswered]
    assert encode(holding[0])[1].count("the WORD itself") == 1


async def test_watchers_are_told_no_message_text() -> None:
    lab = cloud_lab_with_mail(script=lambda _request: say("Nothing."))
    lab.mailbox.add("m5", "the WORD itself", thread="word", subject="the WORD", sender=WORD)
    await lab.work()

    told = [event for entry in await lab.journals.read(lab.run_id) for event in event_to_proto(entry)]

    assert "WORD" not in str(told)
    assert [event.items_found.count for event in told if event.HasField("items_found")] == [5]
    assert sum(event.HasField("item_processed") for event in told) == 5


async def test_the_phases_are_those_of_any_run() -> None:
    lab = cloud_lab_with_mail()

    await lab.work()

    events = await lab.events()
    assert [event.phase.value for event in events if isinstance(event, PhaseStarted)] == [
        "triage",
        "processing",
        "control",
    ]
    assert next(event for event in events if isinstance(event, ItemsFound)).projects == ()


async def test_reading_counts_on_the_budget_and_sends_nothing() -> None:
    lab = cloud_lab_with_mail(script=lambda _request: say("Nothing."))

    progress = await lab.work()

    answered = [event for event in await lab.events() if isinstance(event, ToolAnswered)]
    read = [event for event in answered if event.tool == "read_message"]
    assert progress.usage.read_bytes == sum(len((event.outcome.result_json or "").encode()) for event in read)
    assert progress.usage.tool_calls == len(answered) - len(read) == 12
    assert not any(event.sent for event in read)


async def test_a_limit_on_reading_ends_the_run_partial_and_the_next_one_goes_on() -> None:
    lab = CloudLab(limits=replace(QUICK, groups=1), definition=cloud_definition(budgets=Budgets(max_read_bytes=700)))
    for number in range(4):
        lab.mailbox.add(f"m{number}", f"TODO job {number}\n" + "x" * 200)

    first = await lab.work()
    second = await lab.next_run()

    assert [error.reason for error in first.errors] == ["BUDGET_EXCEEDED"]
    assert first.concluded is RunState.PARTIAL
    assert first.processed == {"message:gmail:m0", "message:gmail:m1"}
    assert second.processed == {"message:gmail:m2", "message:gmail:m3"}


async def test_a_limit_on_model_calls_leaves_the_rest_to_the_next_run() -> None:
    lab = CloudLab(limits=replace(QUICK, groups=1), definition=cloud_definition(budgets=Budgets(max_model_calls=4)))
    for number in range(4):
        lab.mailbox.add(f"m{number}", f"TODO job {number}\n")

    first = await lab.work()
    moved = lab.mailbox.behind(SUBSCRIBER)
    second = await lab.next_run()

    assert first.concluded is RunState.PARTIAL
    assert first.processed == {"message:gmail:m0", "message:gmail:m1"}
    assert moved == ["m0", "m1"]
    assert second.processed == {"message:gmail:m2", "message:gmail:m3"}
    assert lab.mailbox.behind(SUBSCRIBER) == ["m0", "m1", "m2", "m3"]
    assert lab.laptop.workspace.titles("task") == ["job 0", "job 1", "job 2", "job 3"]


async def test_a_run_that_left_more_says_so_and_the_next_one_takes_it() -> None:
    lab = CloudLab(limits=replace(QUICK, messages=3))
    for number in range(5):
        lab.mailbox.add(f"m{number}", f"TODO job {number}\n")

    first = await lab.work()
    second = await lab.next_run()

    assert [(error.reason, error.message) for error in first.errors] == snapshot(
        [
            (
                "TOO_MANY_MESSAGES",
                "There are more messages than one run takes. This run takes at most 3, and the next the rest.",
            )
        ]
    )
    assert first.concluded is RunState.PARTIAL
    assert len(first.processed) == 3
    assert second.concluded is RunState.SUCCEEDED
    assert len(second.processed) == 2


async def test_a_commit_that_was_lost_makes_nothing_twice() -> None:
    lab = cloud_lab_with_mail()
    await lab.work()
    lab.mailbox.cursors.clear()
    lab.mailbox.add("m5", "TODO Call Anna\n", thread="logo")
    asked = len(lab.model.requests)

    progress = await lab.next_run()

    assert [item.path for item in progress.items or ()] == ["message:gmail:m5"]
    assert progress.fetched is not None
    assert progress.fetched.redelivered == 4
    assert len(lab.model.requests) - asked == 2
    assert lab.laptop.workspace.titles("task") == ["Call Anna", "Send the invoice", "Send the logo"]
    assert lab.mailbox.behind(SUBSCRIBER) == ["m1", "m2", "m3", "m4", "m5"]


async def test_another_agent_processes_the_same_messages_for_itself() -> None:
    lab = cloud_lab_with_mail()
    await lab.work()
    lab.definition = replace(lab.definition, client_agent_id="client-agent-2")

    progress = await lab.next_run()

    assert len(progress.processed) == 4


async def test_a_large_thread_is_processed_part_by_part_in_its_order() -> None:
    lab = CloudLab(script=lambda _request: say("Nothing."))
    for number in range(60):
        lab.mailbox.add(f"m{number:02}", "Hello", thread="long")

    progress = await lab.work()

    assert [len(group.items) for group in progress.groups or ()] == [25, 25, 10]
    assert list(progress.finished_groups) == ["g1", "g2", "g3"]
    assert len(progress.processed) == 60


async def test_the_model_is_given_each_text_once_however_often_it_asks() -> None:
    def script(request: ModelRequest) -> ModelAnswer:
        assert isinstance(request.brief, ProcessingBrief)
        path = request.brief.items[0]
        if turn(request) == 0:
            return calls(
                tool("read_message", message_id=path),
                tool("read_message", message_id=path),
                tool("read_message", message_id="message:gmail:made-up"),
                tool("read_message", path=path),
            )
        return say("Nothing.")

    lab = CloudLab()
    lab.mailbox.add("m1", "TODO Send the logo")

    progress = await lab.work(model=ScriptedModel(script))

    outcomes = progress.conversations["g1"].steps[1].outcomes
    assert [json.loads(outcomes[index].result_json or "null") for index in (0, 1)] == [
        {"message_id": "message:gmail:m1", "given_before": True}
    ] * 2
    assert [failure.reason for index in (2, 3) if (failure := outcomes[index].failure)] == ["INVALID_ARGUMENT"] * 2
    assert progress.processed == {"message:gmail:m1"}


async def test_an_approved_record_gets_a_comment_and_a_proposal() -> None:
    lab = CloudLab()
    lab.laptop.workspace.add("task", "task-known", title="Send the offer", project_id=None, status="ToDo")
    lab.mailbox.add("m1", "DONE Send the offer")

    progress = await lab.work()

    assert lab.laptop.workspace.rows["task"]["task-known"]["proposals"] == {"status": "Completed"}
    assert [comment["task_id"] for comment in lab.laptop.workspace.comments] == ["task-known"]
    assert dict(progress.counts("PROPOSED")) == {"task": 1}


async def test_the_device_is_told_how_the_run_ended() -> None:
    lab = cloud_lab_with_mail()

    await lab.work()

    assert lab.laptop.called("complete_run")[0]["counts"] == snapshot(
        {
            "commented": {},
            "created": {"note": 1, "task": 2},
            "items_found": 4,
            "items_processed": 4,
            "proposed": {},
            "updated": {},
        }
    )


@pytest.mark.parametrize("data_type", list(DataType))
async def test_only_the_chosen_types_are_worked_on(data_type: DataType) -> None:
    lab = cloud_lab_with_mail(definition=cloud_definition(data_types=frozenset({data_type})))

    progress = await lab.work(model=ScriptedModel(diligent))

    assert set(progress.counts("CREATED")) <= {data_type.value.removesuffix("s")}
