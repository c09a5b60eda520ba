"""What a change to the workspace knows of the call that makes it, and what it hands back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from device_bridge.agent.domain import Effect, JsonObject, RunContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """One call inside the transaction that carries its effect and its ledger entry."""

    connection: sqlite3.Connection
    context: RunContext
    now: str
    """The time of all its changes: ISO 8601, UTC, microseconds."""
    new_id: Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a call did."""

    result: JsonObject
    effects: tuple[Effect, ...] = ()
