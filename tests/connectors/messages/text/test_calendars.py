from __future__ import annotations

from hypothesis import given, strategies as st

from connectors.messages.text.calendars import invitation

LINES = st.sampled_from([
    "BEGIN:VCALENDAR", "BEGIN:VEVENT", "BEGIN:VALARM", "END:VALARM", "END:VEVENT", "END:VCALENDAR", "METHOD:REQUEST",
    "SUMMARY:Plan", "SUMMARY;LANGUAGE=de:Plan", 'ORGANIZER;CN="Bee, Ann":mailto:ann@bee.example', "DTEND:20251110",
    "DTSTART:20251110T090000Z", "DTSTART;TZID=Europe/Berlin:20251110T100000", "DTSTART:nonsense",
    "LOCATION:a\\nb\\,c", ":", ";", " folded", "X;A=", 'X;A="', "\\",
])  # fmt: skip


def event(*lines: str) -> str:
    return "\n".join(["BEGIN:VCALENDAR", "METHOD:REQUEST", "BEGIN:VEVENT", *lines, "END:VEVENT", "END:VCALENDAR"])


@given(st.lists(LINES, max_size=30).map("\n".join) | st.text(max_size=100))
def test_no_calendar_makes_it_fail(calendar: str) -> None:
    invitation(calendar).encode("utf-8")


def test_time_place_and_organizer_are_told() -> None:
    told = invitation(
        event(
            "SUMMARY:Kick-off",
            "DTSTART;TZID=Europe/Berlin:20251110T100000",
            "DTEND:20251110T103000Z",
            "LOCATION:Room 3\\, first floor",
            'ORGANIZER;SENT-BY="mailto:x@y.example";CN="Bee, Ann":mailto:ann@bee.example',
        )
    )

    assert told == (
        "[Invitation] Kick-off\nWhen: 2025-11-10 10:00 (Europe/Berlin) to 2025-11-10 10:30 (UTC)\n"
        "Where: Room 3, first floor\nOrganizer: Bee, Ann <ann@bee.example>"
    )


def test_an_alarm_is_not_the_event() -> None:
    told = invitation(event("BEGIN:VALARM", "SUMMARY:Alarm", "END:VALARM", "SUMMARY:Kick-off"))

    assert told == "[Invitation] Kick-off"


def test_long_lines_are_unfolded() -> None:
    assert invitation(event("SUMMARY:Kick-\n off")) == "[Invitation] Kick-off"


def test_a_calendar_without_an_event_says_nothing() -> None:
    assert invitation("BEGIN:VCALENDAR\nBEGIN:VTODO\nSUMMARY:x\nEND:VTODO\nEND:VCALENDAR") == ""
