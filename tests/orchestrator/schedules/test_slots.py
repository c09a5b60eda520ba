from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies as st

from orchestrator.schedules.slots import EARLIEST, LATEST, slot_after, slot_at_or_before
from tests.orchestrator.schedules import oracle
from tests.orchestrator.schedules.oracle import utc
from tests.orchestrator.schedules.strategies import crons, frequent_crons, unusual_times, zones

ROME, NEW_YORK, LORD_HOWE, KATHMANDU = "Europe/Rome", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"

# Wall time on the left is what the fields say; on the right is when it comes.
TABLE = [
    # Rome, 29 March 2026: 02:00 +01:00 is 03:00 +02:00.
    ("before the gap", "30 1 * * *", ROME, "2026-03-28T12:00", "2026-03-29T00:30 2026-03-29T23:30"),
    ("in the gap", "30 2 * * *", ROME, "2026-03-28T12:00", "2026-03-29T01:00 2026-03-30T00:30"),
    ("at its start", "0 2 * * *", ROME, "2026-03-28T12:00", "2026-03-29T01:00 2026-03-30T00:00"),
    ("at its end", "0 3 * * *", ROME, "2026-03-28T12:00", "2026-03-29T01:00 2026-03-30T01:00"),
    ("in it and at its end: one", "0,30 2,3 * * *", ROME, "2026-03-29T00:59", "2026-03-29T01:00 2026-03-29T01:30"),
    ("every 20 min", "*/20 * * * *", ROME, "2026-03-29T00:20", "2026-03-29T00:40 2026-03-29T01:00 2026-03-29T01:20"),
    # Rome, 25 October 2026: 03:00 +02:00 is 02:00 +01:00.
    ("in the repeated hour", "30 2 * * *", ROME, "2026-10-24T12:00", "2026-10-25T00:30 2026-10-26T01:30"),
    ("asked in its second pass", "30 2 * * *", ROME, "2026-10-25T01:10", "2026-10-26T01:30"),
    ("at its end", "0 3 * * *", ROME, "2026-10-24T12:00", "2026-10-25T02:00 2026-10-26T02:00"),
    ("every 30 min", "*/30 * * * *", ROME, "2026-10-24T23:45", "2026-10-25T00:00 2026-10-25T00:30 2026-10-25T02:00"),
    # New York, 8 March 2026: 02:00 -05:00 is 03:00 -04:00; 1 November: 02:00 -04:00 is 01:00 -05:00.
    ("in the gap", "15 2 * * *", NEW_YORK, "2026-03-07T12:00", "2026-03-08T07:00 2026-03-09T06:15"),
    ("in the repeated hour", "15 1 * * *", NEW_YORK, "2026-10-31T12:00", "2026-11-01T05:15 2026-11-02T06:15"),
    ("after it", "15 2 * * *", NEW_YORK, "2026-10-31T12:00", "2026-11-01T07:15 2026-11-02T07:15"),
    # Lord Howe moves by half an hour. 4 October 2026: 02:00 +10:30 is 02:30 +11; 5 April: 02:00 +11 is 01:30 +10:30.
    ("in half an hour's gap", "15 2 * * *", LORD_HOWE, "2026-10-03T00:00", "2026-10-03T15:30 2026-10-04T15:15"),
    ("after it", "45 2 * * *", LORD_HOWE, "2026-10-03T00:00", "2026-10-03T15:45 2026-10-04T15:45"),
    ("in the half hour repeated", "45 1 * * *", LORD_HOWE, "2026-04-04T00:00", "2026-04-04T14:45 2026-04-05T15:15"),
    ("before it, same hour", "15 1 * * *", LORD_HOWE, "2026-04-04T00:00", "2026-04-04T14:15 2026-04-05T14:45"),
    # Kathmandu is at +05:45, since 1986 began with a quarter of an hour's gap.
    ("a quarter off", "0 9 * * *", KATHMANDU, "2026-05-01T00:00", "2026-05-01T03:15 2026-05-02T03:15"),
    ("every hour", "0 * * * *", KATHMANDU, "2026-05-01T00:00", "2026-05-01T00:15 2026-05-01T01:15"),
    ("in a quarter's gap", "10 0 1 1 *", KATHMANDU, "1985-06-01T00:00", "1985-12-31T18:30 1986-12-31T18:25"),
    # A day that never was: Apia went from 29 to 31 December 2011.
    ("a day skipped", "0 9 * * *", "Pacific/Apia", "2011-12-29T10:00",
     "2011-12-29T19:00 2011-12-30T10:00 2011-12-30T19:00"),
    # Leap days, also over a year that is none.
    ("leap day", "0 0 29 2 *", "UTC", "2026-01-01T00:00", "2028-02-29T00:00 2032-02-29T00:00"),
    ("no leap day in 2100", "0 0 29 2 *", "UTC", "2096-03-01T00:00", "2104-02-29T00:00"),
    ("leap day, local", "0 0 29 2 *", "Pacific/Auckland", "2026-01-01T00:00", "2028-02-28T11:00"),
    # The end of the month.
    ("the 31st", "0 9 31 * *", "UTC", "2026-01-31T09:00", "2026-03-31T09:00 2026-05-31T09:00 2026-07-31T09:00"),
    ("the last day", "0 9 L * *", "UTC", "2028-01-31T09:00", "2028-02-29T09:00 2028-03-31T09:00 2028-04-30T09:00"),
    ("the year's last minute", "59 23 31 12 *", ROME, "2026-06-01T00:00", "2026-12-31T22:59 2027-12-31T22:59"),
    # Days of the week.
    ("either day", "0 0 13 * fri", "UTC", "2026-02-13T00:00",
     "2026-02-20T00:00 2026-02-27T00:00 2026-03-06T00:00 2026-03-13T00:00"),
    ("Sunday twice named", "0 0 * * 0,7", "UTC", "2026-03-01T00:00", "2026-03-08T00:00 2026-03-15T00:00"),
    ("second Friday", "0 9 * * fri#2", "UTC", "2026-03-01T00:00", "2026-03-13T09:00 2026-04-10T09:00"),
]  # fmt: skip
table = pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"), [row[1:] for row in TABLE], ids=[f"{row[2]}: {row[0]}" for row in TABLE]
)


