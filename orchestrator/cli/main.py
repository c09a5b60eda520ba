"""The `adiuva` command. Every subcommand is an entry point in the group `adiuva.commands`, loaded when it is called."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

import grpc.aio
import typer
import typer.main
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from adiuva_rpc.client_config import ClientConfigError
from adiuva_rpc.status import from_rpc_error
from orchestrator.cli.stack.errors import StackError

GROUP = "adiuva.commands"
ABOUT = "Adiuva's agents turn a freelancer's files and mail into projects, tasks, notes and timelines."
ORDER = ("demo", "up", "agents", "runs", "connections", "devices", "device", "workspace")
"""As a newcomer meets them; further commands follow by name."""
HELP = {
    "agents": "Create, list, show, change and delete agents.",
    "connections": "Link accounts at Gmail, Outlook and Teams, list, test and disconnect them.",
    "demo": "Run a local directory agent on a folder, from nothing, and show what it made.",
    "device": "Run the device agent: the part that lives on the user's laptop.",
    "devices": "List, show, enrol and revoke devices, and call their tools.",
    "runs": "Start, watch, list, show and cancel runs.",
    "up": "Start everything on this machine: database, services and a device agent.",
    "workspace": "Show what agents suggested on this device, and approve or reject it.",
}
"""What `adiuva --help` says, without loading the commands themselves."""
CONNECTION_ADVICE = "Is `adiuva up` running, with the same --data directory?"


class Commands(TyperGroup):
    """The commands that are installed, each loaded when it is needed."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names, in the order of `adiuva --help`."""
        names = set(_installed())
        return [name for name in ORDER if name in names] + sorted(names - set(ORDER))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load a command, None when there is no such."""
        entry = _installed().get(cmd_name)
        if entry is None:
            return None
        command = typer.main.get_command(entry.load())
        command.name = cmd_name
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands without loading any."""
        console = Console(highlight=False)
        console.print(f"\n[bold]adiuva[/] COMMAND …\n\n{ABOUT}\n")
        table = Table.grid(padding=(0, 3))
        for name in self.list_commands(ctx):
            table.add_row(f"  [bold cyan]{name}[/]", HELP.get(name, ""))
        console.print(table)
        console.print("\n`adiuva COMMAND --help` says more. Every command answers JSON with --json.\n")


def _installed() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True, help=ABOUT)
def about(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and leave.", is_eager=True)] = False,
) -> None:
    """Answer when no command was given."""
    if version:
        print(f"adiuva {metadata.version('adiuva')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        context.get_help()
        raise typer.Exit(2)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 it could not be done, 2 it was asked wrongly, 130 interrupted."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sentences = list(_sentences(error))
        if not sentences:
            raise
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        for sentence in sentences:
            console.print(f"[bold red]error[/] {sentence}")
        sys.exit(1)


def _sentences(error: BaseException) -> Iterator[str]:
    """Yield what to tell a person of an error that is not a bug; nothing for one that is."""
    from rich.markup import escape

    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _sentences(inner)
    elif isinstance(error, grpc.aio.AioRpcError):
        failure = from_rpc_error(error)
        unreachable = failure.code is grpc.StatusCode.UNAVAILABLE and failure.reason == "UNAVAILABLE"
        text = f"cannot reach the service. {CONNECTION_ADVICE}" if unreachable else failure.message
        yield f"\\[{escape(failure.reason)}] {escape(text)}"
    elif isinstance(error, ClientConfigError | StackError):
        yield f"\\[{error.reason}] {escape(str(error))}"


if __name__ == "__main__":
    main()
