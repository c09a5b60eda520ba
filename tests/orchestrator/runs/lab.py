"""A bench for whole runs: a device, journals and a model in memory, and workers that take the run one after another."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.agents.domain import (
    AgentDefinition,
    Budgets,
    CloudConnector,
    DataType,
    LocalDirectory,
    MessageFilter,
)
from orchestrator.runs.cancellation import Cancellation
from orchestrator.runs.domain import Run, RunState, Trigger
from orchestrator.runs.events import Event
from orchestrator.runs.execute import execute
from orchestrator.runs.journal import RunJournal, open_journal
from orchestrator.runs.ports import Inbox, Model
from orchestrator.runs.progress import Progress
from orchestrator.runs.workbench import Limits
from tests.fakes.device_tools import FakeFile
from tests.fakes.devices import FakeDevice, FakeDevices
from tests.fakes.journals import STARTED_AT, InMemoryJournals, InMemoryMessageMemory
from tests.fakes.mailbox import FakeMailbox, FakeMessages
from tests.fakes.models import ScriptedModel, diligent

RUN_ID = "5b1e2f6e-3c53-4e0e-9a3d-0d8f3a1f2b11"
ACME = "6f0c2a34-0000-4000-8000-000000000001"
NUVOLA = "6f0c2a34-0000-4000-8000-000000000002"

ALL_TYPES = frozenset(DataType)
QUICK = Limits(completion_wait=timedelta(seconds=2))


class ManualClock:
    """Stands still until it is moved."""

    def __init__(self, now: datetime = STARTED_AT) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def move(self, by: timedelta) -> None:
        """Let time pass."""
        self.now += by


def definition(
    *,
    paths: tuple[str, ...] = ("sample",),
    extensions: tuple[str, ...] = (),
    data_types: frozenset[DataType] = ALL_TYPES,
    budgets: Budgets = Budgets(),  # noqa: B008 - frozen
    instructions: str = "",
    device_id: str = "",
) -> AgentDefinition:
    return AgentDefinition(
        display_name="Folder watcher",
        source=LocalDirectory(directory_paths=paths, device_id=device_id, file_extensions=extensions),
        data_types=data_types,
        client_agent_id="client-agent-1",
        prompt_template=instructions,
        budgets=budgets,
    )


def cloud_definition(*, filter: MessageFilter = MessageFilter(), **more: Any) -> AgentDefinition:  # noqa: B008
    source = CloudConnector(connection_id="mail", filter=filter)
    return replace(definition(**more), display_name="Mail watcher", source=source)


@dataclass
class Lab:
    """Everything that a run needs, and the run."""

    definition: AgentDefinition = field(default_factory=definition)
    script: Callable[..., object] = diligent
    limits: Limits = QUICK
    run_id: str = RUN_ID
    devices: FakeDevices = field(default_factory=FakeDevices)
    journals: InMemoryJournals = field(default_factory=InMemoryJournals)
    clock: ManualClock = field(default_factory=ManualClock)
    cancellation: Cancellation = field(default_factory=Cancellation)
    cancel_requested: bool = False
    inbox: Inbox | None = None
    laptop: FakeDevice = field(init=False)
    model: ScriptedModel = field(init=False)

    def __post_init__(self) -> None:
        self.laptop = self.devices.add("laptop")
        self.model = ScriptedModel(self.script)  # type: ignore[arg-type]  # a test's lambda

    def files(self, files: Mapping[str, str | FakeFile]) -> None:
        """Put files on the laptop."""
        for path, file in files.items():
            self.laptop.workspace.files[path] = FakeFile(file) if isinstance(file, str) else file

    def run(self) -> Run:
        """The run as a new worker has just claimed it."""
        run = Run(
            run_id=self.run_id,
            user_id="ada",
            agent_id="agent-1",
            definition=self.definition,
            trigger=Trigger.MANUAL,
            state=RunState.RUNNING,
            created_at=STARTED_AT,
            started_at=STARTED_AT,
            epoch=self.journals.take(self.run_id),
            cancel_requested=self.cancel_requested,
            cancel_reason="Not needed any more." if self.cancel_requested else "",
        )
        self.journals.own(run)
        return run

    async def journal(self) -> RunJournal:
        """The journal in the hands of a new worker."""
        return await open_journal(self.run(), self.journals)

    async def work(self, *, model: Model | None = None) -> Progress:
        """Have a new worker run the run to its end."""
        return await self.work_on(await self.journal(), model=model)

    async def work_on(self, journal: RunJournal, *, model: Model | None = None) -> Progress:
        """Have the worker that holds the journal run the run to its end."""
        await execute(
            journal,
            devices=self.devices,
            model=model or self.model,
            clock=self.clock,
            inbox=self.inbox,
            cancellation=self.cancellation,
            limits=self.limits,
            marker=lambda: "marker-0123456789",
        )
        return journal.progress

    async def events(self) -> list[Event]:
        """What the journal holds."""
        return [entry.event for entry in await self.journals.read(self.run_id)]


def lab_with_work(**more: object) -> Lab:
    """Return a lab with two projects, a standalone folder and loose files: every kind of work at once."""
    lab = Lab(**more)  # type: ignore[arg-type]  # passed on
    workspace = lab.laptop.workspace
    workspace.add("project", ACME, name="Acme", description="Website", status="Active")
    workspace.add("project", NUVOLA, name="Nuvola", status="On Hold")
    workspace.add("task", "task-known", title="Send the offer", project_id=ACME, status="ToDo")
    lab.files(
        {
            "sample/acme/notes/kickoff.md": "# Kick-off\nTODO Book the photographer\nDONE Send the offer\n",
            "sample/acme/brief.md": "NOTE The client wants green\n",
            "sample/nuvola/plan.md": "TODO Order the paper\nTODO Call the printer\n",
            "sample/garden-club/ideas.md": "PROJECT Garden Club\nTODO Buy seeds\n",
            "sample/garden-club/photo.png": FakeFile(failure="BINARY", size_bytes=9_000),
            "sample/todo.txt": "TODO Renew the insurance\n",
            "sample/haiku.txt": "an old silent pond\n",
            "sample/big.md": "x" * 70_000 + "\nTODO Read it all\n",
        }
    )
    return lab


@dataclass
class CloudLab(Lab):
    """A lab whose agent looks at a mailbox."""

    definition: AgentDefinition = field(default_factory=cloud_definition)
    mailbox: FakeMailbox = field(default_factory=FakeMailbox)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.inbox = Inbox(messages=FakeMessages(self.mailbox), memory=InMemoryMessageMemory(self.journals))

    async def next_run(self, *, model: Model | None = None) -> Progress:
        """Run the agent once more, as a run of its own."""
        self.run_id = str(uuid.uuid5(uuid.UUID(RUN_ID), self.run_id))
        return await self.work(model=model)


def cloud_lab_with_mail(**more: object) -> CloudLab:
    """Return a lab with three threads, one of them of two messages, and one project."""
    lab = CloudLab(**more)  # type: ignore[arg-type]  # passed on
    lab.laptop.workspace.add("project", ACME, name="Acme", description="Website", status="Active")
    lab.mailbox.add("m1", "TODO Send the logo\n", thread="logo", subject="Logo")
    lab.mailbox.add("m2", "NOTE The office is closed on Friday\n", thread="office", subject="Closed")
    lab.mailbox.add("m3", "Thanks!\nTODO Send the invoice\n", thread="logo", subject="Re: Logo")
    lab.mailbox.add("m4", "Nothing to do here.\n", thread="hello", subject="Hello")
    return lab


def utc(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)
