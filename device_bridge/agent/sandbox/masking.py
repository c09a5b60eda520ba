"""Masking credentials in text before it leaves the device.

Found by their shape, not by a dictionary: private keys, well-known access keys, JSON web tokens, and assignments of a
random-looking value to something that is called a secret. A mask is a fixed marker that tells nothing of the length.

`CONTEXT` characters on both sides of what is handed out are searched with it, and no secret that is looked for is
longer: a secret that is cut by the border of a chunk is masked in both halves, wherever a caller puts the border.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

CONTEXT = 16 * 1024
"""Characters (or bytes) of context that `mask` needs on each side."""

MARKER = "[masked secret]"

# Every pattern is linear: it starts at a fixed word or at the start of a run, and its repetitions are bounded.
_KEY_BORDER = re.compile(r"-----(BEGIN|END) [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_BODY = re.compile(r"(?:\s{0,8}[A-Za-z0-9+/=]{20,200}+)*")

_TOKENS = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA|ANVA|AIPA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|gh[pousr]_[A-Za-z0-9]{36,255}"
    r"|github_pat_[A-Za-z0-9_]{22,255}"
    r"|xox[abeprs]-[A-Za-z0-9-]{10,255}"
    r"|sk-[A-Za-z0-9_-]{20,255}"
    r"|[rs]k_live_[A-Za-z0-9]{10,255}"
    r"|AIza[A-Za-z0-9_-]{35}"
    r"|eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10,8000}\.[A-Za-z0-9_-]{0,2000}"
    r")"
)

_ASSIGNMENT = re.compile(
    r"(?i:passw(?:or)?d|passphrase|pwd|secret|token|credential|authorization"
    r"|(?:api|access|account|private|secret)[_ -]?key)s?(?![a-z])"
    r"[A-Za-z0-9_.-]{0,32}[\"']?[ \t]{0,8}(?:=>|:=|[:=])[ \t]{0,8}[\"'`]?(?:(?:Bearer|Basic) )?"
    r"([A-Za-z0-9+/=_.~!@#$%^&*-]{16,512})"
)
_PLAIN_VALUE = re.compile(r"https?:|[^@]+@[A-Za-z0-9-]+\.[A-Za-z.-]+$")
_MIN_ENTROPY_BITS = 3.0


def mask(text: str, start: int, end: int) -> tuple[str, int]:
    """Return `text[start:end]` with every secret in it replaced by MARKER, and how many were.

    A secret that reaches over `start` or `end` counts, and the part of it inside is masked.
    """
    parts: list[str] = []
    position, count = start, 0
    for first, last in _merged(text):
        if last <= start or first >= end:
            continue
        parts += [text[position : max(first, start)], MARKER]
        position = min(last, end)
        count += 1
    parts.append(text[position:end])
    return "".join(parts), count


def _merged(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of the secrets of `text` in order, those that overlap as one."""
    spans = sorted([*_private_keys(text), *(match.span() for match in _TOKENS.finditer(text)), *_assignments(text)])
    current: tuple[int, int] | None = None
    for first, last in spans:
        if current is not None and first < current[1]:
            current = (current[0], max(current[1], last))
            continue
        if current is not None:
            yield current
        current = (first, last)
    if current is not None:
        yield current


def _private_keys(text: str) -> Iterator[tuple[int, int]]:
    """Yield the blocks from BEGIN to END; where END is missing or far, BEGIN and the lines of base64 after it."""
    begin: re.Match[str] | None = None
    for border in _KEY_BORDER.finditer(text):
        if begin is not None:
            yield begin.start(), _key_end(text, begin, border)
        begin = border if border[1] == "BEGIN" else None
    if begin is not None:
        yield begin.start(), _key_end(text, begin, None)


def _key_end(text: str, begin: re.Match[str], border: re.Match[str] | None) -> int:
    if border is not None and border[1] == "END" and border.end() - begin.start() <= CONTEXT:
        return border.end()
    body = _KEY_BODY.match(text, begin.end(), begin.start() + CONTEXT)
    return body.end() if body else begin.end()


def _assignments(text: str) -> Iterator[tuple[int, int]]:
    for match in _ASSIGNMENT.finditer(text):
        if _looks_random(match[1]):
            yield match.span(1)


def _looks_random(value: str) -> bool:
    """Return whether `value` mixes letters and digits as no word, address or link does."""
    if _PLAIN_VALUE.match(value) or value.isalpha() or not any(map(str.isdigit, value)):
        return False
    if not any(map(str.isalpha, value)):
        return False
    total = len(value)
    entropy = -sum(count / total * math.log2(count / total) for count in Counter(value).values())
    return entropy >= _MIN_ENTROPY_BITS
