"""`adiuva workspace`: look at what agents have suggested on this device, and approve or reject it.

Works on the device's own database, beside a running device agent or without one.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from device_bridge.agent.domain import JsonObject
from device_bridge.agent.workspace import approval, overview
from device_bridge.agent.workspace.connection import DATABASE_NAME, connect_local
from device_bridge.agent.workspace.errors import NoWorkspace, WorkspaceError, WorkspaceUnusable
from device_bridge.agent.workspace.store import stored_time, utc_now

app = typer.Typer(
    name="workspace", help="What agents have suggested on this device: show, approve, reject.", no_args_is_help=True
)

MAX_ROWS = 100_000
_CELL = 120
"""Most characters of a text in a table; --json has the whole."""

_COLUMNS: dict[str, tuple[str, ...]] = {
    "projects": ("id", "name", "client_name", "status", "state", "source"),
    "tasks": ("id", "title", "project", "status", "due_date", "assignees", "priority", "state", "source"),
    "comments": ("id", "task", "author", "text", "state", "source"),
    "notes": ("id", "title", "project", "content", "state", "source"),
    "timelines": ("id", "title", "project", "date", "end_date", "is_completed", "state", "source"),
    "suggestions": ("id", "entity_type", "title", "changes", "source"),
    "runs": ("run_id", "agent_name", "trigger", "state", "started_at", "completed_at", "summary"),
}
_STYLES = {"suggested": "yellow", "approved": "green", "own": ""}

What = Literal["all", "projects", "tasks", "comments", "notes", "timelines", "suggestions", "runs"]
Data = Annotated[
    Path | None,
    typer.Option("--data", help="The device's data directory.", show_default="$ADIUVA_DATA or ~/.local/share/adiuva"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Ids = Annotated[list[str] | None, typer.Argument(help="Ids, or their first characters (at least 6).")]
Everything = Annotated[bool, typer.Option("--all", help="Everything that waits for a decision.")]


@app.command()
def show(
    data: Data = None,
    what: Annotated[What, typer.Option("--what", help="Which part to show.")] = "all",
    run: Annotated[str | None, typer.Option("--run", help="Only what this run made or changed.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=MAX_ROWS, help="Most rows of each kind.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """Show projects, tasks, notes and timelines, who made them and from which file."""
    sections = overview.SECTIONS if what == "all" else (what,)
    with _workspace(data) as connection:
        found, more = overview.read(connection, sections=sections, run_id=run, limit=limit)
    if more:
        typer.echo(f"Only the first {limit} rows of each kind are shown: use --limit for more.", err=True)
    if as_json:
        _print_json(found)
        return
    console = Console()
    for section, rows in found.items():
        if rows or what != "all":
            console.print(_table(section, rows))
    if not any(found.values()):
        console.print("Nothing here yet.")


@app.command()
def approve(ids: Ids = None, everything: Everything = False, data: Data = None, as_json: AsJson = False) -> None:
    """Make suggested rows the user's own, and apply proposed changes."""
    _decide(approval.approve, ids, everything=everything, data=data, as_json=as_json)


@app.command()
def reject(ids: Ids = None, everything: Everything = False, data: Data = None, as_json: AsJson = False) -> None:
    """Delete suggested rows, and drop proposed changes."""
    _decide(approval.reject, ids, everything=everything, data=data, as_json=as_json)


def find_database(data: Path | None) -> Path:
    """Return the workspace database of a data directory: of a local stack's device, or of a device by itself.

    Raises:
        NoWorkspace: There is none.
    """
    directory = data or Path(os.environ.get("ADIUVA_DATA") or Path.home() / ".local" / "share" / "adiuva")
    for candidate in (directory / "device" / DATABASE_NAME, directory / DATABASE_NAME):
        if candidate.is_file():
            return candidate
    raise NoWorkspace(directory)


def printable(text: str) -> str:
    r"""Return text that cannot steer a terminal: control, bidi and invisible characters are shown as \x1b, \u202e."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def _decide(
    verdict: Callable[..., list[approval.Decision]],
    ids: Sequence[str] | None,
    *,
    everything: bool,
    data: Path | None,
    as_json: bool,
) -> None:
    if bool(ids) == everything:
        raise typer.BadParameter("Name ids, or --all for everything that waits.")
    with _workspace(data) as connection:
        decisions = verdict(connection, None if everything else ids, now=stored_time(utc_now()))
    if as_json:
        _print_json(
            {
                "decisions": [
                    {"verdict": item.verdict.value, "type": item.type, "id": item.id, "title": item.title}
                    for item in decisions
                ]
            }
        )
        return
    for item in decisions:
        typer.echo(f"{item.verdict.value} {item.type} {item.id}: {_clipped(item.title)}")
    if not decisions:
        typer.echo("Nothing waits for a decision.")


@contextmanager
def _workspace(data: Path | None) -> Iterator[sqlite3.Connection]:
    try:
        path = find_database(data)
        connection = connect_local(path)
        try:
            yield connection
        except sqlite3.OperationalError as error:
            raise WorkspaceUnusable(path, error) from error
        finally:
            connection.close()
    except WorkspaceError as error:
        typer.echo(f"error: {printable(str(error))}", err=True)
        raise typer.Exit(1) from error


def _table(section: str, rows: Sequence[JsonObject]) -> Table:
    table = Table(title=section.capitalize(), title_justify="left", show_lines=False)
    for column in _COLUMNS[section]:
        # Ids are there to be copied: the first characters are enough to approve by.
        table.add_column(column.replace("_", " "), no_wrap=column == "id", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(column, row[column]) for column in _COLUMNS[section]))
    return table


def _cell(column: str, value: Any) -> Text:
    if column == "id":
        return Text(value[:8])
    if value is None:
        return Text("")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, list):
        return Text(_clipped(", ".join(value)))
    if isinstance(value, dict):
        return Text(_clipped(json.dumps(value, ensure_ascii=False)))
    return Text(_clipped(str(value)), style=_STYLES.get(value, "") if column == "state" else "")


def _clipped(text: str) -> str:
    shown = printable(text[:_CELL])
    return shown if len(text) <= _CELL else f"{shown}…"


def _print_json(value: JsonObject) -> None:
    # ASCII only, so that no stored character reaches the terminal as itself.
    typer.echo(json.dumps(value, indent=2, ensure_ascii=True))
