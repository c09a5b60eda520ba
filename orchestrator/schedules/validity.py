"""Which schedules are valid. Pure; the answer does not depend on the present time."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from importlib import resources
from typing import Final
from zoneinfo import ZoneInfo

from croniter import croniter
from croniter.croniter import CroniterError

from adiuva_rpc.errors import InvalidArgument
from orchestrator.agents.domain import CatchUp, Schedule
from orchestrator.schedules.slots import EARLIEST, LATEST, slot_after

MAX_CRON_CHARS: Final = 200
MAX_JITTER: Final = timedelta(hours=1)
MIN_GRACE: Final = timedelta(seconds=1)
MAX_GRACE: Final = timedelta(hours=24)
MAX_FAILURES: Final = 1_000

_VALUE = r"(\d{1,2}|[a-z]{3})"
# Without what makes croniter depend on chance (`R`, `H`) or means something else elsewhere (`?`, `W`, a sixth field).
_PLAIN = re.compile(rf"(\*|{_VALUE}(-{_VALUE})?)(/\d{{1,2}})?", re.ASCII)
_LAST_DAY = re.compile(r"l")
_NTH_WEEKDAY = re.compile(rf"{_VALUE}#[1-5]", re.ASCII)
_TICK = timedelta(microseconds=1)
_FIELDS: Final = ("minute", "hour", "day of month", "month", "day of week")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a schedule is not valid."""

    field: str
    """The field of `Schedule`, as in the proto: "cron", "time_zone"."""
    description: str

    def __str__(self) -> str:
        return f"{self.field}: {self.description}"


def check(schedule: Schedule) -> None:
    """Refuse a schedule that is not valid.

    Raises:
        InvalidArgument: The field, such as "schedule.cron", and why.
    """
    found = problem(schedule)
    if found is not None:
        raise InvalidArgument(f"schedule.{found.field}", found.description)


@lru_cache(maxsize=1024)
def problem(schedule: Schedule) -> Problem | None:
    """Return the first thing that is wrong with a schedule, None when it is valid."""
    for field, rule in _RULES.items():
        if description := rule(schedule):
            return Problem(field, description)
    return None


def _cron(schedule: Schedule) -> str:
    fields = schedule.cron.lower().split(" ")
    if len(schedule.cron) > MAX_CRON_CHARS:
        return f"at most {MAX_CRON_CHARS} characters"
    if len(fields) != len(_FIELDS) or not all(fields):
        return "five fields with one space between them are needed: minute, hour, day of month, month, day of week"
    for place, (name, text) in enumerate(zip(_FIELDS, fields, strict=True)):
        if not _is_field(place, text):
            return f"the {name} field is not understood; an example of all five is '30 8 * * mon-fri'"
    return "" if _fires(schedule) else "it never fires between start_time and end_time, or never at all"


def _is_field(place: int, text: str) -> bool:
    for item in text.split(","):
        last_day = place == _FIELDS.index("day of month") and _LAST_DAY.fullmatch(item)
        nth_weekday = place == _FIELDS.index("day of week") and _NTH_WEEKDAY.fullmatch(item)
        if not (_PLAIN.fullmatch(item) or last_day or nth_weekday):
            return False
    alone = ["*"] * len(_FIELDS)
    alone[place] = text
    try:
        croniter.expand(" ".join(alone))
    except CroniterError:
        return False
    return True


def _fires(schedule: Schedule) -> bool:
    before = (schedule.start_time or EARLIEST + _TICK) - _TICK
    first = slot_after(schedule.cron, ZoneInfo(schedule.time_zone), before)
    return first is not None and (schedule.end_time is None or first < schedule.end_time)


def _time_zone(schedule: Schedule) -> str:
    known = schedule.time_zone in _zones()
    return "" if known else "an IANA time zone is needed, such as 'Europe/Rome' or 'UTC'"


def _jitter(schedule: Schedule) -> str:
    return "" if timedelta(0) <= schedule.jitter <= MAX_JITTER else "must be from 0 to 1 hour"


def _grace(schedule: Schedule) -> str:
    if schedule.grace is None:
        return ""
    if schedule.catch_up is CatchUp.COALESCE:
        return "means nothing with CATCH_UP_COALESCE, which starts a missed slot however late; leave it unset"
    return "" if MIN_GRACE <= schedule.grace <= MAX_GRACE else "must be from 1 second to 24 hours"


def _start_time(schedule: Schedule) -> str:
    return _bounded(schedule.start_time)


def _end_time(schedule: Schedule) -> str:
    if fault := _bounded(schedule.end_time):
        return fault
    backwards = schedule.start_time and schedule.end_time and schedule.end_time <= schedule.start_time
    return "must be later than start_time" if backwards else ""


def _bounded(time: datetime | None) -> str:
    if time is None:
        return ""
    if time.tzinfo is None:
        return "must have a time zone"
    return "" if EARLIEST <= time < LATEST else "must be in the years 1970 to 2999"


def _pause_after_failures(schedule: Schedule) -> str:
    return "" if 0 <= schedule.pause_after_failures <= MAX_FAILURES else f"must be from 0 to {MAX_FAILURES}"


_RULES: Final[dict[str, Callable[[Schedule], str]]] = {
    "time_zone": _time_zone,
    "jitter": _jitter,
    "grace": _grace,
    "start_time": _start_time,
    "end_time": _end_time,
    "pause_after_failures": _pause_after_failures,
    # Last: whether it ever fires depends on the zone and the times.
    "cron": _cron,
}


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    # tzdata's own list, not what this machine's file system happens to hold: every replica gives the same answer.
    return frozenset(resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())
