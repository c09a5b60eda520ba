"""Models that say what a test wants, and one that does honest work without being any good at it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator.runs.domain import ModelFault
from orchestrator.runs.messages import (
    Assistant,
    ModelAnswer,
    ModelRequest,
    ProcessingBrief,
    ToolAnswer,
    ToolRequest,
    TriageBrief,
)

Script = Callable[[ModelRequest], ModelAnswer | ModelFault]
"""What a model says to a question. Of the question alone, so that a takeover that asks again hears the same."""


def say(text: str, *, tokens: tuple[int, int] = (10, 5)) -> ModelAnswer:
    """An answer without tool calls."""
    return ModelAnswer(text=text, tool_requests=(), model="scripted", input_tokens=tokens[0], output_tokens=tokens[1])


def ask(*requests: ToolRequest, text: str = "") -> ModelAnswer:
    """An answer that asks for tool calls."""
    return ModelAnswer(text=text, tool_requests=requests, model="scripted", input_tokens=10, output_tokens=5)


def tool(name: str, arguments: object = None, /, **named: Any) -> ToolRequest:
    """A tool call; `arguments` as a string is sent as it is."""
    given = arguments if arguments is not None else named
    text = given if isinstance(given, str) else json.dumps(given)
    return ToolRequest(request_id=f"call-{name}", name=name, arguments_json=text)


def calls(*requests: ToolRequest) -> ModelAnswer:
    """An answer that asks for tool calls, each with an id of its own."""
    return ask(
        *(
            ToolRequest(request_id=f"call-{index}", name=request.name, arguments_json=request.arguments_json)
            for index, request in enumerate(requests)
        )
    )


class ScriptedModel:
    """Implements `runs.ports.Model`. Keeps every question."""

    name = "scripted"

    def __init__(self, script: Script) -> None:
        self._script = script
        self.requests: list[ModelRequest] = []

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Answer by the script."""
        self.requests.append(request)
        await asyncio.sleep(0)
        answer = self._script(request)
        if isinstance(answer, ModelFault):
            raise answer
        return answer


class HangingModel(ScriptedModel):
    """Answers when it is released."""

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.asked = asyncio.Event()
        self.released = asyncio.Event()

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Wait for the release, then answer by the script."""
        self.asked.set()
        await self.released.wait()
        return await super().answer(request)


def by_turn(*answers: ModelAnswer | ModelFault) -> Script:
    """A script that gives these answers in turn in every conversation; the last one again and again."""

    def script(request: ModelRequest) -> ModelAnswer | ModelFault:
        return answers[min(turn(request), len(answers) - 1)]

    return script


def by_kind(*, triage: Script, processing: Script) -> Script:
    """A script of two, for triage and for processing."""

    def script(request: ModelRequest) -> ModelAnswer | ModelFault:
        return triage(request) if isinstance(request.brief, TriageBrief) else processing(request)

    return script


def turn(request: ModelRequest) -> int:
    """How often the model has answered in this conversation."""
    said = [message for message in request.messages if isinstance(message, Assistant)]
    prepared = sum(
        all(asked.request_id.startswith("prepared-") for asked in message.tool_requests)
        for message in said
        if message.tool_requests
    )
    return len(said) - prepared


def diligent(request: ModelRequest) -> ModelAnswer:
    """Sort files by the name of their folder, and do what files and messages say, by the same rules as a real model.

    `TODO x` makes a task, `DONE x` completes an existing one with a comment, `NOTE x` makes a note, `PROJECT x` makes a
    project. Files that were not fetched are read first.
    """
    if isinstance(request.brief, TriageBrief):
        return say(json.dumps(_sort(request.brief)))
    name, key = ("read_message", "message_id") if request.brief.messages else ("read_file_content", "path")
    texts = {answer[key]: answer["text"] for answer in _answers(request, name) if key in answer and "text" in answer}
    tried = {
        json.loads(asked.arguments_json)[key]
        for message in request.messages
        if isinstance(message, Assistant)
        for asked in message.tool_requests
        if asked.name == name
    }
    unread = [path for path in request.brief.items if path not in {*texts, *tried}]
    if unread and request.tools:
        return calls(*(tool(name, {key: path}) for path in unread))
    if turn(request) <= 1 and request.tools and not _has_written(request):
        writes = list(_writes(request.brief, texts, list(_answers(request, "list_tasks"))))
        if writes:
            return calls(*writes)
    return say(f"Processed {len(request.brief.items)} {'messages' if request.brief.messages else 'files'}.")


def _has_written(request: ModelRequest) -> bool:
    return any(
        asked.name.startswith(("create_", "update_"))
        for message in request.messages
        if isinstance(message, Assistant)
        for asked in message.tool_requests
    )


def _sort(brief: TriageBrief) -> dict[str, list[str]]:
    mapping: dict[str, list[str]] = {project.project_id: [] for project in brief.projects}
    mapping["standalone"] = []
    for item in brief.items:
        for project in brief.projects:
            if project.name.lower().replace(" ", "-") in item.path:
                mapping[project.project_id].append(item.path)
                break
        else:
            mapping["standalone"].append(item.path)
    return mapping


def _answers(request: ModelRequest, name: str) -> Iterator[dict[str, Any]]:
    for message in request.messages:
        if isinstance(message, ToolAnswer) and message.name == name and not message.failed:
            yield json.loads(message.content_json)


@dataclass(frozen=True)
class _Line:
    word: str
    text: str
    path: str


def _writes(brief: ProcessingBrief, texts: dict[str, str], lists: list[dict[str, Any]]) -> Iterator[ToolRequest]:
    tasks = {row["title"]: row["id"] for page in lists for row in page["tasks"]}
    project = {"project_id": brief.project.project_id} if brief.project else {}
    lines = [
        _Line(found[1], found[2], path)
        for path, text in texts.items()
        for found in re.finditer(r"^(TODO|DONE|NOTE|PROJECT) (.+)$", text, re.MULTILINE)
    ]
    for line in lines:
        match line.word:
            case "TODO" if line.text not in tasks:
                yield tool("create_task", title=line.text, source=line.path, **project)
            case "DONE" if line.text in tasks:
                task_id = tasks[line.text]
                yield tool("add_task_comment", task_id=task_id, text="Done.", author="Adiuva", source=line.path)
                yield tool("update_task", task_id=task_id, status="Completed", source=line.path)
            case "NOTE":
                yield tool("create_note", title=line.text, content=line.text, source=line.path, **project)
            case "PROJECT":
                yield tool("create_project", name=line.text, source=line.path)
            case _:
                pass
