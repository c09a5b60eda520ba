"""Two tickers on one database, one of them killed: every slot starts its run, once, with its job."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from orchestrator.adapters.migrations import upgrade
from orchestrator.adapters.sql.agents import DEFINITION, SCHEDULE
from orchestrator.adapters.sql.tables import SCHEMA
from orchestrator.agents.domain import Schedule
from tests.conformance.orchestrator.agents import LOCAL
from tests.conformance.orchestrator.schedules import MINUTE, NOON

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

AGENTS = 1_000
SLOTS = 3
SCHEDULED = Schedule(cron="* * * * *", time_zone="Europe/Rome", jitter=timedelta(seconds=50))


class TickerProcess:
    """A ticker that can be killed."""

    def __init__(self, url: str, *, failpoint: str = "", fired: Path | None = None) -> None:
        environment = {**os.environ, "ADIUVA_FAILPOINTS": failpoint}
        if fired is not None:
            environment["ADIUVA_FAILPOINTS_DIR"] = str(fired)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.orchestrator.schedules.ticker_process", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def begin(self, now: datetime) -> None:
        """Let it tick."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{now.isoformat()}\n")
        self.process.stdin.flush()

    def end(self) -> datetime | None:
        """Return when it wants to look again; None when it has died."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return datetime.fromisoformat(line.strip()) if line else None

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()
        self.process.wait(20)


@contextmanager
def ticker(url: str, *, failpoint: str = "", fired: Path | None = None) -> Iterator[TickerProcess]:
    process = TickerProcess(url, failpoint=failpoint, fired=fired)
    try:
        yield process
    finally:
        process.kill()


@pytest.fixture
def url(new_database: Callable[[], str]) -> str:
    """A database with a thousand agents of as many users, all of them due each minute."""
    made = new_database()
    upgrade(made)
    add_agents(made, AGENTS)
    return made


def add_agents(url: str, number: int) -> None:
    with database(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO agents (agent_id, user_id, definition, schedule, etag, created_at, updated_at, next_due_at)
            SELECT gen_random_uuid(), 'user-' || number, %s, %s, 'e', %s, %s, %s FROM generate_series(1, %s) AS number
            """,
            [
                DEFINITION.dump_json(LOCAL).decode(),
                SCHEDULE.dump_json(SCHEDULED).decode(),
                NOON,
                NOON,
                NOON + timedelta(seconds=1),
                number,
            ],
        )
        cursor.execute("UPDATE agents SET served_until = %s", [NOON])


def database(url: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(url.replace("+asyncpg", ""), autocommit=True, options=f"-c search_path={SCHEMA}")


def finish(ticker: TickerProcess, now: datetime, *, within: float = 30) -> None:
    """Tick until nothing is due: a dead ticker's agents are free as soon as the database has noticed."""
    until = now
    give_up = time.monotonic() + within
    while until < now + timedelta(seconds=1):
        assert time.monotonic() < give_up
        ticker.begin(now)
        found = ticker.end()
        assert found is not None
        until = found


def end_runs(url: str) -> None:
    with database(url) as connection:
        connection.execute("UPDATE runs SET state = 'SUCCEEDED', ended_at = now()")


def check(url: str, slots: int, *, agents: int = AGENTS) -> None:
    """Every agent has one run for each slot, and every run has its job."""
    with database(url) as connection:
        runs = connection.execute("SELECT run_id, agent_id, slot_time FROM runs").fetchall()
        jobs = connection.execute("SELECT args->>'run_id' FROM procrastinate_jobs").fetchall()
    fired = Counter((agent_id, slot) for _run_id, agent_id, slot in runs)

    assert {slot for _agent_id, slot in fired} == {NOON + number * MINUTE for number in range(1, slots + 1)}
    assert set(fired.values()) == {1}
    assert len(fired) == agents * slots
    assert sorted(str(run_id) for run_id, _agent, _slot in runs) == sorted(str(run_id) for (run_id,) in jobs)


@pytest.mark.parametrize("seed", [1, 2])
def test_every_slot_fires_once_when_one_of_two_tickers_is_killed_at_random(url: str, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    with ticker(url) as steady:
        for number in range(1, SLOTS + 1):
            now = NOON + number * MINUTE + timedelta(seconds=59)
            with ticker(url) as doomed:
                doomed.begin(now)
                with database(url) as connection:
                    wait_for(connection, number, chance.randrange(1, AGENTS // 3))
                steady.begin(now)
                doomed.process.kill()
                steady.end()
                finish(steady, now)
            end_runs(url)

    check(url, SLOTS)


def wait_for(connection: psycopg.Connection[tuple[object, ...]], number: int, runs: int) -> None:
    """Wait until so many agents have been started for this slot."""
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        slot = NOON + number * MINUTE
        row = connection.execute("SELECT count(*) FROM runs WHERE slot_time = %s", [slot]).fetchone()
        assert row is not None
        if int(str(row[0])) >= runs:
            return
    raise AssertionError("nothing was started")


@pytest.mark.parametrize("where", ["schedules.before_commit", "schedules.after_commit"])
def test_every_slot_fires_once_when_a_ticker_dies_around_its_commit(url: str, where: str, tmp_path: Path) -> None:
    now = NOON + MINUTE + timedelta(seconds=59)

    with ticker(url, failpoint=f"{where}=kill@4", fired=tmp_path) as doomed, ticker(url) as steady:
        doomed.begin(now)
        assert doomed.end() is None
        finish(steady, now)

    assert (tmp_path / where).exists()
    check(url, 1)


def test_two_tickers_share_the_work_and_start_every_slot_once(url: str) -> None:
    with ticker(url) as one, ticker(url) as other:
        for number in range(1, SLOTS + 1):
            now = NOON + number * MINUTE + timedelta(seconds=59)
            one.begin(now)
            other.begin(now)
            one.end()
            other.end()
            finish(one, now)
            end_runs(url)

    check(url, SLOTS)


def test_ten_thousand_agents_that_are_due_in_one_minute_are_started_within_it(new_database: Callable[[], str]) -> None:
    url = new_database()
    upgrade(url)
    add_agents(url, 10_000)
    now = NOON + MINUTE + timedelta(seconds=59)

    with ticker(url) as alone:
        alone.begin(NOON)  # nothing is due yet; the process is there
        alone.end()
        began = time.monotonic()
        finish(alone, now, within=60)
        took = time.monotonic() - began

    assert took < 60
    check(url, 1, agents=10_000)
