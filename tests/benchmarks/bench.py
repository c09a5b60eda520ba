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


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value below which so many percent of the values are.

    Raises:
        ValueError: there are no values.
    """
    if len(values) == 1:
        return values[0]
    return quantiles(values, n=100, method="inclusive")[percent - 1]
