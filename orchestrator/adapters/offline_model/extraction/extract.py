"""From the path and text of one file to everything that is found in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import islice
from pathlib import PurePosixPath

from orchestrator.adapters.offline_model.extraction import mail, notes, tables
from orchestrator.adapters.offline_model.extraction.dates import Dates, document_date
from orchestrator.adapters.offline_model.extraction.items import Extraction, Milestone, Task
from orchestrator.adapters.offline_model.extraction.language import languages
from orchestrator.adapters.offline_model.extraction.lines import line_tasks, readable_lines
from orchestrator.adapters.offline_model.extraction.milestones import line_milestones
from orchestrator.adapters.offline_model.extraction.titles import merged, title_key

MAX_ITEMS = 500
"""Tasks, and as many milestones, from one file; more is a database and no plan."""

MAX_CHARS = 1_000_000
"""Of one file; nobody writes plans that long."""

_CSV = frozenset({".csv", ".tsv"})
_SHEETS = frozenset({".xlsx", ".xlsm", ".xls", ".ods"})


def extract(path: str, text: str) -> Extraction:
    """Return what is found in a file.

    Args:
        path: Its name tells tables and mail from other text.
        text: Its content as text, whatever it was made from.
    """
    found = _extract(path, text[:MAX_CHARS])
    return replace(found, cut=found.cut or len(text) > MAX_CHARS)


def _extract(path: str, text: str) -> Extraction:
    dates = Dates(languages=languages(text))
    suffix = PurePosixPath(path.lower()).suffix
    if suffix in _CSV:
        return _of_tables([tables.csv_table(text)], dates)
    if suffix in _SHEETS:
        return _of_tables(tables.sheet_tables(text), dates)
    message = mail.read_mail(path, text)
    if message is not None:
        return _of_mail(message, dates)
    based = Dates(languages=dates.languages, base=document_date(text, dates))
    return of_text(text, based, note=True)


def _of_tables(found: list[tables.Table], dates: Dates) -> Extraction:
    tasks = islice((task for table in found for task in tables.table_tasks(table, dates)), MAX_ITEMS + 1)
    milestones = islice((day for table in found for day in tables.table_milestones(table, dates)), MAX_ITEMS + 1)
    return _limited(list(tasks), list(milestones))


def _of_mail(message: mail.Mail, dates: Dates) -> Extraction:
    based = Dates(languages=dates.languages, base=message.sent)
    asked = list(islice(mail.requests(message.body, based), MAX_ITEMS + 1))
    own = of_text(message.body, based, note=False)
    return _limited([*own.tasks, *asked], list(own.milestones))


def of_text(text: str, dates: Dates, *, note: bool) -> Extraction:
    """Return what is found in a text that is neither a table nor a mail.

    Args:
        text: The text.
        dates: Reads its days.
        note: Whether it may be the record of a meeting.
    """
    lines = readable_lines(text)
    in_bars = tables.bar_tables(lines)
    tasks = [
        *islice(line_tasks(lines, dates), MAX_ITEMS + 1),
        *(task for table in in_bars for task in tables.table_tasks(table, dates)),
    ]
    milestones = [
        *islice(line_milestones(lines, dates), MAX_ITEMS + 1),
        *(day for table in in_bars for day in tables.table_milestones(table, dates)),
    ]
    return replace(_limited(tasks, milestones), note=notes.read_note(text) if note else None)


def united_extraction(first: Extraction, second: Extraction) -> Extraction:
    """Return what both hold; the note is the first one's."""
    both = _limited([*first.tasks, *second.tasks], [*first.milestones, *second.milestones])
    return replace(both, note=first.note or second.note, cut=both.cut or first.cut or second.cut)


def _limited(tasks: list[Task], milestones: list[Milestone]) -> Extraction:
    days: dict[tuple[str, date], Milestone] = {}
    for milestone in milestones[:MAX_ITEMS]:
        days.setdefault((title_key(milestone.title), milestone.day), milestone)
    return Extraction(
        tasks=merged(tasks[:MAX_ITEMS]),
        milestones=tuple(days.values()),
        cut=len(tasks) > MAX_ITEMS or len(milestones) > MAX_ITEMS,
    )
