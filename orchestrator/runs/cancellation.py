"""Ending a run that somebody cancelled: within seconds, and with a journal that tells all that happened."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from orchestrator.runs.domain import RunCancelled

T = TypeVar("T")


class Cancellation:
    """The wish that a run may end, handed in by whoever runs it.

    Not the cancellation of the task: that one means that the process stops and the run goes on elsewhere.
    """

    def __init__(self) -> None:
        self.requested = False
        self.reason = ""
        self._under_way: set[asyncio.Timeout] = set()

    def request(self, reason: str) -> None:
        """Ask for the run's end. The first reason stays."""
        if not self.requested:
            self.requested = True
            self.reason = reason
            for work in self._under_way:
                work.reschedule(asyncio.get_running_loop().time())

    async def interrupt(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return what the work returns, or abandon it as soon as the run is to end.

        Raises:
            RunCancelled: the run is to end; also when it was already, and then nothing was begun.
        """
        if self.requested:
            raise self._error()
        # A timeout without a time is the one thing that tells our own interruption from that of the whole task, also
        # when both come at once. A TaskGroup around the work would now and then lose the task's (before Python 3.13).
        try:
            async with asyncio.timeout(None) as scope:
                self._under_way.add(scope)
                try:
                    return await work()
                finally:
                    self._under_way.discard(scope)
        except TimeoutError:
            if scope.expired():
                raise self._error() from None
            raise

    def _error(self) -> RunCancelled:
        return RunCancelled(self.reason or "The run was cancelled.")
