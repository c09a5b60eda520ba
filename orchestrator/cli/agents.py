"""`adiuva agents`: the definitions of a user's agents."""

from __future__ import annotations

import uuid
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.field_mask_pb2 import FieldMask
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Column, Table

from adiuva.orchestrator.v1 import agent_pb2, agent_service_pb2 as pb, agent_service_pb2_grpc as pb_grpc
from orchestrator.cli.options import AsJson, Client, as_dict, orchestrator, out, print_json, printable, run, usage_error
from orchestrator.cli.scheduling import (
    CatchUp,
    Ends,
    Grace,
    Jitter,
    OnOffline,
    Overlap,
    PauseAfter,
    Starts,
    TimeZone,
    add_schedule_rows,
    firings_table,
    schedule_line,
    schedule_of,
)
from orchestrator.cli.sources import (
    Connection,
    Containers,
    Device,
    Directories,
    Extensions,
    HasAttachment,
    IncludeSent,
    Query,
    Recipients,
    Senders,
    Subjects,
    Unread,
    change_source,
    filter_of,
    source_line,
    with_source,
)

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Create, list, show, change, pause and delete agents."
)


class DataTypeName(StrEnum):
    """What an agent may work on."""

    TASKS = "tasks"
    NOTES = "notes"
    TIMELINES = "timelines"
    PROJECTS = "projects"


Types = Annotated[
    list[DataTypeName] | None, typer.Option("--type", "-t", help="What it may work on; everything by default.")
]
Instructions = Annotated[str, typer.Option("--instructions", help="The user's own instructions for the agent.")]
ClientAgentId = Annotated[
    str, typer.Option("--client-agent-id", help="The client's own UUID of the agent; a new one by default.")
]
Cron = Annotated[str, typer.Option("--cron", help="When it starts by itself, such as '0 7 * * 1-5'.")]
Agent = Annotated[str, typer.Argument(metavar="AGENT", help="The agent's id.")]


def bare_definition(
    *, name: str, types: list[DataTypeName] | None, instructions: str, client_agent_id: str
) -> agent_pb2.AgentDefinition:
    """Return the definition of an agent as the options tell it, without what it looks at."""
    return agent_pb2.AgentDefinition(
        display_name=name,
        client_agent_id=client_agent_id or str(uuid.uuid4()),
        data_types=_types_of(types or list(DataTypeName)),
        prompt_template=instructions,
    )


def definition(
    *,
    name: str,
    directories: list[str],
    types: list[DataTypeName] | None,
    extensions: list[str] | None,
    device: str,
    instructions: str,
    client_agent_id: str,
) -> agent_pb2.AgentDefinition:
    """Return the definition of a local directory agent."""
    bare = bare_definition(name=name, types=types, instructions=instructions, client_agent_id=client_agent_id)
    local = agent_pb2.LocalDirectory(device_id=device, directory_paths=directories, file_extensions=extensions)
    bare.local_directory.CopyFrom(local)
    return bare


def _types_of(types: list[DataTypeName]) -> list[agent_pb2.DataType.ValueType]:
    return [agent_pb2.DataType.Value(f"DATA_TYPE_{kind.name}") for kind in types]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The agent's name.")],
    directory: Directories = None,
    connection: Connection = "",
    kind: Types = None,
    extension: Extensions = None,
    device: Device = "",
    sender: Senders = None,
    recipient: Recipients = None,
    subject: Subjects = None,
    container: Containers = None,
    unread: Unread = None,
    has_attachment: HasAttachment = None,
    include_sent: IncludeSent = None,
    query: Query = None,
    instructions: Instructions = "",
    client_agent_id: ClientAgentId = "",
    cron: Cron = "",
    timezone: TimeZone = "",
    jitter: Jitter = None,
    catch_up: CatchUp = None,
    grace: Grace = None,
    overlap: Overlap = None,
    on_offline: OnOffline = None,
    starts: Starts = None,
    ends: Ends = None,
    pause_after: PauseAfter = None,
    check: Annotated[bool, typer.Option("--check", help="Check everything and create nothing.")] = False,
    client: Client = None,
    json: AsJson = False,
) -> None:
    """Create an agent that looks through folders, or through new messages of a connection."""
    described = with_source(
        bare_definition(name=name, types=kind, instructions=instructions, client_agent_id=client_agent_id),
        directories=directory,
        extensions=extension,
        device=device,
        connection=connection,
        wanted=filter_of(sender, recipient, subject, container, unread, has_attachment, include_sent, query),
    )
    schedule, named = schedule_of(
        cron, timezone, jitter, catch_up, grace, overlap, on_offline, starts, ends, pause_after
    )
    if named and not cron:
        raise usage_error("--timezone, --jitter and what else tells when it starts need --cron")
    _create(described, schedule if cron else None, check=check, client=client, json=json)


