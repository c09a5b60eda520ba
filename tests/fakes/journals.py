"""Journals in memory. They hold what PostgreSQL would: kinds and JSON texts, under the epoch of the run."""

from __future__ import annotations

import asyncio
import bisect
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from orchestrator.agents.domain import CloudConnector
from orchestrator.runs.domain import Fenced, Run
from orchestrator.runs.events import Event, Finished, ItemFailed, ItemProcessed, StoredEvent, decode, encode
from orchestrator.runs.incoming import MESSAGE_PREFIX
from orchestrator.runs.ports import Failures, Remembered

STARTED_AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

Owner = tuple[str, str, str]
"""A user, an agent's key and a connection."""


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
        self.owners: dict[str, Owner] = {}
        """Whose messages a run is about."""
        self.done: defaultdict[Owner, dict[str, bool]] = defaultdict(dict)
        """The messages that were processed or given up; True for the latter."""
        self.failures: defaultdict[Owner, dict[tuple[str, str], bool]] = defaultdict(dict)
        """Message and run to whether it tells against the message."""

    def own(self, run: Run) -> None:
        """Know whose run it is, as the stored run tells."""
        if isinstance(run.definition.source, CloudConnector):
            self.owners[run.run_id] = (run.user_id, run.agent_key, run.definition.source.connection_id)

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
            if run_id in self.owners:
                self._remember(self.owners[run_id], run_id, event)
        kept.terminal = any(isinstance(event, Finished) for _seq, event in events)

    def _remember(self, owner: Owner, run_id: str, event: Event) -> None:
        match event:
            case ItemProcessed(item=item) if item.startswith(MESSAGE_PREFIX):
                self._settle(owner, item, given_up=False)
            case ItemFailed(item=item, given_up=True):
                self._settle(owner, item, given_up=True)
            case ItemFailed(item=item):
                self.failures[owner].setdefault((item, run_id), event.blamed)
            case _:
                pass

    def _settle(self, owner: Owner, item: str, *, given_up: bool) -> None:
        self.done[owner].setdefault(item, given_up)
        self.failures[owner] = {key: blamed for key, blamed in self.failures[owner].items() if key[0] != item}

    async def read(self, run_id: str, *, after_seq: int = 0, limit: int | None = None) -> list[StoredEvent]:
        """Return the run's events in order."""
        kept = self._runs.get(run_id, _Kept())
        rows = [row for row in kept.rows if row[0] > after_seq][:limit]
        return [StoredEvent(seq=seq, at=STARTED_AT, event=decode(kind, payload)) for seq, kind, payload in rows]


class InMemoryMessageMemory:
    """Implements `runs.ports.MessageMemory` over journals in memory."""

    def __init__(self, journals: InMemoryJournals) -> None:
        self._journals = journals

    async def recall(self, run: Run, message_ids: Sequence[str]) -> Remembered:
        """Return what earlier runs made of the messages."""
        await asyncio.sleep(0)
        self._journals.own(run)
        owner = self._journals.owners.get(run.run_id)
        if owner is None:
            return Remembered()
        wanted = set(message_ids)
        counts: dict[str, Failures] = {}
        for (item, run_id), blamed in self._journals.failures[owner].items():
            if item in wanted and run_id != run.run_id:
                known = counts.get(item, Failures(tries=0, blamed=0))
                counts[item] = Failures(tries=known.tries + 1, blamed=known.blamed + blamed)
        return Remembered(done=frozenset(wanted & set(self._journals.done[owner])), failures=counts)