@table
def test_a_slot_comes_when_the_wall_clock_shows_it(cron: str, zone: str, after: str, expected: str) -> None:
    assert slots_after(cron, zone, utc(after), expected.count(" ") + 1) == list(map(utc, expected.split()))


@table
def test_looking_back_finds_the_slots_that_looking_ahead_found(cron: str, zone: str, after: str, expected: str) -> None:
    ahead = list(map(utc, expected.split()))

    for earlier, later in pairwise(ahead):
        assert slot_at_or_before(cron, ZoneInfo(zone), later) == later
        assert slot_at_or_before(cron, ZoneInfo(zone), later - timedelta(microseconds=1)) == earlier
    before_all = slot_at_or_before(cron, ZoneInfo(zone), ahead[0] - timedelta(microseconds=1))
    assert before_all is None or before_all <= utc(after)


@settings(max_examples=30, deadline=None)
@given(unusual_times, frequent_crons, st.integers(-2_000, 500))
def test_around_everything_unusual_the_slots_are_those_of_the_slow_and_certain_way(
    unusual: tuple[datetime, str], cron: str, minutes: int
) -> None:
    at, zone = unusual
    start = at + timedelta(minutes=minutes)
    end = start + timedelta(days=2)

    certain = oracle.slots(cron, zone, start, end)

    assert slots_between(cron, zone, start, end) == certain
    assert slots_back(cron, zone, start, end) == certain


@settings(max_examples=30, deadline=None)
@given(crons, st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)))  # noqa: DTZ001 - wall times
def test_each_slot_matches_its_fields_and_none_is_left_out(cron: str, wall: datetime) -> None:
    start = wall.replace(second=0, microsecond=0, tzinfo=UTC)
    end = start + timedelta(days=3)

    assert slots_between(cron, "UTC", start, end) == oracle.slots(cron, "UTC", start, end)


@settings(max_examples=100, deadline=None)
@given(crons, zones, st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_looking_back_from_a_slot_finds_it(cron: str, zone: str, after: datetime) -> None:
    slot = slot_after(cron, ZoneInfo(zone), after)

    assert slot is not None
    assert slot > after
    assert slot_at_or_before(cron, ZoneInfo(zone), slot) == slot
    before = slot_at_or_before(cron, ZoneInfo(zone), slot - timedelta(microseconds=1))
    assert before is None or before <= after


@pytest.mark.parametrize("cron", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31 2 *"])
def test_an_expression_that_matches_no_day_has_no_slot(cron: str) -> None:
    middle = datetime(2026, 1, 1, tzinfo=UTC)

    assert slot_after(cron, ZoneInfo("UTC"), middle) is None
    assert slot_at_or_before(cron, ZoneInfo("UTC"), middle) is None


def test_slots_end_with_the_year_2999_and_begin_with_1970() -> None:
    daily, zone = "0 12 * * *", ZoneInfo("UTC")

    assert slot_after(daily, zone, LATEST - timedelta(hours=1)) is None
    assert slot_after(daily, zone, LATEST) is None
    assert slot_at_or_before(daily, zone, EARLIEST) is None
    assert slot_at_or_before(daily, zone, EARLIEST + timedelta(hours=12)) == EARLIEST + timedelta(hours=12)


def slots_after(cron: str, zone: str, after: datetime, count: int) -> list[datetime]:
    found: list[datetime] = []
    known: datetime | None = after
    while len(found) < count and known is not None:
        known = slot_after(cron, ZoneInfo(zone), known)
        found += [known] if known else []
    return found


def slots_between(cron: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    found: list[datetime] = []
    slot = slot_after(cron, ZoneInfo(zone), start - timedelta(microseconds=1))
    while slot is not None and slot < end:
        found.append(slot)
        slot = slot_after(cron, ZoneInfo(zone), slot)
    return found


def slots_back(cron: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    found: list[datetime] = []
    slot = slot_at_or_before(cron, ZoneInfo(zone), end - timedelta(microseconds=1))
    while slot is not None and slot >= start:
        found.insert(0, slot)
        slot = slot_at_or_before(cron, ZoneInfo(zone), slot - timedelta(microseconds=1))
    return found
