from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings, strategies as st

from orchestrator.agents.domain import CatchUp, Schedule
from orchestrator.schedules.domain import (
    due,
    firings,
    is_overdue,
    jitter_of,
    last_firing,
    missed_slots,
    next_firing,
)
from orchestrator.schedules.validity import problem
from tests.orchestrator.schedules.oracle import utc
from tests.orchestrator.schedules.strategies import frequent_crons, schedules, unusual_times

AGENT = "0f8fad5b-d9cb-469f-a165-70867728950e"
MORNING = Schedule(cron="0 9 * * *", time_zone="Europe/Rome")
HOURLY = Schedule(cron="0 * * * *")

moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - it adds it


def test_a_firing_tells_its_slot_its_time_and_the_local_time() -> None:
    schedule = replace(MORNING, jitter=timedelta(minutes=30))

    firing = next_firing(schedule, AGENT, utc("2026-07-01T00:00"))

    assert firing is not None
    assert firing.slot == utc("2026-07-01T07:00")
    assert firing.time == firing.slot + jitter_of(schedule, AGENT)
    assert firing.local_time == firing.time
    assert firing.local_time.utcoffset() == timedelta(hours=2)


def test_the_local_time_of_a_skipped_slot_is_the_next_one_that_exists() -> None:
    firing = next_firing(replace(MORNING, cron="30 2 * * *"), "", utc("2026-03-28T12:00"))

    assert firing is not None
    assert firing.local_time.isoformat() == "2026-03-29T03:00:00+02:00"


def test_a_firing_at_the_very_time_is_not_after_it() -> None:
    first, second = firings(HOURLY, AGENT, utc("2026-01-01T00:00"), 2)

    assert (first.time, second.time) == (utc("2026-01-01T01:00"), utc("2026-01-01T02:00"))


@pytest.mark.parametrize("agent_id", [AGENT, "a", "b", ""])
def test_jitter_is_the_same_for_every_slot_and_below_its_limit(agent_id: str) -> None:
    schedule = replace(HOURLY, jitter=timedelta(minutes=10))

    delays = {firing.time - firing.slot for firing in firings(schedule, agent_id, utc("2026-01-01T00:00"), 50)}

    assert delays == {jitter_of(schedule, agent_id)}
    assert timedelta(0) <= delays.pop() < timedelta(minutes=10)


def test_jitter_spreads_agents() -> None:
    schedule = replace(HOURLY, jitter=timedelta(hours=1))

    minutes = {int(jitter_of(schedule, f"agent-{number}").total_seconds() // 60) for number in range(1_000)}

    assert len(minutes) == 60


def test_no_slot_comes_before_the_start_or_from_the_end_on() -> None:
    schedule = replace(HOURLY, start_time=utc("2026-01-01T03:00"), end_time=utc("2026-01-01T06:00"))

    slots = [firing.slot for firing in firings(schedule, AGENT, utc("2020-01-01T00:00"), 100)]

    assert slots == [utc(f"2026-01-01T0{hour}:00") for hour in (3, 4, 5)]
    assert next_firing(schedule, AGENT, utc("2026-01-01T05:00")) is None
    assert last_firing(schedule, AGENT, utc("2026-01-01T02:59")) is None
    assert (
        last_firing(schedule, AGENT, utc("2027-01-01T00:00")) == firings(schedule, AGENT, utc("2026-01-01T04:30"), 1)[0]
    )


@pytest.mark.parametrize("time", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)], ids=str)
def test_times_beyond_all_reason_are_answered(time: datetime) -> None:
    schedule = replace(HOURLY, time_zone="Pacific/Apia", jitter=timedelta(hours=1))

    next_firing(schedule, AGENT, time)
    last_firing(schedule, AGENT, time)
    due(schedule, AGENT, last=time, now=time)
    missed_slots(schedule, AGENT, last=time, now=time)


@pytest.mark.parametrize("schedule", [Schedule(cron="every day"), Schedule(cron="0 9 * * *", time_zone="Mars/Base")])
def test_a_schedule_that_is_not_valid_never_fires(schedule: Schedule) -> None:
    now = utc("2026-01-01T00:00")

    assert next_firing(schedule, AGENT, now) is None
    assert last_firing(schedule, AGENT, now) is None
    assert not is_overdue(schedule, AGENT, last=None, now=now)
    assert missed_slots(schedule, AGENT, last=utc("2025-01-01T00:00"), now=now) == []


def test_an_agent_that_has_never_run_is_overdue() -> None:
    assert is_overdue(MORNING, AGENT, last=None, now=utc("2026-01-01T00:00"))


def test_an_agent_whose_schedule_has_not_begun_is_not_overdue() -> None:
    schedule = replace(MORNING, start_time=utc("2026-01-02T00:00"))

    assert not is_overdue(schedule, AGENT, last=None, now=utc("2026-01-01T23:00"))


def test_an_agent_is_overdue_when_the_slot_after_its_last_run_has_come() -> None:
    last = utc("2026-01-01T08:00")

    assert not is_overdue(MORNING, AGENT, last=last, now=utc("2026-01-02T07:59"))
    assert is_overdue(MORNING, AGENT, last=last, now=utc("2026-01-02T08:00"))


def test_a_run_by_hand_after_a_slot_serves_it() -> None:
    assert not is_overdue(MORNING, AGENT, last=utc("2026-01-01T08:00:01"), now=utc("2026-01-02T07:59"))


