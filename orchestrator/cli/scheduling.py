"""The options that tell when an agent starts by itself, and how that is shown."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.markup import escape
from rich.table import Table

from adiuva.orchestrator.v1 import agent_pb2, agent_service_pb2
from orchestrator.cli.options import printable, usage_error

_DURATION = re.compile(r"(?P<number>\d{1,9})(?P<unit>[smhd]?)", re.ASCII)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


class CatchUpName(StrEnum):
    """Missed slots."""

    COALESCE = "coalesce"
    NONE = "none"


class OverlapName(StrEnum):
    """A slot during a run."""

    SKIP = "skip"
    QUEUE_ONE = "queue-one"
    CANCEL_OTHER = "cancel-other"


class OnOfflineName(StrEnum):
    """A slot while the device is away."""

    WAIT = "wait"
    SKIP = "skip"


def duration(text: str) -> timedelta:
    """Read `90`, `90s`, `10m`, `1h` or `1d`.

    Raises:
        typer.BadParameter: It is none of these.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise usage_error(f"{text!r} is no duration; write 90s, 10m, 1h or 1d")
    return timedelta(seconds=int(match["number"]) * _UNITS[match["unit"]])


def moment(text: str) -> datetime:
    """Read a time as ISO 8601 has it, such as `2026-12-24T18:00+01:00`; without an offset it is UTC.

    Raises:
        typer.BadParameter: It is none.
    """
    message = Timestamp()
    try:
        message.FromJsonString(_with_seconds_and_zone(text.strip()))
    except ValueError:
        raise usage_error(f"{text!r} is no time; write 2026-12-24T18:00+01:00") from None
    return message.ToDatetime()


TimeZone = Annotated[str, typer.Option("--timezone", help="The IANA time zone of --cron; UTC by default.")]
Jitter = Annotated[
    timedelta | None, typer.Option("--jitter", parser=duration, help="Spread its starts over so long, such as 10m.")
]
CatchUp = Annotated[
    CatchUpName | None,
    typer.Option("--catch-up", help="Missed slots: one run for all of them (the default), or none after --grace."),
]
Grace = Annotated[
    timedelta | None,
    typer.Option("--grace", parser=duration, help="With --catch-up none: how late a slot may start; 5m by default."),
]
Overlap = Annotated[
    OverlapName | None,
    typer.Option("--overlap", help="A slot during a run: skip it (the default), queue one run, or cancel the other."),
]
OnOffline = Annotated[
    OnOfflineName | None,
    typer.Option("--on-offline", help="A slot while the device is away: wait for it (the default), or skip the slot."),
]
Starts = Annotated[datetime | None, typer.Option("--starts", parser=moment, help="No slot before this time, ISO 8601.")]
Ends = Annotated[datetime | None, typer.Option("--ends", parser=moment, help="No slot from this time on, ISO 8601.")]
PauseAfter = Annotated[
    int | None, typer.Option("--pause-after", min=0, max=1_000, help="Pause it after so many failed runs in a row.")
]


def schedule_of(
    cron: str,
    timezone: str,
    jitter: timedelta | None,
    catch_up: CatchUpName | None,
    grace: timedelta | None,
    overlap: OverlapName | None,
    on_offline: OnOfflineName | None,
    starts: datetime | None,
    ends: datetime | None,
    pause_after: int | None,
) -> tuple[agent_pb2.Schedule, list[str]]:
    """Return the schedule as the options tell it, and the names of the fields that they name."""
    schedule = agent_pb2.Schedule()
    named: list[str] = []

    def enum(field: str, value: StrEnum | None) -> None:
        if value is not None:
            of_field = schedule.DESCRIPTOR.fields_by_name[field].enum_type
            assert of_field is not None  # noqa: S101 - every caller names an enum
            setattr(schedule, field, of_field.values_by_name[f"{field.upper()}_{value.name}"].number)
            named.append(field)

    texts: dict[str, str | int | None] = {
        "cron": cron or None,
        "time_zone": timezone or None,
        "pause_after_failures": pause_after,
    }
    for field, value in texts.items():
        if value is not None:
            setattr(schedule, field, value)
            named.append(field)
    for field, length in {"jitter": jitter, "grace": grace}.items():
        if length is not None:
            getattr(schedule, field).FromTimedelta(length)
            named.append(field)
    for field, time in {"start_time": starts, "end_time": ends}.items():
        if time is not None:
            getattr(schedule, field).FromDatetime(time)
            named.append(field)
    enum("catch_up", catch_up)
    enum("overlap", overlap)
    enum("on_offline", on_offline)
    return schedule, named


def schedule_line(agent: agent_pb2.Agent) -> str:
    """Return in one line when an agent starts by itself."""
    if not agent.HasField("schedule"):
        return "by hand"
    following = f", next {agent.next_run_at.ToJsonString()}" if agent.HasField("next_run_at") else ""
    paused = " (paused)" if agent.paused else ""
    waiting = " (due, waits for its device)" if agent.waiting_for_device else ""
    return f"{agent.schedule.cron} {agent.schedule.time_zone or 'UTC'}{paused}{waiting}{following}"


def add_schedule_rows(table: Table, agent: agent_pb2.Agent) -> None:
    """Add to an agent's table what is known of its schedule."""
    table.add_row("schedule", schedule_line(agent))
    if agent.schedule_problem:
        table.add_row("problem", escape(agent.schedule_problem))
    if agent.paused:
        table.add_row("paused", escape(printable(agent.pause_reason)) or "yes")
    for label, lost in (("missed", agent.missed), ("skipped", agent.skipped)):
        if lost.count:
            last = lost.last_slot_time.ToJsonString()
            table.add_row(label, f"{lost.count} slots, the last one of {last} ({lost.last_reason})")
    if agent.failures_in_a_row:
        table.add_row("failed", f"{agent.failures_in_a_row} runs in a row")


def firings_table(answer: agent_service_pb2.PreviewScheduleResponse) -> Table:
    """Return the next firings for people."""
    table = Table("UTC", "local time")
    for firing in answer.firings:
        table.add_row(firing.time.ToJsonString(), firing.local_time)
    return table


def _with_seconds_and_zone(text: str) -> str:
    """Return an ISO 8601 time as protobuf reads it."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return text
    return time.isoformat(timespec="seconds") + ("" if time.tzinfo else "Z")
