"""Conversations between the offline model and a device in memory, as a run holds them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from device_bridge.agent.tools.notes import NOTE_TOOLS
from device_bridge.agent.tools.projects import PROJECT_TOOLS
from device_bridge.agent.tools.tasks import TASK_TOOLS
from device_bridge.agent.tools.timelines import TIMELINE_TOOLS
from orchestrator.adapters.offline_model import OfflineModel
from orchestrator.agents.domain import DataType
from orchestrator.runs.arguments import check_arguments
from orchestrator.runs.domain import Effect, Group, Item, JsonObject, ToolFailure, ToolOutcome, ToolSpec
from orchestrator.runs.grouping import make_groups
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
    User,
)
from orchestrator.runs.prefetch import prepared_requests
from orchestrator.runs.progress import tool_answer
from tests.fakes.device_tools import TOOLS, Call, FakeFile, Refused, Workspace

ALL_TYPES = frozenset(DataType)
MAX_STEPS = 12

_REAL_SCHEMAS: Mapping[str, Mapping[str, object]] = {
    tool.spec.name: tool.spec.input_schema
    for tools in (TASK_TOOLS, NOTE_TOOLS, TIMELINE_TOOLS, PROJECT_TOOLS)
    for tool in tools
}
"""What the device really accepts."""


def specs() -> tuple[ToolSpec, ...]:
    """The tools that a processing conversation offers."""
    return tuple(spec for spec, _ in TOOLS.values() if spec.name != "find_changed_files")


@dataclass
class Desk:
    """A device, and the model that works on it."""

    workspace: Workspace = field(default_factory=Workspace)
    model: OfflineModel = field(default_factory=OfflineModel)
    tools: tuple[ToolSpec, ...] = field(default_factory=specs)
    failing: dict[str, str] = field(default_factory=dict)
    """Tool name to the reason for which it fails."""
    effects: list[Effect] = field(default_factory=list)
    made: list[tuple[str, JsonObject]] = field(default_factory=list)
    """Every call that the model asked for."""
    questions: int = 0

    def files(self, files: Mapping[str, str]) -> None:
        """Put files on the device."""
        for path, text in files.items():
            self.workspace.files[path] = FakeFile(text)

    def project(self, project_id: str, name: str, **more: object) -> ProjectSummary:
        """Store a project that the user made."""
        self.workspace.add("project", project_id, name=name, **more)
        return ProjectSummary(project_id=project_id, name=name)

    def rows(self, entity_type: str) -> list[JsonObject]:
        """The records of a type, in the order of their making."""
        return list(self.workspace.rows[entity_type].values())

    async def process(self, *paths: str, project: ProjectSummary | None = None, **more: object) -> str:
        """Have the files processed as one group, and return the summary."""
        items = tuple(Item(path=path, size_bytes=self.workspace.files[path].size, mtime_ns=1) for path in paths)
        title = str(more.pop("title", project.name if project else ""))
        group = Group(group_id="g1", project_id=project.project_id if project else "", title=title, items=items)
        return await self.process_group(group, project=project, **more)  # type: ignore[arg-type]  # passed on

    async def process_all(self, projects: Sequence[ProjectSummary] = (), folder: str = "sample") -> list[str]:
        """Have all files processed in the groups that a run makes of them, and return the summaries."""
        items = [Item(path=path, size_bytes=file.size, mtime_ns=1) for path, file in self.workspace.files.items()]
        groups = make_groups(items, {}, projects, [folder])
        return [await self.process_group(group) for group in groups]

    async def process_group(
        self,
        group: Group,
        *,
        project: ProjectSummary | None = None,
        data_types: frozenset[DataType] = ALL_TYPES,
        prepared: bool = True,
    ) -> str:
        """Hold the conversation of one group to its end, and return the model's last text."""
        brief = ProcessingBrief(
            items=tuple(item.path for item in group.items), data_types=data_types, project=project, title=group.title
        )
        messages: list[Message] = [System("You extract."), User("Process the files.")]
        if prepared:
            requests = prepared_requests(group, data_types, self.tools)
            messages += [Assistant("", requests), *self._answers(requests)]
        for _ in range(MAX_STEPS):
            answer = await self.ask(brief, messages, self.tools)
            if not answer.tool_requests:
                return answer.text
            self.made += [(request.name, json.loads(request.arguments_json)) for request in answer.tool_requests]
            messages += [Assistant(answer.text, answer.tool_requests), *self._answers(answer.tool_requests)]
        return (await self.ask(brief, messages, ())).text

    async def ask(
        self, brief: ProcessingBrief, messages: Iterable[Message], tools: tuple[ToolSpec, ...]
    ) -> ModelAnswer:
        """Put one question."""
        self.questions += 1
        request = ModelRequest(messages=tuple(messages), tools=tools, brief=brief, data_marker="marker-0123456789")
        answer = await self.model.answer(request)
        assert await self.model.answer(request) == answer
        return answer

    def _answers(self, requests: Sequence[ToolRequest]) -> list[ToolAnswer]:
        ids = [request.request_id for request in requests]
        assert len(set(ids)) == len(ids)
        return [tool_answer(request, self._run(request)) for request in requests]

    def _run(self, request: ToolRequest) -> ToolOutcome:
        arguments = json.loads(request.arguments_json)
        if request.name in _REAL_SCHEMAS:
            check_arguments(arguments, _REAL_SCHEMAS[request.name])
        call_id = f"{len(self.made)}-{request.request_id}-{request.arguments_json}"
        call = Call(workspace=self.workspace, arguments=arguments, call_id=call_id, known={}, directories=("sample",))
        try:
            if request.name in self.failing:
                raise Refused(self.failing[request.name])  # noqa: TRY301 - as the tool itself does
            result = TOOLS[request.name][1](call)
        except Refused as refused:
            return ToolOutcome(failure=ToolFailure(reason=refused.reason, message=refused.message))
        self.effects += call.effects
        return ToolOutcome(result_json=json.dumps(result), effects=tuple(call.effects))
