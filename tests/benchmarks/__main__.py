"""`python -m tests.benchmarks`: measure, and print a table or JSON on stdout; progress goes to stderr."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from adiuva_rpc.telemetry import configure_logging
from tests.benchmarks.bench import Bench, Scale, say_on_stderr
from tests.benchmarks.database import private_postgres
from tests.benchmarks.figures import Part, Report
from tests.benchmarks.report import as_json, show, this_machine
from tests.benchmarks.suite import BENCHMARKS, measured

TABLE_WIDTH = 140
"""Where stdout is no terminal."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0, also when a target is missed; 1 when a benchmark broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(BENCHMARKS), help="run this one alone; may be repeated")
    parser.add_argument("--quick", action="store_true", help="a first look in less than a minute")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args(arguments)

    # Starting a process beside open channels is no news here.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    configure_logging("benchmarks", level="WARNING")
    machine = this_machine()
    scale = Scale.QUICK if options.quick else Scale.FULL
    parts = run(options.only or list(BENCHMARKS), scale)
    report = Report(machine=machine, scale=scale.value, parts=tuple(parts))
    if options.json:
        sys.stdout.write(as_json(report) + "\n")
    else:
        show(report, Console(width=None if sys.stdout.isatty() else TABLE_WIDTH))
    return 1 if any(part.fault for part in parts) else 0


def run(names: Sequence[str], scale: Scale) -> list[Part]:
    """Run the benchmarks of these names, one after another."""
    say_on_stderr("starting a private PostgreSQL, with fsync")
    with tempfile.TemporaryDirectory(prefix="adiuva-bench-files-") as directory, private_postgres() as new_database:
        return [
            asyncio.run(
                measured(
                    name,
                    Bench(scale=scale, new_database=new_database, directory=Path(directory) / name, say=say_on_stderr),
                )
            )
            for name in names
        ]


if __name__ == "__main__":
    raise SystemExit(main())
