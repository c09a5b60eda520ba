"""A run as the fold over its journal: what has happened, what it used and what it made."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator.runs.domain import Effect, Group, Item, Phase, RunError, RunState, ToolOutcome, Usage
from orchestrator.runs.events import (
    Claimed,
    Concluded,
    ConversationStarted,
    DeviceChosen,
    ErrorRecorded,
    Event,
    Finished,
    Grouped,
    GroupFinished,
    ItemFailed,
    ItemProcessed,
    ItemsFound,
    MessagesFetched,
    ModelAnswered,
    ModelCalled,
    PhaseStarted,
    StoredEvent,
    ToolAnswered,
    ToolCalled,
)
from orchestrator.runs.messages import Assistant, Message, ProjectSummary, System, ToolAnswer, ToolRequest, User

READ_MESSAGE = "read_message"
"""The tool that gives a message. The run answers it itself."""

READING_TOOLS = frozenset({"read_file_content", READ_MESSAGE})
"""The tools whose answers count as bytes read."""

TIMEOUT = "TIMEOUT"
"""The reason of a failure that leaves open what the call did."""


@dataclass(slots=True)
class Step:
    """One answer of a model and the tool calls that it asked for. Step 0 is what was prepared for the model."""

    answer: Assistant
    remark: str = ""
    outcomes: dict[int, ToolOutcome] = field(default_factory=dict)
    """By the request's place in the answer."""

    @property
    def complete(self) -> bool:
        """Whether every tool call of the step has its outcome."""
        return len(self.outcomes) == len(self.answer.tool_requests)


@dataclass(slots=True)
class Conversation:
    """A conversation as far as it went."""

    system: str
    user: str
    steps: dict[int, Step] = field(default_factory=dict)
    called: dict[int, ModelCalled] = field(default_factory=dict)
    """The model calls that were begun, by step."""

    def messages(self) -> tuple[Message, ...]:
        """Return what the model has been told and has said so far; tool answers in the order of the requests."""
        told: list[Message] = [System(self.system), User(self.user)]
        for number in sorted(self.steps):
            step = self.steps[number]
            if step.remark:
                told.append(User(step.remark))
            if number == 0 and not step.answer.tool_requests:
                continue
            told.append(step.answer)
            told.extend(
                tool_answer(request, step.outcomes[index])
                for index, request in enumerate(step.answer.tool_requests)
                if index in step.outcomes
            )
        return tuple(told)


def tool_answer(request: ToolRequest, outcome: ToolOutcome) -> ToolAnswer:
    """Return what the model is told of a call's outcome."""
    failure = outcome.failure
    content = (
        outcome.result_json or "{}"
        if failure is None
        else json.dumps({"error": {"reason": failure.reason, "message": failure.message}}, ensure_ascii=False)
    )
    return ToolAnswer(
        request_id=request.request_id, name=request.name, content_json=content, failed=failure is not None
    )


