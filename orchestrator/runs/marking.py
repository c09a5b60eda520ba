"""File and message text as a model may read it.

It is wrapped in the run's own marker, with nothing in it that could end the wrapping, start a role, or hide from a
person who looks at the prompt.
"""

from __future__ import annotations

import re
from functools import lru_cache

MIN_MARKER_CHARS = 8
"""Longer than the longest escape, so that no escape can spell a marker."""

_MARKER = re.compile(rf"[0-9A-Za-z_-]{{{MIN_MARKER_CHARS},128}}")

_ESCAPE_OPEN = "\N{MATHEMATICAL LEFT WHITE SQUARE BRACKET}"
_ESCAPE_CLOSE = "\N{MATHEMATICAL RIGHT WHITE SQUARE BRACKET}"

# Characters that a person does not see, or that change how the ones around them are seen.
_UNSEEN = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 (ANSI escapes begin here) but tab and line feed, DEL, C1
    r"\u00ad\u034f\u061c\u070f\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"  # soft hyphen, joiners, fillers
    r"\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"  # zero width, line and paragraph separators, bidi
    r"\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"  # lone surrogates, variation selectors, BOM
    r"\U000e0000-\U000e0fff"  # tags and further variation selectors: whole hidden texts fit into them
)

# What chat templates and agent frameworks write between the turns of a conversation, and around tool results.
_ROLE_WORDS = (
    r"(?:s|bos|eos|pad|unk|sys|inst|im_start|im_end|(?:start|end)_(?:of_turn|header_id)|end_of_text|eot_id|"
    r"(?:antml:)?(?:system|user|assistant|human|developer|model|think|thinking|function|invoke|parameter)|"
    r"(?:antml:)?(?:tool|function)_?(?:s|call|calls|result|results|response|responses|output|outputs|use|uses))"
)
_ROLE_TOKENS = (
    r"<(?=[|\uff5c])"  # <|im_start|> and its kind, also with the full-width bar
    r"|<(?=</?SYS>>)"
    rf"|<(?=/?\s*{_ROLE_WORDS}\b[^<>]{{0,200}}>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])"
    r"|<(?=</?data\b)"
)


def mark_as_data(content_json: str, marker: str) -> str:
    """Return a tool's answer as a model is to read it: as data between two lines that hold the run's marker.

    Any character that is unseen, that begins a role or tool token, or that begins the marker itself is written as its
    code point between white square brackets, and so is that bracket: what is between the lines can be read back to
    exactly `content_json`, so no two contents look the same.

    Args:
        content_json: The answer, of whatever origin.
        marker: Random for each run, of letters, digits, `_` and `-`; nobody who writes files can know it.

    Raises:
        ValueError: the marker is too short or holds other characters.
    """
    escaped = _unsafe(marker).sub(lambda found: f"{_ESCAPE_OPEN}{ord(found[0]):X}{_ESCAPE_CLOSE}", content_json)
    return f"<<data {marker}>>\n{escaped}\n<</data {marker}>>"


@lru_cache(maxsize=64)
def _unsafe(marker: str) -> re.Pattern[str]:
    if not _MARKER.fullmatch(marker):
        message = f"a marker has {MIN_MARKER_CHARS} to 128 letters, digits, _ or -"
        raise ValueError(message)
    # The look-ahead takes no character, so markers that overlap each other are all broken.
    own = f"{re.escape(marker[0])}(?={re.escape(marker[1:])})"
    return re.compile(f"[{_UNSEEN}{_ESCAPE_OPEN}]|{_ROLE_TOKENS}|{own}", re.IGNORECASE)
