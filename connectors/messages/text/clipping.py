"""Cutting a text so that the cut can be seen."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

DEFAULT_MAX_CHARS = 8_000
"""Characters of a message's text that a run gets unless it asks for another number."""

_MARK = "\n[… {:,} more characters]"
_LINE_SHARE = 0.8
_WORD_SHARE = 0.9
_JOINER = "\u200d"
_FLAGS = ("\U0001f1e6", "\U0001f1ff")
_SKIN_TONES = ("\U0001f3fb", "\U0001f3ff")


@dataclass(frozen=True, slots=True)
class Clipped:
    """A text that is short enough."""

    text: str
    """At most as long as was asked for, the line that tells of the cut included."""
    truncated: bool
    full_chars: int
    """Characters of the text before it was cut."""


def clip(text: str, max_chars: int = DEFAULT_MAX_CHARS) -> Clipped:
    """Return `text` in at most `max_chars` characters; what is cut is counted in its last line.

    It is cut at a line end when there is one in the last fifth, else between words when there is one in the last
    tenth, else between two characters as a reader sees them. Where not even the line about the cut has room, there is
    none.

    Raises:
        ValueError: `max_chars` is negative.
    """
    if max_chars < 0:
        raise ValueError("max_chars must not be negative")
    full = len(text)
    if full <= max_chars:
        return Clipped(text, truncated=False, full_chars=full)
    room = max_chars - len(_MARK.format(full))
    if room <= 0:
        return Clipped(text[: _between_characters(text, max_chars)], truncated=True, full_chars=full)
    kept = text[: _boundary(text, room)].rstrip()
    return Clipped(kept + _MARK.format(full - len(kept)), truncated=True, full_chars=full)


def _boundary(text: str, room: int) -> int:
    line_end = text.rfind("\n", int(room * _LINE_SHARE), room + 1)
    if line_end > 0:
        return line_end
    for end in range(room, int(room * _WORD_SHARE), -1):
        if text[end].isspace():
            return end
    return _between_characters(text, room)


def _between_characters(text: str, end: int) -> int:
    """Return the last place up to `end` that is not within one character as a reader sees it."""
    place = end
    while place > 0 and _joined(text, place):
        place -= 1
    # One endless character: it has to be cut somewhere.
    return place or end


def _joined(text: str, place: int) -> bool:
    before, after = text[place - 1], text[place]
    if before == _JOINER or after == _JOINER or unicodedata.category(after) in {"Mn", "Mc", "Me"}:
        return True
    if _SKIN_TONES[0] <= after <= _SKIN_TONES[1] or ("\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff"):
        return True
    if not (_is_flag(before) and _is_flag(after)):
        return False
    first = place - 1
    while first > 0 and _is_flag(text[first - 1]):
        first -= 1
    return (place - first) % 2 == 1


def _is_flag(character: str) -> bool:
    return _FLAGS[0] <= character <= _FLAGS[1]
