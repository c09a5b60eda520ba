"""What becomes of an agent that is looked at: pure rules over its schedule, its runs and its device."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from orchestrator.agents.domain import CatchUp, LocalDirectory, OnOffline, Overlap, Schedule
from orchestrator.runs.domain import RunState
from orchestrator.schedules.domain import Firing, due, jitter_of, last_firing, missed_slots, next_firing
from orchestrator.schedules.validity import problem

COALESCED: Final = "COALESCED"
"""Missed: a newer slot came before this one could start."""
PAST_GRACE: Final = "PAST_GRACE"
"""Missed: with CATCH_UP_NONE, nothing could start it within the grace period."""
RUN_UNDER_WAY: Final = "RUN_UNDER_WAY"
"""Skipped, with OVERLAP_SKIP."""
RUN_WAITING: Final = "RUN_WAITING"
"""Skipped, with OVERLAP_QUEUE_ONE: one run waits already."""
DEVICE_OFFLINE: Final = "DEVICE_OFFLINE"
"""Skipped, with ON_OFFLINE_SKIP."""

RETRY: Final = timedelta(seconds=10)
"""When an agent is looked at again that could not start for want of room, or while nobody knows what is connected."""
MAX_COUNTED: Final = 100
"""The missed slots of one absence are counted no further: what counts is that it was long."""

UNDECIDED: Final = timedelta(hours=1)

_TICK = timedelta(microseconds=1)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An agent that may be due, with what a decision needs to know."""

    agent_id: str
    user_id: str
    device_id: str
    """The device that it is bound to; empty for any of the user's."""
    schedule: Schedule | None
    schedule_problem: str = ""
    """Why what is stored cannot be read."""
    served_until: datetime | None = None
    """Slots up to here are dealt with: the last one that started, was missed or skipped; a run by hand; the end of a
    pause. None when it has never run."""
    created_at: datetime | None = None
    """No slot before this counts as missed."""
    under_way: tuple[tuple[str, RunState], ...] = ()
    """Its runs that are not terminal: id and state."""
    room: int = 1
    """How many more runs may wait for the user's other runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Slots that start no run."""

    count: int
    reason: str
    slot: datetime
    """The last of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of a candidate."""

    next_due_at: datetime | None
    """When to look at it again; None for not before something happens to it."""
    fire: Firing | None = None
    """Start a run for this slot."""
    cancel: tuple[str, ...] = ()
    """Runs to cancel before."""
    missed: Lost | None = None
    skipped: Lost | None = None
    served_until: datetime | None = None
    """Slots up to here are dealt with now; None for as many as before."""
    waits_for_device: bool = False
    invalid: str = ""
    """What is wrong with the schedule, if anything."""


def decide(candidate: Candidate, *, now: datetime, online: bool | None) -> Decision:
    """Return what becomes of a candidate at a time.

    Args:
        candidate: The agent.
        now: The present time.
        online: Whether a device that can serve it is connected; None while nobody knows.
    """
    found = schedule_problem(candidate)
    schedule = candidate.schedule
    if schedule is None or found:
        return Decision(next_due_at=None, invalid=found)
    if online is None:
        return Decision(next_due_at=now + RETRY)
    firing = due(schedule, candidate.agent_id, last=candidate.served_until, now=now)
    missed = _missed(schedule, candidate, firing, now)
    if firing is None:
        served = missed.slot if missed else None
        return Decision(next_due_at=_next(candidate, served, now), missed=missed, served_until=served)
    if not online and schedule.on_offline is OnOffline.WAIT:
        return Decision(next_due_at=None, waits_for_device=True)
    following = _next(candidate, firing.slot, now)
    reason = DEVICE_OFFLINE if not online else _overlap(schedule, candidate)
    if reason:
        skipped = Lost(count=1, reason=reason, slot=firing.slot)
        return Decision(next_due_at=following, missed=missed, skipped=skipped, served_until=firing.slot)
    if candidate.room <= 0:
        return Decision(next_due_at=now + RETRY)
    others = candidate.under_way if schedule.overlap is Overlap.CANCEL_OTHER else ()
    return Decision(
        next_due_at=following,
        fire=firing,
        cancel=tuple(run_id for run_id, _state in others),
        missed=missed,
        served_until=firing.slot,
    )


def decide_or_postpone(candidate: Candidate, *, now: datetime, online: bool | None) -> Decision:
    """Return what `decide` does; an agent that it cannot decide about is postponed, so that it is in nobody's way."""
    try:
        return decide(candidate, now=now, online=online)
    except Exception:  # noqa: BLE001 - whatever it is, it is this agent's alone; it is logged
        _log.exception("schedule_undecided", agent_id=candidate.agent_id)
        return Decision(next_due_at=now + UNDECIDED)


def schedule_problem(candidate: Candidate) -> str:
    """Return what is wrong with a candidate's schedule; empty when nothing is, or when it has none."""
    if candidate.schedule_problem or candidate.schedule is None:
        return candidate.schedule_problem
    return str(problem(candidate.schedule) or "")


def bound_device(source: object) -> str:
    """Return the device that an agent with this source is bound to; empty for any of the user's."""
    return source.device_id if isinstance(source, LocalDirectory) else ""


def pauses(schedule: Schedule | None, failures: int) -> bool:
    """Return whether an agent is paused after so many failed runs in a row."""
    return schedule is not None and 0 < schedule.pause_after_failures <= failures


def failures_after(failures: int, state: RunState) -> int:
    """Return how many runs have failed in a row once one more has ended so. A cancelled one says nothing."""
    if state is RunState.CANCELLED:
        return failures
    return failures + 1 if state is RunState.FAILED else 0


def _overlap(schedule: Schedule, candidate: Candidate) -> str:
    """Return why the runs that are under way make the agent skip its slot, empty when they do not."""
    states = [state for _run_id, state in candidate.under_way]
    if not states or schedule.overlap is Overlap.CANCEL_OTHER:
        return ""
    if schedule.overlap is Overlap.SKIP:
        return RUN_UNDER_WAY
    return RUN_WAITING if RunState.QUEUED in states else ""


def _missed(schedule: Schedule, candidate: Candidate, firing: Firing | None, now: datetime) -> Lost | None:
    """Return the slots that have passed without a run, but for the one that is to start."""
    since = candidate.served_until or candidate.created_at
    if since is None:
        return None
    until = now if firing is None else firing.time - _TICK
    passed = missed_slots(schedule, candidate.agent_id, last=since, now=until, limit=MAX_COUNTED)
    newest = last_firing(schedule, candidate.agent_id, until) if passed else None
    if newest is None:
        return None
    reason = PAST_GRACE if schedule.catch_up is CatchUp.NONE else COALESCED
    return Lost(count=len(passed), reason=reason, slot=newest.slot)


def _next(candidate: Candidate, served: datetime | None, now: datetime) -> datetime | None:
    """Return when the first slot after `served`, and after all that is dealt with, is due."""
    assert candidate.schedule is not None  # noqa: S101 - the caller has looked
    known = [time for time in (served, candidate.served_until) if time is not None]
    after = max([now, *(time + jitter_of(candidate.schedule, candidate.agent_id) for time in known)])
    firing = next_firing(candidate.schedule, candidate.agent_id, after)
    return None if firing is None else firing.time
