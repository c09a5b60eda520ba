"""Tasks that stand on a line of their own: boxes, lines that begin with a marker, bullets below a heading of tasks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator.adapters.offline_model.extraction.dates import Dates
from orchestrator.adapters.offline_model.extraction.items import COMPLETED, IN_PROGRESS, TODO, Task
from orchestrator.adapters.offline_model.extraction.titles import read_task
from orchestrator.adapters.offline_model.extraction.words import AGENDA_HEADINGS, TASK_HEADINGS, normal

MAX_LINE_CHARS = 4000

_BULLET = r"(?:[-*+•·]|\d{1,3}[.)])\s+"
_BOX = re.compile(rf"\s*(?:{_BULLET})?(?:\[(?P<box>[ xX✓✔~/])\]\s+|(?P<sign>[☐☑☒✅])\s*)(?P<text>\S.*)")
_BOXES = {" ": TODO, "☐": TODO, "~": IN_PROGRESS, "/": IN_PROGRESS}
_MARKER = re.compile(
    rf"\s*(?:{_BULLET})?"
    # Small "ap" is no abbreviation of anything here.
    r"(?:AP|(?i:(?P<todo>TODO)|To[- ]do|Actions?|Action\s+items?|Da\s+fare|Azione|Aufgabe|Zu\s+erledigen"
    r"|[ÀA]\s+faire|Pendiente|Por\s+hacer|Tarea|Acción)|(?P<done>(?i:Done|Erledigt|Fatto|Terminé|Fait|Hecho)))"
    r"(?:\s?\((?P<who>[^\W\d_][\w.-]{0,40})\))?\s?:\s*(?P<text>\S.*)"
)
_PLAIN_BULLET = re.compile(rf"\s*{_BULLET}(?P<text>\S.*)")
_CONTINUED = re.compile(r"\s{2,}\S")
_FENCE = re.compile(r"\s*(?:```|~~~)")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s+(?P<text>.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line that the document says itself."""

    text: str
    heading: str = ""
    """What it says as a heading, normalised; empty when it is none."""


def readable_lines(text: str) -> list[Line]:
    """Return the lines that are neither quoted nor inside a code block. Long ones are cut."""
    lines = [line[:MAX_LINE_CHARS] for line in text.splitlines()]
    fences = [number for number, line in enumerate(lines) if _FENCE.match(line)]
    # A fence that is never closed is no fence: nothing after it is lost.
    inside = {n for first, last in zip(fences[::2], fences[1::2], strict=False) for n in range(first, last + 1)}
    return [
        Line(text=line, heading=_heading(line))
        for number, line in enumerate(lines)
        if number not in inside and not line.lstrip().startswith(">")
    ]


def line_tasks(lines: Iterable[Line], dates: Dates) -> Iterator[Task]:
    """Yield the tasks of the lines, in order."""
    below_tasks = False
    for line in _unwrapped(lines):
        if is_task_line(line.text):
            task = _marked(line.text, dates)
        elif line.heading:
            below_tasks = line.heading in TASK_HEADINGS
            continue
        elif below_tasks and (bullet := _PLAIN_BULLET.match(line.text)):
            task = read_task(bullet["text"], dates)
        else:
            below_tasks = below_tasks and not line.text.strip()
            continue
        if task is not None:
            yield task


def is_task_line(text: str) -> bool:
    """Return whether the line is a box or begins with a marker."""
    return bool(_BOX.match(text) or _MARKER.match(text))


def _unwrapped(lines: Iterable[Line]) -> Iterator[Line]:
    """Yield the lines with bullets that go on, indented, on the next lines in one piece."""
    bullet: list[str] = []
    for line in lines:
        new = _PLAIN_BULLET.match(line.text) or is_task_line(line.text)
        if bullet and not new and not line.heading and _CONTINUED.match(line.text):
            bullet.append(line.text.strip())
            continue
        if bullet:
            yield Line(text=" ".join(bullet)[:MAX_LINE_CHARS])
            bullet = []
        if new:
            bullet = [line.text]
        else:
            yield line
    if bullet:
        yield Line(text=" ".join(bullet)[:MAX_LINE_CHARS])


def _marked(text: str, dates: Dates) -> Task | None:
    if box := _BOX.match(text):
        return read_task(box["text"], dates, status=_BOXES.get(box["box"] or box["sign"], COMPLETED))
    found = _MARKER.match(text)
    # In Spanish, "Todo:" begins a sentence about everything.
    if found is None or (found["todo"] == "Todo" and dates.languages[0] == "es"):
        return None
    people = f"@{found['who']} " if found["who"] else ""
    return read_task(people + found["text"], dates, status=COMPLETED if found["done"] else TODO)


def _heading(line: str) -> str:
    if found := _HEADING.match(line):
        return normal(found["text"]) or "#"
    # In plain text, a line that is nothing but the name of a section is its heading.
    words = normal(line)
    named = words in TASK_HEADINGS or words in AGENDA_HEADINGS
    return words if named and not _PLAIN_BULLET.match(line) else ""