@dataclass(slots=True)
class Progress:
    """How far a run is. Changed only by `apply`."""

    phase: Phase = Phase.NONE
    device_id: str = ""
    data_marker: str = ""
    items: tuple[Item, ...] | None = None
    """None until the inventory is known."""
    projects: tuple[ProjectSummary, ...] = ()
    """The existing projects, as the inventory found them."""
    fetched: MessagesFetched | None = None
    """What the last fetch of messages brought; None before one."""
    groups: tuple[Group, ...] | None = None
    """None until it is decided what belongs together."""
    conversations: dict[str, Conversation] = field(default_factory=dict)
    finished_groups: dict[str, GroupFinished] = field(default_factory=dict)
    processed: set[str] = field(default_factory=set)
    failed: dict[str, ItemFailed] = field(default_factory=dict)
    """Messages whose group failed, once that is accounted for."""
    effects: list[Effect] = field(default_factory=list)
    effects_concluded: int = 0
    """How many of the effects were known when the run was concluded: what the device is told never changes after."""
    unsettled: dict[str, ToolCalled] = field(default_factory=dict)
    """By call_id: what was sent and whose outcome is not known, because no answer came or none came in time."""
    usage: Usage = field(default_factory=Usage)
    errors: list[RunError] = field(default_factory=list)
    model: str = ""
    concluded: RunState | None = None
    finished: Finished | None = None

    def counts(self, kind: str, *, concluded: bool = False) -> Counter[str]:
        """Return how many effects of this kind, such as CREATED, there are of each entity type.

        Args:
            kind: The value of an `EffectKind`.
            concluded: Count only what was known when the run was concluded.
        """
        effects = self.effects[: self.effects_concluded] if concluded else self.effects
        return Counter(effect.entity_type for effect in effects if effect.kind.value == kind)

    def unprocessed(self) -> tuple[str, ...]:
        """Return the files or messages that were found and not processed."""
        return tuple(item.path for item in self.items or () if item.path not in self.processed)

    def apply(self, event: Event) -> None:
        """Take in one event, in the order of the journal."""
        match event:
            case ConversationStarted() | ModelCalled() | ModelAnswered() | ToolAnswered() | ToolCalled():
                self._apply_to_conversation(event)
            case ItemProcessed() | ItemFailed() | GroupFinished() | ErrorRecorded() | Concluded() | Finished():
                self._apply_result(event)
            case PhaseStarted(phase=phase):
                self.phase = phase
            case DeviceChosen():
                self.device_id, self.data_marker = event.device_id, event.data_marker
            case ItemsFound():
                self.items, self.projects = event.items, event.projects
            case MessagesFetched():
                self.fetched = event
            case Grouped(groups=groups):
                self.groups = groups
            case Claimed():
                pass

    def _apply_result(
        self, event: ItemProcessed | ItemFailed | GroupFinished | ErrorRecorded | Concluded | Finished
    ) -> None:
        match event:
            case ItemProcessed(item=item):
                self.processed.add(item)
            case ItemFailed(item=item):
                self.failed[item] = event
            case GroupFinished(group=group):
                self.finished_groups[group] = event
            case ErrorRecorded(error=error):
                self.errors.append(error)
            case Concluded(state=state):
                self.concluded = state
                self.effects_concluded = len(self.effects)
            case Finished():
                self.finished = event

    def _apply_to_conversation(
        self, event: ConversationStarted | ModelCalled | ModelAnswered | ToolCalled | ToolAnswered
    ) -> None:
        match event:
            case ConversationStarted():
                conversation = Conversation(event.system, event.user)
                conversation.steps[0] = Step(Assistant("", event.prepared))
                self.conversations[event.conversation] = conversation
            case ModelCalled():
                # Counted when it is begun: a call that was lost in a crash has been paid all the same.
                self.usage = self.usage.plus(model_calls=1)
                self.conversations[event.conversation].called[event.step] = event
            case ModelAnswered():
                self._answered(event)
            case ToolCalled():
                self.unsettled[event.call_id] = event
            case ToolAnswered():
                self._tool_answered(event)

    def _answered(self, event: ModelAnswered) -> None:
        conversation = self.conversations[event.conversation]
        called = conversation.called[event.step]
        conversation.steps[event.step] = Step(Assistant(event.text, event.tool_requests), called.remark)
        self.model = event.model
        self.usage = self.usage.plus(
            model_calls=event.attempts - 1,
            input_tokens=event.input_tokens,
            cached_tokens=event.cached_tokens,
            output_tokens=event.output_tokens,
        )

    def _tool_answered(self, event: ToolAnswered) -> None:
        if event.conversation in self.conversations:
            step = self.conversations[event.conversation].steps.get(event.step)
            if step is not None:
                step.outcomes[event.index] = event.outcome
        if event.outcome.failure is None or event.outcome.failure.reason != TIMEOUT:
            self.unsettled.pop(event.call_id, None)
        self.effects.extend(event.outcome.effects)
        read = len((event.outcome.result_json or "").encode()) if event.tool in READING_TOOLS else 0
        self.usage = self.usage.plus(tool_calls=int(event.sent), read_bytes=read)


def fold(events: Iterable[StoredEvent]) -> Progress:
    """Return how far a run is by its journal."""
    progress = Progress()
    for entry in events:
        progress.apply(entry.event)
    return progress
