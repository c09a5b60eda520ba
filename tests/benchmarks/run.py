"""A whole run: 40 files in 6 projects, with a model that takes 500 ms to answer and tools that take 20 ms.

The floor is the same work done one group and one call after another, with the model exploring by itself: it lists, and
reads each file in a step of its own. Model, tools and files are the same, and both must leave the same workspace.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import text

from orchestrator.adapters.offline_model import OfflineModel
from orchestrator.runs.domain import DeviceCall, RunState
from orchestrator.runs.execute import execute
from orchestrator.runs.messages import ModelAnswer, ModelRequest
from orchestrator.runs.progress import Progress
from tests.benchmarks.bench import Bench, Scale
from tests.benchmarks.explorer import Explorer
from tests.benchmarks.figures import Figure, at_most, ratio_at_most
from tests.benchmarks.files import lay_out
from tests.benchmarks.stores import Stores, stores
from tests.fakes.devices import FakeDevice, FakeDevices

USER = "ada"


@dataclass(frozen=True, slots=True)
class _Sizes:
    projects: int
    files: int
    model_seconds: float
    tool_seconds: float


_SIZES: Mapping[Scale, _Sizes] = {
    Scale.FULL: _Sizes(6, 40, 0.5, 0.02),
    Scale.QUICK: _Sizes(6, 40, 0.1, 0.004),
    Scale.TINY: _Sizes(2, 4, 0.001, 0.001),
}


class SlowModel:
    """The offline model, as far away as a provider. Implements `runs.ports.Model`."""

    name = "benchmark"

    def __init__(self, seconds: float) -> None:
        self._inner = OfflineModel()
        self._seconds = seconds
        self.calls = 0

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Answer after a while."""
        await self.think()
        return await self._inner.answer(request)

    async def think(self) -> None:
        """Spend the time of an answer that is known beforehand."""
        self.calls += 1
        await asyncio.sleep(self._seconds)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a way of working took."""

    seconds: float
    model_calls: int
    tool_calls: int
    workspace: object


async def measure(bench: Bench) -> Sequence[Figure]:
    """Measure a first run, a second one that finds nothing changed, and the floors."""
    sizes = _SIZES[bench.scale]
    async with stores(bench) as kept:
        devices, laptop = _device(sizes)
        bench.say(f"run: {sizes.files} files in {sizes.projects} projects")
        first = await _run(kept, devices, laptop, sizes)
        async with kept.pool.connect() as connection:
            query = text("SELECT pg_total_relation_size('run_events'), sum(octet_length(payload)) FROM run_events")
            stored, payload = (await connection.execute(query)).one()
        bench.say("run: the same again, nothing changed")
        second = await _run(kept, devices, laptop, sizes)
    bench.say("run: one after another, the model exploring by itself")
    # They sleep nearly all the time, so they do not disturb each other.
    async with asyncio.TaskGroup() as tasks:
        floors = [tasks.create_task(_explore(sizes, one_by_one=each)) for each in (True, False)]
    alone, batched = (floor.result() for floor in floors)
    for floor in (alone, batched):
        if floor.workspace != first.workspace:
            raise RuntimeError("the run and its floor did not do the same work")
    return [
        *_compared(first, alone, "one after another, reading file by file", with_targets=True),
        *_compared(first, batched, "one after another, all files of a group read in one step", with_targets=False),
        Figure(
            what="model calls of a second run, nothing changed", value=second.model_calls, unit="", target=at_most(0)
        ),
        Figure(what="its wall time", value=second.seconds, unit="s"),
        Figure(
            what="bytes stored for the first run", value=stored, unit="B", floor=float(payload), floor_is="its payloads"
        ),
    ]


def _compared(first: _Outcome, floor: _Outcome, floor_is: str, *, with_targets: bool) -> list[Figure]:
    return [
        Figure(
            what="wall time (a fifth: five times as fast)",
            value=first.seconds,
            unit="s",
            floor=floor.seconds,
            floor_is=floor_is,
            target=ratio_at_most(1 / 5) if with_targets else None,
        ),
        Figure(
            what="model calls",
            value=first.model_calls,
            unit="",
            floor=floor.model_calls,
            floor_is=floor_is,
            target=ratio_at_most(1 / 3) if with_targets else None,
        ),
    ]


def _device(sizes: _Sizes) -> tuple[FakeDevices, FakeDevice]:
    devices = FakeDevices()
    laptop = devices.add("laptop", user_id=USER)
    lay_out(laptop.workspace, projects=sizes.projects, files=sizes.files)

    async def takes_a_while(_call: DeviceCall) -> None:
        await asyncio.sleep(sizes.tool_seconds)

    laptop.before = takes_a_while
    return devices, laptop


async def _run(kept: Stores, devices: FakeDevices, laptop: FakeDevice, sizes: _Sizes) -> _Outcome:
    journal = await kept.journal(USER)
    model = SlowModel(sizes.model_seconds)
    calls_before = len(laptop.calls)
    began = time.perf_counter()
    await execute(journal, devices=devices, model=model, clock=lambda: datetime.now(UTC))
    seconds = time.perf_counter() - began
    _check(journal.progress, model)
    return _Outcome(seconds, model.calls, len(laptop.calls) - calls_before, _made(laptop))


def _check(progress: Progress, model: SlowModel) -> None:
    finished = progress.finished
    if finished is None or finished.state is not RunState.SUCCEEDED or progress.unprocessed():
        raise RuntimeError(f"the run did not succeed: {finished}, {progress.errors}")
    if progress.usage.model_calls != model.calls:
        raise RuntimeError("the run did not count its model calls")


async def _explore(sizes: _Sizes, *, one_by_one: bool) -> _Outcome:
    devices, laptop = _device(sizes)
    model = SlowModel(sizes.model_seconds)
    explorer = Explorer(devices=devices, model=model, user_id=USER, device_id=laptop.device_id, one_by_one=one_by_one)
    began = time.perf_counter()
    await explorer.work()
    return _Outcome(time.perf_counter() - began, model.calls, len(laptop.calls), _made(laptop))


def _made(laptop: FakeDevice) -> object:
    """Return the workspace without the ids, which follow from the calls."""
    rows = {
        kind: sorted(
            repr(sorted((name, value) for name, value in row.items() if name != "id")) for row in of_kind.values()
        )
        for kind, of_kind in laptop.workspace.rows.items()
    }
    return rows, len(laptop.workspace.comments)
