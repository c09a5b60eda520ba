"""What the device enforces for every run, whoever asks: epochs, policy, budgets, and the run's own record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device_bridge.agent.domain import EffectClass, JsonObject, Reason
from device_bridge.agent.tools import BUILT_IN
from tests.device_bridge.agent.workspace.support import (
    ABSENT,
    ALL_TOOLS,
    Device,
    FakeFiles,
    changing_tools,
    device,
    policy_arguments,
    reason,
    run_context,
    user_task,
)

FILES = {"sample/a.md": "Alpha", "sample/b.md": "Beta", "other/c.md": "Gamma"}


@pytest.fixture
async def laptop(tmp_path: Path) -> AsyncIterator[Device]:
    async with device(tmp_path, files=FakeFiles(dict(FILES))) as started:
        await started.begin()
        yield started


def counted(laptop: Device, table: str) -> int:
    count: int = laptop.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"]  # noqa: S608
    return count


class TestEpochs:
    async def test_a_worker_that_was_overtaken_changes_nothing(self, laptop: Device) -> None:
        await laptop.call("create_task", title="old", context=run_context(epoch=3))
        before = laptop.content()

        for tool, arguments in (("create_task", {"title": "late"}), ("list_tasks", {})):
            assert reason(await laptop.call(tool, context=run_context(epoch=2), **arguments)) is Reason.STALE_EPOCH
        assert reason(await laptop.control("complete_run", epoch=2, state="FAILED", counts={})) is Reason.STALE_EPOCH
        assert laptop.content() == before

    async def test_a_repeat_by_a_new_worker_fences_the_old_one(self, laptop: Device) -> None:
        await laptop.call("create_task", call_id="c1", title="x")

        again = await laptop.call("create_task", call_id="c1", title="x", context=run_context(epoch=2))

        assert again.replayed
        assert reason(await laptop.call("create_task", title="late")) is Reason.STALE_EPOCH

    async def test_reading_fences_too(self, laptop: Device) -> None:
        await laptop.made("list_tasks", context=run_context(epoch=2))

        assert reason(await laptop.call("create_task", title="late")) is Reason.STALE_EPOCH

    async def test_fencing_survives_a_restart(self, tmp_path: Path) -> None:
        async with device(tmp_path) as before:
            await before.begin(epoch=4)
        async with device(tmp_path) as after:
            assert reason(await after.call("create_task", title="late", context=run_context(epoch=3))) is (
                Reason.STALE_EPOCH
            )


class TestPolicyAtTheDevice:
    @pytest.mark.parametrize("tool", ALL_TOOLS)
    async def test_outside_any_run_the_workspace_cannot_be_changed(self, laptop: Device, tool: str) -> None:
        before = laptop.content()

        outcome = await laptop.raw(tool, {"path": "sample/a.md"} if "file" in tool else {})

        expected = {spec.spec.name: spec.spec.effect for spec in BUILT_IN}[tool] is EffectClass.READ_ONLY
        assert (reason(outcome) is not Reason.POLICY_DENIED) == expected
        assert laptop.content() == before

    @pytest.mark.parametrize("tool", changing_tools())
    async def test_triage_cannot_change_anything_even_if_its_policy_names_the_tool(
        self, laptop: Device, tool: str
    ) -> None:
        await laptop.begin(phase="triage", group="", read_only=False)
        before = laptop.content()

        outcome = await laptop.raw(tool, {}, context=run_context(phase="triage", group=""))

        assert reason(outcome) is Reason.POLICY_DENIED
        assert laptop.content() == before

    async def test_a_tool_that_does_not_exist_is_unknown_and_leaves_no_trace(self, laptop: Device) -> None:
        before = counted(laptop, "ledger")

        assert reason(await laptop.call("delete_project", project_id=ABSENT)) is Reason.UNKNOWN_TOOL
        assert reason(await laptop.call("send_mail\0", to="x")) is Reason.UNKNOWN_TOOL
        assert counted(laptop, "ledger") == before

    async def test_a_run_on_tasks_alone_cannot_touch_notes(self, laptop: Device) -> None:
        await laptop.begin("run-2", data_types=["tasks"])
        context = run_context("run-2")

        assert (await laptop.call("create_task", title="x", context=context)).result is not None
        for tool, arguments in (("create_note", {"title": "x", "content": "y"}), ("list_notes", {})):
            assert reason(await laptop.call(tool, context=context, **arguments)) is Reason.POLICY_DENIED

    async def test_the_first_policy_of_a_scope_stands(self, laptop: Device) -> None:
        again = await laptop.control("begin_run", **policy_arguments())
        wider = await laptop.control("begin_run", **policy_arguments(directories=["sample", "other"]))

        assert again.result == {}
        assert reason(wider) is Reason.POLICY_DENIED
        assert reason(await laptop.call("read_file_content", path="other/c.md")) is Reason.POLICY_DENIED

    async def test_a_restarted_device_still_enforces_the_policy(self, tmp_path: Path) -> None:
        async with device(tmp_path, files=FakeFiles(dict(FILES))) as before:
            await before.begin(files=["sample/a.md"])
        async with device(tmp_path, files=FakeFiles(dict(FILES))) as after:
            assert (await after.made("read_file_content", path="sample/a.md"))["text"] == "Alpha"
            assert reason(await after.call("read_file_content", path="sample/b.md")) is Reason.POLICY_DENIED

    async def test_a_denied_read_never_reaches_the_files(self, laptop: Device) -> None:
        await laptop.begin("run-2", files=["sample/a.md"])

        outcome = await laptop.call("read_file_content", path="sample/b.md", context=run_context("run-2"))

        assert reason(outcome) is Reason.POLICY_DENIED
        assert laptop.files.asked == []

    async def test_a_source_outside_the_file_list_is_a_mistake_in_the_arguments(self, laptop: Device) -> None:
        await laptop.begin("run-2", files=["sample/a.md"])
        context = run_context("run-2")

        first = await laptop.call("create_task", call_id="c1", title="x", source="sample/b.md", context=context)
        again = await laptop.call("create_task", call_id="c1", title="x", source="sample/b.md", context=context)

        assert reason(first) is Reason.INVALID_ARGUMENT
        assert again == replace(first, replayed=True)
        assert counted(laptop, "tasks") == 0
        assert laptop.rows("SELECT calls FROM run_policies WHERE run_id = 'run-2'") == [{"calls": 1}]

    @pytest.mark.parametrize(
        "context",
        [
            run_context(""),
            run_context("x" * 201),
            run_context("run\n1"),
            run_context(agent_key=""),
            run_context(epoch=-1),
            run_context(epoch=2**63),
            run_context(group="g" * 2000),
            run_context(agent_name="a\0b"),
        ],
    )
    async def test_a_call_with_a_broken_context_is_refused(self, laptop: Device, context: Any) -> None:
        assert reason(await laptop.call("create_task", title="x", context=context)) is Reason.INVALID_ARGUMENT
        assert counted(laptop, "tasks") == 0

    async def test_run_control_by_a_model_is_refused(self, laptop: Device) -> None:
        outcome = await laptop.call("complete_run", state="SUCCEEDED", counts={})

        assert reason(outcome) is Reason.POLICY_DENIED
        assert (await laptop.call("create_task", title="still open")).result is not None


class TestBudgets:
    """I12 and I13: never one more, whatever comes at once, and not forgotten by a restart."""

    def budget(self, **fields: int) -> JsonObject:
        return {"budgets": {"max_calls": 100, "max_read_bytes": 100, "max_creates": 100, **fields}}

    async def test_calls_stop_at_exactly_the_budget(self, tmp_path: Path) -> None:
        async with device(tmp_path) as before:
            await before.begin(**self.budget(max_calls=5))
            first = [reason(await before.call("list_tasks")) for _ in range(3)]
        async with device(tmp_path) as after:
            rest = [reason(await after.call("create_task", title="x")) for _ in range(4)]

        assert first == [None] * 3
        assert rest == [None, None, Reason.BUDGET_EXCEEDED, Reason.BUDGET_EXCEEDED]
        assert counted(after, "tasks") == 2

    async def test_a_failed_call_counts(self, laptop: Device) -> None:
        await laptop.begin("run-2", **self.budget(max_calls=3))
        context = run_context("run-2")

        await laptop.call("update_task", task_id=ABSENT, title="x", context=context)
        await laptop.call("create_task", title="", context=context)
        await laptop.call("read_file_content", path="sample/none.md", context=context)

        assert reason(await laptop.call("list_tasks", context=context)) is Reason.BUDGET_EXCEEDED

    async def test_ten_times_the_calls_at_once_make_no_more_records_than_allowed(self, laptop: Device) -> None:
        await laptop.begin("run-2", **self.budget(max_creates=10))
        context = run_context("run-2")

        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(laptop.call("create_task", title=f"t{n}", context=context)) for n in range(90)]

        exceeded = [call for call in calls if reason(call.result()) is Reason.BUDGET_EXCEEDED]
        assert len(exceeded) == 80
        assert counted(laptop, "tasks") == counted(laptop, "changes") == 10

    async def test_reads_at_once_hand_out_no_more_bytes_than_allowed(self, laptop: Device) -> None:
        await laptop.begin("run-2", **self.budget(max_read_bytes=23))
        context = run_context("run-2")

        async with asyncio.TaskGroup() as tasks:
            calls = [
                tasks.create_task(laptop.call("read_file_content", path="sample/a.md", context=context))
                for _ in range(20)
            ]

        results = [call.result().result for call in calls]
        assert sum(len(result["text"]) for result in results if result is not None) == 20
        assert {reason(call.result()) for call in calls} == {None, Reason.BUDGET_EXCEEDED}
        used = laptop.rows("SELECT calls, read_bytes FROM run_policies WHERE run_id = 'run-2'")
        assert used == [{"calls": 20, "read_bytes": 20}]

    async def test_reads_at_once_are_no_more_than_the_calls_allowed(self, laptop: Device) -> None:
        await laptop.begin("run-2", **self.budget(max_calls=5))
        context = run_context("run-2")

        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(laptop.call("list_tasks", context=context)) for _ in range(20)]

        reasons = [reason(call.result()) for call in calls]
        assert (reasons.count(None), reasons.count(Reason.BUDGET_EXCEEDED)) == (5, 15)

    async def test_bytes_are_counted_as_utf8(self, laptop: Device) -> None:
        laptop.files.texts["sample/u.md"] = "è" * 10
        await laptop.begin("run-2", **self.budget(max_read_bytes=19))

        outcome = await laptop.call("read_file_content", path="sample/u.md", context=run_context("run-2"))

        assert reason(outcome) is Reason.BUDGET_EXCEEDED

    async def test_repeating_a_read_is_paid_once(self, laptop: Device) -> None:
        await laptop.begin("run-2", **self.budget(max_calls=1, max_read_bytes=5))
        context = run_context("run-2")

        outcomes = [
            await laptop.call("read_file_content", call_id="r", path="sample/a.md", context=context) for _ in range(3)
        ]

        assert [outcome.result is not None for outcome in outcomes] == [True] * 3
        used = laptop.rows("SELECT calls, read_bytes FROM run_policies WHERE run_id = 'run-2'")
        assert used == [{"calls": 1, "read_bytes": 5}]

    async def test_each_scope_has_its_own(self, laptop: Device) -> None:
        await laptop.begin("run-2", group="g", **self.budget(max_calls=1))
        await laptop.begin("run-2", group="h", **self.budget(max_calls=1))

        for group in ("g", "h"):
            assert reason(await laptop.call("list_tasks", context=run_context("run-2", group=group))) is None
            assert reason(await laptop.call("list_tasks", context=run_context("run-2", group=group))) is (
                Reason.BUDGET_EXCEEDED
            )


class TestRunControl:
    async def test_the_device_counts_for_itself(self, laptop: Device) -> None:
        laptop.as_user(user_task(ABSENT, "Mine"))
        task = await laptop.made("create_task", title="Send draft")
        await laptop.made("create_note", title="n", content="c")
        await laptop.made("update_task", task_id=task["id"], status="Completed")
        await laptop.made("add_task_comment", task_id=ABSENT, text="Sent.")
        await laptop.made("update_task", task_id=ABSENT, status="Completed")
        await laptop.call("create_task", title="")

        outcome = await laptop.control("complete_run", state="PARTIAL", summary="s", counts={"created": {"task": 99}})

        assert outcome.result == {
            "effects": {
                "created": {"task": 1, "note": 1},
                "updated": {"task": 1},
                "commented": {"task": 1},
                "proposed": {"task": 1},
            }
        }
        (run,) = laptop.rows("SELECT state, summary, counts, completed_at, agent_name FROM runs")
        assert run == {
            "state": "PARTIAL",
            "summary": "s",
            "counts": '{"created": {"task": 99}}',
            "completed_at": "2026-03-01T12:00:00.000000Z",
            "agent_name": "Inbox folder",
        }

    async def test_a_run_that_the_device_never_heard_of_can_be_completed(self, laptop: Device) -> None:
        outcome = await laptop.control("complete_run", run_id="run-9", state="FAILED", counts={})

        assert outcome.result == {"effects": {"created": {}, "updated": {}, "commented": {}, "proposed": {}}}
        assert reason(await laptop.call("list_tasks", context=run_context("run-9"))) is Reason.POLICY_DENIED

    async def test_processed_files_are_left_out_of_the_agents_next_run(self, laptop: Device) -> None:
        found = await laptop.made("find_changed_files", paths=["sample"])
        marked = await laptop.control("mark_processed", files=found["files"])
        laptop.files.texts["sample/a.md"] = "Alpha, changed"

        mine = await laptop.made("find_changed_files", paths=["./sample/"], extensions=[])
        other = await laptop.made("find_changed_files", paths=["sample"], context=run_context(agent_key="agent-2"))
        nobody = (await laptop.raw("find_changed_files", {"paths": ["."]})).result

        assert [file["path"] for file in found["files"]] == ["sample/a.md", "sample/b.md"]
        assert marked.result == {"marked": 2}
        assert [file["path"] for file in mine["files"]] == ["sample/a.md"]
        assert len(other["files"]) == 2
        assert nobody is not None
        assert len(nobody["files"]) == 3

    async def test_a_processed_file_is_known_by_its_path_in_normal_form(self, laptop: Device) -> None:
        await laptop.control("mark_processed", files=[{"path": "sample//a.md", "size_bytes": 5, "mtime_ns": 7}])

        found = await laptop.made("find_changed_files", paths=["sample"])

        assert [file["path"] for file in found["files"]] == ["sample/b.md"]

    @pytest.mark.parametrize(
        ("tool", "arguments", "expected"),
        [
            (
                "mark_processed",
                {"files": [{"path": "/etc/passwd", "size_bytes": 1, "mtime_ns": 1}]},
                Reason.INVALID_ARGUMENT,
            ),
            ("begin_run", policy_arguments(group="x", directories=["../up"]), Reason.PATH_DENIED),
        ],
    )
    async def test_a_path_that_is_no_wire_path_is_refused(
        self, laptop: Device, tool: str, arguments: JsonObject, expected: Reason
    ) -> None:
        assert reason(await laptop.control(tool, **arguments)) is expected
