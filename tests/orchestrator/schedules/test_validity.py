from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies as st

from adiuva_rpc.errors import InvalidArgument
from orchestrator.agents.domain import CatchUp, Schedule
from orchestrator.schedules.validity import check, problem
from tests.orchestrator.schedules.strategies import schedules

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
DAILY = Schedule(cron="0 9 * * *", time_zone="Europe/Rome")


@pytest.mark.parametrize(
    "cron",
    [
        "* * * * *",
        "*/15 8-18 * * mon-fri",
        "0 9 1,15 * *",
        "5/15 * * * *",
        "0 22-2 * * *",
        "0 9 L * *",
        "0 9 L,15 * *",
        "0 9 * * fri#2",
        "0 9 * * MON",
        "0 9 * JAN-mar 7",
        "0 0 29 2 *",
        "0 0 30 2 1",
    ],
)
def test_cron_as_people_write_it_is_valid(cron: str) -> None:
    check(replace(DAILY, cron=cron))


@pytest.mark.parametrize(
    ("cron", "why"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("0 0 * * * * 2026", "five fields"),
        ("0  9 * * *", "five fields"),
        (" 0 9 * * *", "five fields"),
        ("0\t9 * * *", "five fields"),
        ("0 9\u00a0* * *", "five fields"),
        ("@daily", "five fields"),
        ("60 * * * *", "minute field"),
        ("*/0 * * * *", "minute field"),
        ("1,,2 * * * *", "minute field"),
        ("-5 * * * *", "minute field"),
        ("R * * * *", "minute field"),
        ("H * * * *", "minute field"),
        ("h(0-5) * * * *", "minute field"),
        ("jan * * * *", "minute field"),
        ("٣ * * * *", "minute field"),
        ("0 24 * * *", "hour field"),
        ("0 nine * * *", "hour field"),
        ("0 0 0 * *", "day of month field"),
        ("0 0 32 * *", "day of month field"),
        ("0 0 15W * *", "day of month field"),
        ("0 0 L-3 * *", "day of month field"),
        ("0 0 ? * *", "day of month field"),
        ("0 0 * 13 *", "month field"),
        ("0 0 * mon *", "month field"),
        ("0 0 * * 8", "day of week field"),
        ("0 0 * * feb", "day of week field"),
        ("0 0 * * mon#6", "day of week field"),
        ("0 0 * * mon#1,wed", "day of week field"),
        ("0 0 * * L5", "day of week field"),
        ("0 0 * * *#2", "day of week field"),
        ("0 0 30 2 *", "never"),
        ("0 0 31 4,6,9,11 *", "never"),
        ("* * * * " + ",".join(["1"] * 200), "200 characters"),
        ("\x00 * * * *", "minute field"),
    ],
)
def test_cron_that_is_wrong_is_refused_by_its_field(cron: str, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why) as refused:
        check(replace(DAILY, cron=cron))

    assert refused.value.field == "schedule.cron"


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Rome", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "Asia/Kathmandu"]
)
def test_an_iana_zone_is_valid(zone: str) -> None:
    check(replace(DAILY, time_zone=zone))
    ZoneInfo(zone)


@pytest.mark.parametrize(
    "zone",
    ["", "Rome", "europe/rome", "Europe", "CEST", "+01:00", "../../etc/passwd", "/etc/localtime", "localtime", "UTC\0"],
)
def test_a_zone_that_is_none_is_refused(zone: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check(replace(DAILY, time_zone=zone))

    assert refused.value.field == "schedule.time_zone"


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        (replace(DAILY, jitter=timedelta(seconds=-1)), "jitter"),
        (replace(DAILY, jitter=timedelta(hours=1, seconds=1)), "jitter"),
        (replace(DAILY, catch_up=CatchUp.NONE, grace=timedelta(0)), "grace"),
        (replace(DAILY, catch_up=CatchUp.NONE, grace=timedelta(hours=24, seconds=1)), "grace"),
        (replace(DAILY, catch_up=CatchUp.COALESCE, grace=timedelta(minutes=5)), "grace"),
        (replace(DAILY, start_time=MARCH, end_time=MARCH), "end_time"),
        (replace(DAILY, start_time=MARCH, end_time=MARCH - timedelta(days=1)), "end_time"),
        (replace(DAILY, start_time=datetime(1969, 12, 31, tzinfo=UTC)), "start_time"),
        (replace(DAILY, end_time=datetime(3000, 1, 1, tzinfo=UTC)), "end_time"),
        (replace(DAILY, start_time=MARCH.replace(tzinfo=None)), "start_time"),
        (replace(DAILY, start_time=MARCH, end_time=datetime(2027, 1, 1)), "end_time"),  # noqa: DTZ001 - the fault
        (replace(DAILY, start_time=MARCH, end_time=MARCH + timedelta(hours=7)), "cron"),
        (replace(DAILY, cron="0 0 29 2 *", start_time=MARCH, end_time=MARCH + timedelta(days=365)), "cron"),
        (replace(DAILY, pause_after_failures=-1), "pause_after_failures"),
        (replace(DAILY, pause_after_failures=1_001), "pause_after_failures"),
    ],
)
def test_contradictions_and_excesses_are_refused_by_their_field(schedule: Schedule, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check(schedule)

    assert refused.value.field == f"schedule.{field}"
    assert str(problem(schedule)) == refused.value.message.removeprefix("schedule.")


@pytest.mark.parametrize(
    "schedule",
    [
        replace(DAILY, jitter=timedelta(hours=1)),
        replace(DAILY, catch_up=CatchUp.NONE),
        replace(DAILY, catch_up=CatchUp.NONE, grace=timedelta(hours=24)),
        # 09:00 in Rome is 08:00 in UTC: the only slot is just inside.
        replace(DAILY, start_time=MARCH, end_time=MARCH + timedelta(hours=8, microseconds=1)),
        replace(DAILY, start_time=MARCH + timedelta(hours=8), end_time=MARCH + timedelta(hours=9)),
        replace(DAILY, pause_after_failures=1_000),
    ],
)
def test_the_limits_themselves_are_valid(schedule: Schedule) -> None:
    check(schedule)


@settings(max_examples=50, deadline=None)
@given(schedules())
def test_a_schedule_made_of_valid_parts_fails_only_for_want_of_a_slot(schedule: Schedule) -> None:
    found = problem(schedule)

    assert found is None or (found.field == "cron" and schedule.end_time is not None)


@given(st.text(max_size=30), st.text(max_size=30))
def test_whatever_is_written_gets_an_answer(cron: str, zone: str) -> None:
    problem(Schedule(cron=cron, time_zone=zone))
    problem(Schedule(cron=cron))
