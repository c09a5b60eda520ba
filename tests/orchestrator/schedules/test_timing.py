"""When an agent is looked at next after a user has changed it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from orchestrator.agents.domain import Agent, LocalDirectory, Schedule
from orchestrator.schedules.timing import Timing, timing_after
from tests.conformance.orchestrator.agents import LOCAL, an_agent
from tests.orchestrator.schedules.oracle import utc

CREATED, NOW = utc("2026-01-01T08:30"), utc("2026-01-02T10:10")
HOURLY, HALF_PAST = Schedule(cron="0 * * * *"), Schedule(cron="30 * * * *")
BEFORE = an_agent("ada", schedule=HOURLY, created_at=CREATED, updated_at=CREATED, last_run_at=CREATED)
ELEVEN = utc("2026-01-02T11:00")


def later(**fields: object) -> Agent:
    return replace(BEFORE, updated_at=NOW, **fields)  # type: ignore[arg-type] # the callers name fields of Agent


@pytest.mark.parametrize(
    ("schedule", "next_due_at"),
    [
        (HOURLY, utc("2026-01-01T09:00")),
        (None, None),
        (Schedule(cron="every day"), None),
        (replace(HOURLY, end_time=utc("2026-01-01T09:00")), None),
    ],
)
def test_a_new_agent_is_due_at_its_next_slot(schedule: Schedule | None, next_due_at: datetime | None) -> None:
    assert timing_after(None, replace(BEFORE, schedule=schedule)) == Timing(next_due_at=next_due_at)


@pytest.mark.parametrize(
    ("change", "timing"),
    [
        ({"definition": replace(LOCAL, display_name="Renamed")}, None),
        ({"schedule": HALF_PAST}, Timing(next_due_at=utc("2026-01-02T10:30"), served_until=NOW)),
        ({"schedule": HALF_PAST, "last_run_at": None}, Timing(next_due_at=utc("2026-01-02T10:30"))),
        ({"schedule": None}, Timing(next_due_at=None, served_until=NOW)),
        ({"paused": True}, Timing(next_due_at=None)),
        ({"paused": True, "schedule": HALF_PAST, "last_run_at": None}, Timing(next_due_at=None)),
    ],
)
def test_a_change_of_the_schedule_or_a_pause_counts_from_now(change: dict[str, object], timing: Timing | None) -> None:
    assert timing_after(BEFORE, later(**change)) == timing


@pytest.mark.parametrize("last_run_at", [None, CREATED])
def test_slots_that_passed_during_a_pause_do_not_start(last_run_at: datetime | None) -> None:
    paused = replace(BEFORE, paused=True, last_run_at=last_run_at)

    assert timing_after(paused, later(last_run_at=last_run_at)) == Timing(next_due_at=ELEVEN, served_until=NOW)


def test_an_agent_that_waits_for_a_device_is_looked_at_when_it_gets_another() -> None:
    other = replace(LOCAL, source=LocalDirectory(directory_paths=("a",), device_id="desktop"))
    waiting = replace(BEFORE, waits_for_device=True)

    assert timing_after(waiting, later(waits_for_device=True, definition=other)) == Timing(next_due_at=NOW)
    assert timing_after(waiting, later(waits_for_device=True, etag="new")) is None
    assert timing_after(BEFORE, later(definition=other)) is None


def test_an_unreadable_schedule_that_is_replaced_counts_from_now() -> None:
    broken = replace(BEFORE, schedule=None, schedule_problem="what is stored cannot be read")

    assert timing_after(broken, later()) == Timing(next_due_at=ELEVEN, served_until=NOW)
