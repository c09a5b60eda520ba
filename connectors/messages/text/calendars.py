"""What an invitation says, in a few lines: a calendar part (RFC 5545) as a person would tell of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from connectors.messages.text.cleaning import clean, one_line

_MAX_CHARS = 256 * 1024
_MAX_LINES = 5_000
_MAX_VALUE_CHARS = 500
_TITLES = {"CANCEL": "Cancelled invitation", "REPLY": "Answer to an invitation", "COUNTER": "Counter-proposal"}
_LINE = re.compile(r'([A-Za-z-]{1,40})((?:;[A-Za-z-]{1,40}=(?:"[^"]*"|[^";:,]*)(?:,(?:"[^"]*"|[^";:,]*))*)*):(.*)')
_PARAMETER = re.compile(r';([A-Za-z-]{1,40})=("[^"]*"|[^";:]*)')
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)\d\d(Z?))?")
_ESCAPED = re.compile(r"\\(.)")


def invitation(calendar: str) -> str:
    """Return title, time, place and organizer of the first event in `calendar`, a line each; '' when there is none."""
    fields = _first_event(calendar)
    if "SUMMARY" not in fields and "DTSTART" not in fields:
        return ""
    title = _TITLES.get(_value(fields, "METHOD").upper(), "Invitation")
    begin, end = _time(fields, "DTSTART"), _time(fields, "DTEND")
    told = [
        ("When", f"{begin} to {end}" if begin and end else begin),
        ("Repeats", _value(fields, "RRULE")),
        ("Where", _value(fields, "LOCATION")),
        ("Organizer", _organizer(fields)),
        ("Status", _value(fields, "STATUS").lower()),
    ]
    lines = [f"[{title}] {_value(fields, 'SUMMARY')}".rstrip(), *(f"{name}: {value}" for name, value in told if value)]
    return "\n".join(lines)


def _first_event(calendar: str) -> dict[str, tuple[str, str]]:
    """Return the parameters and value of each property of the calendar and its first event, not of its alarms."""
    fields: dict[str, tuple[str, str]] = {}
    within: list[str] = []
    for name, parameters, value in _lines(calendar):
        if name == "BEGIN":
            within.append(value.strip().upper())
        elif name == "END":
            if within and within.pop() == "VEVENT":
                break
        elif within in (["VCALENDAR"], ["VCALENDAR", "VEVENT"]):
            fields.setdefault(name, (parameters, value))
    return fields


def _lines(calendar: str) -> Iterator[tuple[str, str, str]]:
    unfolded = re.sub(r"\n[ \t]", "", clean(calendar[:_MAX_CHARS]))
    for line in unfolded.split("\n", _MAX_LINES)[:_MAX_LINES]:
        found = _LINE.fullmatch(line)
        if found:
            yield found[1].upper(), found[2], found[3]


def _value(fields: dict[str, tuple[str, str]], name: str) -> str:
    value = fields.get(name, ("", ""))[1]
    return one_line(_ESCAPED.sub(lambda found: " " if found[1] in "nN" else found[1], value))[:_MAX_VALUE_CHARS]


def _parameter(fields: dict[str, tuple[str, str]], name: str, parameter: str) -> str:
    pairs = _PARAMETER.findall(fields.get(name, ("", ""))[0])
    return next((one_line(value.strip('"'))[:_MAX_VALUE_CHARS] for key, value in pairs if key.upper() == parameter), "")


def _time(fields: dict[str, tuple[str, str]], name: str) -> str:
    found = _TIME.fullmatch(_value(fields, name))
    if not found:
        return _value(fields, name)
    day = f"{found[1]}-{found[2]}-{found[3]}"
    if found[4] is None:
        return day
    zone = "UTC" if found[6] else _parameter(fields, name, "TZID")
    return f"{day} {found[4]}:{found[5]}" + (f" ({zone})" if zone else "")


def _organizer(fields: dict[str, tuple[str, str]]) -> str:
    name = _parameter(fields, "ORGANIZER", "CN")
    address = re.sub(r"(?i)^mailto:", "", _value(fields, "ORGANIZER"))
    return f"{name} <{address}>" if name and address else name or address
