"""What a benchmark is given: how much to do, a database, and somebody to tell how far it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, unique
from pathlib import Path
from statistics import quantiles

ROOT = Path(__file__).resolve().parents[2]
WARM_UP_SECONDS = 0.3


@unique
class Scale(Enum):
    """How much a benchmark does."""

    FULL = "full"
    QUICK = "quick"
    """A first look: the same, shorter and with fewer repeats."""
    TINY = "tiny"
    """So little that the figures mean nothing; for the tests."""


def say_nothing(_text: str) -> None:
    """Tell nobody."""


def say_on_stderr(text: str) -> None:
    """Tell whoever sits in front of it."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The surroundings of a benchmark."""

    scale: Scale
    new_database: Callable[[], str]
    """Makes an empty database and returns its URL, `postgresql+asyncpg://…`."""
    directory: Path
    """For files, empty at the start."""
    say: Callable[[str], None] = field(default=say_nothing)


@dataclass(slots=True)
class Window:
    """The time in which calls count, after one in which they do not: every slot is busy when it begins."""

    since: float
    until: float
    took: list[float] = field(default_factory=list)
    """Seconds of each call that was answered in it."""

    @classmethod
    def of(cls, seconds: float) -> Window:
        """Return a window that is open for so long, and begins soon."""
        since = time.perf_counter() + min(WARM_UP_SECONDS, seconds)
        return cls(since, since + seconds)

    def answered(self, began: float, now: float) -> bool:
        """Count a call, and tell whether another one is to be made."""
        if self.since <= now < self.until:
            self.took.append(now - began)
        return now < self.until


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value below which so many percent of the values are.

    Raises:
        ValueError: there are no values.
    """
    if len(values) == 1:
        return values[0]
    return quantiles(values, n=100, method="inclusive")[percent - 1]
