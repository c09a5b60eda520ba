"""What running a run needs from outside, in the words of the domain."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from orchestrator.agents.domain import Agent, AgentDefinition
from orchestrator.runs.domain import DeviceCall, Run, RunState, ToolOutcome, ToolSpec, Trigger
from orchestrator.runs.events import Event, StoredEvent
from orchestrator.runs.incoming import Fetch, FetchEvent
from orchestrator.runs.messages import ModelAnswer, ModelRequest
from orchestrator.runs.report import RunReport


class Model(Protocol):
    """Answers questions. Retries, fallbacks and Retry-After are its own business."""

    @property
    def name(self) -> str:
        """What the run's record calls it before it has answered."""
        ...

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Return the model's answer, within the model's own deadline.

        Raises:
            ModelFault: no answer; the subclass says why.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """A device as presence tells it."""

    device_id: str
    user_id: str
    online: bool
    connected_at: datetime | None
    """When its newest session began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolManifest:
    """The tools of a device."""

    hash: str
    tools: tuple[ToolSpec, ...]


class Devices(Protocol):
    """The devices of the users, and the tools on them."""

    async def choose(self, user_id: str, device_id: str) -> DeviceInfo:
        """Return the named device, or for an empty id the user's connected device that connected last.

        Raises:
            DeviceUnknown: the user has no such device, or none at all.
            DeviceOffline: it is not connected, or none is.
        """
        ...

    async def tools(self, user_id: str, device_id: str) -> ToolManifest:
        """Return the tools that the device advertised last.

        Raises:
            DeviceUnknown: the user has no such device.
            DeviceOffline: it could not be asked.
        """
        ...

    async def call(self, call: DeviceCall) -> ToolOutcome:
        """Run a tool on the device, at most 30 s, across reconnects of the device and of the bridge.

        The same call_id is sent again until it is answered; the device's ledger prevents a second effect.

        Raises:
            DeviceUnknown: the user has no such device.
            DeviceOffline: the device was not there for the whole time.
            ToolTimedOut: the device was there but did not answer.
        """
        ...

    def watch(self) -> AsyncIterator[DeviceInfo]:
        """Yield every device as it stands, then each change, for ever; reconnects by itself."""
        ...


class Messages(Protocol):
    """The new messages of the users' connections, each subscriber's from its own cursor on.

    A message comes again until a commit has moved the cursor past it.
    """

    def fetch(self, wanted: Fetch) -> AsyncGenerator[FetchEvent, None]:
        """Yield what is new: `Begun` first, messages oldest first with marks between them, `Ended` last.

        Nothing moves by it. Closing the generator cancels what is under way. The newest fetch of a subscriber wins:
        the marks of older ones can be committed no more.

        Raises:
            ConnectionFault: the connection, the provider, the filter or a refusal; the reason says which.
            ConnectorsUnavailable: the service was not there, or left in the middle: fetching again may help.
        """
        ...

    async def commit(self, user_id: str, connection_id: str, cursor_token: str) -> None:
        """Move the cursor to a mark, within seconds. Safe to repeat; a cursor never moves back.

        Raises:
            ConnectionFault, ConnectorsUnavailable: it is not known to have moved.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """In how many runs a message was left unprocessed because its group failed."""

    tries: int
    blamed: int
    """How many of these tell against the message itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What earlier runs of an agent made of messages."""

    done: frozenset[str] = frozenset()
    """Processed, or given up."""
    failures: Mapping[str, Failures] = field(default_factory=dict)


class MessageMemory(Protocol):
    """What became of each message, for each agent and connection. Journals write it, with the events that tell it."""

    async def recall(self, run: Run, message_ids: Sequence[str]) -> Remembered:
        """Return what earlier runs of the run's agent made of these messages of its connection.

        Raises:
            JournalLost: it cannot be read now; the run goes on later.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """Everything that a run needs to have messages."""

    messages: Messages
    memory: MessageMemory


class Agents(Protocol):
    """The stored agents, as far as starting a run needs them."""

    async def get(self, user_id: str, agent_id: str) -> Agent:
        """Return an agent of the user.

        Raises:
            adiuva_rpc.errors.NotFound: the user has no such agent.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run that is to be created."""

    user_id: str
    agent_id: str
    definition: AgentDefinition
    trigger: Trigger
    request_id: str
    request_hash: str
    """Of the whole request: the same request_id with another hash is a conflict."""
    slot_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """Which runs to list."""

    user_id: str
    agent_id: str = ""
    states: frozenset[RunState] = frozenset()
    limit: int = 50
    before: tuple[datetime, str] | None = None
    """The created_at and run_id of the last run of the page before."""


class Journals(Protocol):
    """The journals of all runs of this process; appends of all of them are committed in groups."""

    async def append(self, run_id: str, epoch: int, events: Sequence[tuple[int, Event]]) -> None:
        """Store the events under their seq numbers, in order, and return once they are committed.

        A `Finished` event makes the run terminal in the same transaction; an `ItemProcessed` or `ItemFailed` of a
        message is remembered for its agent in the same transaction.

        Raises:
            Fenced: the run has another epoch, or is terminal: nothing was stored.
        """
        ...

    async def read(self, run_id: str, *, after_seq: int = 0, limit: int | None = None) -> list[StoredEvent]:
        """Return the run's events in order. One query."""
        ...


class Runs(Protocol):
    """The runs as they are stored, and their dispatch."""

    async def start(self, new: NewRun) -> Run:
        """Create a run and the job that will run it, in one transaction; or return the run that the request_id made.

        Raises:
            adiuva_rpc.errors.AlreadyExists: the request_id was used for another request.
            adiuva_rpc.errors.ResourceExhausted: too many runs of the user wait.
        """
        ...

    async def get(self, user_id: str, run_id: str) -> Run:
        """Return a run of the user.

        Raises:
            adiuva_rpc.errors.NotFound: the user has no such run.
        """
        ...

    async def page(self, query: RunQuery) -> list[Run]:
        """Return the runs, newest first."""
        ...

    async def claim(self, run_id: str) -> Run | None:
        """Take the run for this worker: raise its epoch, and make it RUNNING. None when it is terminal or gone."""
        ...

    async def request_cancel(self, user_id: str, run_id: str, reason: str) -> Run:
        """Ask for the run's end. A run that no worker has taken becomes CANCELLED at once.

        Raises:
            adiuva_rpc.errors.NotFound: the user has no such run.
        """
        ...

    async def uninformed(self, user_id: str) -> list[Run]:
        """Return the terminal runs of the user whose device has still to be told, oldest first, at most 100."""
        ...

    async def informed(self, run_id: str) -> None:
        """Remember that the run's device has been told."""
        ...


class Bell(Protocol):
    """Tells who waits that something was written: across processes, at once, and possibly once too often."""

    def ringing(self, topic: str) -> AsyncGenerator[None, None]:
        """Yield once at the start, then after each ring of the topic, and at least each 15 s."""
        ...


class Reports(Protocol):
    """The reports of terminal runs, kept so that lists need not fold their journals again."""

    async def report(self, run_id: str) -> RunReport | None:
        """Return the kept report of a terminal run, None when there is none yet."""
        ...

    async def keep_report(self, run_id: str, report: RunReport) -> None:
        """Keep the report of a terminal run; ignored for a run that is not terminal."""
        ...
