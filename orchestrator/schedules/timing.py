"""When an agent is looked at next once a user has created or changed it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.agents.domain import Agent
from orchestrator.schedules.domain import next_firing


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What an agent's change makes of its time."""

    next_due_at: datetime | None
    served_until: datetime | None = None
    """Slots up to here do not start any more; None for as before."""


def timing_after(before: Agent | None, after: Agent) -> Timing | None:
    """Return the timing of an agent that was just created or changed; None when the change does not touch it.

    Args:
        before: The agent before the change; None for a new one.
        after: The agent as it is now; its `updated_at` is the present time.
    """
    now = after.updated_at
    firing = None
    if after.schedule is not None and not after.paused:
        firing = next_firing(after.schedule, after.agent_id, now)
    next_due_at = None if firing is None else firing.time
    if before is None:
        return Timing(next_due_at=next_due_at)
    resumed = before.paused and not after.paused
    rescheduled = (before.schedule, before.schedule_problem) != (after.schedule, after.schedule_problem)
    if resumed or (rescheduled and after.last_run_at is not None):
        return Timing(next_due_at=next_due_at, served_until=now)
    if rescheduled or before.paused != after.paused:
        return Timing(next_due_at=next_due_at)
    if before.waits_for_device and before.definition.source != after.definition.source:
        # It may be another device's now.
        return Timing(next_due_at=now)
    return None
