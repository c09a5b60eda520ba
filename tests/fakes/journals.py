"""Journals in memory. They hold what PostgreSQL would: kinds and JSON texts, under the epoch of the run."""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from orchestrator.runs.domain import Fenced
from orchestrator.runs.events import Event, Finished, StoredEvent, decode, encode

STARTED_AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@dataclass(slots=True)
class _Kept:
    epoch: int = 0
    terminal: bool = False
    rows: list[tuple[int, str, str]] = field(default_factory=list)


class InMemoryJournals:
    """Implements `runs.ports.Journals`; `take` is the part of a claim that concerns a journal."""

    def __init__(self) -> None:
        self._runs: dict[str, _Kept] = {}
        self.lost = False
        """Set it, and appends fail as they do when the database is away."""

    def take(self, run_id: str) -> int:
        """Raise the run's epoch, as a claim does, and return it. An unknown run is made."""
        kept = self._runs.setdefault(run_id, _Kept())
        kept.epoch += 1
        return kept.epoch

    def cut(self, run_id: str, length: int) -> None:
        """Forget all but the first events of a run, as if its worker had died after them."""
        kept = self._runs[run_id]
        kept.rows = kept.rows[:length]
        kept.terminal = any(kind == "finished" for _seq, kind, _payload in kept.rows)

    async def append(self, run_id: str, epoch: int, events: Sequence[tuple[int, Event]]) -> None:
        """Store the events, unless the run has another epoch or is terminal."""
        await asyncio.sleep(0)
        if self.lost:
            raise OSError("the database is away")
        kept = self._runs.get(run_id)
        if kept is None or kept.terminal or kept.epoch != epoch:
            raise Fenced(run_id)
        for seq, event in events:
            bisect.insort(kept.rows, (seq, *encode(event)))
        kept.terminal = any(isinstance(event, Finished) for _seq, event in events)

    async def read(self, run_id: str, *, after_seq: int = 0, limit: int | None = None) -> list[StoredEvent]:
        """Return the run's events in order."""
        kept = self._runs.get(run_id, _Kept())
        rows = [row for row in kept.rows if row[0] > after_seq][:limit]
        return [StoredEvent(seq=seq, at=STARTED_AT, event=decode(kind, payload)) for seq, kind, payload in rows]
