"""The journal of one run in the hands of its worker."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.runs.domain import Fenced, JournalLost
from orchestrator.runs.events import Claimed, ItemProcessed
from orchestrator.runs.journal import open_journal
from orchestrator.runs.progress import fold
from tests.orchestrator.runs.lab import Lab, lab_with_work


async def test_the_fold_holds_what_is_committed_and_nothing_else() -> None:
    lab = Lab()
    journal = await lab.journal()
    lab.journals.lost = True

    with pytest.raises(JournalLost):
        await journal.append(ItemProcessed(group="g1", item="a"))

    assert journal.progress.processed == set()


async def test_a_journal_that_was_lost_is_never_written_again() -> None:
    lab = Lab()
    journal = await lab.journal()
    lab.journals.lost = True
    with pytest.raises(JournalLost):
        await journal.append(ItemProcessed(group="g1", item="a"))
    lab.journals.lost = False

    with pytest.raises(JournalLost):
        await journal.append(ItemProcessed(group="g1", item="b"))

    assert await lab.events() == []


async def test_a_stale_worker_is_told_so() -> None:
    lab = Lab()
    journal = await lab.journal()
    lab.journals.take(lab.run_id)

    with pytest.raises(Fenced):
        await journal.append(Claimed(epoch=1))


async def test_numbers_go_on_where_the_worker_before_stopped() -> None:
    lab = Lab()
    await (await lab.journal()).append(Claimed(epoch=1), Claimed(epoch=1))

    second = await lab.journal()
    await second.append(Claimed(epoch=2))

    assert [entry.seq for entry in await lab.journals.read(lab.run_id)] == [1, 2, 3]


async def test_appends_at_the_same_time_get_numbers_of_their_own() -> None:
    lab = Lab()
    journal = await lab.journal()

    async with asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(journal.append(ItemProcessed(group="g1", item=str(number))))

    assert [entry.seq for entry in await lab.journals.read(lab.run_id)] == list(range(1, 21))
    assert len(journal.progress.processed) == 20


async def test_reading_a_journal_gives_the_fold_that_its_writer_had() -> None:
    lab = lab_with_work()
    journal = await lab.journal()
    await lab.work_on(journal)

    again = await open_journal(journal.run, lab.journals)

    assert again.progress == fold(await lab.journals.read(lab.run_id)) == journal.progress