def _create(
    described: agent_pb2.AgentDefinition,
    schedule: agent_pb2.Schedule | None,
    *,
    check: bool,
    client: Path | None,
    json: bool,
) -> None:
    request = pb.CreateAgentRequest(
        request_id=str(uuid.uuid4()), definition=described, schedule=schedule, validate_only=check
    )

    async def work() -> pb.CreateAgentResponse:
        async with orchestrator(client) as channel:
            return await pb_grpc.AgentServiceStub(channel).CreateAgent(request)

    _show(run(work()).agent, json=json)


@app.command("list")
def list_agents(
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at the most.")] = 50,
    client: Client = None,
    json: AsJson = False,
) -> None:
    """List the agents, newest first."""

    async def work() -> pb.ListAgentsResponse:
        async with orchestrator(client) as channel:
            return await pb_grpc.AgentServiceStub(channel).ListAgents(pb.ListAgentsRequest(page_size=limit))

    answer = run(work())
    if json:
        print_json(as_dict(answer))
        return
    if not answer.agents:
        out.print("No agents yet. `adiuva agents create NAME --directory ROOT` makes one, or --connection ID.")
        return
    table = Table(
        Column("agent", no_wrap=True),
        Column("name", overflow="fold"),
        Column("looks at", overflow="fold"),
        Column("schedule", overflow="fold"),
        Column("last run (UTC)", no_wrap=True),
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for agent in answer.agents:
        last = agent.last_run_at.ToDatetime().strftime("%m-%d %H:%M") if agent.HasField("last_run_at") else "never"
        table.add_row(
            agent.agent_id,
            escape(printable(agent.definition.display_name)),
            escape(printable(source_line(agent.definition))),
            schedule_line(agent),
            last,
        )
    out.print(table)


@app.command()
def show(agent: Agent, client: Client = None, json: AsJson = False) -> None:
    """Show one agent."""

    async def work() -> pb.GetAgentResponse:
        async with orchestrator(client) as channel:
            return await pb_grpc.AgentServiceStub(channel).GetAgent(pb.GetAgentRequest(agent_id=agent))

    _show(run(work()).agent, json=json)


@app.command()
def update(
    agent: Agent,
    name: Annotated[str | None, typer.Option("--name", help="A new name.")] = None,
    directory: Directories = None,
    connection: Connection = "",
    kind: Types = None,
    extension: Extensions = None,
    sender: Senders = None,
    recipient: Recipients = None,
    subject: Subjects = None,
    container: Containers = None,
    unread: Unread = None,
    has_attachment: HasAttachment = None,
    include_sent: IncludeSent = None,
    query: Query = None,
    instructions: Annotated[str | None, typer.Option("--instructions", help="New instructions.")] = None,
    cron: Annotated[str | None, typer.Option("--cron", help="A new schedule; '' removes it.")] = None,
    timezone: TimeZone = "",
    jitter: Jitter = None,
    catch_up: CatchUp = None,
    grace: Grace = None,
    overlap: Overlap = None,
    on_offline: OnOffline = None,
    starts: Starts = None,
    ends: Ends = None,
    pause_after: PauseAfter = None,
    client: Client = None,
    json: AsJson = False,
) -> None:
    """Change what the options name, and nothing else."""
    changed = agent_pb2.AgentDefinition(data_types=_types_of(kind or []))
    wanted = filter_of(sender, recipient, subject, container, unread, has_attachment, include_sent, query)
    paths = change_source(changed, directories=directory, extensions=extension, connection=connection, wanted=wanted)
    if kind:
        paths.append("definition.data_types")
    for field, text in (("display_name", name), ("prompt_template", instructions)):
        if text is not None:
            setattr(changed, field, text)
            paths.append(f"definition.{field}")
    schedule, named = schedule_of(
        cron or "", timezone, jitter, catch_up, grace, overlap, on_offline, starts, ends, pause_after
    )
    # A new --cron is a new schedule; without it only what is named changes.
    paths += [f"schedule.{field}" for field in named] if cron is None else ["schedule"]
    if not paths:
        raise usage_error("say what to change, such as --name, --directory, --instructions, --cron or --overlap")
    request = pb.UpdateAgentRequest(
        request_id=str(uuid.uuid4()),
        agent_id=agent,
        definition=changed,
        schedule=schedule if named else None,
        update_mask=FieldMask(paths=paths),
    )
    _update(request, client=client, json=json)


def _update(request: pb.UpdateAgentRequest, *, client: Path | None, json: bool) -> None:
    async def work() -> pb.UpdateAgentResponse:
        async with orchestrator(client) as channel:
            return await pb_grpc.AgentServiceStub(channel).UpdateAgent(request)

    _show(run(work()).agent, json=json)


@app.command()
def delete(agent: Agent, client: Client = None, json: AsJson = False) -> None:
    """Delete an agent; its runs stay."""

    async def work() -> None:
        async with orchestrator(client) as channel:
            request = pb.DeleteAgentRequest(request_id=str(uuid.uuid4()), agent_id=agent)
            await pb_grpc.AgentServiceStub(channel).DeleteAgent(request)

    run(work())
    if json:
        print_json({"deleted": agent})
    else:
        out.print(f"deleted {agent}")


@app.command()
def preview(
    agent: Agent,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=100, help="How many at the most.")] = 10,
    client: Client = None,
    json: AsJson = False,
) -> None:
    """Tell an agent's next firings."""

    async def work() -> pb.PreviewScheduleResponse:
        async with orchestrator(client) as channel:
            request = pb.PreviewScheduleRequest(agent_id=agent, count=count)
            return await pb_grpc.AgentServiceStub(channel).PreviewSchedule(request)

    answer = run(work())
    if json:
        print_json(as_dict(answer))
    elif answer.firings:
        out.print(firings_table(answer))
    else:
        out.print("It does not fire any more.")


