"""What the demo tells people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Column, Table

from adiuva.orchestrator.v1 import run_pb2
from orchestrator.cli.options import out, printable
from orchestrator.cli.runs import run_table
from tests.demo_cloud.accounts import Week

_ORDER = {"project": 0, "task": 1, "timeline": 2, "note": 3}
NAMES = {"gmail": "Gmail", "outlook": "Outlook"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A change that a run made, as its events told."""

    kind: str
    entity_type: str
    title: str
    source: str
    """What the run calls the message."""


def show_accounts(connections: Sequence[Mapping[str, Any]]) -> None:
    """Show the linked accounts."""
    table = Table(
        Column("account", overflow="fold"),
        Column("at", no_wrap=True),
        Column("connection", no_wrap=True),
        title="Linked accounts",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for one in connections:
        state = str(one["state"]).removeprefix("CONNECTION_STATE_").lower()
        table.add_row(escape(printable(one["account"])), f"{NAMES[one['provider']]}, {state}", one["connection_id"])
    out.print(table)


def show_run(provider: str, run: run_pb2.Run, made: Sequence[Made], week: Week) -> None:
    """Show a run: how it went, and what was made from which message."""
    out.print(f"\n[bold]New messages at {NAMES[provider]}[/]")
    table = Table(
        Column("", no_wrap=True),
        Column("what", no_wrap=True),
        Column("title", overflow="fold"),
        Column("from the message", overflow="fold"),
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for one in sorted(made, key=lambda one: (week.place(one.source), _ORDER.get(one.entity_type, 9), one.title)):
        table.add_row(
            one.kind.lower(),
            one.entity_type,
            escape(printable(one.title)),
            escape(printable(week.subject(one.source))) or "—",
        )
    out.print(table)
    for error in run.errors:
        for item in error.items:
            out.print(f"[yellow]not read[/]: {escape(printable(week.subject(item)))}")
    out.print(run_table(run))


def show_again(runs: Mapping[str, run_pb2.Run], calls: Mapping[str, int]) -> None:
    """Show the second runs, which had nothing to do."""
    out.print("\n[bold]Again, with nothing new[/]")
    for provider, run in runs.items():
        out.print(
            f"  {NAMES[provider]}: {_counted(run.counts.items_found, 'message')}, "
            f"{_counted(run.usage.model_calls, 'model call')}, {_counted(calls[provider], 'request')} to the provider"
        )


def show_verdict(faults: Sequence[str]) -> None:
    """Say whether everything was as it should be."""
    if faults:
        out.print("\n[bold red]Not as expected:[/]")
        for fault in faults:
            out.print(f"  {escape(printable(fault))}")
        return
    out.print(
        "\nEverything above is a suggestion until its user approves it: `adiuva workspace approve` on the device."
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
