from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, strategies as st

from orchestrator.adapters.offline_model.extraction.dates import Dates, document_date, month_number
from orchestrator.adapters.offline_model.extraction.words import LANGUAGES

THURSDAY = date(2026, 3, 5)


@pytest.mark.parametrize(
    "text",
    [
        "2026-04-03",
        "2026/4/3",
        "2026-04-03T10:00:00",
        "2026-04-03 09:30",
        "03/04/2026",
        "3.4.2026",
        "03. 04. 2026",
        "3.4.26",
        "3 April 2026",
        "3rd April 2026",
        "3rd of April, 2026",
        "April 3, 2026",
        "Apr 3rd 2026",
        "Friday, 3 April 2026",
        "the 3 April 2026",
        "3 aprile 2026",
        "venerdì 3 aprile 2026",
        "il 3 aprile 2026",
        "3. April 2026",
        "Freitag, den 3. April 2026",
        "3 avril 2026",
        "le 3 avr. 2026",
        "3 de abril de 2026",
        "viernes 3 de abril del 2026",
    ],
)
def test_a_whole_date_is_the_same_day_in_every_language_and_form(text: str) -> None:
    assert Dates().whole(text) == date(2026, 4, 3)


@pytest.mark.parametrize(
    ("text", "month"),
    [("1er mars 2026", 3), ("1° gennaio 2026", 1), ("1. Jänner 2026", 1), ("1 sept. 2026", 9)],
)
def test_the_first_of_a_month_has_its_own_forms(text: str, month: int) -> None:
    assert Dates().whole(text) == date(2026, month, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2026",
        "April 2026",
        "31/02/2026",
        "13/13/2026",
        "2026-02-30",
        "12 pieces 2026",
        "1.2.3",
        "3 April",
        "Friday",
        "tomorrow",
        "0001-01-01",
        "9" * 400,
        "3 April 2026 " * 20,
    ],
)
def test_what_is_no_whole_date_is_none(text: str) -> None:
    assert Dates(base=THURSDAY).whole(text) is None


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("Friday", 1),
        ("next Friday", 1),
        ("Thursday", 7),
        ("Wednesday", 6),
        ("venerdì", 1),
        ("venerdì prossimo", 1),
        ("kommenden Freitag", 1),
        ("Montag", 4),
        ("vendredi prochain", 1),
        ("el próximo viernes", 1),
        ("el lunes que viene", 4),
        ("today", 0),
        ("tomorrow", 1),
        ("domani", 1),
        ("dopodomani", 2),
        ("übermorgen", 2),
        ("demain", 1),
        ("après-demain", 2),
        ("mañana", 1),
        ("20 March", 15),
        ("5 marzo", 0),
        ("le 20 mars", 15),
    ],
)
def test_a_relative_day_counts_from_the_documents_date(text: str, days: int) -> None:
    assert Dates(base=THURSDAY).any(text) == THURSDAY + timedelta(days=days)
    assert Dates().any(text) is None


def test_a_day_without_year_that_is_past_is_next_years() -> None:
    assert Dates(base=THURSDAY).any("4 March") == date(2027, 3, 4)


def test_numbers_without_year_are_a_day_only_where_it_is_said() -> None:
    dates = Dates(base=THURSDAY)

    assert dates.any("12.03.") is None
    assert dates.any("12.03.", numbers_without_year=True) == date(2026, 3, 12)


@pytest.mark.parametrize("text", ["week", "next week", "end of the month", "Friday week", "hand", "5", "May", "sun"])
def test_a_vague_time_is_no_day(text: str) -> None:
    assert Dates(base=THURSDAY).any(text) is None


@pytest.mark.parametrize("label", ["Date: ", "Data: ", "Datum: ", "Date : ", "Fecha: ", "**Date:** ", "- Date: "])
def test_a_line_near_the_top_gives_the_documents_date(label: str) -> None:
    assert document_date(f"# Minutes\n\n{label}5 March 2026\ntext", Dates()) == THURSDAY


@pytest.mark.parametrize(
    "text", ["", "Due date: 5 March 2026", "Date: Friday", "x\n" * 60 + "Date: 5 March 2026", "Update: 2026-03-05"]
)
def test_other_lines_do_not(text: str) -> None:
    assert document_date(text, Dates()) is None


def test_the_months_of_all_languages_are_known() -> None:
    july = ["July", "luglio", "Juli", "juillet", "julio"]

    assert [month_number(name, [language]) for name, language in zip(july, LANGUAGES, strict=True)] == [7] * 5
    assert month_number("Monday") is None


@given(st.dates(min_value=date(1900, 1, 1), max_value=date(2199, 12, 31)))
def test_every_day_reads_back_from_its_numbers(day: date) -> None:
    dates = Dates()

    assert dates.whole(day.isoformat()) == day
    assert dates.whole(f"{day.day}/{day.month}/{day.year}") == day
    assert dates.whole(f"{day.day:02}.{day.month:02}.{day.year}") == day


@given(st.text(max_size=60), st.one_of(st.none(), st.just(THURSDAY)))
def test_any_text_is_a_day_or_none(text: str, base: date | None) -> None:
    found = Dates(base=base).any(text, numbers_without_year=True)

    assert found is None or isinstance(found, date)
