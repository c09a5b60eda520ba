"""The journal of one run in the hands of the worker that runs it."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.runs.domain import Fenced, JournalLost, Run
from orchestrator.runs.events import Event, StoredEvent
from orchestrator.runs.ports import Journals
from orchestrator.runs.progress import Progress


class RunJournal:
    """Appends events and folds them: `progress` holds exactly what is committed, and nothing that is not.

    Safe to use from the concurrent groups of one run, in one event loop.
    """

    def __init__(self, run: Run, journals: Journals, stored: Iterable[StoredEvent] = ()) -> None:
        """Go on after the stored events of the run, which the caller has just claimed."""
        self.run = run
        self.progress = Progress()
        self._journals = journals
        self._last_seq = 0
        self._lost = False
        for entry in stored:
            self.progress.apply(entry.event)
            self._last_seq = entry.seq

    async def append(self, *events: Event) -> None:
        """Commit the events, in order and together, then take them into `progress`.

        Raises:
            Fenced: another worker has taken over the run.
            JournalLost: it is not known whether they were committed; nothing can be appended any more.
        """
        if self._lost:
            raise JournalLost(self.run.run_id)
        numbered: list[tuple[int, Event]] = []
        for event in events:
            self._last_seq += 1
            numbered.append((self._last_seq, event))
        try:
            await self._journals.append(self.run.run_id, self.run.epoch, numbered)
        except Fenced:
            raise
        except Exception as error:
            # Going on would fold something else than what is stored.
            self._lost = True
            raise JournalLost(self.run.run_id) from error
        for event in events:
            self.progress.apply(event)


async def open_journal(run: Run, journals: Journals) -> RunJournal:
    """Return the journal of a run that was just claimed, with everything that earlier workers wrote."""
    return RunJournal(run, journals, await journals.read(run.run_id))
