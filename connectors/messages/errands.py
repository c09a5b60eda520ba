"""What is under way at a provider for one fetch; the caller hears at once when the provider wants a pause."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar

_T = TypeVar("_T")


@asynccontextmanager
async def owned_tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group whose tasks return what goes wrong in them: only its owner raises, and so it raises one error.

    Whatever is still under way at the end of the block is cancelled.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


class Errands:
    """The errands of one fetch.

    Args:
        tasks: Owns them. They must not raise.
        tell: Tells the caller until when the provider wants a pause.
    """

    def __init__(self, tasks: asyncio.TaskGroup, tell: Callable[[datetime], Awaitable[None]]) -> None:
        self._tasks = tasks
        self._tell = tell
        self._stirred = asyncio.Event()
        self._pause: datetime | None = None
        self._told: datetime | None = None

    def asked_to_wait(self, until: datetime) -> None:
        """The provider wants a pause, for `Session.on_wait`."""
        if self._pause is None or until > self._pause:
            self._pause = until
            self._stirred.set()

    def begin(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Begin an errand."""
        task = self._tasks.create_task(work)
        task.add_done_callback(lambda _task: self._stirred.set())
        return task

    async def result(self, task: asyncio.Task[_T]) -> _T:
        """Wait for an errand."""
        while not task.done():
            # Cleared before the caller is told: a wish that comes meanwhile is told in the next round.
            self._stirred.clear()
            await self._tell_pause()
            if not task.done():
                await self._stirred.wait()
        await self._tell_pause()
        return task.result()

    async def _tell_pause(self) -> None:
        if self._pause is not None and self._pause != self._told:
            self._told = self._pause
            await self._tell(self._pause)
