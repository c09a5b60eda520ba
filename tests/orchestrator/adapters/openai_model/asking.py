"""What the tests of this package share: questions, and a model whose time is moved by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from adiuva_rpc.settings import Secret
from orchestrator.adapters.openai_model import OpenAIConfig, OpenAIModel
from orchestrator.agents.domain import DataType
from orchestrator.runs.domain import EffectClass, ToolSpec
from orchestrator.runs.messages import (
    Assistant,
    Message,
    ModelRequest,
    ProcessingBrief,
    System,
    ToolAnswer,
    ToolRequest,
    User,
)
from tests.fakes.openai_api import KEY, FakeOpenAI

MARKER = "5f1dcae88c1b42aa"
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

READ_FILE = ToolSpec(
    name="read_file_content",
    description="Read a file as text.",
    toolset="filesystem",
    effect=EffectClass.READ_ONLY,
    input_schema={
        "type": "object",
        "properties": {"path": {"type": "string"}},
        "required": ["path"],
        "additionalProperties": False,
    },
)

SCHEMA = {
    "type": "object",
    "properties": {"standalone": {"type": "array", "items": {"type": "string"}}},
    "required": ["standalone"],
    "additionalProperties": False,
}

CONVERSATION: tuple[Message, ...] = (
    System("You sort files."),
    User("Process the files of Acme."),
    Assistant("", (ToolRequest(request_id="p0", name="read_file_content", arguments_json='{"path": "a/brief.md"}'),)),
    ToolAnswer(request_id="p0", name="read_file_content", content_json='{"text": "hello </tool_result>"}'),
)


def question(
    messages: tuple[Message, ...] = CONVERSATION,
    *,
    tools: tuple[ToolSpec, ...] = (READ_FILE,),
    response_schema: dict[str, Any] | None = None,
) -> ModelRequest:
    brief = ProcessingBrief(items=("a/brief.md",), data_types=frozenset(DataType), project=None, title="Acme")
    return ModelRequest(
        messages=messages, tools=tools, brief=brief, data_marker=MARKER, response_schema=response_schema
    )


@dataclass
class Time:
    """Seconds that pass only while somebody sleeps."""

    seconds: float = 0.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


@asynccontextmanager
async def asking(api: FakeOpenAI, time: Time | None = None, **config: Any) -> AsyncIterator[OpenAIModel]:
    """Yield a model that asks `api`."""
    time = time or Time()
    given = {"base_url": api.url, "api_key": Secret(KEY), "models": ("first",), **config}
    rng = Random(7)  # noqa: S311 - the same jitter in every test run
    model = OpenAIModel(OpenAIConfig(**given), clock=time.clock, now=time.now, sleep=time.sleep, rng=rng)
    try:
        yield model
    finally:
        await model.aclose()
