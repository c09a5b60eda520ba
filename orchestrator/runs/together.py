"""Doing several things of a run at the same time, so that what has begun is also journaled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from orchestrator.runs.domain import WorkerStopped

T = TypeVar("T")


async def together(works: Sequence[Callable[[], Awaitable[T]]], *, at_most: int) -> list[T]:
    """Do all works, `at_most` of them at a time, and return their results in order.

    When one fails no further one begins, but those under way go on to their own end: an effect whose answer is on its
    way must not lose its entry in the journal. Then the first error, in the order of the works, is raised by itself,
    not in a group. `WorkerStopped` and cancellation from outside end everything at once.
    """
    if len(works) == 1:
        return [await works[0]()]
    results: dict[int, T] = {}
    errors: dict[int, Exception] = {}
    slots = asyncio.Semaphore(at_most)

    async def one(index: int) -> None:
        async with slots:
            if errors:
                return
            try:
                results[index] = await works[index]()
            except WorkerStopped:
                raise
            except Exception as error:  # noqa: BLE001 - kept, and raised once the others have ended
                errors[index] = error

    try:
        async with asyncio.TaskGroup() as tasks:
            for index in range(len(works)):
                tasks.create_task(one(index))
    except BaseExceptionGroup as group:
        raise _first(group) from None
    if errors:
        raise errors[min(errors)]
    return [results[index] for index in range(len(works))]


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