@app.command()
def pause(
    agent: Agent,
    reason: Annotated[str, typer.Option("--reason", help="Why, for people.")] = "",
    client: Client = None,
    json: AsJson = False,
) -> None:
    """Stop an agent's schedule; it can still be started by hand."""

    async def work() -> pb.PauseAgentResponse:
        async with orchestrator(client) as channel:
            request = pb.PauseAgentRequest(request_id=str(uuid.uuid4()), agent_id=agent, reason=reason)
            return await pb_grpc.AgentServiceStub(channel).PauseAgent(request)

    _show(run(work()).agent, json=json)


@app.command()
def resume(agent: Agent, client: Client = None, json: AsJson = False) -> None:
    """Let an agent's schedule go on from now."""

    async def work() -> pb.ResumeAgentResponse:
        async with orchestrator(client) as channel:
            request = pb.ResumeAgentRequest(request_id=str(uuid.uuid4()), agent_id=agent)
            return await pb_grpc.AgentServiceStub(channel).ResumeAgent(request)

    _show(run(work()).agent, json=json)


def _show(agent: agent_pb2.Agent, *, json: bool) -> None:
    if json:
        print_json(as_dict(agent))
        return
    table = Table.grid(padding=(0, 2))
    table.add_row("agent", agent.agent_id or "(checked, not created)")
    table.add_row("name", escape(printable(agent.definition.display_name)))
    table.add_row("looks at", escape(printable(source_line(agent.definition))))
    table.add_row("works on", _types(agent.definition))
    if agent.definition.prompt_template:
        table.add_row("instructions", escape(printable(agent.definition.prompt_template)))
    add_schedule_rows(table, agent)
    table.add_row("last run", agent.last_run_at.ToJsonString() if agent.HasField("last_run_at") else "never")
    table.add_row("client id", agent.definition.client_agent_id)
    out.print(table)


def _types(definition: agent_pb2.AgentDefinition) -> str:
    names = [agent_pb2.DataType.Name(kind).removeprefix("DATA_TYPE_").lower() for kind in definition.data_types]
    return ", ".join(sorted(names))
