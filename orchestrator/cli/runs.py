"""`adiuva runs`: start, watch, list, show and cancel."""

from __future__ import annotations

import sys
import uuid
from typing import Annotated

import grpc.aio
import typer
from google.protobuf.json_format import MessageToJson
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Column, Table

from adiuva.orchestrator.v1 import run_pb2, run_service_pb2 as pb, run_service_pb2_grpc as pb_grpc
from orchestrator.cli.agents import ClientAgentId, Instructions, Types, bare_definition
from orchestrator.cli.options import (
    AsJson,
    Client,
    as_dict,
    err,
    orchestrator,
    out,
    print_json,
    printable,
    run,
    usage_error,
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
    filter_of,
    source_line,
    with_source,
)
from orchestrator.cli.watching import TERMINAL, watch as watch_run

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Start, watch, list, show and cancel runs.")

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
GOOD = frozenset({run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_STATE_PARTIAL})


@app.command()
def start(
    agent: Annotated[
        str, typer.Argument(help="The agent's id; leave it out to describe a run with --directory or --connection.")
    ] = "",
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
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show the run until it ends.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Check everything and start nothing.")] = False,
    client: Client = None,
    json: AsJson = False,
) -> None:
    """Start a run of an agent, or of a definition given here. Exit code 1 when a watched run fails."""
    if bool(agent) == bool(directory or connection):
        raise usage_error("name an agent, or describe the run with --directory or --connection; not both")
    request = pb.StartRunRequest(request_id=str(uuid.uuid4()), trigger=run_pb2.TRIGGER_MANUAL, validate_only=check)
    if agent:
        request.agent_id = agent
    else:
        described = with_source(
            bare_definition(name="", types=kind, instructions=instructions, client_agent_id=client_agent_id),
            directories=directory,
            extensions=extension,
            device=device,
            connection=connection,
            wanted=filter_of(sender, recipient, subject, container, unread, has_attachment, include_sent, query),
        )
        described.display_name = f"Run of {source_line(described)}"[:200]
        request.definition.CopyFrom(described)

    async def work() -> run_pb2.Run:
        async with orchestrator(client) as channel:
            started = (await pb_grpc.RunServiceStub(channel).StartRun(request)).run
            return await watch_run(channel, started.run_id, err) if watch and not check else started

    show_run(run(work()), json=json, leave=watch)


@app.command()
def watch(
    run_id: RunId,
    events: Annotated[bool, typer.Option("--events", help="Print every event as a line of JSON.")] = False,
    client: Client = None,
    json: AsJson = False,
) -> None:
    """Show a run until it ends."""

    async def work() -> run_pb2.Run:
        async with orchestrator(client) as channel:
            if events:
                await _print_events(channel, run_id)
                return (await pb_grpc.RunServiceStub(channel).GetRun(pb.GetRunRequest(run_id=run_id))).run
            return await watch_run(channel, run_id, err)

    ended = run(work())
    if not events:
        show_run(ended, json=json, leave=True)


