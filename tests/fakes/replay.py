"""A model, a device and a mailbox that say what a journal says they said."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from orchestrator.runs.domain import DeviceCall, DeviceOffline, Item, ModelFault, Run, ToolOutcome
from orchestrator.runs.events import Event, ModelAnswered, ToolAnswered
from orchestrator.runs.incoming import (
    Arrived,
    Attachment,
    Begun,
    Ended,
    Fetch,
    FetchEvent,
    IncomingMessage,
    Mark,
    Participant,
    Unread,
)
from orchestrator.runs.messages import ModelAnswer, ModelRequest, User
from orchestrator.runs.ports import DeviceInfo, Inbox, Remembered, ToolManifest
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


class ReplayMessages:
    """Implements `runs.ports.Messages` and `runs.ports.MessageMemory` from a journal."""

    def __init__(self, events: Iterable[Event], progress: Progress) -> None:
        self._progress = progress
        self._answers: dict[str, dict[str, Any]] = {}
        for event in events:
            if isinstance(event, ToolAnswered) and event.tool == "read_message" and event.outcome.result_json:
                answer = json.loads(event.outcome.result_json)
                if "text" in answer:
                    self._answers[answer["message_id"]] = answer

    async def fetch(self, wanted: Fetch) -> AsyncGenerator[FetchEvent, None]:
        """Give the messages of the journal."""
        items, fetched = self._progress.items or (), self._progress.fetched
        if fetched is None:
            raise NotInTheJournal("a fetch")
        yield Begun(provider="gmail")
        for error in self._progress.errors:
            if error.reason in {"MESSAGE_UNREADABLE", "MESSAGE_TOO_LARGE"}:
                for path in error.items:
                    yield Unread(key=_key(path), reason=error.reason)
        *marks, last = fetched.checkpoints
        for number, item in enumerate(items, start=1):
            yield Arrived(message=self._message(item))
            for mark in marks:
                if mark.items == number:
                    yield Mark(cursor_token=mark.cursor_token)
        yield Ended(cursor_token=last.cursor_token, more=fetched.more)

    async def commit(self, user_id: str, connection_id: str, cursor_token: str) -> None:
        """Take what the journal knows."""
        known = self._progress.fetched.checkpoints if self._progress.fetched else ()
        if cursor_token not in {checkpoint.cursor_token for checkpoint in known}:
            raise NotInTheJournal(cursor_token)

    async def recall(self, run: Run, message_ids: Sequence[str]) -> Remembered:
        """Know nothing of the messages."""
        return Remembered()

    def _message(self, item: Item) -> IncomingMessage:
        answer = self._answers[item.path]
        return IncomingMessage(
            key=_key(item.path),
            thread_id=item.thread,
            received_at=datetime.fromtimestamp(item.mtime_ns / 1e9, tz=UTC),
            sender=Participant(**answer["from"]),
            to=tuple(Participant(**person) for person in answer["to"]),
            cc=tuple(Participant(**person) for person in answer["cc"]),
            subject=answer["subject"],
            text=answer["text"],
            new_text=answer["text"],
            truncated=answer["truncated"],
            full_chars=answer["full_chars"],
            attachments=tuple(Attachment(**file) for file in answer["attachments"]),
            labels=tuple(answer["labels"]),
        )


def replay_inbox(events: Iterable[Event], progress: Progress) -> Inbox:
    """Return where a journal's messages come from."""
    messages = ReplayMessages(events, progress)
    return Inbox(messages=messages, memory=messages)


def _key(path: str) -> str:
    return path.split(":", 2)[2]
