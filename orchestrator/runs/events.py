"""What a journal holds: one dataclass a kind of event. A run is the fold over its events (`progress`).

Every text that a model reads or writes is stored once, in the event that made it. The kinds and field names are the
stored format: add fields with defaults, never rename.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from pydantic import TypeAdapter

from orchestrator.runs.domain import Checkpoint, Group, Item, Phase, RunError, RunState, ToolOutcome
from orchestrator.runs.messages import ProjectSummary, ToolRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A worker has taken the run. More than one of these: a takeover."""

    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceChosen:
    """The device that the run works on, for good: a takeover goes on with the same one."""

    device_id: str
    tools_hash: str
    data_marker: str = ""
    """The run's random marker around tool answers. Its prompts name it, so a takeover needs the same one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStarted:
    """The run is in another phase."""

    phase: Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemsFound:
    """What there is to do: the files that changed, with the projects there were; or the new messages, oldest first.

    Comes once.
    """

    items: tuple[Item, ...]
    projects: tuple[ProjectSummary, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesFetched:
    """Messages were fetched. More than one of these: a takeover has fetched again, and only the last one counts."""

    checkpoints: tuple[Checkpoint, ...] = ()
    """In the order of the messages."""
    redelivered: int = 0
    """How many messages came again although an earlier run had processed them."""
    outrun: int = 0
    """So many of the run's items are older than a message that an earlier run has processed."""
    more: bool = False
    """Whether there were more messages than one run takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped:
    """What belongs together is decided. Comes once."""

    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationStarted:
    """A conversation begins: `triage`, `triage2` … or a group's id. Its prompts are kept as they were sent."""

    conversation: str
    system: str = field(repr=False)
    user: str = field(repr=False)
    prepared: tuple[ToolRequest, ...] = ()
    """Tool calls made for the model before it was first asked; they are step 0 of the conversation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCalled:
    """A model is about to be asked. Without its `ModelAnswered` the call was lost in a crash, and counts as spent."""

    conversation: str
    step: int
    """From 1."""
    kind: str = "step"
    """`step`, `again` (the last answer was refused) or `last` (without tools)."""
    remark: str = field(default="", repr=False)
    """What the model was told before this call, such as why its answer was refused; empty for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswered:
    """A model has answered. It is never asked for this step again."""

    conversation: str
    step: int
    text: str = field(repr=False)
    tool_requests: tuple[ToolRequest, ...]
    model: str
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    attempts: int = 1
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCalled:
    """A tool call is about to be sent to the device."""

    conversation: str
    step: int
    index: int
    call_id: str
    tool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolAnswered:
    """A tool call has ended, on the device or without being sent.

    `sent` is False for bad arguments, for what is not allowed, and for what the run answers itself.
    """

    conversation: str
    step: int
    index: int
    call_id: str
    tool: str
    outcome: ToolOutcome
    sent: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemProcessed:
    """A file or message was processed to the end.

    The device has marked a file so; a message is remembered in the transaction that stores this event.
    """

    group: str
    item: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFailed:
    """A message was left unprocessed because its group failed. It is remembered as an `ItemProcessed` is."""

    group: str
    item: str
    blamed: bool = False
    """Whether it tells against the message: other work of the agent got on meanwhile."""
    given_up: bool = False
    """Whether it is not tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFinished:
    """A group has ended."""

    group: str
    succeeded: bool
    summary: str = field(default="", repr=False)
    """What the model said at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRecorded:
    """Something went wrong."""

    error: RunError


@dataclass(frozen=True, slots=True, kw_only=True)
class Concluded:
    """How the run ends is decided; the device has still to be told. Comes once."""

    state: RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The run is terminal. The last event."""

    state: RunState
    device_informed: bool
    reason: str = ""
    """Why it was cancelled."""


Event = (
    Claimed
    | DeviceChosen
    | PhaseStarted
    | ItemsFound
    | MessagesFetched
    | Grouped
    | ConversationStarted
    | ModelCalled
    | ModelAnswered
    | ToolCalled
    | ToolAnswered
    | ItemProcessed
    | ItemFailed
    | GroupFinished
    | ErrorRecorded
    | Concluded
    | Finished
)

KINDS: dict[str, type[Event]] = {
    "claimed": Claimed,
    "device_chosen": DeviceChosen,
    "phase_started": PhaseStarted,
    "items_found": ItemsFound,
    "messages_fetched": MessagesFetched,
    "grouped": Grouped,
    "conversation_started": ConversationStarted,
    "model_called": ModelCalled,
    "model_answered": ModelAnswered,
    "tool_called": ToolCalled,
    "tool_answered": ToolAnswered,
    "item_processed": ItemProcessed,
    "item_failed": ItemFailed,
    "group_finished": GroupFinished,
    "error_recorded": ErrorRecorded,
    "concluded": Concluded,
    "finished": Finished,
}
"""Every kind of event by its stored name."""

_NAMES = {cls: kind for kind, cls in KINDS.items()}
_ADAPTERS: dict[str, TypeAdapter[Event]] = {kind: TypeAdapter(cls) for kind, cls in KINDS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event as it stands in the journal."""

    seq: int
    at: datetime
    event: Event


def encode(event: Event) -> tuple[str, str]:
    """Return the event's kind and its payload as JSON text."""
    kind = _NAMES[type(event)]
    return kind, _ADAPTERS[kind].dump_json(event, exclude_defaults=True).decode()


def decode(kind: str, payload: str) -> Event:
    """Return the event of a stored kind and payload.

    Raises:
        KeyError: a kind that this version does not know.
        pydantic.ValidationError: a payload that is not of its kind.
    """
    return _ADAPTERS[kind].validate_json(payload)
