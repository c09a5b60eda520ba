"""The whole tool side: from a call to its outcome, with a real database and files in memory."""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog

from device_bridge.agent.domain import Effect, EffectClass, EffectKind, JsonObject, Reason, ToolError, ToolSpec
from device_bridge.agent.tools import BUILT_IN
from device_bridge.agent.tools.schemas import closed
from device_bridge.agent.tools.tool import Change, FileTool, Query, Tool
from tests.device_bridge.agent.workspace.support import (
    ABSENT,
    Device,
    FakeFiles,
    device,
    reason,
    run_context,
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


class TestExactlyOnce:
    async def test_a_repeated_call_is_answered_and_not_done_again(self, laptop: Device) -> None:
        first = await laptop.call("create_task", call_id="c1", title="Send draft", source="sample/a.md")
        again = await laptop.call("create_task", call_id="c1", title="Send draft", source="sample/a.md")

        assert not first.replayed
        assert again == replace(first, replayed=True)
        assert counted(laptop, "tasks") == counted(laptop, "changes") == 1

    async def test_a_caller_that_crashed_can_ask_how_its_call_ended(self, laptop: Device) -> None:
        made = await laptop.call("create_task", call_id="c1", title="Send draft", source="sample/a.md")

        told = await laptop.raw("get_call", {"call_id": "c1"})
        unknown = await laptop.raw("get_call", {"call_id": "c2"})

        assert told.result is not None
        assert told.result["known"]
        assert told.result["result"] == made.result
        assert [effect["title"] for effect in told.result["effects"]] == ["Send draft"]
        assert unknown.result == {"known": False}

    async def test_a_restarted_device_still_answers(self, tmp_path: Path) -> None:
        async with device(tmp_path) as before:
            await before.begin()
            first = await before.call("create_task", call_id="c1", title="Send draft")

        async with device(tmp_path) as after:
            again = await after.call("create_task", call_id="c1", title="Send draft")
            new = await after.call("create_task", call_id="c2", title="Call Ada")

        assert again == replace(first, replayed=True)
        assert new.result is not None
        assert counted(after, "tasks") == 2

    @pytest.mark.parametrize(
        "other",
        [
            {"tool": "create_task", "title": "Another"},
            {"tool": "create_project", "name": "Send draft"},
            {"tool": "create_task", "title": ""},
            {"tool": "create_task", "title": "Send draft", "context": run_context("run-2")},
            {"tool": "create_task", "title": "Send draft", "context": run_context(group="h")},
            {"tool": "list_tasks"},
        ],
        ids=["arguments", "tool", "broken arguments", "run", "group", "read"],
    )
    async def test_a_call_id_that_was_used_for_another_call_is_refused(
        self, laptop: Device, other: dict[str, Any]
    ) -> None:
        await laptop.begin("run-2")
        await laptop.begin(group="h")
        await laptop.call("create_task", call_id="c1", title="Send draft")

        outcome = await laptop.call(call_id="c1", **other)

        assert reason(outcome) is Reason.CALL_ID_REUSED
        assert counted(laptop, "changes") == 1

    async def test_a_reads_call_id_cannot_be_used_for_an_effect(self, laptop: Device) -> None:
        await laptop.made("list_tasks", call_id="c1")

        outcome = await laptop.call("create_task", call_id="c1", title="Send draft")

        assert reason(outcome) is Reason.CALL_ID_REUSED
        assert counted(laptop, "tasks") == 0

    async def test_the_same_call_many_times_at_once_is_done_once(self, laptop: Device) -> None:
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(laptop.call("create_task", call_id="c1", title="t")) for _ in range(50)]

        outcomes = [call.result() for call in calls]
        assert sum(not outcome.replayed for outcome in outcomes) == 1
        assert len({outcome.result["id"] for outcome in outcomes if outcome.result}) == 1
        assert counted(laptop, "tasks") == counted(laptop, "changes") == 1

    async def test_a_whole_number_written_as_a_fraction_is_the_same_argument(self, laptop: Device) -> None:
        files = [{"path": "sample/a.md", "size_bytes": 5, "mtime_ns": 7}]
        await laptop.control("mark_processed", call_id="m", files=files)

        again = await laptop.control("mark_processed", call_id="m", files=[{**files[0], "size_bytes": 5.0}])

        assert again.replayed

    @pytest.mark.parametrize(
        ("tool", "arguments", "expected"),
        [
            ("create_task", {"title": ""}, Reason.INVALID_ARGUMENT),
            ("create_task", {"title": "x", "is_approved": True}, Reason.INVALID_ARGUMENT),
            ("create_task", {"title": "x", "project_id": ABSENT}, Reason.NOT_FOUND),
            ("update_task", {"task_id": ABSENT, "title": "x"}, Reason.NOT_FOUND),
            ("update_task", {"task_id": "'; DROP TABLE tasks; --", "title": "x"}, Reason.NOT_FOUND),
            (
                "create_timeline",
                {"title": "x", "date": "2026-02-02", "end_date": "2026-02-01"},
                Reason.INVALID_ARGUMENT,
            ),
        ],
    )
    async def test_a_failure_that_lies_in_the_arguments_is_remembered(
        self, laptop: Device, tool: str, arguments: JsonObject, expected: Reason
    ) -> None:
        first = await laptop.call(tool, call_id="c1", **arguments)
        again = await laptop.call(tool, call_id="c1", **arguments)

        assert reason(first) is expected
        assert again == replace(first, replayed=True)
        assert counted(laptop, "changes") == 0

    async def test_a_failure_of_policy_is_not_remembered(self, laptop: Device) -> None:
        call: dict[str, Any] = {"call_id": "c1", "title": "x", "context": run_context(group="later")}
        assert reason(await laptop.call("create_task", **call)) is Reason.POLICY_DENIED
        await laptop.begin(group="later")

        outcome = await laptop.call("create_task", **call)

        assert outcome.result is not None
        assert not outcome.replayed

    async def test_a_repeat_is_answered_after_the_run_is_completed_and_nothing_new_is(self, laptop: Device) -> None:
        first = await laptop.call("create_task", call_id="c1", title="x")
        await laptop.control("complete_run", state="SUCCEEDED", counts={})

        again = await laptop.call("create_task", call_id="c1", title="x")
        new = await laptop.call("create_task", call_id="c2", title="x")
        read = await laptop.call("list_tasks")

        assert again == replace(first, replayed=True)
        assert reason(new) is reason(read) is Reason.POLICY_DENIED

    async def test_the_ledger_of_a_completed_run_is_forgotten_after_a_week_and_its_effects_are_not(
        self, laptop: Device
    ) -> None:
        await laptop.begin("run-2")
        await laptop.call("create_task", call_id="old", title="x")
        await laptop.call("create_task", call_id="open", title="y", context=run_context("run-2"))
        await laptop.control("complete_run", state="SUCCEEDED", counts={})
        laptop.clock.move(timedelta(days=8))
        await laptop.begin("run-3")

        await laptop.control("complete_run", run_id="run-3", state="SUCCEEDED", counts={})

        kept = {row["run_id"] for row in laptop.rows("SELECT run_id FROM ledger")}
        assert kept == {"run-2", "run-3"}
        assert {row["run_id"] for row in laptop.rows("SELECT run_id FROM run_policies")} == {"run-2", "run-3"}
        assert counted(laptop, "changes") == 2
        late = await laptop.call("create_task", call_id="old", title="x")
        assert reason(late) is Reason.POLICY_DENIED


