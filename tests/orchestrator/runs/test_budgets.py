"""The budget of a run."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta

import pytest

from orchestrator.agents.domain import Budgets
from orchestrator.runs.budgets import Budget
from orchestrator.runs.domain import BudgetExceeded, Effect, EffectKind
from orchestrator.runs.progress import Progress
from tests.fakes.journals import STARTED_AT
from tests.orchestrator.runs.lab import ManualClock


def budget(limits: Budgets, progress: Progress | None = None, clock: ManualClock | None = None) -> Budget:
    return Budget(limits, progress or Progress(), started_at=STARTED_AT, clock=clock or ManualClock())


def test_calls_under_way_count_before_they_are_journaled() -> None:
    limit = budget(Budgets(max_model_calls=2, max_tool_calls=2))

    with ExitStack() as stack:
        stack.enter_context(limit.model_call())
        stack.enter_context(limit.model_call())
        stack.enter_context(limit.tool_call("list_tasks"))
        stack.enter_context(limit.tool_call("list_tasks"))
        with pytest.raises(BudgetExceeded, match="limit of 2 model calls"):
            stack.enter_context(limit.model_call())
        with pytest.raises(BudgetExceeded, match="limit of 2 tool calls"):
            stack.enter_context(limit.tool_call("list_tasks"))

    with limit.model_call(), limit.tool_call("list_tasks"):
        pass


def test_what_the_journal_holds_counts() -> None:
    progress = Progress()
    progress.usage = progress.usage.plus(model_calls=3, input_tokens=60, output_tokens=40, tool_calls=5, read_bytes=10)
    progress.effects = [Effect(kind=EffectKind.CREATED, entity_type="task", entity_id="1", title="x")]

    for limits, message in [
        (Budgets(max_model_calls=3), "model calls"),
        (Budgets(max_tokens=100), "tokens"),
        (Budgets(max_wall_time=timedelta(0)), "0 seconds"),
    ]:
        with pytest.raises(BudgetExceeded, match=message), budget(limits, progress).model_call():
            pass
    for limits, tool, message in [
        (Budgets(max_tool_calls=5), "list_tasks", "tool calls"),
        (Budgets(max_read_bytes=10), "read_file_content", "bytes read"),
        (Budgets(max_creates=1), "create_note", "new records"),
    ]:
        with pytest.raises(BudgetExceeded, match=message), budget(limits, progress).tool_call(tool):
            pass


def test_a_limit_of_one_kind_does_not_stop_calls_of_another() -> None:
    progress = Progress()
    progress.usage = progress.usage.plus(read_bytes=10)

    limit = budget(Budgets(max_read_bytes=10, max_creates=0), progress)

    with limit.tool_call("list_tasks"), limit.tool_call("update_task"), limit.model_call():
        pass


def test_time_runs_from_the_start_of_the_run() -> None:
    clock = ManualClock()
    limit = budget(Budgets(max_wall_time=timedelta(minutes=1)), clock=clock)
    clock.move(timedelta(seconds=59))
    with limit.model_call(), limit.tool_call("list_tasks"):
        pass

    clock.move(timedelta(seconds=1))

    with pytest.raises(BudgetExceeded, match="60 seconds"), limit.tool_call("list_tasks"):
        pass


def test_creates_under_way_count() -> None:
    limit = budget(Budgets(max_creates=1))

    with limit.tool_call("create_task"), pytest.raises(BudgetExceeded), limit.tool_call("create_note"):
        pass
