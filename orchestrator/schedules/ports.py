"""What schedules need from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, unique
from typing import Protocol

from orchestrator.runs.domain import Trigger
from orchestrator.runs.ports import DeviceInfo
from orchestrator.schedules.decisions import Candidate, Decision

Clock = Callable[[], datetime]

Decide = Callable[[Candidate], Decision | None]
"""Pure and quick: it runs in a transaction. None leaves the agent as it is."""

CHANGED = "schedules"
"""The bell's topic: an agent may be due sooner than was known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A decision that has been committed."""

    candidate: Candidate
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one transaction looked at."""

    decided: Sequence[Decided]
    """The decisions that were carried out."""
    more_after: str = ""
    """The agent id after which there may be more; empty when there are no more."""


class Schedules(Protocol):
    """The agents as far as time concerns them. Each method is one transaction.

    A decision is carried out as a whole or not at all: its run with its job, the runs it cancels, and what the agent
    remembers. The run's id follows from the agent and the slot, so no slot has two runs.

    Raises:
        adiuva_rpc.errors.Unavailable: The database cannot be used now; nothing was decided.
    """

    async def claim_due(self, now: datetime, decide: Decide, *, limit: int) -> Claim:
        """Decide about agents whose time has come, the longest overdue first, without those somebody else is at.

        There may be more when `limit` of them were found: then `more_after` is not empty.
        """
        ...

    async def claim_overdue(
        self, users: Collection[str], now: datetime, decide: Decide, *, limit: int, after: str = ""
    ) -> Claim:
        """Decide about agents of these users that wait for a device, are due, or have never run, in order of their ids.

        Runs of these decisions have the trigger DEVICE_CONNECTED.
        """
        ...

    async def next_due(self) -> datetime | None:
        """Return when the next agent is due, None when none ever is."""
        ...

    async def run_ended(self, run_id: str) -> None:
        """Count a terminal run for its agent, once, and pause the agent after as many failures as its schedule says."""
        ...


@unique
class Sight(Enum):
    """What is known of the devices as a whole."""

    LOST = "lost"
    """Nobody knows any more what is connected."""
    COMPLETE = "complete"
    """Every device has been told of since."""


class Devices(Protocol):
    """Where presence comes from."""

    def sightings(self) -> AsyncIterator[DeviceInfo | Sight]:
        """Yield LOST, every device as it stands, COMPLETE, then each change, for ever; after a loss all over again."""
        ...


class Alarm(Protocol):
    """How the ticker waits."""

    async def wait(self, until: datetime) -> None:
        """Return at this time, or sooner: when a schedule has changed, and now and then for no reason."""
        ...


class Meter(Protocol):
    """Counts what schedules do."""

    def decided(self, one: Decided, *, now: datetime, trigger: Trigger) -> None:
        """Count a decision that has been committed."""
        ...
