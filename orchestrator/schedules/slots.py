"""The slots of a cron expression in a time zone.

The five fields are read in the wall time of the zone. A slot is one wall time that they match, and is known by its
instant:

- A wall time that the zone skips is a slot at the next minute that exists. Several in one gap, and one at its end, are
  one slot.
- A wall time that the zone repeats is a slot once, the first time.
- When both the day of the month and the day of the week are restricted, either matches, as cron has it.

croniter evaluates the fields on naive wall times; everything about zones is here.
"""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from croniter import croniter
from croniter.croniter import CroniterBadDateError

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(3000, 1, 1, tzinfo=UTC)
"""Slots lie between these two."""

_MINUTE = timedelta(minutes=1)


def slot_after(cron: str, zone: ZoneInfo, after: datetime) -> datetime | None:
    """Return the instant, in UTC, of the first slot later than `after`; None when it is past the year 2999.

    Args:
        cron: Five fields that croniter accepts.
        zone: In which they are read.
        after: Between EARLIEST and LATEST.
    """
    wall = _wall(after, zone)
    while (found := _next_match(cron, wall)) is not None:
        if (slot := _instant(found, zone)) > after:
            return slot if slot < LATEST else None
        # `after` is in the second pass of a repeated hour: what follows on the clock came in the first pass.
        wall = found
    return None


def slot_at_or_before(cron: str, zone: ZoneInfo, latest: datetime) -> datetime | None:
    """Return the instant, in UTC, of the last slot that is not later than `latest`; None before 1970.

    Args:
        cron: Five fields that croniter accepts.
        zone: In which they are read.
        latest: Between EARLIEST and LATEST.
    """
    local = latest.astimezone(zone)
    # Everything on the clock up to the end of a repeated hour came in its first pass.
    repeated = (local.replace(fold=0).utcoffset() or timedelta()) - (local.utcoffset() or timedelta())
    wall = _wall(latest, zone) + max(repeated, timedelta()) + _MINUTE
    while (found := _previous_match(cron, wall)) is not None:
        if (slot := _instant(found, zone)) <= latest:
            return slot if slot >= EARLIEST else None
        wall = found
    return None


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant of a wall time: the first of two, and for none that of the next minute that exists."""
    while True:
        instant = wall.replace(tzinfo=zone).astimezone(UTC)
        if instant.astimezone(zone).replace(tzinfo=None) == wall:
            return instant
        wall += _MINUTE


def _wall(instant: datetime, zone: ZoneInfo) -> datetime:
    """Return the wall time of an instant, down to its minute."""
    return instant.astimezone(zone).replace(tzinfo=None, second=0, microsecond=0, fold=0)


def _next_match(cron: str, wall: datetime) -> datetime | None:
    try:
        match: datetime = _evaluator(cron).get_next(datetime, start_time=wall)
    except CroniterBadDateError:
        return None
    return match


def _previous_match(cron: str, wall: datetime) -> datetime | None:
    try:
        match: datetime = _evaluator(cron).get_prev(datetime, start_time=wall)
    except CroniterBadDateError:
        return None
    return match


def _evaluator(cron: str) -> croniter:
    # croniter keeps its position in itself, so each evaluation gets a copy; parsing costs more than evaluating.
    return copy.copy(_parsed(cron))


@lru_cache(maxsize=1024)
def _parsed(cron: str) -> croniter:
    return croniter(cron, start_time=0.0)
