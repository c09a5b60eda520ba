"""Tasks and milestones in tables: CSV files, sheets, and rows with bars in texts."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from orchestrator.adapters.offline_model.extraction.dates import Dates
from orchestrator.adapters.offline_model.extraction.items import TODO, Milestone, Task, furthest, united
from orchestrator.adapters.offline_model.extraction.lines import Line
from orchestrator.adapters.offline_model.extraction.milestones import row_milestone
from orchestrator.adapters.offline_model.extraction.titles import read_task
from orchestrator.adapters.offline_model.extraction.words import (
    AGENDA_HEADINGS,
    DROPPED,
    DUE_COLUMNS,
    MILESTONE_COLUMNS,
    OWNER_COLUMNS,
    STATUS_COLUMNS,
    STATUS_WORDS,
    TASK_COLUMNS,
    WEAK_TASK_COLUMNS,
    normal,
)

_HEADER_ROWS = 10
"""The header is looked for among so many rows: some sheets have a title above it."""
_DELIMITERS = (",", ";", "\t", "|")
_RULE_CELL = re.compile(r":?-{2,}:?")
_PEOPLE_APART = re.compile(r"\s*(?:[,;/&+]|\s(?:and|und|et|e|y)\s)\s*")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells."""

    rows: tuple[tuple[str, ...], ...]
    in_agenda: bool = False
    """Whether the heading above it is one of days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    header: int
    task: int
    owner: int | None
    due: int | None
    status: int | None


def csv_table(text: str) -> Table:
    """Return the table of a CSV file; empty if it cannot be read.

    The delimiter is the one that shows a header of tasks, or else the one that the first rows use most.
    """
    top = "\n".join(text.splitlines()[:_HEADER_ROWS])
    delimiters = sorted(_DELIMITERS, key=top.count, reverse=True)
    best = next((delimiter for delimiter in delimiters if _columns(_read_csv(top, delimiter))), delimiters[0])
    return _read_csv(text, best)


def _read_csv(text: str, delimiter: str) -> Table:
    try:
        rows = [tuple(row) for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)]
    except csv.Error:
        return Table(())
    return Table(tuple(rows))


def sheet_tables(text: str) -> list[Table]:
    """Return a table for each sheet of a workbook in text form: `# name`, then a line a row, cells between tabs."""
    tables: list[list[tuple[str, ...]]] = [[]]
    for line in text.splitlines():
        if line.startswith("# ") and "\t" not in line:
            tables.append([])
        else:
            tables[-1].append(tuple(line.split("\t")))
    return [Table(tuple(rows)) for rows in tables]


def bar_tables(lines: Iterable[Line]) -> list[Table]:
    """Return the tables of a text whose rows stand on following lines with bars between the cells."""
    tables: list[Table] = []
    rows: list[tuple[str, ...]] = []
    in_agenda = False
    for line in lines:
        cells = _bar_cells(line.text)
        if cells:
            rows.append(cells)
            continue
        if rows:
            tables.append(Table(tuple(rows), in_agenda))
            rows = []
        if line.heading:
            in_agenda = line.heading in AGENDA_HEADINGS
    return [*tables, Table(tuple(rows), in_agenda)]


def table_tasks(table: Table, dates: Dates) -> Iterator[Task]:
    """Yield the tasks of a table whose header has a column for them."""
    columns = _columns(table)
    if columns is None:
        return
    for row in table.rows[columns.header + 1 :]:
        if task := _row_task(row, columns, dates):
            yield task


def table_milestones(table: Table, dates: Dates) -> Iterator[Milestone]:
    """Yield the milestones of a table that is none of tasks."""
    if _columns(table) is not None:
        return
    of_milestones = any(normal(row[0]) in MILESTONE_COLUMNS for row in table.rows[:_HEADER_ROWS] if row)
    for row in table.rows:
        cells = [cell.replace("**", "").strip() for cell in row]
        if found := row_milestone(cells, dates, in_agenda=table.in_agenda or of_milestones):
            yield found


def _bar_cells(line: str) -> tuple[str, ...]:
    text = line.strip()
    if "|" not in text or not (text.startswith("|") or " | " in text):
        return ()
    return tuple(cell.strip() for cell in text.strip("|").split("|"))


def _columns(table: Table) -> _Columns | None:
    for number, row in enumerate(table.rows[:_HEADER_ROWS]):
        names = [normal(cell) for cell in row]
        status = _first(names, STATUS_COLUMNS)
        task = _first(names, TASK_COLUMNS)
        if task is None and status is not None:
            task = _first(names, WEAK_TASK_COLUMNS)
        # A line with one cell is a title above the table, not its header.
        if task is not None and (len([name for name in names if name]) > 1 or len(row) == 1 == len(table.rows[-1])):
            owner, due = _first(names, OWNER_COLUMNS), _first(names, DUE_COLUMNS)
            return _Columns(header=number, task=task, owner=owner, due=due, status=status)
    return None


def _first(names: list[str], wanted: frozenset[str]) -> int | None:
    return next((index for index, name in enumerate(names) if name in wanted), None)


def _row_task(row: tuple[str, ...], columns: _Columns, dates: Dates) -> Task | None:
    status = normal(_cell(row, columns.status))
    text = _cell(row, columns.task)
    if not text or status in DROPPED or _RULE_CELL.fullmatch(text):
        return None
    task = read_task(text, dates)
    if task is None:
        return None
    names = _PEOPLE_APART.split(_cell(row, columns.owner))
    owners = tuple(name for name in (part.strip().removeprefix("@") for part in names) if normal(name))
    return replace(
        task,
        status=furthest(task.status, STATUS_WORDS.get(status, TODO)),
        due_date=dates.any(_cell(row, columns.due)) or task.due_date,
        assignees=united(owners, task.assignees),
    )


def _cell(row: tuple[str, ...], index: int | None) -> str:
    return row[index].strip() if index is not None and index < len(row) else ""
