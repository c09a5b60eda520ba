"""A device's tool side without a device: a workspace in a folder, files in a dict, and calls in a line each."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from device_bridge.agent.dispatch import build_run_tool
from device_bridge.agent.domain import (
    EffectClass,
    JsonObject,
    Outcome,
    Reason,
    RunContext,
    RunTool,
    ToolCall,
    ToolError,
)
from device_bridge.agent.tools import BUILT_IN
from device_bridge.agent.tools.ports import Files, Known
from device_bridge.agent.tools.tool import Tool
from device_bridge.agent.workspace.connection import connect_local
from device_bridge.agent.workspace.store import Workspace, open_workspace, stored_time

ALL_TOOLS = tuple(tool.spec.name for tool in BUILT_IN)
ALL_TYPES = ("projects", "tasks", "notes", "timelines")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
_numbers = itertools.count()
"""Call ids stay unique over restarts of a device, as the orchestrator's do."""

ABSENT = "00000000-0000-4000-8000-000000000000"


class ManualClock:
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def move(self, by: timedelta) -> None:
        self.now += by


class FakeFiles:
    """Files in a dict: wire path to text. Says what was asked of it in `asked`."""

    def __init__(self, texts: dict[str, str] | None = None) -> None:
        self.texts = texts or {}
        self.asked: list[str] = []

    async def list_directory(self, path: str, page_token: str | None = None) -> JsonObject:
        self.asked.append(f"list {path}")
        names = sorted(name for name in self.texts if path == "." or name.startswith(f"{path}/"))
        return {"path": path, "entries": [{"name": name, "path": name, "kind": "file"} for name in names]}

    async def get_file_metadata(self, path: str) -> JsonObject:
        self.asked.append(f"metadata {path}")
        return {"path": path, "kind": "file", "size_bytes": len(self._text(path).encode())}

    async def read_file_content(self, path: str, offset: int = 0, max_bytes: int | None = None) -> JsonObject:
        self.asked.append(f"read {path}")
        return {"path": path, "text": self._text(path)[offset:][:max_bytes], "offset": offset}

    async def find_changed_files(
        self,
        paths: list[str],
        extensions: list[str],
        known: Known,
        page_token: str | None = None,
        page_size: int | None = None,
    ) -> JsonObject:
        self.asked.append(f"find {paths} {extensions}")
        states = {path: (len(text.encode()), 7) for path, text in sorted(self.texts.items())}
        below = [path for path in states if any(path.startswith(folder.strip("./")) for folder in paths)]
        changed = [path for path in below if known(path) != states[path]]
        return {"files": [{"path": path, "size_bytes": states[path][0], "mtime_ns": 7} for path in changed]}

    def _text(self, path: str) -> str:
        if path not in self.texts:
            raise ToolError(Reason.NOT_FOUND, "There is no such file.")
        return self.texts[path]


def run_context(run_id: str = "run-1", **fields: Any) -> RunContext:
    values: JsonObject = {
        "epoch": 1,
        "agent_key": "agent-1",
        "agent_name": "Inbox folder",
        "trigger": "manual",
        "phase": "processing",
        "group": "g",
    }
    return RunContext(run_id=run_id, **{**values, **fields})


def policy_arguments(**fields: Any) -> JsonObject:
    values: JsonObject = {
        "phase": "processing",
        "group": "g",
        "agent_name": "Inbox folder",
        "trigger": "manual",
        "tools": list(ALL_TOOLS),
        "read_only": False,
        "directories": ["sample"],
        "files": None,
        "data_types": list(ALL_TYPES),
        "budgets": {"max_calls": 10_000, "max_read_bytes": 10_000_000, "max_creates": 1_000},
    }
    return {**values, **fields}


@dataclass
class Device:
    """The tool side under test, with short ways to call it."""

    run_tool: RunTool
    workspace: Workspace
    files: Any
    clock: ManualClock
    path: Path

    async def call(
        self, tool: str, *, call_id: str | None = None, context: RunContext | None = None, **arguments: Any
    ) -> Outcome:
        """Make one call of run-1's processing group g, or of `context`."""
        return await self.raw(tool, arguments, call_id=call_id, context=context or run_context())

    async def raw(
        self, tool: str, arguments: Any, *, call_id: str | None = None, context: RunContext | None = None
    ) -> Outcome:
        """Make one call with these arguments as they are; outside any run without a context."""
        call_id = call_id or f"call-{next(_numbers)}"
        return await self.run_tool(ToolCall(call_id=call_id, tool=tool, arguments=arguments, context=context))

    async def begin(self, run_id: str = "run-1", *, epoch: int = 1, **fields: Any) -> Outcome:
        """Begin a run, or another scope of it."""
        outcome = await self.control("begin_run", run_id=run_id, epoch=epoch, **policy_arguments(**fields))
        assert outcome.failure is None, outcome
        return outcome

    async def control(
        self, tool: str, *, run_id: str = "run-1", epoch: int = 1, call_id: str | None = None, **arguments: Any
    ) -> Outcome:
        context = run_context(run_id, epoch=epoch, phase="control", group="")
        return await self.raw(tool, arguments, call_id=call_id, context=context)

    async def made(self, tool: str, **arguments: Any) -> JsonObject:
        """Make one call that must succeed, and return its result."""
        outcome = await self.call(tool, **arguments)
        assert outcome.result is not None, outcome
        return outcome.result

    def rows(self, sql: str, *values: Any) -> list[JsonObject]:
        """Read the database as it is on disk."""
        with closing(connect_local(self.path)) as connection:
            return [dict(row) for row in connection.execute(sql, values)]

    def as_user(self, *statements: tuple[str, Sequence[Any]]) -> None:
        """Change the database as the desktop client does: by the local user's connection, through the gate."""
        with closing(connect_local(self.path)) as connection:
            by_user(connection, *statements)

    def content(self) -> list[str]:
        """Return every row of the user's data and of what runs did to it, to compare before and after."""
        tables = ("projects", "tasks", "task_comments", "notes", "timelines", "suggestions", "changes")
        return [f"{table} {row}" for table in tables for row in self.rows(f"SELECT * FROM {table}")]  # noqa: S608


def by_user(connection: sqlite3.Connection, *statements: tuple[str, Sequence[Any]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO approval_gate VALUES ('now')")
    for statement, values in statements:
        connection.execute(statement, values)
    connection.execute("DELETE FROM approval_gate")
    connection.execute("COMMIT")


def user_task(task_id: str, title: str) -> tuple[str, Sequence[Any]]:
    """Return the statement by which a user makes a task by hand."""
    return (
        "INSERT INTO tasks (id, title, created_at, updated_at) VALUES (?, ?, ?, ?)",
        (task_id, title, stored_time(NOON), stored_time(NOON)),
    )


@asynccontextmanager
async def device(
    directory: Path, *, files: Files | None = None, tools: Sequence[Tool] = BUILT_IN
) -> AsyncIterator[Device]:
    """Start a tool side on a data directory, with a clock that stands still and files in memory."""
    clock = ManualClock()
    behind = files or FakeFiles()
    async with open_workspace(directory, clock=clock) as workspace:
        run_tool = build_run_tool(workspace, behind, tools)
        yield Device(run_tool, workspace, behind, clock, directory / "workspace.db")


def reason(outcome: Outcome) -> Reason | None:
    """Return why a call failed; None when it did not."""
    return None if outcome.failure is None else outcome.failure.reason


def changing_tools() -> list[str]:
    return [tool.spec.name for tool in BUILT_IN if tool.spec.effect is EffectClass.EFFECT]
