"""The benchmarks by name, and how they are run: one after another, each within its time."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence

from tests.benchmarks import calls, dispatch, journal, messages, run, vault
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Figure, Part

Measure = Callable[[Bench], Awaitable[Sequence[Figure]]]

BENCHMARKS: Mapping[str, Measure] = {
    "calls": calls.measure,
    "journal": journal.measure,
    "run": run.measure,
    "dispatch": dispatch.measure,
    "messages": messages.measure,
    "vault": vault.measure,
}

LONGEST_SECONDS = 120.0
"""Of one benchmark. The usual length of all of them together is below four minutes."""


async def measured(name: str, bench: Bench) -> Part:
    """Run one benchmark. What breaks it is part of the report: the others are run all the same."""
    bench.say(f"{name}: begins")
    bench.directory.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    figures: Sequence[Figure] = ()
    fault = ""
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            figures = await BENCHMARKS[name](bench)
    except TimeoutError:
        fault = f"took longer than {LONGEST_SECONDS:.0f} s"
    except Exception as error:  # noqa: BLE001 - reported
        bench.say(traceback.format_exc())
        fault = _named(error)
    seconds = time.perf_counter() - began
    bench.say(f"{name}: {fault or 'done'} after {seconds:.1f} s")
    return Part(name=name, seconds=seconds, figures=tuple(figures), fault=fault)


def _named(error: BaseException) -> str:
    """Return the type and the text of an error; of a group, those of its first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
