"""A model and a device that say what a journal says they said."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable

from orchestrator.runs.domain import DeviceCall, DeviceOffline, ModelFault, ToolOutcome
from orchestrator.runs.events import Event, ModelAnswered, ToolAnswered
from orchestrator.runs.messages import ModelAnswer, ModelRequest, User
from orchestrator.runs.ports import DeviceInfo, ToolManifest
from orchestrator.runs.progress import Progress
from tests.fakes.device_tools import TOOLS


class NotInTheJournal(AssertionError):
    """The run took a step that the journal does not know."""


class ReplayModel:
    """Implements `runs.ports.Model` from a journal."""

    name = "replay"

    def __init__(self, events: Iterable[Event], progress: Progress) -> None:
        self._conversations = {held.user: name for name, held in progress.conversations.items()}
        self._answers = {
            (event.conversation, event.step): event for event in events if isinstance(event, ModelAnswered)
        }
        self._faults = {error.group: error.message for error in progress.errors if error.reason == ModelFault.reason}
        self._asked: dict[str, int] = {}

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Answer as the journal has it."""
        first = next(message.text for message in request.messages if isinstance(message, User))
        conversation = self._conversations.get(first)
        if conversation is None:
            raise NotInTheJournal(first)
        step = self._asked[conversation] = self._asked.get(conversation, 0) + 1
        answered = self._answers.get((conversation, step))
        if answered is None and conversation in self._faults:
            raise ModelFault(self._faults[conversation])
        if answered is None:
            raise NotInTheJournal(f"step {step} of {conversation}")
        return ModelAnswer(
            text=answered.text,
            tool_requests=answered.tool_requests,
            model=answered.model,
            input_tokens=answered.input_tokens,
            cached_tokens=answered.cached_tokens,
            output_tokens=answered.output_tokens,
            attempts=answered.attempts,
        )


class ReplayDevices:
    """Implements `runs.ports.Devices` from a journal."""

    def __init__(self, events: Iterable[Event], progress: Progress) -> None:
        self._progress = progress
        self._outcomes = {
            event.call_id: event.outcome for event in events if isinstance(event, ToolAnswered) and event.sent
        }

    async def choose(self, user_id: str, device_id: str) -> DeviceInfo:
        """Choose the device of the journal."""
        if not self._progress.device_id:
            raise DeviceOffline("The journal has no device.")
        return DeviceInfo(device_id=self._progress.device_id, user_id=user_id, online=True, connected_at=None)

    async def tools(self, user_id: str, device_id: str) -> ToolManifest:
        """Return the built-in set."""
        return ToolManifest(hash="fake", tools=tuple(spec for spec, _ in TOOLS.values()))

    async def call(self, call: DeviceCall) -> ToolOutcome:
        """Answer as the journal has it; the run's own calls from what it found and counted."""
        own = self._own(call)
        if own is not None:
            return ToolOutcome(result_json=json.dumps(own))
        if call.call_id not in self._outcomes:
            raise NotInTheJournal(call.call_id)
        return self._outcomes[call.call_id]

    def watch(self) -> AsyncIterator[DeviceInfo]:
        """Nobody watches a replay."""
        raise NotImplementedError

    def _own(self, call: DeviceCall) -> dict[str, object] | None:
        match call.tool:
            case "begin_run" | "mark_processed":
                return {}
            case "complete_run":
                kinds = ("CREATED", "UPDATED", "COMMENTED", "PROPOSED")
                return {"effects": {kind.lower(): dict(self._progress.counts(kind)) for kind in kinds}}
            case "find_changed_files":
                items = self._progress.items or ()
                files = [{"path": i.path, "size_bytes": i.size_bytes, "mtime_ns": i.mtime_ns} for i in items]
                return {"files": files}
            case "list_all_projects" if call.context.phase == "triage" and call.call_id not in self._outcomes:
                fields = ("name", "description", "client_name", "status")
                rows = [{"id": p.project_id, **{f: getattr(p, f) for f in fields}} for p in self._progress.projects]
                return {"projects": rows}
            case _:
                return None
