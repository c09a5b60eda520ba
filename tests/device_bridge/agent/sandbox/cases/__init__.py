"""The 68 adversarial cases of the sandbox, P1 to P68, each as a check that runs on every back end.

A case that Linux cannot show is in the table too, with the reason.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.device_bridge.agent.sandbox.stage import Stage

Check = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the table: exactly one of `check` and `elsewhere` is set."""

    title: str
    check: Check | None = None
    elsewhere: str = ""
    """Why the row cannot run on Linux."""


TABLE: dict[str, Case] = {}


def case(number: int, title: str) -> Callable[[Check], Check]:
    """Enter the decorated check into the table as row P`number`."""

    def enter(check: Check) -> Check:
        _enter(number, Case(title=title, check=check))
        return check

    return enter


def elsewhere(number: int, title: str, reason: str) -> None:
    """Enter row P`number`, which needs another operating system."""
    _enter(number, Case(title=title, elsewhere=reason))


def _enter(number: int, row: Case) -> None:
    name = f"P{number}"
    assert name not in TABLE, f"{name} is in the table twice"
    TABLE[name] = row
