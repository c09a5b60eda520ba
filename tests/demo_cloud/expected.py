"""What a careful person would write down of the week's mails (`expected.json`), and how what was made differs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.emulator.mails import Mail

FILE = Path(__file__).parent / "expected.json"
"""Written by hand from the mails. A `day` or `due` counts from the present, a weekday from the day of its mail."""

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
Workspace = dict[str, list[dict[str, Any]]]
_KINDS = (
    ("project", "projects", ""),
    ("task", "tasks", "due_date"),
    ("note", "notes", ""),
    ("timeline", "timelines", "date"),
)
"""Each kind with its section of the workspace, and the field that holds its day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record, comparable: titles and people without regard to case."""

    kind: str
    title: str
    project: str
    source: str
    """The Message-ID of the mail that it comes from."""
    day: str = ""
    """When a task is due, or a milestone is, as YYYY-MM-DD."""
    status: str = ""
    assignees: tuple[str, ...] = ()


def expected(now: datetime, mails: Iterable[Mail]) -> list[Record]:
    """Return the records that the mails call for, those first that are new."""
    content = load()
    days = {mail.message_id: mail.received_at.date() for mail in mails}
    kinds = {"task": content["tasks"], "note": content["notes"], "timeline": content["timelines"]}
    made = [_record(kind, entry, now, days) for kind, entries in kinds.items() for entry in entries]
    return [*made, *(_record("task", entry, now, days) for entry in content["updated"])]


def load() -> dict[str, list[Any]]:
    """Return the content of `expected.json`."""
    content: dict[str, list[Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    return content


def found(
    workspace: Workspace, run_id: str, changed: Mapping[str, str], message_ids: Mapping[str, str]
) -> list[Record]:
    """Return what a run has made and changed.

    Args:
        workspace: What the device holds of the run.
        run_id: The run.
        changed: By the title of a record that the run found there and changed: what it calls the message it did so for.
        message_ids: By what a run calls a message.
    """
    return [
        Record(
            kind=kind,
            title=row["title" if kind != "project" else "name"].casefold(),
            project=row.get("project") or "",
            source=_source(row, run_id, changed, message_ids),
            day=row.get(day) or "",
            status=row.get("status") or "",
            assignees=_people(row.get("assignees") or []),
        )
        for kind, section, day in _KINDS
        for row in workspace[section]
    ]


def _source(row: Mapping[str, Any], run_id: str, changed: Mapping[str, str], message_ids: Mapping[str, str]) -> str:
    source = row["source"] if row["created_by_run"] == run_id else changed.get(row["title"], "")
    return message_ids.get(source or "", source or "")


def differences(wanted: Iterable[Record], there: Iterable[Record]) -> list[str]:
    """Return a sentence for each record that is missing, and for each that nobody has asked for."""
    wanted, there = Counter(wanted), Counter(there)
    missing = [f"missing: {_told(record)}" for record in (wanted - there).elements()]
    return [*missing, *(f"not asked for: {_told(record)}" for record in (there - wanted).elements())]


def _record(kind: str, entry: Mapping[str, Any], now: datetime, days: Mapping[str, date]) -> Record:
    source = entry["source"]
    return Record(
        kind=kind,
        title=entry["title"].casefold(),
        project=entry.get("project", ""),
        source=source,
        day=_day(entry.get("due") or entry.get("day"), now, days[source]),
        status=entry.get("status", "ToDo") if kind == "task" else "",
        assignees=_people(entry.get("assignees", [])),
    )


def _day(told: Mapping[str, Any] | None, now: datetime, written: date) -> str:
    if told is None:
        return ""
    if "days" in told:
        return (now + timedelta(days=told["days"])).date().isoformat()
    # The next such day: on a Friday "by Friday" means the one of next week.
    ahead = (WEEKDAYS.index(told["weekday"]) - written.weekday() - 1) % 7 + 1
    return (written + timedelta(days=ahead)).isoformat()


def _people(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(name.casefold() for name in names))


def _told(record: Record) -> str:
    facts = [record.kind, f'"{record.title}"', record.project, record.day, record.status, " ".join(record.assignees)]
    return ", ".join(fact for fact in facts if fact) + f", from {record.source or 'nowhere'}"
