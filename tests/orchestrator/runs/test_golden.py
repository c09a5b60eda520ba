"""Journals that were written before: they are still read, and the runs that wrote them still take the same steps.

A change of a golden journal is a change of what runs do; `tests.golden.record` writes them anew.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from inline_snapshot import snapshot

from orchestrator.runs.domain import RunState
from orchestrator.runs.events import ErrorRecorded, Event, ModelCalled
from orchestrator.runs.execute import execute
from orchestrator.runs.journal import RunJournal
from orchestrator.runs.progress import fold
from tests.fakes.journals import InMemoryJournals
from tests.fakes.models import HangingModel
from tests.fakes.replay import ReplayDevices, ReplayModel, replay_inbox
from tests.golden.journal_files import FOLDER, read_journal
from tests.golden.record import RUNS
from tests.orchestrator.runs.lab import QUICK, ManualClock

GOLDEN = sorted(FOLDER.glob("*.jsonl"))


def by_conversation(events: list[Event]) -> dict[str, list[Event]]:
    """Concurrent groups may take turns otherwise; each of them takes its steps in the same order."""
    streams: dict[str, list[Event]] = {}
    for event in events:
        name = getattr(event, "conversation", "") or getattr(event, "group", "")
        if isinstance(event, ErrorRecorded):
            name = event.error.group
        streams.setdefault(name, []).append(event)
    return streams


def test_every_golden_run_is_here() -> None:
    assert [path.stem for path in GOLDEN] == sorted(RUNS)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
async def test_replaying_a_golden_run_takes_the_same_steps(path: Path) -> None:
    run, stored = read_journal(path)
    golden = [entry.event for entry in stored]
    progress = fold(stored)
    journals = InMemoryJournals()
    run = replace(run, epoch=journals.take(run.run_id))

    await execute(
        RunJournal(run, journals),
        devices=ReplayDevices(golden, progress),
        model=ReplayModel(golden, progress),
        clock=ManualClock(),
        inbox=replay_inbox(golden, progress),
        limits=replace(QUICK, groups=1),
        marker=lambda: progress.data_marker,
    )

    replayed = [entry.event for entry in await journals.read(run.run_id)]
    assert by_conversation(replayed) == by_conversation(golden)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
async def test_a_golden_journal_is_whole_and_asks_for_nothing_more(path: Path) -> None:
    run, stored = read_journal(path)
    journals = InMemoryJournals()
    run = replace(run, epoch=journals.take(run.run_id))
    journal = RunJournal(run, journals, stored)
    model = HangingModel(lambda _request: pytest.fail("asked"))

    await execute(journal, devices=ReplayDevices([], journal.progress), model=model, clock=ManualClock(), limits=QUICK)

    assert await journals.read(run.run_id) == []
    assert journal.progress.finished is not None


def test_what_the_golden_journals_say() -> None:
    told = {}
    for path in GOLDEN:
        progress = fold(read_journal(path)[1])
        told[path.stem] = (
            progress.concluded,
            dict(progress.counts("CREATED")),
            sorted(progress.processed),
            [error.reason for error in progress.errors],
            progress.usage.model_calls,
            progress.usage.tool_calls,
        )

    assert told == snapshot(
        {
            "new-mail": (
                RunState.PARTIAL,
                {"note": 1, "task": 1},
                ["message:gmail:18c1", "message:gmail:18c3", "message:gmail:18c4", "message:gmail:18c5"],
                ["MESSAGE_UNREADABLE"],
                5,
                16,
            ),
            "one-of-each": (
                RunState.SUCCEEDED,
                {"note": 1, "project": 1, "task": 3},
                [
                    "sample/acme/brief.md",
                    "sample/acme/kickoff.md",
                    "sample/garden-club/ideas.md",
                    "sample/garden-club/photo.png",
                    "sample/todo.txt",
                ],
                [],
                7,
                24,
            ),
            "out-of-budget": (RunState.PARTIAL, {"note": 1, "task": 1}, [], ["BUDGET_EXCEEDED"], 2, 9),
            "refused-answers": (
                RunState.PARTIAL,
                {"task": 2},
                ["sample/acme/brief.md", "sample/acme/kickoff.md", "sample/todo.txt"],
                ["MODEL_UNAVAILABLE", "FILE_UNREADABLE"],
                10,
                15,
            ),
        }
    )
    assert RunState.SUCCEEDED in {state for state, *_ in told.values()}
    assert ModelCalled(conversation="g1", step=1) in [entry.event for entry in read_journal(GOLDEN[0])[1]]
