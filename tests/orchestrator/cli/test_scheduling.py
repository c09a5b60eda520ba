"""The options that tell when an agent starts by itself."""

from __future__ import annotations

import io
from datetime import datetime, timedelta
from typing import Any

import pytest
import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table

from adiuva.orchestrator.v1 import agent_pb2 as pb, agent_service_pb2 as service_pb
from orchestrator.cli.scheduling import (
    CatchUpName,
    OnOfflineName,
    OverlapName,
    add_schedule_rows,
    duration,
    firings_table,
    moment,
    schedule_line,
    schedule_of,
)

NAMED: dict[str, Any] = {
    "cron": "0 7 * * *",
    "timezone": "Europe/Rome",
    "jitter": timedelta(minutes=10),
    "catch_up": CatchUpName.NONE,
    "grace": timedelta(hours=1),
    "overlap": OverlapName.QUEUE_ONE,
    "on_offline": OnOfflineName.SKIP,
    "starts": datetime(2026, 1, 1),  # noqa: DTZ001 - protobuf's times are UTC
    "ends": datetime(2027, 1, 1),  # noqa: DTZ001
    "pause_after": 3,
}
NOTHING: dict[str, Any] = dict.fromkeys(NAMED) | {"cron": "", "timezone": ""}


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1h", 3_600), ("1d", 86_400), (" 2H ", 7_200)]
)
def test_a_duration_is_read(text: str, seconds: int) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "m", "1.5h", "-1m", "1w", "1h30m", "1" * 10, "\N{FULLWIDTH DIGIT ONE}m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        duration(text)


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2026-12-24T18:00+01:00", "2026-12-24T17:00:00"),
        ("2026-12-24T18:00", "2026-12-24T18:00:00"),
        ("2026-12-24", "2026-12-24T00:00:00"),
        ("2026-12-24T18:00:05Z", "2026-12-24T18:00:05"),
    ],
)
def test_a_time_is_read_as_utc(text: str, iso: str) -> None:
    assert moment(text).isoformat() == iso


@pytest.mark.parametrize("text", ["", "tomorrow", "24.12.2026", "2026-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        moment(text)


def test_every_option_sets_its_field() -> None:
    schedule, named = schedule_of(**NAMED)

    assert {field.name for field, _value in schedule.ListFields()} == set(pb.Schedule.DESCRIPTOR.fields_by_name)
    assert sorted(named) == sorted(pb.Schedule.DESCRIPTOR.fields_by_name)
    assert (schedule.catch_up, schedule.overlap, schedule.on_offline) == (
        pb.CATCH_UP_NONE,
        pb.OVERLAP_QUEUE_ONE,
        pb.ON_OFFLINE_SKIP,
    )
    assert (schedule.jitter.seconds, schedule.grace.seconds, schedule.pause_after_failures) == (600, 3_600, 3)


@pytest.mark.parametrize("option", sorted(NAMED))
def test_what_is_not_asked_for_is_not_named(option: str) -> None:
    _schedule, named = schedule_of(**(NOTHING | {option: NAMED[option]}))

    assert len(named) == 1
    assert schedule_of(**NOTHING) == (pb.Schedule(), [])


@pytest.mark.parametrize(
    ("values", "prefix"),
    [(list(CatchUpName), "CATCH_UP_"), (list(OverlapName), "OVERLAP_"), (list(OnOfflineName), "ON_OFFLINE_")],
)
def test_every_policy_of_the_contract_can_be_chosen(values: list[Any], prefix: str) -> None:
    known = {name for enum in pb.DESCRIPTOR.enum_types_by_name.values() for name in enum.values_by_name}

    assert {f"{prefix}{value.name}" for value in values} | {f"{prefix}UNSPECIFIED"} == {
        name for name in known if name.startswith(prefix)
    }


def test_an_agent_shows_what_became_of_its_slots() -> None:
    at = Timestamp(seconds=1_772_000_000)
    agent = pb.Agent(
        schedule=pb.Schedule(cron="0 7 * * *"),
        paused=True,
        pause_reason="Holidays",
        waiting_for_device=True,
        missed=pb.LostSlots(count=3, last_reason="COALESCED", last_slot_time=at),
        failures_in_a_row=2,
    )
    table = Table.grid(padding=(0, 2))

    add_schedule_rows(table, agent)
    shown = printed(table)

    assert "0 7 * * * UTC (paused) (due, waits for its device)" in shown
    assert "Holidays" in shown
    assert "3 slots, the last one of 2026-02-25T06:13:20Z (COALESCED)" in shown
    assert "skipped" not in shown
    assert "2 runs in a row" in shown
    assert schedule_line(pb.Agent()) == "by hand"


def test_firings_are_shown_in_both_times() -> None:
    firing = service_pb.Firing(time=Timestamp(seconds=1_772_000_000), local_time="2026-02-25T07:13:20+01:00")

    shown = printed(firings_table(service_pb.PreviewScheduleResponse(firings=[firing])))

    assert "2026-02-25T06:13:20Z" in shown
    assert "2026-02-25T07:13:20+01:00" in shown


def printed(table: Table) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(table)
    return out.getvalue()
