"""Days with a name: `Label: DATE`, `DATE - Label`, and rows of a label and a day."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date

from orchestrator.adapters.offline_model.extraction.dates import SHAPE, Dates
from orchestrator.adapters.offline_model.extraction.items import Milestone
from orchestrator.adapters.offline_model.extraction.lines import Line, is_task_line
from orchestrator.adapters.offline_model.extraction.titles import MAX_TITLE_CHARS, trimmed
from orchestrator.adapters.offline_model.extraction.words import AGENDA_HEADINGS, DATE_LABELS, INSTRUCTION, normal

_MAX_CHARS = 300
"""Longer lines are prose."""

WORDS = re.compile(
    r"\b(?:deadlines?|kick-?\s?off|launch|milestones?|release|delivery|go[- ]live|workshop|review|handover"
    r"|consegn[ae]|scadenz[ae]|lancio|rilascio|messa online"
    r"|abgabe\w*|meilenstein\w*|lieferung|liefertermin|frist|veröffentlichung|übergabe"
    r"|livraisons?|lancement|échéances?|mise en ligne|jalons?"
    r"|entregas?|lanzamiento|hitos?|fecha límite|puesta en marcha)\b",
    re.IGNORECASE,
)

_TIME = r"(?:,?\s+(?:at\s+|um\s+|alle\s+|ore\s+|à\s+|a\s+las\s+)?\d{1,2}(?:[:.h]\d{2})?\s?(?:h|Uhr|am|pm)?)?"
_SEPARATOR = r"\s*(?::|\||→|\s[\u2013\u2014-]+\s|[\u2013\u2014]|,|\()\s*"
_BULLET = re.compile(r"^\s*(?:[-*+•·]|\d{1,3}[.)])\s+")
_LABEL_FIRST = re.compile(rf"(?P<label>\S.*?){_SEPARATOR}(?P<day>{SHAPE}){_TIME}\)?\s*\.?\s*", re.IGNORECASE)
_DAY_FIRST = re.compile(
    rf"\(?(?P<day>{SHAPE}){_TIME}\)?\s*(?::|\||→|[\u2013\u2014]|-\s)\s*(?P<label>\S.*)", re.IGNORECASE
)
# Only right behind a word that names a milestone: in other sentences such a day is not what they are about.
_WITHOUT_SEPARATOR = re.compile(
    rf"(?P<label>\S.*?)(?:\s+(?:is|on|ist|am|è|est|es|il|le|el)){{0,2}}\s+(?P<day>{SHAPE}){_TIME}\s*\.?\s*",
    re.IGNORECASE,
)
_ANY_DATE = re.compile(SHAPE, re.IGNORECASE)


def line_milestones(lines: Iterable[Line], dates: Dates) -> Iterator[Milestone]:
    """Yield the milestones of the lines that are no tasks, headings or table rows, in order."""
    in_agenda = False
    for line in lines:
        if line.heading:
            in_agenda = line.heading in AGENDA_HEADINGS
        elif _may_name_a_day(line.text):
            found = _line_milestone(" ".join(line.text.replace("**", "").split()), dates, in_agenda=in_agenda)
            if found:
                yield found


def row_milestone(cells: list[str], dates: Dates, *, in_agenda: bool) -> Milestone | None:
    """Return the milestone of a table row: its first cell names it, and it has exactly one day."""
    if not cells or not (in_agenda or WORDS.search(cells[0][:_MAX_CHARS])):
        return None
    days = [day for cell in cells[1:] if (day := dates.whole(cell))]
    return _milestone(cells[0], days[0], in_agenda=in_agenda) if len(days) == 1 else None


def _may_name_a_day(text: str) -> bool:
    return (
        len(text) <= _MAX_CHARS
        and any(char.isdecimal() for char in text)
        and not text.lstrip().startswith("|")
        and not is_task_line(text)
    )


def _line_milestone(text: str, dates: Dates, *, in_agenda: bool) -> Milestone | None:
    # "1. April 2026: Messe" begins with a day and not with a number of a list.
    bare = _BULLET.sub("", text)
    found = _read(text, dates, in_agenda=in_agenda)
    return found or (_read(bare, dates, in_agenda=in_agenda) if bare != text else None)


def _read(text: str, dates: Dates, *, in_agenda: bool) -> Milestone | None:
    forms = (_LABEL_FIRST, _DAY_FIRST, *((_WITHOUT_SEPARATOR,) if WORDS.match(text) else ()))
    for form in forms:
        found = form.fullmatch(text)
        if found and (day := dates.whole(found["day"])):
            return _milestone(found["label"], day, in_agenda=in_agenda)
    return None


def _milestone(label: str, day: date, *, in_agenda: bool) -> Milestone | None:
    title = trimmed(_BULLET.sub("", label))
    of_document = normal(title) in DATE_LABELS
    named = in_agenda or WORDS.search(title)
    # A second day in the label is a span or a comparison, and guessing which one counts would be inventing.
    if not normal(title) or of_document or not named or _ANY_DATE.search(title) or INSTRUCTION.search(title):
        return None
    return Milestone(title=title, day=day) if len(title) <= MAX_TITLE_CHARS else None
