"""The other processes of a benchmark, each ready when it has said so with one line of JSON on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from orchestrator.cli.stack.process import Program
from tests.benchmarks.bench import ROOT


@asynccontextmanager
async def process(
    module: str,
    arguments: Sequence[str] = (),
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[dict[str, Any]]:
    """Run `python -m module`, give what it said when it was ready, and end it.

    Raises:
        orchestrator.cli.stack.process.StartError: it did not start; the text says why, or where it is written.
    """
    program = Program(
        name=module,
        command=[sys.executable, "-m", module, *arguments],
        environment=lambda _ready: {"PYTHONPATH": str(ROOT), **(environment or {})},
        log=log,
    )
    await program.start()
    try:
        yield program.ready
    finally:
        await program.stop()


def say_ready(**facts: object) -> None:
    """Tell the benchmark that this process is ready; called in the other process."""
    sys.stdout.write(json.dumps({"ready": True, **facts}) + "\n")
    sys.stdout.flush()
