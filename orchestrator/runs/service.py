"""What can be done with runs, whoever asks: start, read, wait, watch, cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta

from adiuva_rpc.errors import OutOfRange
from orchestrator.agents.domain import Agent, AgentDefinition
from orchestrator.runs.domain import Run, Trigger
from orchestrator.runs.events import StoredEvent
from orchestrator.runs.ports import Agents, Bell, Journals, NewRun, Reports, RunQuery, Runs
from orchestrator.runs.report import RunReport, report_of

PAGE_OF_EVENTS = 200
DEFAULT_WAIT = timedelta(seconds=30)
MAX_WAIT = timedelta(seconds=300)


Tell = Callable[[StoredEvent | None], Awaitable[None]]


class CursorPastEnd(OutOfRange):
    """The run has no event with this seq yet."""

    reason = "CURSOR_PAST_END"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run with what its journal tells."""

    run: Run
    report: RunReport


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRun:
    """A request for a run: of a stored agent, or of a definition that the caller keeps itself."""

    user_id: str
    request_id: str
    request_hash: str
    subject: str | AgentDefinition
    """The agent's id, or the definition, already checked."""
    trigger: Trigger
    slot_time: datetime | None = None
    validate_only: bool = False


class RunService:
    """The use cases of runs."""

    def __init__(self, *, runs: Runs, reports: Reports, journals: Journals, agents: Agents, bell: Bell) -> None:
        self._runs = runs
        self._reports = reports
        self._journals = journals
        self._agents = agents
        self._bell = bell

    async def start(self, request: StartRun) -> RunRecord | AgentDefinition:
        """Create the run; with `validate_only` answer the definition that it would have.

        Raises:
            adiuva_rpc.errors.NotFound: the user has no such agent.
            adiuva_rpc.errors.AlreadyExists: the request_id was used for another request.
            adiuva_rpc.errors.ResourceExhausted: too many runs of the user wait.
        """
        agent: Agent | None = None
        if isinstance(request.subject, AgentDefinition):
            definition = request.subject
        else:
            agent = await self._agents.get(request.user_id, request.subject)
            definition = agent.definition
        if request.validate_only:
            return definition
        run = await self._runs.start(
            NewRun(
                user_id=request.user_id,
                agent_id=agent.agent_id if agent else "",
                definition=definition,
                trigger=request.trigger,
                request_id=request.request_id,
                request_hash=request.request_hash,
                slot_time=request.slot_time,
            )
        )
        return await self._record(run)

    async def get(self, user_id: str, run_id: str) -> RunRecord:
        """Return the run as it stands.

        Raises:
            adiuva_rpc.errors.NotFound: the user has no such run.
        """
        return await self._record(await self._runs.get(user_id, run_id))

    async def page(self, query: RunQuery) -> list[RunRecord]:
        """Return the runs, newest first."""
        return [await self._record(run) for run in await self._runs.page(query)]

    async def wait(self, user_id: str, run_id: str, timeout: timedelta) -> RunRecord:
        """Return the run when it is terminal, or as it stands after the timeout.

        Raises:
            adiuva_rpc.errors.NotFound: the user has no such run.
        """
        try:
            async with asyncio.timeout(min(timeout, MAX_WAIT).total_seconds()):
                async with aclosing(self._bell.ringing(f"run:{run_id}")) as rings:
                    async for _ in rings:
                        if (await self._runs.get(user_id, run_id)).state.terminal:
                            break
        except TimeoutError:
            pass
        return await self.get(user_id, run_id)

    async def watch(self, user_id: str, run_id: str, after_seq: int, tell: Tell) -> None:
        """Tell the run's events after the seq, then each as it is committed, up to the one that ends the run.

        None is told when nothing happened for 15 s.

        Raises:
            adiuva_rpc.errors.NotFound: the user has no such run.
            CursorPastEnd: the run has no event with this seq.
        """
        run = await self._runs.get(user_id, run_id)
        if after_seq and not await self._journals.read(run.run_id, after_seq=after_seq - 1, limit=1):
            raise CursorPastEnd
        seq = after_seq
        async with aclosing(self._bell.ringing(f"run:{run_id}")) as rings:
            async for _ in rings:
                quiet = True
                while events := await self._journals.read(run_id, after_seq=seq, limit=PAGE_OF_EVENTS):
                    quiet = False
                    for entry in events:
                        seq = entry.seq
                        await tell(entry)
                # The state is read after the events: a terminal run has written its last one.
                if (await self._runs.get(user_id, run_id)).state.terminal:
                    for entry in await self._journals.read(run_id, after_seq=seq):
                        await tell(entry)
                    return
                if quiet:
                    await tell(None)

    async def cancel(self, user_id: str, run_id: str, reason: str) -> RunRecord:
        """Ask for the run's end, and return the run as it then stands.

        Raises:
            adiuva_rpc.errors.NotFound: the user has no such run.
        """
        return await self._record(await self._runs.request_cancel(user_id, run_id, reason))

    async def _record(self, run: Run) -> RunRecord:
        if run.epoch == 0 and not run.state.terminal:
            return RunRecord(run=run, report=RunReport())
        if run.state.terminal and (kept := await self._reports.report(run.run_id)):
            return RunRecord(run=run, report=kept)
        report = report_of(await self._journals.read(run.run_id))
        if run.state.terminal:
            await self._reports.keep_report(run.run_id, report)
        return RunRecord(run=run, report=report)
