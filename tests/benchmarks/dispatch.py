"""How soon a run starts after it was asked for, and how soon a watcher sees an event after it was journaled.

Both go by NOTIFY, so the floor is a bare one: a committed NOTIFY on one connection until another one hears it.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from orchestrator.adapters.dispatch import dispatch
from orchestrator.adapters.sql.agents import SqlAgents
from orchestrator.runs.domain import RunState
from orchestrator.runs.events import Event, Finished, ItemProcessed, StoredEvent
from orchestrator.runs.journal import RunJournal
from orchestrator.runs.service import RunService
from tests.benchmarks.bench import Bench, Scale, percentile
from tests.benchmarks.figures import Figure, at_most
from tests.benchmarks.stores import Stores, new_run, stores

FLOOR = "bare NOTIFY, commit to ear"
TARGET_MS = 50.0


@dataclass(frozen=True, slots=True)
class _Sizes:
    runs: int
    events: int
    rings: int
    pause: float
    """Seconds between two, so that each finds everything at rest."""


_SIZES: Mapping[Scale, _Sizes] = {
    Scale.FULL: _Sizes(200, 300, 300, 0.01),
    Scale.QUICK: _Sizes(40, 60, 60, 0.01),
    Scale.TINY: _Sizes(2, 2, 2, 0.0),
}


async def measure(bench: Bench) -> Sequence[Figure]:
    """Measure starts and events, one after another."""
    sizes = _SIZES[bench.scale]
    async with stores(bench) as kept:
        bench.say("dispatch: bare notifications")
        rings = await _rings(kept, sizes)
        bench.say(f"dispatch: {sizes.runs} runs")
        starts = await _starts(kept, sizes)
        bench.say(f"dispatch: {sizes.events} events")
        events = await _events(kept, sizes)
    return [
        figure
        for what, took in (("StartRun's write → the run starts", starts), ("append → its watcher is told", events))
        for figure in _figures(what, took, rings)
    ]


def _figures(what: str, took: Sequence[float], floor: Sequence[float]) -> list[Figure]:
    return [
        Figure(
            what=f"{what}, p{percent}",
            value=percentile(took, percent) * 1000,
            unit="ms",
            floor=percentile(floor, percent) * 1000,
            floor_is=FLOOR,
            target=at_most(TARGET_MS) if percent == 95 else None,
        )
        for percent in (50, 95)
    ]


async def _rings(kept: Stores, sizes: _Sizes) -> list[float]:
    url = kept.database_url.replace("+asyncpg", "")
    speaker, ear = await asyncpg.connect(url), await asyncpg.connect(url)
    heard = asyncio.Event()

    def hear(*_: Any) -> None:
        heard.set()

    took: list[float] = []
    try:
        await ear.add_listener("benchmark", hear)
        for _ in range(sizes.rings):
            heard.clear()
            began = time.perf_counter()
            await speaker.execute("SELECT pg_notify('benchmark', 'x')")
            await heard.wait()
            took.append(time.perf_counter() - began)
            await asyncio.sleep(sizes.pause)
        await ear.remove_listener("benchmark", hear)
    finally:
        await speaker.close()
        await ear.close()
    return took


async def _starts(kept: Stores, sizes: _Sizes) -> list[float]:
    """Return the times from the begin of the transaction that makes a run and its job to the job's function."""
    started: asyncio.Queue[tuple[str, float]] = asyncio.Queue()

    async def execute(run_id: str) -> None:
        started.put_nowait((run_id, time.perf_counter()))

    took: list[float] = []
    async with dispatch(kept.database_url, execute, stop_within=0.1) as jobs, asyncio.TaskGroup() as tasks:
        parts = [tasks.create_task(jobs.work()), tasks.create_task(jobs.reap())]
        # The first one finds a worker that is still starting.
        for number in range(sizes.runs + 1):
            began = time.perf_counter()
            run = await kept.runs.start(new_run(f"user-{uuid.uuid4()}"))
            run_id, at = await started.get()
            if run_id != run.run_id:
                raise RuntimeError("another run was started")
            if number:
                took.append(at - began)
            await asyncio.sleep(sizes.pause)
        for part in parts:
            part.cancel()
    return took


async def _events(kept: Stores, sizes: _Sizes) -> list[float]:
    """Return the times from a call of `append`, its commit included, to the watcher's being told."""
    journal = await kept.journal()
    service = RunService(
        runs=kept.runs, reports=kept.runs, journals=kept.journals, agents=SqlAgents(kept.pool), bell=kept.bell
    )
    told: asyncio.Queue[float] = asyncio.Queue()

    async def tell(entry: StoredEvent | None) -> None:
        if entry is not None:
            told.put_nowait(time.perf_counter())

    took: list[float] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(service.watch(journal.run.user_id, journal.run.run_id, 0, tell))
        for number in range(sizes.events + 1):
            seconds = await _told_after(journal, ItemProcessed(group="g1", item=f"sample/{number}.md"), told)
            if number:
                took.append(seconds)
            await asyncio.sleep(sizes.pause)
        await _told_after(journal, Finished(state=RunState.SUCCEEDED, device_informed=True), told)
    return took


async def _told_after(journal: RunJournal, event: Event, told: asyncio.Queue[float]) -> float:
    began = time.perf_counter()
    await journal.append(event)
    return await told.get() - began
