"""Who runs a run: Procrastinate, on the orchestrator's own database.

StartRun writes a run's job in the run's own transaction (`adapters.sql.runs`). Here is the other end: the worker that
takes jobs, one at a time for each user, and the reaper that gives the jobs of a dead worker to another. A job resumes
its run from the journal, so it may be given out more than once.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import structlog
from procrastinate import App, PsycopgConnector, RetryStrategy
from procrastinate.exceptions import ConnectorException

from orchestrator.adapters.sql.runs import QUEUE, TASK
from orchestrator.adapters.sql.tables import SCHEMA

HEARTBEAT_SECONDS = 3.0
STALLED_SECONDS = 9.0
"""A worker that has been silent for so long is taken for dead. If it was not, the epoch stops its writes."""
REAPER_SECONDS = 3.0
PRUNE_EVERY = 10
"""Rounds of the reaper: rows of workers that are long gone do no harm."""
RESTART_SECONDS = 1.0
POLLING_SECONDS = 5.0
"""NOTIFY starts jobs at once; polling only makes up for a notification that was lost."""

_log = structlog.get_logger(__name__)

ExecuteRun = Callable[[str], Awaitable[None]]
"""Runs a run to its end. When it raises instead, the run goes on later, here or elsewhere, from its journal."""


class Dispatch:
    """Runs jobs until it is stopped. Made by `dispatch`."""

    def __init__(self, app: App, *, concurrency: int, stop_within: float) -> None:
        self._app = app
        self._concurrency = concurrency
        self._stop_within = stop_within

    async def work(self) -> None:
        """Take jobs and run them, until cancelled: then running jobs are interrupted and go back to the queue.

        A worker that loses the database ends by itself; the next one begins as soon as the database is back.
        """
        while True:
            try:
                await self._app.run_worker_async(
                    queues=[QUEUE],
                    concurrency=self._concurrency,
                    install_signal_handlers=False,
                    fetch_job_polling_interval=POLLING_SECONDS,
                    update_heartbeat_interval=HEARTBEAT_SECONDS,
                    stalled_worker_timeout=STALLED_SECONDS,
                    shutdown_graceful_timeout=self._stop_within,
                    delete_jobs="always",
                )
            except Exception as error:  # noqa: BLE001 - whatever ended it, runs must go on
                _log.warning("worker_failed", error=type(error).__name__)
            await asyncio.sleep(RESTART_SECONDS)

    async def reap(self) -> None:
        """Give the jobs of dead workers back to the queue, for ever."""
        manager = self._app.job_manager
        for round_number in itertools.count():
            try:
                for job in await manager.get_stalled_jobs(queue=QUEUE, seconds_since_heartbeat=STALLED_SECONDS):
                    await self._requeue(job.id)
                if round_number % PRUNE_EVERY == 0:
                    await manager.prune_stalled_workers(seconds_since_heartbeat=STALLED_SECONDS * 4)
            except ConnectorException as error:
                _log.warning("reaper_failed", error=type(error).__name__)
            await asyncio.sleep(REAPER_SECONDS)

    async def _requeue(self, job_id: int | None) -> None:
        if job_id is None:
            return
        try:
            await self._app.job_manager.retry_job_by_id_async(job_id=job_id, retry_at=datetime.now(UTC))
            _log.info("run_taken_over", job_id=job_id)
        except ConnectorException:
            # Another replica's reaper was first.
            _log.debug("job_already_requeued", job_id=job_id)


@asynccontextmanager
async def dispatch(
    database_url: str, execute: ExecuteRun, *, concurrency: int = 16, stop_within: float = 3.0
) -> AsyncIterator[Dispatch]:
    """Give the dispatch of this process.

    Args:
        database_url: `postgresql+asyncpg://…`, already migrated.
        execute: Runs one run.
        concurrency: How many runs this process runs at a time; runs of one user never overlap, whoever runs them.
        stop_within: Seconds that running runs get to reach a good place when the process stops.
    """
    connector = PsycopgConnector(
        conninfo=database_url.replace("+asyncpg", ""),
        kwargs={"options": f"-c search_path={SCHEMA}"},
        min_size=1,
        max_size=4,
    )
    app = App(connector=connector)

    async def execute_run(run_id: str) -> None:
        await execute(run_id)

    # Whatever ends the work on a run before its end, a stop of this process included, puts its job back into the queue.
    app.task(name=TASK, queue=QUEUE, retry=RetryStrategy(wait=0, linear_wait=1))(execute_run)
    async with app.open_async():
        yield Dispatch(app, concurrency=concurrency, stop_within=stop_within)
