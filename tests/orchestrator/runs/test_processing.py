"""Processing: groups at the same time, and what becomes of a group that fails."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from inline_snapshot import snapshot

from orchestrator.agents.domain import Budgets, DataType
from orchestrator.runs.domain import (
    DeviceCall,
    ModelBadAnswer,
    ModelFault,
    ModelUnauthenticated,
    RunState,
    ToolFailure,
    ToolOutcome,
)
from orchestrator.runs.events import GroupFinished, ModelCalled
from orchestrator.runs.messages import ModelAnswer, ModelRequest, ProcessingBrief
from tests.fakes.device_tools import FakeFile
from tests.fakes.models import ScriptedModel, calls, diligent, say, tool
from tests.orchestrator.runs.lab import ACME, NUVOLA, Lab, definition, lab_with_work


def folders(number: int) -> dict[str, str]:
    return {f"sample/f{folder:02}/a.md": f"TODO job {folder}\n" for folder in range(number)}


async def test_a_whole_run_does_what_the_files_say() -> None:
    lab = lab_with_work()

    progress = await lab.work()

    assert progress.concluded is RunState.SUCCEEDED
    rows = lab.laptop.workspace.rows
    projects = {row["title"]: row["project_id"] for row in rows["task"].values()}
    assert projects == {
        "Send the offer": ACME,
        "Book the photographer": ACME,
        "Order the paper": NUVOLA,
        "Call the printer": NUVOLA,
        "Buy seeds": None,
        "Renew the insurance": None,
        "Read it all": None,
    }
    assert lab.laptop.workspace.titles("note") == ["The client wants green"]
    assert lab.laptop.workspace.titles("project") == ["Acme", "Garden Club", "Nuvola"]
    assert rows["task"]["task-known"]["proposals"] == {"status": "Completed"}
    assert lab.laptop.workspace.comments == [{"task_id": "task-known", "text": "Done.", "author": "Adiuva"}]
    assert all(not row["is_approved"] for row in rows["task"].values() if row["id"] != "task-known")


async def test_a_group_usually_takes_two_model_calls() -> None:
    lab = lab_with_work()

    progress = await lab.work()

    assert len(progress.conversations["g1"].called) == 2
    assert len(progress.conversations["g2"].called) == 2


async def test_everything_that_is_prepared_is_journaled_and_counted() -> None:
    lab = Lab(script=lambda _request: say("Nothing."))
    lab.files({"sample/a.md": "x"})

    progress = await lab.work()

    prepared = progress.conversations["g1"].steps[0]
    assert [request.name for request in prepared.answer.tool_requests] == snapshot(
        ["list_all_projects", "list_tasks", "list_notes", "list_timelines", "read_file_content"]
    )
    assert prepared.complete
    assert progress.usage.tool_calls == 5
    assert progress.usage.read_bytes > 0


async def test_groups_run_at_the_same_time_and_no_more_than_allowed() -> None:
    running, most = 0, 0
    full = asyncio.Event()

    class Counting(ScriptedModel):
        async def answer(self, request: ModelRequest) -> ModelAnswer:
            nonlocal running, most
            running += 1
            most = max(most, running)
            if running == 4:
                full.set()
            await full.wait()
            running -= 1
            return await super().answer(request)

    lab = Lab()
    lab.files(folders(9))

    with anyio.fail_after(10):
        progress = await lab.work(model=Counting(diligent))

    assert most == 4
    assert progress.concluded is RunState.SUCCEEDED
    assert len(progress.finished_groups) == 9


async def test_parts_of_one_folder_follow_each_other() -> None:
    """The second part has to see the project that the first one made."""
    lab = Lab(script=diligent)
    lab.files({f"sample/big-folder/{number:02}.md": "x" for number in range(60)})

    progress = await lab.work()

    order = [
        (type(event).__name__, event.conversation if isinstance(event, ModelCalled) else event.group)
        for event in await lab.events()
        if isinstance(event, ModelCalled | GroupFinished)
    ]
    assert order == snapshot(
        [
            ("ModelCalled", "g1"),
            ("GroupFinished", "g1"),
            ("ModelCalled", "g2"),
            ("GroupFinished", "g2"),
            ("ModelCalled", "g3"),
            ("GroupFinished", "g3"),
        ]
    )
    assert progress.concluded is RunState.SUCCEEDED


def failing_for(folder: str, fault: ModelFault | Exception) -> ScriptedModel:
    def script(request: ModelRequest) -> ModelAnswer | ModelFault:
        if isinstance(request.brief, ProcessingBrief) and folder in request.brief.items[0]:
            if isinstance(fault, ModelFault):
                return fault
            raise fault
        return diligent(request)

    return ScriptedModel(script)


async def test_a_group_that_fails_leaves_its_files_and_the_others_go_on() -> None:
    lab = Lab()
    lab.files(folders(6))

    progress = await lab.work(model=failing_for("f02", ModelBadAnswer("The model's provider answered with garbage.")))

    assert progress.concluded is RunState.PARTIAL
    assert progress.unprocessed() == ("sample/f02/a.md",)
    assert [(error.reason, error.group, error.items) for error in progress.errors] == [
        ("MODEL_BAD_ANSWER", "g3", ("sample/f02/a.md",))
    ]
    assert not progress.finished_groups["g3"].succeeded
    assert "sample/f02/a.md" not in lab.laptop.processed["client-agent-1"]


async def test_the_next_run_takes_what_was_left() -> None:
    lab = Lab()
    lab.files(folders(3))
    await lab.work(model=failing_for("f02", ModelFault("The model is down.")))
    lab.run_id = "the-next-run"

    progress = await lab.work()

    assert [item.path for item in progress.items or ()] == ["sample/f02/a.md"]
    assert progress.concluded is RunState.SUCCEEDED
    assert lab.laptop.workspace.titles("task") == ["job 0", "job 1", "job 2"]


async def test_an_unexpected_error_fails_its_group_without_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    lab = Lab()
    lab.files(folders(2))

    progress = await lab.work(model=failing_for("f01", ZeroDivisionError("SECRET file text")))

    assert progress.concluded is RunState.PARTIAL
    [error] = progress.errors
    assert error.reason == "INTERNAL"
    logged = capsys.readouterr().out
    reference = error.message.rstrip(".").split()[-1]
    assert reference in logged
    assert "ZeroDivisionError" in logged
    assert "SECRET" not in logged + error.message


async def test_a_refused_key_ends_the_run_at_once() -> None:
    lab = Lab()
    lab.files(folders(20))
    model = ScriptedModel(lambda _request: ModelUnauthenticated("The key was refused. The operator has to renew it."))

    progress = await lab.work(model=model)

    assert progress.concluded is RunState.FAILED
    assert len(model.requests) <= 4
    assert [(error.reason, error.group, len(error.items)) for error in progress.errors] == [
        ("MODEL_UNAUTHENTICATED", "", 20)
    ]


async def test_a_model_that_stays_down_is_not_asked_for_every_group() -> None:
    lab = Lab()
    lab.files(folders(20))
    model = ScriptedModel(lambda _request: ModelFault("The model cannot be reached. Try again later."))

    progress = await lab.work(model=model)

    assert progress.concluded is RunState.FAILED
    assert len(model.requests) <= 3 + 4
    assert progress.errors[-1].group == ""
    assert len(progress.errors[-1].items) == 20


async def test_files_that_cannot_be_read_are_told_and_left_and_the_rest_is_done() -> None:
    lab = Lab()
    lab.files(
        {
            "sample/a.md": "TODO one\n",
            "sample/gone.md": FakeFile(failure="NOT_FOUND"),
            "sample/huge.md": FakeFile(failure="RESULT_TOO_LARGE"),
            "sample/locked.md": FakeFile(failure="UNAVAILABLE"),
            "sample/photo.png": FakeFile(failure="BINARY"),
            "sample/odd.txt": FakeFile(failure="UNSUPPORTED_ENCODING"),
        }
    )

    progress = await lab.work()

    assert progress.concluded is RunState.PARTIAL
    assert progress.processed == {"sample/a.md", "sample/photo.png", "sample/odd.txt"}
    assert [(error.reason, error.group, error.message, error.items) for error in progress.errors] == snapshot(
        [
            (
                "FILE_UNREADABLE",
                "g1",
                "These files are gone from the device. The next run looks again.",
                ("sample/gone.md",),
            ),
            ("FILE_UNREADABLE", "g1", "These files are too large to be read.", ("sample/huge.md",)),
            (
                "FILE_UNREADABLE",
                "g1",
                "These files could not be read on the device. Look at their permissions; the next run tries again.",
                ("sample/locked.md",),
            ),
        ]
    )
    assert set(lab.laptop.processed["client-agent-1"]) == progress.processed
    assert not progress.finished_groups["g1"].succeeded


async def test_a_group_of_which_nothing_can_be_read_marks_nothing_and_fails_the_run() -> None:
    lab = Lab()
    lab.files({"sample/gone.md": FakeFile(failure="NOT_FOUND")})

    progress = await lab.work()

    assert progress.concluded is RunState.FAILED
    assert lab.laptop.called("mark_processed") == []


async def test_a_file_is_marked_as_the_inventory_found_it() -> None:
    """A file that changes while it is processed is found again by the next run."""
    lab = Lab()
    lab.files({"sample/a.md": FakeFile("TODO one\n", mtime_ns=5)})

    async def change(call: DeviceCall) -> None:
        if call.tool == "create_task":
            lab.laptop.workspace.files["sample/a.md"] = FakeFile("TODO two\n", mtime_ns=6)

    lab.laptop.before = change

    await lab.work()

    assert lab.laptop.called("mark_processed") == [{"files": [{"path": "sample/a.md", "size_bytes": 9, "mtime_ns": 5}]}]


async def test_a_device_that_refuses_to_mark_fails_the_group() -> None:
    lab = Lab()
    lab.files({"sample/a.md": "TODO one\n"})
    refused = ToolOutcome(failure=ToolFailure(reason="UNKNOWN_TOOL", message="no"))
    lab.laptop.answers["mark_processed"] = lambda _call: refused

    progress = await lab.work()

    assert progress.concluded is RunState.FAILED
    assert [(error.reason, error.group) for error in progress.errors] == [("DEVICE_POLICY", "g1")]


async def test_a_model_cannot_reach_what_is_not_in_its_group_or_of_other_types() -> None:
    lab = Lab(
        script=lambda request: (
            calls(
                tool("read_file_content", path="sample/other/secret.md"),
                tool("create_task", title="x", source="sample/other/secret.md"),
                tool("create_note", title="x", content="y"),
            )
            if len(request.messages) < 8 and request.brief.items == ("sample/mine/a.md",)
            else diligent(request)
        ),
        definition=definition(data_types=frozenset({DataType.TASKS})),
    )
    lab.files({"sample/mine/a.md": "x", "sample/other/secret.md": "x"})

    progress = await lab.work()

    mine = progress.conversations["g1"].steps[1].outcomes
    reasons = [mine[index].failure.reason for index in sorted(mine) if mine[index].failure]  # type: ignore[union-attr]
    assert reasons == ["POLICY_DENIED", "INVALID_ARGUMENT", "POLICY_DENIED"]


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
async def test_the_budget_of_model_calls_is_kept_exactly_and_ends_the_run_partial(limit: int) -> None:
    lab = Lab(definition=definition(budgets=Budgets(max_model_calls=limit)))
    lab.files(folders(6))

    progress = await lab.work()

    assert len(lab.model.requests) == progress.usage.model_calls == limit
    assert progress.concluded is RunState.PARTIAL
    assert [error.reason for error in progress.errors] == ["BUDGET_EXCEEDED"]
    assert progress.errors[0].items == progress.unprocessed()


@pytest.mark.parametrize("limit", [0, 1, 7, 12])
async def test_the_budget_of_tool_calls_is_kept_exactly(limit: int) -> None:
    lab = Lab(definition=definition(budgets=Budgets(max_tool_calls=limit)))
    lab.files(folders(6))

    progress = await lab.work()

    sent = [call for call in lab.laptop.calls if call.context.phase == "processing"]
    assert len(sent) == progress.usage.tool_calls == limit
    assert progress.concluded is RunState.PARTIAL


async def test_the_budget_of_new_records_is_kept_exactly() -> None:
    lab = Lab(definition=definition(budgets=Budgets(max_creates=3)))
    lab.files({"sample/a.md": "".join(f"TODO job {number}\n" for number in range(10))})

    progress = await lab.work()

    assert progress.counts("CREATED").total() == len(lab.laptop.workspace.rows["task"]) == 3
    assert progress.concluded is RunState.PARTIAL


async def test_a_run_without_a_budget_left_is_taken_up_by_the_next_one() -> None:
    lab = Lab(definition=definition(budgets=Budgets(max_model_calls=8)))
    lab.files(folders(6))
    first = await lab.work()
    lab.run_id = "the-next-run"

    second = await lab.work()

    assert first.processed | second.processed == set(folders(6))
    assert not first.processed & second.processed
    assert lab.laptop.workspace.titles("task") == [f"job {number}" for number in range(6)]


async def test_a_summary_is_cut_and_cleaned_to_what_a_device_takes() -> None:
    lab = Lab(script=lambda _request: say("\0" + "x" * 100_000))
    lab.files({"sample/a.md": "x"})

    progress = await lab.work()

    assert progress.finished_groups["g1"].summary == "x" * 2_000
    assert lab.laptop.called("complete_run")[0]["summary"] == "x" * 2_000
