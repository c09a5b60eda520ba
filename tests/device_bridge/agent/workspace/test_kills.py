"""INV-1, INV-2 and INV-5: kill -9 in the middle of effects, again and again. None is there twice, none is lost."""

from __future__ import annotations

import collections
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .effects import IN_FLIGHT
from .support import Device, FakeFiles, device

KILLS = 30
SEED = 20260301


def interrupted(data: Path, first: int, acknowledgements: int) -> set[int]:
    """Run the device process, kill it after some acknowledgements, and return all that it gave."""
    command = [sys.executable, "-m", "tests.device_bridge.agent.workspace.effects", str(data), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = {int(process.stdout.readline()) for _ in range(acknowledgements)}
        process.send_signal(signal.SIGKILL)
        # What was written before the kill counts too; a last line that was cut off does not.
        acknowledged |= {int(line) for line in process.stdout if line.endswith("\n")}
        assert process.wait(30) == -signal.SIGKILL
    return acknowledged


def assert_exactly_once(laptop: Device, acknowledged: set[int]) -> None:
    titles = [row["title"] for row in laptop.rows("SELECT title FROM tasks UNION ALL SELECT title FROM notes")]
    changes = [row["call_id"] for row in laptop.rows("SELECT call_id FROM changes")]
    ledger = [row["call_id"] for row in laptop.rows("SELECT call_id FROM ledger WHERE call_id <> 'begin'")]
    done = {int(title.removeprefix("effect ")) for title in titles}

    assert [title for title, times in collections.Counter(titles).items() if times > 1] == []
    assert acknowledged <= done
    assert sorted(changes) == sorted(ledger) == sorted(f"call-{number}" for number in done)
    (used,) = laptop.rows("SELECT calls, creates FROM run_policies")
    assert used == {"calls": len(done), "creates": len(done)}
    assert laptop.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_after_thirty_kills_every_effect_is_there_once_and_the_counts_are_right(tmp_path: Path) -> None:
    chance = random.Random(SEED)  # noqa: S311  # repeatable
    acknowledged: set[int] = set()

    for _ in range(KILLS):
        # The caller repeats what it has no answer for, and some of what it has.
        first = max(0, min(set(range(len(acknowledged) + 1)) - acknowledged) - IN_FLIGHT)
        acknowledged |= interrupted(tmp_path, first - first % IN_FLIGHT, chance.randint(1, 60))

        async with device(tmp_path, files=FakeFiles()) as laptop:
            assert_exactly_once(laptop, acknowledged)

    async with device(tmp_path) as laptop:
        outcome = await laptop.control("complete_run", call_id="complete", state="SUCCEEDED", counts={})
        assert outcome.result is not None
        created = outcome.result["effects"]["created"]
        for kind in ("task", "note"):
            assert created[kind] == laptop.rows(f"SELECT count(*) AS n FROM {kind}s")[0]["n"]  # noqa: S608
        assert sum(created.values()) >= len(acknowledged) >= KILLS
