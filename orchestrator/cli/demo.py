"""`adiuva demo`: the main job from nothing, on the sample folder or on one of the user's own."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from json import loads as json_from
from pathlib import Path
from typing import Annotated

import grpc.aio
import typer
from rich.markup import escape
from rich.table import Table

from adiuva.orchestrator.v1 import agent_pb2, run_pb2, run_service_pb2 as pb, run_service_pb2_grpc as pb_grpc
from orchestrator.cli.agents import DataTypeName, definition
from orchestrator.cli.options import AsJson, as_dict, err, out, print_json, printable, run, usage_error
from orchestrator.cli.runs import run_table
from orchestrator.cli.stack.programs import Ports
from orchestrator.cli.stack.stack import Stack, stack
from orchestrator.cli.watching import watch

app = typer.Typer(add_completion=False)

SAMPLE = Path(__file__).resolve().parents[2] / "tests" / "sample" / "files"
SAMPLE_NAME = "sample"
FREE_PORTS = Ports(orchestrator=0, bridge=0, bridge_devices=0, connectors=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A change that a run made, as its events told."""

    kind: str
    entity_type: str
    title: str
    source: str


@app.command()
def demo(
    folder: Annotated[
        Path | None, typer.Argument(help="The folder to look at; the sample folder of a freelancer by default.")
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Keep everything here; thrown away by default.")] = None,
    json: AsJson = False,
) -> None:
    """Start everything, run an agent on the folder twice, show what it made, and stop everything."""
    if folder is not None and not folder.is_dir():
        raise usage_error(f"{folder} is not a folder")
    if folder is None and not SAMPLE.is_dir():
        raise usage_error("the sample folder is not installed; name a folder")
    try:
        with _data_directory(data) as directory:
            root = folder.resolve() if folder is not None else _copy_of_the_sample(directory)
            good = run(_demo(directory, root, json=json))
    except asyncio.CancelledError:
        err.print("stopped")
        raise typer.Exit(130) from None
    if not good:
        raise typer.Exit(1)


async def _demo(data: Path, root: Path, *, json: bool) -> bool:
    def progress(text: str) -> None:
        err.print(f"[dim]{escape(text)} …[/]")

    def report(text: str) -> None:
        err.print(f"[yellow]{escape(text)}[/]")

    async with stack(data, ports=FREE_PORTS, roots=[root], report=report, progress=progress) as running:
        work = definition(
            name=f"Look through {root.name}"[:200],
            directories=[await _root_name(data, root)],
            types=list(DataTypeName),
            extensions=None,
            device="",
            instructions="",
            client_agent_id=str(uuid.uuid5(uuid.NAMESPACE_URL, str(root))),
        )
        if not json:
            _introduce(running, root)
        async with running.config.channel(running.config.orchestrator) as channel:
            first = await _run(channel, work)
            made = await _made(channel, first.run_id)
            if not json:
                _show(first, made)
            second = await _run(channel, work)
            if not json:
                _show_second(second)
        if json:
            print_json(
                {
                    "model": running.model,
                    "first": as_dict(first),
                    "second": as_dict(second),
                    "made": [
                        {"kind": one.kind, "type": one.entity_type, "title": one.title, "source": one.source}
                        for one in made
                    ],
                }
            )
    failed = {run_pb2.RUN_STATE_FAILED, run_pb2.RUN_STATE_CANCELLED}
    return first.state not in failed and second.state not in failed


async def _run(channel: grpc.aio.Channel, work: agent_pb2.AgentDefinition) -> run_pb2.Run:
    request = pb.StartRunRequest(request_id=str(uuid.uuid4()), definition=work, trigger=run_pb2.TRIGGER_MANUAL)
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


async def _root_name(data: Path, root: Path) -> str:
    """Return what the device calls the folder; in a data directory that was used before it shares others too."""
    listing = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "device_bridge.agent", "roots", "list", "--data", str(data), "--json"),
        stdout=asyncio.subprocess.PIPE,
    )
    answer, _ = await listing.communicate()
    names: dict[str, str] = {shared["path"]: shared["name"] for shared in json_from(answer)["roots"]}
    return names[str(root)]


def _introduce(running: Stack, root: Path) -> None:
    out.print(f"\n[bold]A local directory agent on {escape(str(root))}[/]")
    if running.model == "offline":
        out.print(
            "Model: the built-in offline rules. They find checkboxes, TODO lines, dates, meeting notes and requests in "
            "mails; they do not understand text as a language model does. Set OPENAI_API_KEY (and OPENAI_BASE_URL, "
            "ADIUVA_MODEL) to use one."
        )
    else:
        out.print(f"Model: {escape(running.model)} at {escape(os.environ.get('OPENAI_BASE_URL', 'the OpenAI API'))}")
    out.print("")


def _show(first: run_pb2.Run, made: list[Made]) -> None:
    table = Table(title="What was made", title_justify="left")
    for heading in ("", "what", "title", "from"):
        table.add_column(heading, overflow="fold")
    order = {"project": 0, "task": 1, "timeline": 2, "note": 3}
    for one in sorted(made, key=lambda one: (order.get(one.entity_type, 9), one.source, one.title)):
        table.add_row(
            one.kind.lower(), one.entity_type, escape(printable(one.title)), escape(printable(one.source)) or "—"
        )
    out.print(table)
    out.print(run_table(first))


def _show_second(second: run_pb2.Run) -> None:
    out.print("\n[bold]Again, with nothing changed[/]")
    out.print(run_table(second))
    out.print(
        "\nEverything above is a suggestion until its user approves it: `adiuva workspace approve` on the device."
    )


def _copy_of_the_sample(data: Path) -> Path:
    copy = data / SAMPLE_NAME
    shutil.copytree(SAMPLE, copy, dirs_exist_ok=True)
    return copy


@contextmanager
def _data_directory(named: Path | None) -> Iterator[Path]:
    if named is not None:
        directory = named.expanduser().absolute()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        yield directory
        return
    # As root, the database belongs to a user of its own; what cannot be removed is left to the system.
    with tempfile.TemporaryDirectory(prefix="adiuva-demo-", ignore_cleanup_errors=True) as scratch:
        yield Path(scratch)
