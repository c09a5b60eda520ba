"""Ending a run that somebody cancelled: within seconds, and with a journal that tells all that happened."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from orchestrator.runs.domain import RunCancelled
from orchestrator.runs.together import decisive

T = TypeVar("T")


class Cancellation:
    """The wish that a run may end, handed in by whoever runs it.

    Not the cancellation of the task: that one means that the process stops and the run goes on elsewhere.
    """

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self.reason = ""

    @property
    def requested(self) -> bool:
        """Whether somebody asked."""
        return self._asked.is_set()

    def request(self, reason: str) -> None:
        """Ask for the run's end. The first reason stays."""
        if not self.requested:
            self.reason = reason
            self._asked.set()

    async def interrupt(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return what the work returns, or abandon it as soon as the run is to end.

        Raises:
            RunCancelled: the run is to end; also when it was already, and then nothing was begun.
        """
        if self.requested:
            raise self._error()
        try:
            async with asyncio.TaskGroup() as tasks:
                guard = tasks.create_task(self._raise_when_asked())
                result = await work()
                guard.cancel()
        except BaseExceptionGroup as group:
            raise decisive(group) from None
        return result

    async def _raise_when_asked(self) -> None:
        await self._asked.wait()
        raise self._error()

    def _error(self) -> RunCancelled:
        return RunCancelled(self.reason or "The run was cancelled.")
