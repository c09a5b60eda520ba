"""A conversation with a model, as data: it can be compared, journaled and snapshotted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.agents.domain import DataType
from orchestrator.runs.domain import Item, ToolSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRequest:
    """A tool call that a model asked for, or that was made for it before it was first asked."""

    request_id: str
    """The model's own id, or ours; it only pairs the request with its answer and is never used on the device."""
    name: str
    arguments_json: str = field(repr=False)
    """As the model wrote it: possibly no JSON at all."""


@dataclass(frozen=True, slots=True)
class System:
    """What the model is and must do. Never holds file or message text."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class User:
    """The work at hand. Never holds file or message text."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Assistant:
    """What the model said, and the tool calls that it asked for."""

    text: str = field(repr=False)
    tool_requests: tuple[ToolRequest, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolAnswer:
    """The answer to one tool request: the only place where file or message text reaches a model."""

    request_id: str
    name: str
    content_json: str = field(repr=False)
    """A JSON object: the tool's result, or {"error": {"reason", "message"}}."""
    failed: bool = False


Message = System | User | Assistant | ToolAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectSummary:
    """An existing project, as triage sees it."""

    project_id: str
    name: str
    description: str = ""
    client_name: str = ""
    status: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriageBrief:
    """What a triage conversation is about: the facts from which its prompts are rendered."""

    directories: tuple[str, ...]
    items: tuple[Item, ...]
    """The changed files, or one part of them when there are too many for one prompt."""
    projects: tuple[ProjectSummary, ...]
    data_types: frozenset[DataType]
    file_extensions: tuple[str, ...]
    instructions: str = field(default="", repr=False)
    """The user's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingBrief:
    """What a processing conversation is about: the facts from which its prompts are rendered."""

    items: tuple[str, ...]
    """Wire paths of the group's files, or the ids of its messages."""
    data_types: frozenset[DataType]
    project: ProjectSummary | None
    """The existing project that the files belong to; None for standalone files."""
    title: str
    """The project's or folder's name; for standalone files the folder that they share, or empty for loose ones."""
    instructions: str = field(default="", repr=False)
    messages: bool = False
    """Whether the items are messages of one conversation; then `project` is None and `title` empty."""


Brief = TriageBrief | ProcessingBrief


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One question to a model.

    Whoever has only text uses `messages`; the offline model works from `brief` and the tool answers among the messages.
    """

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]
    """What it may call; empty for a last answer without tools."""
    brief: Brief
    data_marker: str
    """The run's random marker; `marking.mark_as_data` wraps every tool answer in it before a model reads it."""
    response_schema: Mapping[str, Any] | None = None
    """The JSON Schema that a final text must keep, for triage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswer:
    """What a model said."""

    text: str = field(repr=False)
    tool_requests: tuple[ToolRequest, ...]
    model: str
    """The name of the model that answered, for the run's record."""
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    attempts: int = 1
    """How many calls it took, retries and fallbacks included: what the budget counts."""
