"""`adiuva up`: everything on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from adiuva_rpc.client_config import default_data_directory
from orchestrator.cli.options import AsJson, Data, err, out, print_json, run
from orchestrator.cli.stack.programs import Ports
from orchestrator.cli.stack.stack import Stack, stack

app = typer.Typer(add_completion=False)

Root = Annotated[
    list[Path] | None,
    typer.Option(
        "--root",
        help="A folder of this machine that agents may look at. Can be repeated. Starts a device agent.",
        exists=True,
        file_okay=False,
        resolve_path=True,
    ),
]


@app.command()
def up(
    data: Data = None,
    root: Root = None,
    orchestrator_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 7001,
    bridge_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 7002,
    device_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 7003,
    connectors_port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 7004,
    json: AsJson = False,
) -> None:
    """Start PostgreSQL, the services over TLS and, with --root, a device agent. Ctrl-C stops all of it."""
    ports = Ports(
        orchestrator=orchestrator_port, bridge=bridge_port, bridge_devices=device_port, connectors=connectors_port
    )
    directory = (data or default_data_directory()).expanduser().absolute()
    try:
        run(_up(directory, ports, root or [], json=json))
    except asyncio.CancelledError:
        err.print("stopped")


async def _up(data: Path, ports: Ports, roots: list[Path], *, json: bool) -> None:
    def progress(text: str) -> None:
        err.print(f"[dim]{escape(text)} …[/]")

    def report(text: str) -> None:
        err.print(f"[yellow]{escape(text)}[/]")

    async with stack(data, ports=ports, roots=roots, report=report, progress=progress) as running:
        if json:
            print_json(_facts(running))
        else:
            _tell(running)
        # Until Ctrl-C.
        await asyncio.Event().wait()


def _facts(running: Stack) -> dict[str, object]:
    return {
        "ready": True,
        "orchestrator": running.config.orchestrator.target,
        "device_bridge": running.config.device_bridge.target,
        "devices": running.config.device_bridge.device_target,
        "connectors": running.connectors,
        "providers": running.providers,
        "client_file": str(running.client_file),
        "model": running.model,
        "logs": str(running.data / "logs"),
        "processes": {program.name: program.process.pid for program in running.programs if program.process},
    }


def _tell(running: Stack) -> None:
    config = running.config
    token = f'$(python3 -c \'import json; print(json.load(open("{running.client_file}"))["token"])\')'
    out.print("[bold green]ready[/]")
    out.print(f"  orchestrator   {config.orchestrator.target}")
    out.print(f"  device bridge  {config.device_bridge.target}, for devices {config.device_bridge.device_target}")
    out.print(f"  connectors     {running.connectors}, providers: {', '.join(running.providers) or 'none set up'}")
    out.print(f"  model          {running.model}")
    out.print(f"  client file    {escape(str(running.client_file))}")
    out.print(f"  logs           {escape(str(running.data / 'logs'))}")
    out.print("\nwith grpcurl:")
    out.print(
        escape(
            f'  grpcurl -cacert {config.ca_file} -servername localhost -H "authorization: Bearer {token}" '
            f"{config.orchestrator.target} list"
        ),
        soft_wrap=True,
    )
    out.print("\nCtrl-C stops everything.")
