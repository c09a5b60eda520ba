"""What an agent is: pure data and the rules that every definition keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, unique


@unique
class DataType(Enum):
    """A kind of record that an agent may work on. The value is the name of the toolset that works on it."""

    TASKS = "tasks"
    NOTES = "notes"
    TIMELINES = "timelines"
    PROJECTS = "projects"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDirectory:
    """Folders on the user's device."""

    directory_paths: tuple[str, ...]
    """Wire paths: a root's name, or a path below one."""
    device_id: str = ""
    """Empty for any connected device of the user."""
    file_extensions: tuple[str, ...] = ()
    """With the dot, lower case; empty for every readable file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """Which messages are meant. Empty fields exclude nothing; the others must all hold.

    Whether a provider can express a field is the connectors service's to say, when messages are fetched.
    """

    senders: tuple[str, ...] = ()
    """Addresses, or domains with a leading `@`; case is ignored."""
    recipients: tuple[str, ...] = ()
    """Of to and cc; written as senders."""
    subject_contains: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    """Labels, folders, chats or channels, as the provider names them; empty for its default."""
    unread_only: bool = False
    has_attachment: bool = False
    include_sent: bool = False
    provider_query: str = field(default="", repr=False)
    """A search in the provider's own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudConnector:
    """New messages of an account that the user has linked."""

    connection_id: str
    filter: MessageFilter = MessageFilter()


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """The limits of one run. Checked before each call; the first one passed ends the run PARTIAL."""

    max_model_calls: int = 200
    max_tokens: int = 2_000_000
    """Input and output together."""
    max_tool_calls: int = 2_000
    max_read_bytes: int = 64 * 1024 * 1024
    max_creates: int = 500
    max_wall_time: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentDefinition:
    """Everything that a run needs to know of its agent. A run keeps its own copy, as it was at its creation."""

    display_name: str
    source: LocalDirectory | CloudConnector
    data_types: frozenset[DataType]
    client_agent_id: str = ""
    prompt_template: str = field(default="", repr=False)
    """The user's own instructions."""
    budgets: Budgets = Budgets()


@unique
class CatchUp(Enum):
    """What to do when several slots were missed."""

    COALESCE = "coalesce"
    NONE = "none"


@unique
class Overlap(Enum):
    """What to do when a slot comes while a run of the agent is under way."""

    SKIP = "skip"
    QUEUE_ONE = "queue_one"
    CANCEL_OTHER = "cancel_other"


@unique
class OnOffline(Enum):
    """What to do when a slot comes while no device that can serve it is connected."""

    WAIT = "wait"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When an agent starts by itself. `schedules.domain` has the rules."""

    cron: str
    time_zone: str = "UTC"
    jitter: timedelta = timedelta(0)
    catch_up: CatchUp = CatchUp.COALESCE
    grace: timedelta | None = None
    """How late a slot may still start with NONE; None for 5 minutes. With COALESCE it means nothing and is refused."""
    overlap: Overlap = Overlap.SKIP
    on_offline: OnOffline = OnOffline.WAIT
    start_time: datetime | None = None
    end_time: datetime | None = None
    pause_after_failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LostSlots:
    """Slots that started no run, of one kind."""

    count: int = 0
    last_reason: str = ""
    """Of `schedules.decisions`; empty when there are none."""
    last_slot: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent as it is stored."""

    agent_id: str
    user_id: str
    definition: AgentDefinition
    schedule: Schedule | None
    etag: str
    created_at: datetime
    updated_at: datetime
    last_run_at: datetime | None = None
    paused: bool = False
    pause_reason: str = ""
    schedule_problem: str = ""
    """Why what is stored cannot be read as a schedule. `schedule` is None then: it never fires."""
    waits_for_device: bool = False
    """A slot has come, and starts its run when a device connects."""
    missed: LostSlots = LostSlots()
    """Slots that nothing could start in time."""
    skipped: LostSlots = LostSlots()
    """Slots that a policy of the schedule dropped."""
    failures_in_a_row: int = 0

    @property
    def agent_key(self) -> str:
        """The id under which the device remembers what was processed."""
        return self.definition.client_agent_id or self.agent_id


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentView:
    """An agent as it is shown: with what follows from its schedule and the present time."""

    agent: Agent
    next_run_at: datetime | None
    """None without a valid schedule, while paused, and past the schedule's end."""
    schedule_problem: str
    """What is wrong with the stored schedule, if anything."""
