"""The journal: steps a second of many runs in one process, what it adds to their time, its bytes, and its replay.

A step is what the loop journals of a model call: the call, when it is begun, and its answer of about 1 KiB. So a step
is two appends, each waited for until it is committed. The database waits for the disk.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import mean, median

import asyncpg
from sqlalchemy import text

from orchestrator.runs.events import ConversationStarted, ModelAnswered, ModelCalled, encode
from orchestrator.runs.journal import RunJournal
from orchestrator.runs.progress import fold
from tests.benchmarks.bench import Bench, Scale
from tests.benchmarks.figures import Figure, at_least, at_most, ratio_at_most
from tests.benchmarks.stores import Stores, stores

CONVERSATION = "g1"
ANSWER_BYTES = 1024
RAW_FLOOR = "INSERT of one such row in its own transaction, one connection"


@dataclass(frozen=True, slots=True)
class _Sizes:
    runs: int
    steps: int
    """Of each run, as fast as it can, in each of the rounds."""
    rounds: int
    paced_steps: int
    step_seconds: float
    """What a step of a run takes otherwise."""
    raw_seconds: float
    short: int
    long: int
    """Steps of the runs whose bytes are counted; one of the long ones is replayed."""
    stored_steps: int
    """Of all runs together whose bytes are counted."""


_SIZES: Mapping[Scale, _Sizes] = {
    Scale.FULL: _Sizes(500, 10, 3, 20, 0.3, 1.0, 20, 400, 8_000),
    Scale.QUICK: _Sizes(500, 4, 1, 5, 0.3, 1.0, 20, 400, 2_000),
    Scale.TINY: _Sizes(5, 2, 1, 2, 0.01, 0.02, 2, 4, 8),
}


@dataclass(slots=True)
class _Conversation:
    """A run that asks its model one question after another."""

    journal: RunJournal
    answer: str
    step: int = 0

    async def begin(self) -> None:
        """Journal the prompts."""
        started = ConversationStarted(conversation=CONVERSATION, system="You keep a workspace.", user="Go on.")
        await self.journal.append(started)

    async def take_steps(self, waits: Iterable[float]) -> None:
        """Ask, wait for the answer so many seconds, take it; and again for each wait."""
        for seconds in waits:
            self.step += 1
            await self.journal.append(ModelCalled(conversation=CONVERSATION, step=self.step))
            await asyncio.sleep(seconds)
            await self.journal.append(answered(self.step, self.answer))


def answered(step: int, answer: str) -> ModelAnswered:
    """Return the answer of a step."""
    return ModelAnswered(
        conversation=CONVERSATION,
        step=step,
        text=answer,
        tool_requests=(),
        model="benchmark",
        input_tokens=5_000,
        output_tokens=250,
    )


def some_text(size: int) -> str:
    """Return words that do not repeat, always the same ones: what repeats would be stored compressed."""
    random = Random(2026)  # noqa: S311 - the same ones each time
    letters = "abcdefghijklmnopqrstuvwxyz    "
    return "".join(random.choices(letters, k=size))


async def measure(bench: Bench) -> Sequence[Figure]:
    """Measure throughput and added time with many runs, then bytes and replay with few."""
    sizes = _SIZES[bench.scale]
    answer = some_text(ANSWER_BYTES)
    async with stores(bench) as kept:
        bench.say(f"journal: starting {sizes.runs} runs")
        conversations = [_Conversation(await kept.journal(), answer) for _ in range(sizes.runs)]
        await _together([conversation.begin() for conversation in conversations])

        raw: list[float] = []
        rates: list[float] = []
        for number in range(1, sizes.rounds + 1):
            bench.say(f"journal: round {number} of {sizes.rounds}, raw inserts, then steps as fast as they come")
            raw.append(await _raw_inserts(kept, answer, sizes.raw_seconds))
            began = time.perf_counter()
            await _together([conversation.take_steps([0.0] * sizes.steps) for conversation in conversations])
            rates.append(sizes.runs * sizes.steps / (time.perf_counter() - began))
        figures = _throughput(sizes, rate=median(rates), raw=median(raw))
        for spread in (0.5, 0.0):
            bench.say(f"journal: {sizes.runs} runs x {sizes.paced_steps} steps of {sizes.step_seconds:g} s")
            figures.append(await _added(conversations, sizes, spread))
        bench.say("journal: bytes and replay")
        for steps in (sizes.short, sizes.long):
            figures.append(await _stored(kept, conversations[: sizes.stored_steps // steps], steps))
        return [*figures, *await _replay(kept, sizes.long, answer)]


def _throughput(sizes: _Sizes, *, rate: float, raw: float) -> list[Figure]:
    return [
        Figure(what=f"steps/s of {sizes.runs} runs", value=rate, unit="steps/s", target=at_least(1_000)),
        Figure(what="their appends/s (2 a step)", value=2 * rate, unit="rows/s", floor=raw, floor_is=RAW_FLOOR),
    ]


async def _added(conversations: Sequence[_Conversation], sizes: _Sizes, spread: float) -> Figure:
    """Compare what runs take that do something else for most of a step with what that alone takes."""
    random = Random(2026)  # noqa: S311 - the same ones each time
    waits = [
        [sizes.step_seconds * random.uniform(1 - spread, 1 + spread) for _ in range(sizes.paced_steps)]
        for _ in conversations
    ]
    journaled = await _together(
        [conversation.take_steps(own) for conversation, own in zip(conversations, waits, strict=True)]
    )
    idle = await _together([_sleep(own) for own in waits])
    how = f"±{spread:.0%}" if spread else "exactly, all runs in step"
    return Figure(
        what=f"time of a run, {sizes.runs} runs x {sizes.paced_steps} steps of {sizes.step_seconds:g} s {how}",
        value=mean(journaled),
        unit="s",
        floor=mean(idle),
        floor_is="the same run without a journal",
        target=ratio_at_most(1.10),
    )


async def _together(works: Sequence[Awaitable[None]]) -> list[float]:
    """Do all at the same time, and return how long each took."""

    async def timed(work: Awaitable[None]) -> float:
        began = time.perf_counter()
        await work
        return time.perf_counter() - began

    async with asyncio.TaskGroup() as tasks:
        working = [tasks.create_task(timed(work)) for work in works]
    return [task.result() for task in working]


async def _sleep(waits: Iterable[float]) -> None:
    for seconds in waits:
        await asyncio.sleep(seconds)


async def _raw_inserts(kept: Stores, answer: str, seconds: float) -> float:
    """Return how many rows of the journal one connection stores a second, one at a time."""
    connection = await asyncpg.connect(kept.database_url.replace("+asyncpg", ""))
    rows = [encode(ModelCalled(conversation=CONVERSATION, step=1)), encode(answered(1, answer))]
    try:
        await connection.execute("SET search_path = orchestrator")
        await connection.execute("CREATE TABLE raw_events (LIKE run_events INCLUDING ALL)")
        insert = await connection.prepare("INSERT INTO raw_events (run_id, seq, kind, payload) VALUES ($1, $2, $3, $4)")
        run_id, seq = str(uuid.uuid4()), 0
        began = time.perf_counter()
        while (took := time.perf_counter() - began) < seconds:
            kind, payload = rows[seq % 2]
            seq += 1
            await insert.fetch(run_id, seq, kind, payload)
        await connection.execute("DROP TABLE raw_events")
    finally:
        await connection.close()
    return seq / took


async def _stored(kept: Stores, conversations: Sequence[_Conversation], steps: int) -> Figure:
    """Compare what a step takes on the disk, indexes included, with its payloads."""
    async with kept.pool.begin() as connection:
        await connection.execute(text("TRUNCATE run_events"))
    await _together([conversation.take_steps([0.0] * steps) for conversation in conversations])
    query = text("SELECT pg_total_relation_size('run_events'), sum(octet_length(payload)) FROM run_events")
    async with kept.pool.connect() as connection:
        stored, payload = (await connection.execute(query)).one()
    written = len(conversations) * steps
    return Figure(
        what=f"bytes stored a step, {len(conversations)} runs of {steps} steps",
        value=stored / written,
        unit="B",
        floor=float(payload) / written,
        floor_is="its payloads",
        target=ratio_at_most(1.5),
    )


async def _replay(kept: Stores, steps: int, answer: str) -> list[Figure]:
    """Measure what whoever takes over a run has to do first."""
    conversation = _Conversation(await kept.journal(), answer)
    await conversation.begin()
    await conversation.take_steps([0.0] * steps)
    began = time.perf_counter()
    entries = await kept.journals.read(conversation.journal.run.run_id)
    read = time.perf_counter()
    progress = fold(entries)
    folded = time.perf_counter()
    if len(progress.conversations[CONVERSATION].steps) != steps + 1:
        raise RuntimeError("the replay does not hold all steps")
    return [
        Figure(
            what=f"replay of a journal of {steps} steps: read and fold, a step",
            value=(folded - began) * 1000 / steps,
            unit="ms",
            target=at_most(0.2),
        ),
        Figure(what="of it the fold", value=(folded - read) * 1000 / steps, unit="ms"),
    ]
