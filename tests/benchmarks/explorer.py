"""The floor of a run: an agent as it is written first. One group after another, one call after another, no journal.

It is given nothing beforehand: it lists the folders and the projects, sorts the files, and in each group lists the
records and reads the files before it writes. Model and device are those of the run that it is compared with.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from orchestrator.runs.arguments import canonical_json
from orchestrator.runs.domain import EffectClass, Item, Phase, Run, RunState, ToolSpec, Trigger
from orchestrator.runs.messages import (
    Assistant,
    Message,
    ModelAnswer,
    ModelRequest,
    ProcessingBrief,
    ProjectSummary,
    System,
    ToolAnswer,
    ToolRequest,
    TriageBrief,
    User,
)
from orchestrator.runs.policy import begin_run_arguments, offered_tools
from orchestrator.runs.ports import Devices
from orchestrator.runs.progress import tool_answer
from orchestrator.runs.prompts import processing_system, processing_user, triage_system, triage_user
from orchestrator.runs.workbench import device_call
from tests.benchmarks.stores import DEFINITION

MARKER = "marker"


class SlowModel(Protocol):
    """The model of the run that this one is compared with."""

    calls: int

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Answer after a while."""
        ...

    async def think(self) -> None:
        """Spend the time of an answer that is known beforehand."""
        ...


@dataclass(slots=True, kw_only=True)
class Explorer:
    """Does the work of one run, and keeps no record of it."""

    devices: Devices
    model: SlowModel
    user_id: str
    device_id: str
    one_by_one: bool
    """Whether each file is read in a step of its own, or all of a group in one."""
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _run: Run = field(init=False)
    _tools: dict[str, ToolSpec] = field(default_factory=dict)

    async def work(self) -> None:
        """Do all of it."""
        self._run = Run(
            run_id="floor",
            user_id=self.user_id,
            agent_id="",
            definition=DEFINITION,
            trigger=Trigger.MANUAL,
            state=RunState.RUNNING,
            created_at=datetime.now(UTC),
            epoch=1,
        )
        manifest = await self.devices.tools(self.user_id, self.device_id)
        self._tools = {tool.name: tool for tool in manifest.tools}
        await self._begin(Phase.TRIAGE)
        projects, mapping = await self._sort()
        for number, project in enumerate(projects, start=1):
            await self._process(f"g{number}", project, mapping[project.project_id])

    async def _sort(self) -> tuple[list[ProjectSummary], dict[str, list[str]]]:
        """Have the model look around, step by step, and answer which project each file belongs to."""
        await self.model.think()
        listed = await self._call("list_directory", {"path": "sample"}, Phase.TRIAGE)
        await self.model.think()
        known = await self._call("list_all_projects", {}, Phase.TRIAGE)
        projects = [
            ProjectSummary(project_id=row["id"], name=row["name"], status=row["status"]) for row in known["projects"]
        ]
        brief = TriageBrief(
            directories=("sample",),
            items=tuple(Item(path=entry["path"], size_bytes=0, mtime_ns=0) for entry in listed["entries"]),
            projects=tuple(projects),
            data_types=DEFINITION.data_types,
            file_extensions=(),
        )
        messages = (System(triage_system(brief, MARKER)), User(triage_user(brief)))
        answer = await self.model.answer(ModelRequest(messages=messages, tools=(), brief=brief, data_marker=MARKER))
        mapping: dict[str, list[str]] = json.loads(answer.text)
        return projects, mapping

    async def _process(self, group: str, project: ProjectSummary, paths: Sequence[str]) -> None:
        await self._begin(Phase.PROCESSING, group, paths)
        brief = ProcessingBrief(
            items=tuple(paths), data_types=DEFINITION.data_types, project=project, title=project.name
        )
        tools = offered_tools(Phase.PROCESSING, DEFINITION.data_types, self._tools)
        made: list[ToolRequest] = []
        told: list[ToolAnswer] = []
        while True:
            messages: list[Message] = [System(processing_system(brief, MARKER)), User(processing_user(brief))]
            if made:
                # All in one turn: the offline model gives up reading after a number of turns.
                messages += [Assistant("", tuple(made)), *told]
            answer = await self.model.answer(
                ModelRequest(messages=tuple(messages), tools=tools, brief=brief, data_marker=MARKER)
            )
            if not answer.tool_requests:
                return
            for request in self._now(answer.tool_requests):
                numbered = ToolRequest(
                    request_id=f"call-{len(made)}", name=request.name, arguments_json=request.arguments_json
                )
                made.append(numbered)
                told.append(await self._answer(numbered, group))

    def _now(self, requests: Sequence[ToolRequest]) -> Sequence[ToolRequest]:
        """Return the calls that this step makes: one that reads, or all that write."""
        reads = self._tools[requests[0].name].effect is EffectClass.READ_ONLY
        return requests[:1] if reads and self.one_by_one else requests

    async def _answer(self, request: ToolRequest, group: str) -> ToolAnswer:
        outcome = await self.devices.call(
            device_call(
                self._run,
                self.device_id,
                tool=request.name,
                arguments_json=request.arguments_json,
                call_id=self._call_id(),
                phase=Phase.PROCESSING,
                group=group,
            )
        )
        if outcome.failure is not None:
            raise RuntimeError(f"{request.name} failed: {outcome.failure}")
        return tool_answer(request, outcome)

    async def _begin(self, phase: Phase, group: str = "", paths: Sequence[str] | None = None) -> None:
        items = None if paths is None else [Item(path=path, size_bytes=0, mtime_ns=0) for path in paths]
        await self._call("begin_run", begin_run_arguments(self._run, phase, group, items), Phase.FINISHING, group)

    async def _call(self, tool: str, arguments: dict[str, Any], phase: Phase, group: str = "") -> dict[str, Any]:
        call = device_call(
            self._run,
            self.device_id,
            tool=tool,
            arguments_json=canonical_json(arguments),
            call_id=self._call_id(),
            phase=phase,
            group=group,
        )
        outcome = await self.devices.call(call)
        if outcome.failure is not None:
            raise RuntimeError(f"{tool} failed: {outcome.failure}")
        result: dict[str, Any] = json.loads(outcome.result_json or "{}")
        return result

    def _call_id(self) -> str:
        return f"floor-{next(self._numbers)}"