@app.command("list")
def list_runs(
    agent: Annotated[str, typer.Option("--agent", help="Only runs of this agent.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at the most.")] = 20,
    client: Client = None,
    json: AsJson = False,
) -> None:
    """List the runs, newest first."""

    async def work() -> pb.ListRunsResponse:
        async with orchestrator(client) as channel:
            request = pb.ListRunsRequest(page_size=limit, agent_id=agent)
            return await pb_grpc.RunServiceStub(channel).ListRuns(request)

    answer = run(work())
    if json:
        print_json(as_dict(answer))
        return
    if not answer.runs:
        out.print("No runs yet. `adiuva runs start --directory ROOT --watch` makes one.")
        return
    table = Table(
        Column("run", no_wrap=True),
        Column("started", no_wrap=True),
        Column("done", justify="right", no_wrap=True),
        Column("made", justify="right", no_wrap=True),
        Column("state and agent", overflow="fold"),
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for one in answer.runs:
        reasons = sorted({error.reason for error in one.errors})
        table.add_row(
            one.run_id,
            one.create_time.ToDatetime().strftime("%m-%d %H:%M"),
            f"{one.counts.items_processed}/{one.counts.items_found}",
            str(_sum(one.counts.created)),
            "\n".join(
                [
                    " ".join([_state(one), *reasons]),
                    escape(printable(one.definition.display_name)),
                    trigger_line(one),
                ]
            ),
        )
    out.print(table)


@app.command()
def show(run_id: RunId, client: Client = None, json: AsJson = False) -> None:
    """Show one run."""

    async def work() -> run_pb2.Run:
        async with orchestrator(client) as channel:
            return (await pb_grpc.RunServiceStub(channel).GetRun(pb.GetRunRequest(run_id=run_id))).run

    show_run(run(work()), json=json, leave=False)


@app.command()
def cancel(
    run_id: RunId,
    reason: Annotated[str, typer.Option("--reason", help="Why, for people.")] = "",
    client: Client = None,
    json: AsJson = False,
) -> None:
    """Ask for a run's end; what it has made stays."""

    async def work() -> run_pb2.Run:
        async with orchestrator(client) as channel:
            request = pb.CancelRunRequest(request_id=str(uuid.uuid4()), run_id=run_id, reason=reason)
            return (await pb_grpc.RunServiceStub(channel).CancelRun(request)).run

    show_run(run(work()), json=json, leave=False)


def show_run(shown: run_pb2.Run, *, json: bool, leave: bool) -> None:
    """Print a run; with `leave`, end the command with exit code 1 when the run failed or was cancelled."""
    if json:
        print_json(as_dict(shown))
    else:
        out.print(run_table(shown))
    if leave and shown.state in TERMINAL and shown.state not in GOOD:
        raise typer.Exit(1)


def run_table(shown: run_pb2.Run) -> Table:
    """Return a run for people."""
    table = Table.grid(padding=(0, 2))
    table.add_row("run", shown.run_id or "(checked, not started)")
    table.add_row("state", _state(shown))
    table.add_row("trigger", trigger_line(shown))
    items = "messages" if shown.definition.HasField("cloud_connector") else "files"
    table.add_row(items, f"{shown.counts.items_processed} of {shown.counts.items_found} processed")
    for label, counts in (
        ("created", shown.counts.created),
        ("updated", shown.counts.updated),
        ("commented", shown.counts.commented),
        ("proposed", shown.counts.proposed),
    ):
        if _sum(counts):
            table.add_row(label, _counts(counts))
    usage = shown.usage
    tokens = f", {usage.input_tokens + usage.output_tokens} tokens" if usage.input_tokens else ""
    table.add_row(
        "used", f"{usage.model_calls} model calls ({shown.model or 'none'}), {usage.tool_calls} tool calls{tokens}"
    )
    if shown.HasField("start_time") and shown.HasField("end_time"):
        seconds = (shown.end_time.ToDatetime() - shown.start_time.ToDatetime()).total_seconds()
        table.add_row("took", f"{seconds:.1f} s")
    for error in shown.errors:
        table.add_row(f"[yellow]{escape(error.reason)}[/]", escape(printable(error.message)))
        for item in error.items:
            table.add_row("", escape(printable(item)))
    if shown.cancel_reason:
        table.add_row("cancelled", escape(printable(shown.cancel_reason)))
    return table


def trigger_line(shown: run_pb2.Run) -> str:
    """Return what started a run, and for which slot."""
    name = run_pb2.Trigger.Name(shown.trigger).removeprefix("TRIGGER_").lower().replace("_", " ")
    return f"{name} {shown.slot_time.ToDatetime():%m-%d %H:%M}" if shown.HasField("slot_time") else name


async def _print_events(channel: grpc.aio.Channel, run_id: str) -> None:
    async for response in pb_grpc.RunServiceStub(channel).WatchRun(pb.WatchRunRequest(run_id=run_id)):
        line = MessageToJson(response.event, preserving_proto_field_name=True, indent=None, ensure_ascii=False)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _state(shown: run_pb2.Run) -> str:
    name = run_pb2.RunState.Name(shown.state).removeprefix("RUN_STATE_")
    colour = {"SUCCEEDED": "green", "PARTIAL": "yellow", "FAILED": "red", "CANCELLED": "magenta"}.get(name, "cyan")
    return f"[{colour}]{name}[/]"


def _sum(counts: run_pb2.EntityCounts) -> int:
    return counts.projects + counts.tasks + counts.notes + counts.timelines


def _counts(counts: run_pb2.EntityCounts) -> str:
    named = {
        "projects": counts.projects,
        "tasks": counts.tasks,
        "notes": counts.notes,
        "timelines": counts.timelines,
    }
    return ", ".join(f"{count} {name}" for name, count in named.items() if count)
