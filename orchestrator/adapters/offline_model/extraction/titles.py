"""From the words of a task to its title, day, people and state: nothing is reworded, only taken off at the ends."""

from __future__ import annotations

import re
from datetime import date

from orchestrator.adapters.offline_model.extraction.dates import Dates
from orchestrator.adapters.offline_model.extraction.items import TODO, Task, furthest, united
from orchestrator.adapters.offline_model.extraction.words import INSTRUCTION, LINE_STATUS_WORDS, normal

MAX_TITLE_CHARS = 200
_MAX_CHARS = 4000
"""Of what is read as one task."""

_TRIMMED = " \t.,;:?!\u2013\u2014-|"
_DUE_TAG = re.compile(r"@due\s?\(([^()]{1,48})\)", re.IGNORECASE)
_DUE_FIELD = re.compile(r"[\s,;(\[]{0,3}(?<!\w)due\s?:\s*", re.IGNORECASE)
_NAME = r"[^\W\d_][\w.-]{0,40}"
_NAME_AT_START = re.compile(rf"\s*@({_NAME})(?=[\s,:;]|$)")
_NAME_AT_END = re.compile(rf"(?:^|[\s,;(\[]+)@({_NAME})[\s.,;)\]]*$")
_STATUS_AT_END = re.compile(r"(?:[(\[]\s*([^()\[\]]{2,16})\s*[)\]]|\s[\u2013\u2014-]+\s+([^\W\d_][\w ]{1,15}))[\s.]*$")

_DUE_WORDS = re.compile(
    r"(?<!\w)(?P<words>(?:due\s+(?:by|on)|due|by|until|before|no\s+later\s+than|not\s+later\s+than"
    r"|entro(?:\s+e\s+non\s+oltre)?|per\s+il"
    r"|(?P<german>(?:spätestens\s+)?bis(?:\s+spätestens)?(?:\s+zum)?|spätestens\s+(?:am|zum))"
    r"|avant|d['\u2019]ici|pour|au\s+plus\s+tard"
    r"|antes\s+del?|para|hasta|a\s+más\s+tardar))(?!\w)\s*",
    re.IGNORECASE,
)
_BEFORE_DUE = " \t,;([\u2013\u2014-"
_DUE_END = re.compile(
    r"(?:,?\s+(?:at\s+|um\s+|alle\s+|ore\s+|à\s+|a\s+las\s+)?\d{1,2}(?:[:.h]\d{2}\s?(?:h|Uhr|am|pm)?|\s?(?:h|Uhr|am|pm)))?"
    r"[\s.,;:?!)\]]*$",
    re.IGNORECASE,
)
_PARTICLE = re.compile(
    r"\s+(?:ab|an|auf|aus|bei|durch|ein|fertig|fort|frei|her|hin|los|mit|nach|um|vor|weg|weiter|zu|zurück|zusammen)"
    r"[\s.?!]*$"
)
"""What German verbs put at the end of their sentence, behind the day: "bis Freitag frei"."""
_END_OF_DAY = re.compile(r"(?:(?:EOD|COB|end\s+of\s+(?:the\s+)?day)\s*,?\s*(?:on\s+)?)", re.IGNORECASE)

KEY_FALLBACK = "="


def title_key(title: str) -> str:
    """Return what is equal for two titles that mean the same record: no accents, case, punctuation or hyphens."""
    return normal(title) or KEY_FALLBACK + " ".join(title.split()).casefold()


def trimmed(text: str) -> str:
    """Return the text with single spaces, and without separators and sentence ends around it."""
    return " ".join(text.split()).strip(_TRIMMED)


def read_task(text: str, dates: Dates, *, status: str = TODO) -> Task | None:
    """Return the task that a text describes once its bullet, box, marker or request words are gone.

    None when no title is left, or when the text is an order to assistants.
    """
    text = " ".join(text[:_MAX_CHARS].split())
    if INSTRUCTION.search(text):
        return None
    rest, due = _tagged_due(text, dates)
    names: list[str] = []
    while True:
        before = rest
        rest, found = _names(rest)
        names = [*found, *names]
        rest, named_status = _status(rest)
        status = furthest(status, named_status or TODO)
        if due is None:
            rest, due = _trailing_due(rest, dates)
        if due is None:
            rest, due = _leading_due(rest, dates)
        if rest == before:
            break
    title = trimmed(rest)
    if not normal(title):
        return None
    short = _shortened(title)
    return Task(
        title=short,
        status=status,
        due_date=due,
        assignees=united((), tuple(names)),
        description="" if short == title else title,
    )


