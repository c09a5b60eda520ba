"""What a run's end means for its agent."""

from __future__ import annotations

import pytest

from orchestrator.schedules.ends import counting_ends
from tests.fakes.schedules import InMemorySchedules


class Ends(InMemorySchedules):
    def __init__(self) -> None:
        super().__init__()
        self.ended: list[str] = []

    async def run_ended(self, run_id: str) -> None:
        self.ended.append(run_id)


async def test_a_run_is_counted_after_it_was_executed() -> None:
    schedules, order = Ends(), []

    async def execute(run_id: str) -> None:
        order.append((run_id, list(schedules.ended)))

    await counting_ends(execute, schedules)("r1")

    assert order == [("r1", [])]
    assert schedules.ended == ["r1"]


async def test_a_run_that_goes_on_elsewhere_is_not_counted() -> None:
    schedules = Ends()

    async def execute(_run_id: str) -> None:
        raise OSError("the database is away")

    with pytest.raises(OSError, match="away"):
        await counting_ends(execute, schedules)("r1")

    assert schedules.ended == []
