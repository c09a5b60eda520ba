"""From nothing to suggestions: a stack, two linked accounts, a week of mail, a run over each, and a second one."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc.aio
from rich.markup import escape

from adiuva.connectors.v1 import message_pb2
from adiuva.orchestrator.v1 import (
    agent_pb2,
    agent_service_pb2 as agents_pb,
    agent_service_pb2_grpc as agents_grpc,
    run_pb2,
    run_service_pb2 as pb,
    run_service_pb2_grpc as pb_grpc,
)
from orchestrator.cli.demo import FREE_PORTS, SAMPLE, SAMPLE_NAME
from orchestrator.cli.options import as_dict, err
from orchestrator.cli.stack.stack import Stack, stack
from orchestrator.cli.watching import watch
from tests.demo_cloud.accounts import ACCOUNTS, DemoError, Week, link, provider_calls, seed, workspace
from tests.demo_cloud.expected import Record, Workspace, differences, expected, found, load
from tests.demo_cloud.showing import Made, show_accounts, show_again, show_run, show_verdict
from tests.emulator.client import control_client

DATA_TYPES = (agent_pb2.DATA_TYPE_TASKS, agent_pb2.DATA_TYPE_NOTES, agent_pb2.DATA_TYPE_TIMELINES)
MOST_CALLS = 3
"""Requests to a provider in which nothing new is found."""
GOOD = frozenset({run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_STATE_PARTIAL})


@dataclass(slots=True)
class Seen:
    """What came of it."""

    now: datetime
    week: Week = field(default_factory=Week)
    model: str = ""
    connections: list[dict[str, Any]] = field(default_factory=list)
    folder: run_pb2.Run | None = None
    """The run over the sample folder, which makes the projects."""
    first: dict[str, run_pb2.Run] = field(default_factory=dict)
    """By provider."""
    made: dict[str, list[Made]] = field(default_factory=dict)
    rows: dict[str, Workspace] = field(default_factory=dict)
    again: dict[str, run_pb2.Run] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    """Requests to each provider during the second runs."""

    def faults(self) -> list[str]:
        """Return what was not as it should be, in sentences."""
        faults = [
            f"{provider}: the run ended as {run_pb2.RunState.Name(run.state)}"
            for provider, run in [*self.first.items(), *self.again.items()]
            if run.state not in GOOD
        ]
        faults += [
            f"{provider}: the second run found {run.counts.items_found} messages, with {run.usage.model_calls} model "
            f"calls and {self.calls[provider]} requests to the provider"
            for provider, run in self.again.items()
            if run.counts.items_found or run.usage.model_calls or not 0 < self.calls[provider] <= MOST_CALLS
        ]
        unread = {self.week.message_id(item) for run in self.first.values() for item in _unread(run)}
        faults += [f"not read: {message_id}" for message_id in unread.symmetric_difference(load()["unreadable"])]
        if self.model == "offline":
            # A language model has words of its own.
            faults += differences(expected(self.now, self.week.mails.values()), self.records())
        return faults

    def records(self) -> list[Record]:
        """Return what the first runs have made and changed, as the device holds it."""
        message_ids = {source: mail.message_id for source, mail in self.week.mails.items()}
        return [
            record
            for provider, run in self.first.items()
            for record in found(
                self.rows[provider],
                run.run_id,
                {one.title: one.source for one in self.made[provider] if one.kind == "UPDATED"},
                message_ids,
            )
        ]

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        assert self.folder is not None
        return {
            "model": self.model,
            "now": self.now.isoformat(),
            "connections": self.connections,
            "folder": as_dict(self.folder),
            "first": {provider: as_dict(run) for provider, run in self.first.items()},
            "made": [
                {
                    "provider": provider,
                    "kind": one.kind,
                    "type": one.entity_type,
                    "title": one.title,
                    "source": one.source,
                    "message_id": self.week.message_id(one.source),
                    "subject": self.week.subject(one.source),
                }
                for provider, made in self.made.items()
                for one in made
            ],
            "records": [asdict(record) for record in self.records()],
            "again": {provider: as_dict(run) for provider, run in self.again.items()},
            "provider_calls": self.calls,
            "faults": self.faults(),
        }


async def demo(data: Path, base_url: str, *, json: bool) -> Seen:
    """Run it all in a data directory, with emulated providers whose variables this process has.

    Args:
        data: An empty directory.
        base_url: Where the emulator is.
        json: Whether to leave out what is told to people on the way.

    Raises:
        DemoError: It cannot go on.
        StackError: The stack did not start.
    """
    root = data / SAMPLE_NAME
    shutil.copytree(SAMPLE, root)
    seen = Seen(now=datetime.now(UTC))
    async with (
        control_client(base_url) as emulator,
        stack(data, ports=FREE_PORTS, roots=[root], report=_report, progress=_progress) as running,
        running.config.channel(running.config.orchestrator) as channel,
    ):
        seen.model = running.model
        _progress("looking through the sample folder, so that there are projects")
        seen.folder = await _run(channel, await _agent(channel, _folder_definition()))
        if seen.folder.state not in GOOD:
            raise DemoError("the run over the sample folder failed")
        seen.week = await seed(emulator, seen.now)
        await _link(running, seen)
        if not json:
            show_accounts(seen.connections)
        agents = {one["provider"]: await _agent(channel, _mail_definition(one)) for one in seen.connections}
        for provider, agent in agents.items():
            run = seen.first[provider] = await _run(channel, agent)
            seen.made[provider] = await _made(channel, run.run_id)
            seen.rows[provider] = await workspace(data, run.run_id)
            if not json:
                show_run(provider, run, seen.made[provider], seen.week)
        await emulator.reset_counters()
        for provider, agent in agents.items():
            seen.again[provider] = await _run(channel, agent)
        seen.calls = await provider_calls(emulator)
        if not json:
            show_again(seen.again, seen.calls)
            show_verdict(seen.faults())
    return seen


async def _link(running: Stack, seen: Seen) -> None:
    if set(ACCOUNTS) - set(running.providers):
        raise DemoError(f"the connectors have no provider but {', '.join(running.providers) or 'none'}")
    for provider in ACCOUNTS:
        _progress(f"linking {ACCOUNTS[provider]}")
        seen.connections.append(await link(provider, running.client_file))


def _folder_definition() -> agent_pb2.AgentDefinition:
    return agent_pb2.AgentDefinition(
        display_name="The sample folder",
        client_agent_id=str(uuid.uuid4()),
        local_directory=agent_pb2.LocalDirectory(directory_paths=[SAMPLE_NAME]),
        data_types=[*DATA_TYPES, agent_pb2.DATA_TYPE_PROJECTS],
    )


def _mail_definition(connection: Mapping[str, Any]) -> agent_pb2.AgentDefinition:
    # What Livia has written herself belongs to the conversations, and asks nothing of her.
    sent_too = message_pb2.MessageFilter(include_sent=connection["provider"] == "gmail")
    return agent_pb2.AgentDefinition(
        display_name=f"Mail to {connection['account']}"[:200],
        client_agent_id=str(uuid.uuid4()),
        cloud_connector=agent_pb2.CloudConnector(connection_id=connection["connection_id"], filter=sent_too),
        data_types=DATA_TYPES,
    )


async def _agent(channel: grpc.aio.Channel, definition: agent_pb2.AgentDefinition) -> str:
    request = agents_pb.CreateAgentRequest(request_id=str(uuid.uuid4()), definition=definition)
    return (await agents_grpc.AgentServiceStub(channel).CreateAgent(request)).agent.agent_id


async def _run(channel: grpc.aio.Channel, agent_id: str) -> run_pb2.Run:
    request = pb.StartRunRequest(request_id=str(uuid.uuid4()), agent_id=agent_id, trigger=run_pb2.TRIGGER_MANUAL)
    started = (await pb_grpc.RunServiceStub(channel).StartRun(request)).run
    return await watch(channel, started.run_id, err)


async def _made(channel: grpc.aio.Channel, run_id: str) -> list[Made]:
    """Return every change of the run, from its events."""
    made: list[Made] = []
    async for response in pb_grpc.RunServiceStub(channel).WatchRun(pb.WatchRunRequest(run_id=run_id)):
        made.extend(
            Made(kind=effect.kind, entity_type=effect.entity_type, title=effect.title, source=effect.source)
            for effect in response.event.tool_answered.effects
        )
    return made


def _unread(run: run_pb2.Run) -> list[str]:
    return [item for error in run.errors if error.reason == "MESSAGE_UNREADABLE" for item in error.items]


def _progress(text: str) -> None:
    err.print(f"[dim]{escape(text)} …[/]")


def _report(text: str) -> None:
    err.print(f"[yellow]{escape(text)}[/]")