def merged(tasks: list[Task]) -> tuple[Task, ...]:
    """Return the tasks, each title once: the furthest state, the first day that is given, everybody who is named."""
    result: dict[str, Task] = {}
    for task in tasks:
        key = title_key(task.title)
        known = result.get(key)
        result[key] = (
            task
            if known is None
            else Task(
                title=known.title,
                status=furthest(known.status, task.status),
                due_date=known.due_date or task.due_date,
                assignees=united(known.assignees, task.assignees),
                description=known.description or task.description,
            )
        )
    return tuple(result.values())


def _tagged_due(text: str, dates: Dates) -> tuple[str, date | None]:
    """Take `@due(DATE)` and `due: DATE` off, wherever they stand, if their dates can be read."""
    for tag in _DUE_TAG.finditer(text):
        if due := dates.any(tag[1]):
            return _joined(text[: tag.start()], text[tag.end() :]), due
    for tag in _DUE_FIELD.finditer(text):
        words = re.split(r"(\s+)", text[tag.end() : tag.end() + 48])
        # The longest run of words that is a date: "20 February 2026", not "20 February".
        for count in range(min(len(words), 9), 0, -2):
            run = "".join(words[:count])
            if due := dates.any(run.rstrip(".,;)]")):
                return _joined(text[: tag.start()], text[tag.end() + len(run) :]), due
    return text, None


def _joined(before: str, after: str) -> str:
    return f"{before.rstrip()} {after.lstrip()}".strip()


def _names(text: str) -> tuple[str, list[str]]:
    names: list[str] = []
    while found := _NAME_AT_START.match(text):
        names.append(found[1].rstrip(".-"))
        text = text[found.end() :].lstrip(" ,:;")
    last: list[str] = []
    while found := _NAME_AT_END.search(text[-60:]):
        last.insert(0, found[1].rstrip(".-"))
        text = text[: len(text) - len(text[-60:]) + found.start()]
    return text, names + last


def _status(text: str) -> tuple[str, str | None]:
    found = _STATUS_AT_END.search(text, max(0, len(text) - 40))
    status = LINE_STATUS_WORDS.get(normal(found[1] or found[2])) if found else None
    return (text[: found.start()], status) if found and status else (text, None)


def _trailing_due(text: str, dates: Dates) -> tuple[str, date | None]:
    start = max(0, len(text) - 90)
    for found in _DUE_WORDS.finditer(text, start):
        german = found["german"] is not None
        particle = _PARTICLE.search(text, found.end()) if german else None
        named = text[found.end() : particle.start() if particle else None]
        day = _DUE_END.sub("", _END_OF_DAY.sub("", named, count=1), count=1)
        due = dates.any(day, numbers_without_year=german) or (
            german and dates.any(f"{day}.", numbers_without_year=True)
        )
        if due:
            return text[: found.start()].rstrip(_BEFORE_DUE) + (particle[0] if particle else ""), due
    return text, None


def _leading_due(text: str, dates: Dates) -> tuple[str, date | None]:
    """Take a day off that the text begins with: "bis 12. März 2026 das Angebot schicken"."""
    found = _DUE_WORDS.match(text)
    if found is None:
        return text, None
    words = re.split(r"(\s+)", text[found.end() : found.end() + 48])
    # The longest run of words that is a day, and something has to follow it.
    for count in range(min(len(words) - 2, 7), 0, -2):
        run = "".join(words[:count])
        rest = text[found.end() + len(run) :].lstrip(" ,:")
        if rest and (due := dates.any(run.rstrip(",:"), numbers_without_year=found["german"] is not None)):
            return rest, due
    return text, None


def _shortened(title: str) -> str:
    if len(title) <= MAX_TITLE_CHARS:
        return title
    return trimmed(title[: MAX_TITLE_CHARS + 1].rpartition(" ")[0]) or title[:MAX_TITLE_CHARS]
