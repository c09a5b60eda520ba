"""The table for people, and the JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.figures import Figure, Machine, Of, Report, Target


def this_machine() -> Machine:
    """Return the facts without which no figure means anything."""
    return Machine(
        cores=os.cpu_count() or 1,
        processor=_processor(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        grpcio=version("grpcio"),
        protobuf=version("protobuf"),
        load_before=round(os.getloadavg()[0], 2),
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def as_json(report: Report) -> str:
    """Return the whole report as JSON text; `ratio` and `met` are spelled out."""
    parts = [
        {
            "name": part.name,
            "seconds": round(part.seconds, 2),
            "fault": part.fault,
            "figures": [_figure(figure) for figure in part.figures],
        }
        for part in report.parts
    ]
    return json.dumps(
        {"machine": dataclasses.asdict(report.machine), "scale": report.scale, "benchmarks": parts},
        indent=2,
        ensure_ascii=False,
    )


def _figure(figure: Figure) -> dict[str, Any]:
    target = figure.target
    return {
        "what": figure.what,
        "value": figure.value,
        "unit": figure.unit,
        "floor": figure.floor,
        "floor_is": figure.floor_is,
        "ratio": figure.ratio,
        "target": None
        if target is None
        else {"of": target.of.value, "limit": target.limit, "at_least": target.at_least},
        "met": figure.met,
    }


def show(report: Report, console: Console) -> None:
    """Print the table."""
    table = Table(title=f"Benchmarks ({report.scale})", title_justify="left", show_lines=False)
    for heading, justify in (("what", "left"), ("figure", "right"), ("floor", "right"), ("ratio", "right")):
        table.add_column(heading, justify="right" if justify == "right" else "left", overflow="fold")
    table.add_column("target")
    table.add_column("met")
    for part in report.parts:
        table.add_section()
        table.add_row(f"[bold]{part.name}[/] ({part.seconds:.0f} s)")
        if part.fault:
            table.add_row(f"[red]{part.fault}[/]")
        for figure in part.figures:
            table.add_row(*_cells(figure))
    console.print(table)
    facts = report.machine
    console.print(
        f"{facts.cores} cores ({facts.processor}), {facts.system}, Python {facts.python}, grpcio {facts.grpcio}, "
        f"protobuf {facts.protobuf}; load before: {facts.load_before:.1f}"
    )
    if facts.load_before > facts.cores / 2:
        console.print("[yellow]The machine was busy before the run began: take the figures with care.[/]")


def _cells(figure: Figure) -> tuple[str, ...]:
    what = f"{figure.what}\n[dim]floor: {figure.floor_is}[/]" if figure.floor_is else figure.what
    met = {True: "[green]yes[/]", False: "[red]NO[/]", None: ""}[figure.met]
    return (
        what,
        f"{_number(figure.value)} {figure.unit}".strip(),
        "-" if figure.floor is None else f"{_number(figure.floor)} {figure.unit}".strip(),
        "-" if figure.ratio is None else f"{figure.ratio:.2f}",
        "-" if figure.target is None else _target(figure.target, figure.unit),
        met,
    )


def _target(target: Target, unit: str) -> str:
    sign = "≥" if target.at_least else "≤"
    tail = "x" if target.of is Of.RATIO else f" {unit}".rstrip()
    return f"{sign} {target.limit:.4g}{tail}"


def _number(value: float) -> str:
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