def test_a_slot_is_not_due_before_its_jitter_has_passed() -> None:
    schedule = replace(HOURLY, jitter=timedelta(hours=1))
    delay = jitter_of(schedule, AGENT)
    slot = utc("2026-01-01T01:00")

    assert delay > timedelta(0)
    assert not is_overdue(schedule, AGENT, last=utc("2026-01-01T00:00"), now=slot + delay - timedelta(seconds=1))
    assert is_overdue(schedule, AGENT, last=utc("2026-01-01T00:00"), now=slot + delay)
    assert not is_overdue(schedule, AGENT, last=slot, now=slot + delay)


def test_a_seven_day_absence_is_due_once() -> None:
    last, now = utc("2026-01-01T08:00"), utc("2026-01-08T12:00")

    firing = due(MORNING, AGENT, last=last, now=now)

    assert firing is not None
    assert firing.slot == utc("2026-01-08T08:00")
    assert due(MORNING, AGENT, last=firing.slot, now=now) is None
    assert len(missed_slots(MORNING, AGENT, last=last, now=now)) == 7


def test_missed_slots_are_counted_up_to_a_limit() -> None:
    every_minute = Schedule(cron="* * * * *")

    missed = missed_slots(every_minute, AGENT, last=utc("2020-01-01T00:00"), now=utc("2026-01-01T00:00"), limit=10)

    assert [firing.slot for firing in missed] == [utc(f"2020-01-01T00:{minute:02}") for minute in range(1, 11)]


@pytest.mark.parametrize(
    ("grace", "late", "starts"),
    [
        (None, timedelta(minutes=5), True),
        (None, timedelta(minutes=5, seconds=1), False),
        (timedelta(seconds=1), timedelta(seconds=1), True),
        (timedelta(seconds=1), timedelta(seconds=2), False),
        (timedelta(hours=24), timedelta(hours=23, minutes=59), True),
    ],
)
def test_without_catch_up_a_slot_starts_within_its_grace_only(
    grace: timedelta | None, late: timedelta, starts: bool
) -> None:
    schedule = replace(MORNING, catch_up=CatchUp.NONE, grace=grace)
    slot = utc("2026-01-02T08:00")

    firing = due(schedule, AGENT, last=utc("2026-01-01T08:00"), now=slot + late)

    assert (firing is not None) is starts
    assert firing is None or firing.slot == slot


@settings(max_examples=100, deadline=None)
@given(schedules(), moments)
def test_firings_increase_and_no_slot_comes_twice(schedule: Schedule, after: datetime) -> None:
    found = firings(schedule, AGENT, after, 30)

    assert all(firing.time > after for firing in found)
    assert all(earlier.slot < later.slot and earlier.time < later.time for earlier, later in pairwise(found))


@settings(max_examples=60, deadline=None)
@given(schedules(frequent_crons), unusual_times, st.integers(-2_000, 500))
def test_firings_increase_and_no_slot_comes_twice_where_zones_change(
    schedule: Schedule, unusual: tuple[datetime, str], minutes: int
) -> None:
    at, zone = unusual
    schedule = replace(schedule, time_zone=zone, start_time=None, end_time=None)

    found = firings(schedule, AGENT, at + timedelta(minutes=minutes), 60)

    assert all(earlier.slot < later.slot and earlier.time < later.time for earlier, later in pairwise(found))


@settings(max_examples=100, deadline=None)
@given(schedules(), moments, st.timedeltas(timedelta(0), timedelta(days=40)))
def test_what_comes_next_is_what_has_come_last_once_its_time_is_there(
    schedule: Schedule, after: datetime, passed: timedelta
) -> None:
    firing = next_firing(schedule, AGENT, after)
    assume(firing is not None)
    assert firing is not None

    assert last_firing(schedule, AGENT, firing.time) == firing
    before = last_firing(schedule, AGENT, firing.time - timedelta(microseconds=1))
    assert before is None or before.time <= after
    newest = last_firing(schedule, AGENT, firing.time + passed)
    assert newest is not None
    assert firing.time <= newest.time <= firing.time + passed


_hops = st.one_of(
    st.timedeltas(timedelta(0), timedelta(minutes=10)),
    st.timedeltas(timedelta(0), timedelta(days=9)),
    st.timedeltas(timedelta(hours=-24), timedelta(0)),
)


@settings(max_examples=100, deadline=None)
@given(schedules(frequent_crons), moments, st.lists(_hops, min_size=1, max_size=40))
def test_whatever_the_clock_does_no_slot_starts_twice_and_a_hop_starts_one_run_at_the_most(
    schedule: Schedule, start: datetime, hops: list[timedelta]
) -> None:
    assume(problem(schedule) is None)
    last: datetime | None = None
    started: list[datetime] = []
    now = start

    for hop in hops:
        now += hop
        firing = due(schedule, AGENT, last=last, now=now)
        if firing is not None:
            assert firing.time <= now
            started.append(firing.slot)
            last = firing.slot
            assert due(schedule, AGENT, last=last, now=now) is None

    assert started == sorted(set(started))


@settings(max_examples=60, deadline=None)
@given(schedules(frequent_crons), moments, st.timedeltas(timedelta(0), timedelta(days=3)))
def test_the_slots_missed_are_those_that_fired_meanwhile(
    schedule: Schedule, last: datetime, absence: timedelta
) -> None:
    now = last + absence

    missed = missed_slots(schedule, AGENT, last=last, now=now, limit=5_000)

    delay = jitter_of(schedule, AGENT)
    assert missed == [
        firing for firing in firings(schedule, AGENT, last + delay, len(missed) + 5) if firing.time <= now
    ]
    if schedule.catch_up is CatchUp.COALESCE and missed:
        assert due(schedule, AGENT, last=last, now=now) == missed[-1]
    if not missed:
        assert due(schedule, AGENT, last=last, now=now) is None
