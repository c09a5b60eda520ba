"""A worker's way with one run: take it, go on from its journal, and listen for its cancellation."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import structlog

from adiuva_rpc.failpoints import failpoint
from adiuva_rpc.telemetry import run_in_logs
from orchestrator.runs.budgets import Clock
from orchestrator.runs.cancellation import Cancellation
from orchestrator.runs.domain import Fenced, Run
from orchestrator.runs.execute import execute
from orchestrator.runs.journal import open_journal
from orchestrator.runs.ports import Bell, Devices, Inbox, Journals, Model, Runs

_log = structlog.get_logger(__name__)


class Worker:
    """Runs runs that dispatch hands to it."""

    def __init__(
        self,
        *,
        runs: Runs,
        journals: Journals,
        devices: Devices,
        model: Model,
        bell: Bell,
        clock: Clock,
        inbox: Inbox | None = None,
    ) -> None:
        self._runs = runs
        self._journals = journals
        self._devices = devices
        self._model = model
        self._bell = bell
        self._clock = clock
        self._inbox = inbox

    async def run(self, run_id: str) -> None:
        """Run the run to its end. A run that is terminal, or that another worker has taken meanwhile, is left alone.

        Raises:
            ExceptionGroup: with JournalLost or a database error: the run goes on later, here or elsewhere.
            asyncio.CancelledError: the process stops: likewise.
        """
        run = await self._runs.claim(run_id)
        if run is None:
            return
        with run_in_logs(run_id):
            _log.info("run_claimed", epoch=run.epoch)
            failpoint("orchestrator.after_claim")
            cancellation = Cancellation()
            try:
                async with asyncio.TaskGroup() as tasks:
                    ears = tasks.create_task(self._listen(run, cancellation))
                    journal = await open_journal(run, self._journals)
                    await execute(
                        journal,
                        devices=self._devices,
                        model=self._model,
                        clock=self._clock,
                        inbox=self._inbox,
                        cancellation=cancellation,
                    )
                    ears.cancel()
                    _log.info("run_ended")
            except* Fenced:
                _log.info("run_taken_by_another_worker", epoch=run.epoch)

    async def _listen(self, run: Run, cancellation: Cancellation) -> None:
        async with aclosing(self._bell.ringing(f"cancel:{run.run_id}")) as rings:
            async for _ in rings:
                stored = await self._runs.get(run.user_id, run.run_id)
                if stored.cancel_requested:
                    cancellation.request(stored.cancel_reason)
                    return
