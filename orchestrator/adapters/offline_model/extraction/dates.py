"""Days as people write them. Nothing here knows today's date: relative days count from the document's own."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache

from dateparser.languages.loader import default_loader

from orchestrator.adapters.offline_model.extraction.words import (
    AROUND_WEEKDAYS,
    DAYS_AHEAD,
    LANGUAGES,
    WEEKDAY_PATTERN,
    WEEKDAYS,
    normal,
)

_MAX_CHARS = 48
"""No day is written longer than this."""

_WORD = r"[^\W\d_]{3,12}"
_ORDINAL = r"(?:\.|st|nd|rd|th|er|re|º|ª|°)?"
_ARTICLE = r"(?:(?:the|il|lo|la|le|el|den|dem|der|am|al|on)\s+|l['\u2019])"

SHAPE = (
    rf"(?:(?:{WEEKDAY_PATTERN})\.?,?\s+)?{_ARTICLE}?"
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?!\d)"
    r"|\d{1,2}[./]\s?\d{1,2}[./]\s?\d{2,4}(?!\d)"
    rf"|\d{{1,2}}{_ORDINAL}\s+(?:de\s+|of\s+|d['\u2019])?{_WORD}\.?,?\s+(?:de\s+|del\s+)?\d{{4}}(?!\d)"
    rf"|{_WORD}\.?\s+\d{{1,2}}{_ORDINAL},?\s+\d{{4}}(?!\d))"
)
"""A regular expression of what may be a whole date, with its year; `Dates.whole` decides."""

_ISO = re.compile(
    r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?"
)
_NUMBERS = re.compile(r"(\d{1,2})[./]\s?(\d{1,2})[./]\s?(\d{4}|\d{2})")
_NUMBERS_WITHOUT_YEAR = re.compile(r"(\d{1,2})\.\s?(\d{1,2})\.")
_DAY_FIRST = re.compile(
    rf"(?P<day>\d{{1,2}}){_ORDINAL}\s+(?:de\s+|of\s+|d['\u2019])?(?P<month>{_WORD})\.?"
    r"(?:,?\s+(?:de\s+|del\s+)?(?P<year>\d{4}))?"
)
_MONTH_FIRST = re.compile(rf"(?P<month>{_WORD})\.?\s+(?P<day>\d{{1,2}}){_ORDINAL}(?:,?\s+(?P<year>\d{{4}}))?")
_LEADING_WEEKDAY = re.compile(rf"(?P<weekday>{_WORD})\.?,?\s+(?={_ARTICLE}?\d)")
_LEADING_ARTICLE = re.compile(_ARTICLE, re.IGNORECASE)

_DATE_LABEL = re.compile(r"(?:Date|Data|Datum|Fecha)\s*:\s*(?P<day>.+)", re.IGNORECASE)
_TOP_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Dates:
    """Reads days in one document."""

    languages: tuple[str, ...] = LANGUAGES
    """The likeliest first."""
    base: date | None = field(default=None)
    """The document's own date; None when it has none, and then there are no relative days."""

    def whole(self, text: str) -> date | None:
        """Return the day that the whole text names with its year, or None."""
        text = _bare(text)
        if not text:
            return None
        if found := _ISO.fullmatch(text):
            return _day(int(found[1]), int(found[2]), int(found[3]))
        if found := _NUMBERS.fullmatch(text):
            year = int(found[3]) + (2000 if len(found[3]) == 2 else 0)
            return _day(year, int(found[2]), int(found[1]))
        if (named := self._named(text)) and named[2] is not None:
            return _day(named[2], named[1], named[0])
        return None

    def any(self, text: str, *, numbers_without_year: bool = False) -> date | None:
        """Return the day that the whole text names, also without a year or relative to the document's date, or None.

        Args:
            text: Such as "20 February 2026", "25 febbraio", "next Friday".
            numbers_without_year: Whether "12.03." is a day here; elsewhere it is more likely a number.
        """
        whole = self.whole(text)
        if whole is not None or self.base is None:
            return whole
        text = _bare(text)
        if numbers_without_year and (found := _NUMBERS_WITHOUT_YEAR.fullmatch(text)):
            return _next(self.base, int(found[2]), int(found[1]))
        if named := self._named(text):
            return _next(self.base, named[1], named[0]) if named[2] is None else None
        return _relative(text, self.base)

    def _named(self, text: str) -> tuple[int, int, int | None] | None:
        found = _DAY_FIRST.fullmatch(text) or _MONTH_FIRST.fullmatch(text)
        month = month_number(found["month"], self.languages) if found else None
        if found is None or month is None:
            return None
        return int(found["day"]), month, int(found["year"]) if found["year"] else None


def document_date(text: str, dates: Dates) -> date | None:
    """Return the date that a line near the top gives as the document's own, such as "Datum: 12.02.2026"."""
    lines = (line.replace("**", "").strip(" \t#*-_|") for line in text.split("\n", 4 * _TOP_LINES)[: 4 * _TOP_LINES])
    for line in [line for line in lines if line][:_TOP_LINES]:
        if (found := _DATE_LABEL.fullmatch(line)) and (day := dates.whole(found["day"].rstrip("."))):
            return day
    return None


def month_number(word: str, languages: Iterable[str] = LANGUAGES) -> int | None:
    """Return which month the word names in one of the languages, the first one that knows it; None when none does."""
    name = normal(word)
    return next((months[name] for months in map(_months, languages) if name in months), None)


@lru_cache(maxsize=len(LANGUAGES))
def _months(language: str) -> dict[str, int]:
    """Return the names and short names of the months, as dateparser's data of the language has them."""
    # Only its data: its parser also takes words for days that nobody meant so, and is slow on texts made to be slow.
    info = default_loader.get_locale(language).info
    english = [name.lower() for name in calendar.month_name]
    return {normal(name): number for number in range(1, 13) for name in info[english[number]]}


def _bare(text: str) -> str:
    """Return the text without white space, a weekday and an article before it; empty when it is too long."""
    text = " ".join(text[: 2 * _MAX_CHARS].split())
    if (found := _LEADING_WEEKDAY.match(text)) and normal(found["weekday"]) in WEEKDAYS:
        text = text[found.end() :]
    text = _LEADING_ARTICLE.sub("", text, count=1) if _LEADING_ARTICLE.match(text) else text
    return text if len(text) <= _MAX_CHARS else ""


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day) if 1900 <= year <= 2199 else None
    except ValueError:
        return None


def _next(base: date, month: int, day: int) -> date | None:
    """Return the first such day on or after the base."""
    this_year = _day(base.year, month, day)
    return this_year if this_year is not None and this_year >= base else _day(base.year + 1, month, day)


def _relative(text: str, base: date) -> date | None:
    words = normal(text)
    if words in DAYS_AHEAD:
        return base + timedelta(days=DAYS_AHEAD[words])
    named = [word for word in words.removesuffix(" que viene").split() if word not in AROUND_WEEKDAYS]
    if len(named) != 1 or named[0] not in WEEKDAYS:
        return None
    return base + timedelta(days=(WEEKDAYS[named[0]] - base.weekday() - 1) % 7 + 1)
