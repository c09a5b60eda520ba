"""The budget of a run: checked before each call, over all its groups together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from orchestrator.agents.domain import Budgets
from orchestrator.runs.domain import BudgetExceeded, EffectKind
from orchestrator.runs.progress import READING_TOOLS, Progress

Clock = Callable[[], datetime]
"""Tells the time, with its zone."""


class Budget:
    """What is left of a run's limits.

    What was used is the journal's to say; here is added only what has been granted and is not yet journaled. Granting
    does not wait for anything, so concurrent groups never get more than there is.
    """

    def __init__(self, limits: Budgets, progress: Progress, *, started_at: datetime, clock: Clock) -> None:
        self._limits = limits
        self._progress = progress
        self._started_at = started_at
        self._clock = clock
        self._model_calls = 0
        self._tool_calls = 0
        self._creates = 0

    @contextmanager
    def model_call(self) -> Iterator[None]:
        """Grant one model call, which is journaled as begun within the block.

        Raises:
            BudgetExceeded: a limit of the run is reached.
        """
        used, limits = self._progress.usage, self._limits
        self._check_time()
        _check(used.model_calls + self._model_calls, limits.max_model_calls, "model calls")
        _check(used.input_tokens + used.output_tokens, limits.max_tokens, "tokens")
        self._model_calls += 1
        try:
            yield
        finally:
            self._model_calls -= 1

    @contextmanager
    def tool_call(self, tool: str) -> Iterator[None]:
        """Grant one tool call, which is journaled with its answer within the block.

        Raises:
            BudgetExceeded: a limit of the run is reached.
        """
        used, limits = self._progress.usage, self._limits
        creates = int(tool.startswith("create_"))
        self._check_time()
        _check(used.tool_calls + self._tool_calls, limits.max_tool_calls, "tool calls")
        if tool in READING_TOOLS:
            _check(used.read_bytes, limits.max_read_bytes, "bytes read")
        if creates:
            created = self._progress.counts(EffectKind.CREATED.value).total()
            _check(created + self._creates, limits.max_creates, "new records")
        self._tool_calls += 1
        self._creates += creates
        try:
            yield
        finally:
            self._tool_calls -= 1
            self._creates -= creates

    def time_left(self) -> timedelta:
        """Return how much longer the run may go on; not below zero."""
        return max(self._limits.max_wall_time - (self._clock() - self._started_at), timedelta(0))

    def _check_time(self) -> None:
        limit = self._limits.max_wall_time
        if self._clock() - self._started_at >= limit:
            raise BudgetExceeded(f"The run reached its limit of {limit.total_seconds():g} seconds.")


def _check(used: int, limit: int, what: str) -> None:
    if used >= limit:
        raise BudgetExceeded(f"The run reached its limit of {limit} {what}.")
