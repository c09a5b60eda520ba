"""Schedules, zones and times that hypothesis makes up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from orchestrator.agents.domain import CatchUp, OnOffline, Overlap, Schedule

UNUSUAL = {
    "2026-03-29T01:00": "Europe/Rome",
    "2026-10-25T01:00": "Europe/Rome",
    "2026-03-08T07:00": "America/New_York",
    "2026-11-01T06:00": "America/New_York",
    "2026-04-04T15:00": "Australia/Lord_Howe",
    "2026-10-03T15:30": "Australia/Lord_Howe",
    "1985-12-31T18:30": "Asia/Kathmandu",
    "2026-05-01T00:00": "Asia/Kathmandu",
    "2026-03-29T01:00:00": "Europe/Dublin",
    "2011-12-30T10:00": "Pacific/Apia",
    "2026-09-06T04:00": "America/Santiago",
    "2028-02-29T12:00": "UTC",
}
"""When a zone does something unusual (or does not, for comparison)."""

unusual_times = st.sampled_from(
    [(datetime.fromisoformat(at).replace(tzinfo=UTC), zone) for at, zone in UNUSUAL.items()]
)
zones = st.sampled_from(sorted(set(UNUSUAL.values())))


def _field(low: int, high: int) -> SearchStrategy[str]:
    number = st.integers(low, high)
    spans = st.tuples(number, number).filter(lambda span: 0 < span[1] - span[0] < high - low)
    span = spans.map(lambda span: f"{span[0]}-{span[1]}")
    stepped = st.tuples(st.just("*") | span, st.integers(2, max(2, (high - low) // 2))).map(
        lambda both: f"{both[0]}/{both[1]}"
    )
    listed = st.lists(number.map(str) | span, min_size=1, max_size=3).map(",".join)
    return st.just("*") | listed | stepped


_DAYS = st.just("*") | _field(1, 28) | st.just("L")
_WEEKDAYS = st.just("*") | _field(0, 6) | st.sampled_from(["mon-fri", "SUN", "fri#2", "mon#1", "7"])
_ANY_MONTH = st.just("*") | _field(1, 12)


def _expression(minute: str, hour: str, day: str, month: str, weekday: str) -> str:
    # "#" together with a day of the month is croniter's own reading of both; nobody's schedule needs it.
    return f"{minute} {hour} {'*' if '#' in weekday else day} {month} {weekday}"


crons = st.builds(_expression, _field(0, 59), _field(0, 23), _DAYS, _ANY_MONTH, _WEEKDAYS)
frequent_crons = st.builds(_expression, _field(0, 59), _field(0, 23), st.just("*"), st.just("*"), _WEEKDAYS)

_moments = st.datetimes(
    min_value=datetime(2020, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2030, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


def _durations(most: timedelta, *, least: timedelta = timedelta(0)) -> SearchStrategy[timedelta]:
    return st.integers(least // timedelta(seconds=1), most // timedelta(seconds=1)).map(lambda n: timedelta(seconds=n))


@st.composite
def schedules(draw: st.DrawFn, expressions: SearchStrategy[str] = crons) -> Schedule:
    """Valid schedules, but for an end that may leave no slot."""
    catch_up = draw(st.sampled_from(CatchUp))
    start = draw(st.none() | _moments)
    spans = _durations(timedelta(days=4_000), least=timedelta(days=1))
    return Schedule(
        cron=draw(expressions),
        time_zone=draw(zones),
        jitter=draw(st.just(timedelta(0)) | _durations(timedelta(hours=1))),
        catch_up=catch_up,
        grace=draw(st.none() | _durations(timedelta(hours=24), least=timedelta(seconds=1)))
        if catch_up is CatchUp.NONE
        else None,
        overlap=draw(st.sampled_from(Overlap)),
        on_offline=draw(st.sampled_from(OnOffline)),
        start_time=start,
        end_time=draw(st.none() | spans.map(lambda span: (start or datetime(2026, 1, 1, tzinfo=UTC)) + span)),
        pause_after_failures=draw(st.integers(0, 1_000)),
    )
