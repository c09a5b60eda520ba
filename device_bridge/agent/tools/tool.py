"""The three kinds of built-in tool: reading files, reading the workspace, changing the workspace."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from device_bridge.agent.domain import JsonObject, ToolSpec
from device_bridge.agent.tools.ports import Files, Known
from device_bridge.agent.workspace.writing import Done, Writing


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTool:
    """Answers from the file system. Always READ_ONLY."""

    spec: ToolSpec
    run: Callable[[Files, JsonObject, Known], Awaitable[JsonObject]]
    """Gets the files, the arguments, and what the agent has processed below `known_below`."""
    known_below: Callable[[JsonObject], list[str]] | None = None
    """The folders whose processed files it asks about; None when it asks about none."""
    text_field: str | None = None
    """The field of its result whose size is charged as bytes read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Answers from the workspace. Always READ_ONLY."""

    spec: ToolSpec
    run: Callable[[sqlite3.Connection, JsonObject], JsonObject]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Changes the workspace: EFFECT, or IDEMPOTENT for run control. Runs inside the ledger's transaction."""

    spec: ToolSpec
    run: Callable[[Writing, JsonObject], Done]


Tool = FileTool | Query | Change
