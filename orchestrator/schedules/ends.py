"""What a run's end means for its agent's schedule."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from orchestrator.schedules.ports import Schedules

ExecuteRun = Callable[[str], Awaitable[None]]


def counting_ends(execute: ExecuteRun, schedules: Schedules) -> ExecuteRun:
    """Return `execute` with its run counted for the agent afterwards.

    A worker that dies in between leaves its job in the queue: whoever takes it over finds the run terminal, and
    counts it.
    """

    async def execute_and_count(run_id: str) -> None:
        await execute(run_id)
        await schedules.run_ended(run_id)

    return execute_and_count
