"""What a benchmark finds out: figures, their floors and their targets. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique


@unique
class Of(Enum):
    """Which number of a figure a target is about."""

    RATIO = "ratio"
    VALUE = "value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a figure has to reach."""

    of: Of
    limit: float
    at_least: bool
    """Whether the limit is a lower one."""

    def met(self, number: float) -> bool:
        """Tell whether the number reaches the target."""
        return number >= self.limit if self.at_least else number <= self.limit


def ratio_at_least(limit: float) -> Target:
    """The figure is to be so many times its floor, or more."""
    return Target(of=Of.RATIO, limit=limit, at_least=True)


def ratio_at_most(limit: float) -> Target:
    """The figure is to be so many times its floor, or less."""
    return Target(of=Of.RATIO, limit=limit, at_least=False)


def at_least(limit: float) -> Target:
    """The figure itself is to be this, or more."""
    return Target(of=Of.VALUE, limit=limit, at_least=True)


def at_most(limit: float) -> Target:
    """The figure itself is to be this, or less."""
    return Target(of=Of.VALUE, limit=limit, at_least=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table."""

    what: str
    value: float
    unit: str
    floor: float | None = None
    """In the same unit; None where nothing could be a floor."""
    floor_is: str = ""
    target: Target | None = None
    """None for a figure that only explains others."""

    @property
    def ratio(self) -> float | None:
        """The figure in floors; None without one."""
        return self.value / self.floor if self.floor else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        number = self.value if self.target.of is Of.VALUE else self.ratio
        return number is not None and self.target.met(number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one benchmark found out, or why it found nothing."""

    name: str
    seconds: float
    figures: tuple[Figure, ...] = ()
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where the figures come from: another machine has others."""

    cores: int
    processor: str
    system: str
    python: str
    grpcio: str
    protobuf: str
    load_before: float
    """Processes that wanted to run in the last minute before. A busy machine spoils the figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A whole run of the benchmarks."""

    machine: Machine
    scale: str
    parts: tuple[Part, ...]
