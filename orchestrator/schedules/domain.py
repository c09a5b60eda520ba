"""When a schedule fires: pure rules, with the time passed in.

A firing is a slot (see `slots`) and the agent's own share of the jitter: the same for every slot, so that firings keep
their distances. A schedule that is not valid (see `validity`) never fires.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from orchestrator.agents.domain import CatchUp, Schedule
from orchestrator.schedules.slots import EARLIEST, LATEST, slot_after, slot_at_or_before
from orchestrator.schedules.validity import problem

DEFAULT_GRACE = timedelta(minutes=5)
MAX_MISSED = 1_000
"""`missed_slots` counts no further."""

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """One start of a schedule."""

    slot: datetime
    """The instant of the slot, in UTC: what a slot is known by. Of one agent, no two firings have the same."""
    time: datetime
    """When the run starts, in UTC: the slot and the agent's jitter."""
    local_time: datetime
    """`time` in the schedule's zone."""


def next_firing(schedule: Schedule, agent_id: str, after: datetime) -> Firing | None:
    """Return the first firing later than `after`.

    None when there is none before the schedule's end or the year 3000, and for a schedule that is not valid.

    Args:
        schedule: Of the agent.
        agent_id: Decides the agent's share of the jitter; empty for none.
        after: With a time zone.
    """
    return next(_firings(schedule, agent_id, after), None)


def firings(schedule: Schedule, agent_id: str, after: datetime, count: int) -> list[Firing]:
    """Return the first `count` firings later than `after`, in order; fewer when the schedule ends."""
    return list(islice(_firings(schedule, agent_id, after), count))


def last_firing(schedule: Schedule, agent_id: str, at: datetime) -> Firing | None:
    """Return the last firing that is not later than `at`; None when there is none, or the schedule is not valid."""
    if problem(schedule) is not None:
        return None
    zone, jitter = ZoneInfo(schedule.time_zone), jitter_of(schedule, agent_id)
    latest = _within(at) - jitter
    if schedule.end_time is not None:
        latest = min(latest, schedule.end_time - _TICK)
    slot = slot_at_or_before(schedule.cron, zone, latest)
    if slot is None or (schedule.start_time is not None and slot < schedule.start_time):
        return None
    return _firing(slot, jitter, zone)


def due(schedule: Schedule, agent_id: str, *, last: datetime | None, now: datetime) -> Firing | None:
    """Return the firing that is to start now, None when nothing is due.

    With COALESCE it is the newest slot that has come since `last`, however many have. With NONE it is the newest one,
    unless it is later than the grace period.

    Args:
        schedule: Of the agent.
        agent_id: Its id.
        last: The slot of its last run; for a run without a slot, when it started; the end of a pause, when that was
            later. None when it has never run: then the newest slot before `now` is due.
        now: The present time.
    """
    newest = last_firing(schedule, agent_id, now)
    if newest is None or (last is not None and newest.slot <= last):
        return None
    grace = DEFAULT_GRACE if schedule.grace is None else schedule.grace
    if schedule.catch_up is CatchUp.NONE and now - newest.time > grace:
        return None
    return newest


def is_overdue(schedule: Schedule, agent_id: str, *, last: datetime | None, now: datetime) -> bool:
    """Return whether a run is due: the agent has never run, or a slot has come since `last`. Arguments as of `due`."""
    return due(schedule, agent_id, last=last, now=now) is not None


def missed_slots(
    schedule: Schedule, agent_id: str, *, last: datetime, now: datetime, limit: int = MAX_MISSED
) -> list[Firing]:
    """Return the slots later than `last` whose firing is not later than `now`: the oldest, at most `limit`."""
    after = _within(last) + jitter_of(schedule, agent_id)
    return list(islice(takewhile(lambda firing: firing.time <= now, _firings(schedule, agent_id, after)), limit))


def jitter_of(schedule: Schedule, agent_id: str) -> timedelta:
    """Return how long after its slots an agent starts: whole seconds, less than the jitter, always the same."""
    if not agent_id:
        return timedelta(0)
    share = int.from_bytes(hashlib.sha256(agent_id.encode()).digest()[:8], "big") / 2**64
    return timedelta(seconds=int(schedule.jitter.total_seconds() * share))


def _firings(schedule: Schedule, agent_id: str, after: datetime) -> Iterator[Firing]:
    if problem(schedule) is not None:
        return
    zone, jitter = ZoneInfo(schedule.time_zone), jitter_of(schedule, agent_id)
    known = _within(after) - jitter
    if schedule.start_time is not None:
        known = max(known, schedule.start_time - _TICK)
    while (slot := slot_after(schedule.cron, zone, known)) is not None:
        if schedule.end_time is not None and slot >= schedule.end_time:
            return
        yield _firing(slot, jitter, zone)
        known = slot


def _firing(slot: datetime, jitter: timedelta, zone: ZoneInfo) -> Firing:
    time = slot + jitter
    return Firing(slot=slot, time=time, local_time=time.astimezone(zone))


def _within(time: datetime) -> datetime:
    """Return the time, or the nearest one that rules are kept for: arithmetic beyond would overflow."""
    return min(max(time, EARLIEST), LATEST)