def tool_of(run: Any, effect: EffectClass = EffectClass.READ_ONLY, **spec: Any) -> Tool:
    """Return a tool named `probe` that runs this."""
    made = ToolSpec(name="probe", description="d.", toolset="notes", effect=effect, input_schema=closed({}), **spec)
    if effect is EffectClass.EFFECT:
        return Change(spec=made, run=run)
    return FileTool(spec=made, run=run) if inspect.iscoroutinefunction(run) else Query(spec=made, run=run)


SECRET = "the text of a file"


class TestAccidents:
    async def probe(self, tmp_path: Path, tool: Tool) -> Any:
        async with device(tmp_path, tools=[*BUILT_IN, tool]) as laptop:
            await laptop.begin(tools=["probe"])
            return await laptop.call("probe", call_id="p"), laptop

    async def test_an_unexpected_error_is_internal_with_a_reference_and_its_text_stays_here(
        self, tmp_path: Path
    ) -> None:
        def fails(_connection: sqlite3.Connection, _arguments: JsonObject) -> JsonObject:
            raise LookupError(SECRET)

        with structlog.testing.capture_logs() as logs:
            outcome, _ = await self.probe(tmp_path, tool_of(fails))

        assert reason(outcome) is Reason.INTERNAL
        assert SECRET not in outcome.failure.message
        (entry,) = [log for log in logs if log["event"] == "tool_failed"]
        assert entry["reference"] in outcome.failure.message
        assert entry["exc_info"]

    async def test_an_effect_that_fails_halfway_leaves_nothing(self, tmp_path: Path) -> None:
        create = next(tool for tool in BUILT_IN if tool.spec.name == "create_task")
        assert isinstance(create, Change)

        def fails(writing: Any, _arguments: JsonObject) -> Any:
            create.run(writing, {"title": "half"})
            raise LookupError(SECRET)

        outcome, laptop = await self.probe(tmp_path, tool_of(fails, EffectClass.EFFECT))

        assert reason(outcome) is Reason.INTERNAL
        assert laptop.content() == []
        assert laptop.rows("SELECT * FROM ledger WHERE call_id = 'p'") == []

    async def test_an_effect_that_refuses_halfway_leaves_only_its_refusal(self, tmp_path: Path) -> None:
        create = next(tool for tool in BUILT_IN if tool.spec.name == "create_task")
        assert isinstance(create, Change)

        def refuses(writing: Any, _arguments: JsonObject) -> Any:
            create.run(writing, {"title": "half"})
            raise ToolError(Reason.NOT_FOUND, "gone")

        outcome, laptop = await self.probe(tmp_path, tool_of(refuses, EffectClass.EFFECT))

        assert reason(outcome) is Reason.NOT_FOUND
        assert laptop.content() == []
        assert len(laptop.rows("SELECT * FROM ledger WHERE call_id = 'p'")) == 1

    async def test_an_answer_that_is_too_large_is_no_answer(self, tmp_path: Path) -> None:
        outcome, _ = await self.probe(tmp_path, tool_of(lambda *_: {"x": "y" * 100}, max_result_bytes=50))

        assert reason(outcome) is Reason.RESULT_TOO_LARGE

    async def test_an_effect_whose_answer_is_too_large_is_undone(self, tmp_path: Path) -> None:
        create = next(tool for tool in BUILT_IN if tool.spec.name == "create_task")
        assert isinstance(create, Change)

        def large(writing: Any, _arguments: JsonObject) -> Any:
            return create.run(writing, {"title": "t" * 100})

        outcome, laptop = await self.probe(tmp_path, tool_of(large, EffectClass.EFFECT, max_result_bytes=50))

        assert reason(outcome) is Reason.RESULT_TOO_LARGE
        assert laptop.content() == []

    async def test_a_tool_that_takes_too_long_ends_in_a_timeout(self, tmp_path: Path) -> None:
        async def hangs(*_: Any) -> JsonObject:
            await asyncio.Event().wait()
            raise AssertionError

        outcome, _ = await self.probe(tmp_path, tool_of(hangs, timeout_seconds=0.05))

        assert reason(outcome) is Reason.TIMEOUT
        assert outcome.failure.retryable

    async def test_a_caller_that_cancels_is_let_go(self, tmp_path: Path) -> None:
        begun = asyncio.Event()

        async def hangs(*_: Any) -> JsonObject:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

        with anyio.fail_after(10):
            async with asyncio.TaskGroup() as tasks:
                caller = tasks.create_task(self.probe(tmp_path, tool_of(hangs)))
                await begun.wait()
                caller.cancel()

        assert caller.cancelled()

    async def test_a_database_held_by_another_program_is_unavailable_and_the_call_can_be_repeated(
        self, laptop: Device
    ) -> None:
        def locked(_connection: sqlite3.Connection) -> None:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error

        with pytest.raises(ToolError) as caught:
            await laptop.workspace.write(locked)

        assert (caught.value.reason, caught.value.retryable) == (Reason.UNAVAILABLE, True)


async def test_an_effect_says_what_it_did_where_it_comes_from_and_who_did_it(laptop: Device) -> None:
    outcome = await laptop.call("create_task", call_id="c1", title=" Send\n draft ", source="sample/a.md")

    assert outcome.result is not None
    effect = Effect(
        kind=EffectKind.CREATED,
        entity_type="task",
        entity_id=outcome.result["id"],
        title="Send draft",
        source="sample/a.md",
    )
    assert outcome.effects == (effect,)
    (change,) = laptop.rows("SELECT run_id, call_id, kind, entity_type, entity_id, title, source FROM changes")
    assert change == {
        "run_id": "run-1",
        "call_id": "c1",
        "kind": "CREATED",
        "entity_type": "task",
        "entity_id": outcome.result["id"],
        "title": "Send draft",
        "source": "sample/a.md",
    }
    (row,) = laptop.rows("SELECT is_ai_suggested, is_approved, created_by_run, source FROM tasks")
    assert row == {"is_ai_suggested": 1, "is_approved": 0, "created_by_run": "run-1", "source": "sample/a.md"}
