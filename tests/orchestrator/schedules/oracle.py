"""Slots, the slow and certain way: every minute is looked at. Shares nothing with the code under test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
NAMES: dict[str, int] = {
    **{name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))},
    **{
        name: number
        for number, name in enumerate(
            ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
        )
    },
}
MINUTE = timedelta(minutes=1)


def matches(cron: str, wall: datetime) -> bool:
    """Return whether the five fields match a wall time: a reading of the crontab manual."""
    texts = cron.lower().split()
    minute, hour, month = (
        value in numbers(text, place)
        for text, place, value in ((texts[0], 0, wall.minute), (texts[1], 1, wall.hour), (texts[3], 3, wall.month))
    )
    days = [
        day
        for day, text in ((_day_of_month(texts[2], wall), texts[2]), (_weekday(texts[4], wall), texts[4]))
        if text != "*"
    ]
    return minute and hour and month and (any(days) or not days)


def numbers(text: str, place: int) -> set[int]:
    """Return the values of one field."""
    lowest, highest = RANGES[place]
    found: set[int] = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        first, dash, last = span.partition("-")
        low = lowest if span == "*" else _number(first)
        high = highest if span == "*" or (step and not dash) else _number(last or first)
        found.update(range(low, high + 1, int(step or 1)))
    return found


def slots(cron: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """Return the instants of the slots from `start` to before `end`, both in UTC and whole minutes.

    Read from two days earlier on: what is repeated in the window may have come first before it.
    """
    local = ZoneInfo(zone)
    found: list[datetime] = []
    instant = start - timedelta(days=2)
    newest = instant.astimezone(local).replace(tzinfo=None) - MINUTE
    while instant < end:
        wall = instant.astimezone(local).replace(tzinfo=None)
        come = []
        while newest < wall:
            # Usually one minute; all that the zone skips at once when there is a gap; none in a repeated hour.
            newest += MINUTE
            come.append(newest)
        if instant >= start and any(matches(cron, minute) for minute in come):
            found.append(instant)
        instant += MINUTE
    return found


def _day_of_month(text: str, wall: datetime) -> bool:
    if text == "l":
        return (wall + timedelta(days=1)).day == 1
    return wall.day in numbers(text, 2)


def _weekday(text: str, wall: datetime) -> bool:
    weekday = (wall.weekday() + 1) % 7
    if "#" in text:
        day, nth = text.split("#")
        return _number(day) % 7 == weekday and (wall.day - 1) // 7 + 1 == int(nth)
    return weekday in {number % 7 for number in numbers(text, 4)}


def _number(text: str) -> int:
    return NAMES[text] if text in NAMES else int(text)


def utc(text: str) -> datetime:
    """Return an instant from its ISO spelling in UTC, without zone."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
