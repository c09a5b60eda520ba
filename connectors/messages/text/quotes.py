"""What is new in a reply, told apart from what it quotes. Nothing is ever lost: both together are the whole text.

The lines with which mail programs begin a quotation are found by the patterns of mail-parser-reply, and by some of ours
for what it does not know; then they are looked at again, for a false one would hide what somebody wrote.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate, islice

from mailparser_reply import EmailMessage

LANGUAGES = ("en", "de", "fr", "it", "es")
"""Whose mail programs' words are known."""
MAX_SEARCHED_CHARS = 40_000
"""Where a quotation may begin: nobody writes a longer reply above one."""

_MAX_LINE_CHARS = 300
"""A line that begins a quotation is not longer; the time of some patterns grows with the square of it."""
_MAX_BLOCK_LINES = 12
_FORWARD_SUBJECT = re.compile(r"(?:\s*\[[^\[\]]{1,30}\])*\s*(?:fwd?|wg|tr|rv|i)\s*:", re.IGNORECASE)
_FORWARD_MARK = re.compile(
    r"^[ \t>]*(?:-{2,} ?(?:forwarded (?:message|by)|weitergeleitete nachricht|message transf[ée]r[ée]"
    r"|messaggio inoltrato|mensaje reenviado)|begin forwarded message|anfang der weitergeleiteten"
    r"|d[ée]but du message (?:transf|r[ée]exp)|inizio (?:del )?messaggio inoltrato|inicio del mensaje reenviado)",
    re.IGNORECASE | re.MULTILINE,
)
_ORIGINAL = re.compile(
    r"[> ]*-{3,} ?(?:original message|original appointment|urspr(?:ü|ue?)ngliche (?:nachricht|e-?mail)"
    r"|message d['\u2019]origine|messaggio originale|mensaje original) ?-{3,}",
    re.IGNORECASE,
)
_RULE = re.compile(r"[> ]*[_-]{20,}")
_WROTE = re.compile(
    r"(?:on|am|le|il|el)\b.{1,300}\b(?:wrote|schrieb(?: .{1,200})?|a [ée]crit|ha scritto|escribi[óo]) ?:", re.IGNORECASE
)
_FIELD = re.compile(r"[*> ]*([^\W\d_][\w. /-]{0,24}?) ?\*? ?:\*?(?: |$)")
_FROM = frozenset({"from", "von", "de", "da"})
_SUBJECT = frozenset({"subject", "betreff", "objet", "oggetto", "asunto"})
_FIELDS = _FROM | _SUBJECT | frozenset({
    "sent", "date", "to", "cc", "bcc", "importance", "attachments", "reply-to", "gesendet", "datum", "an", "kopie",
    "wichtigkeit", "anlagen", "envoyé", "à", "a", "inviato", "data", "enviado", "enviado el", "fecha", "para",
    "priorità", "importancia",
})  # fmt: skip
_HEADERS: re.Pattern[str] = EmailMessage(text="", languages=list(LANGUAGES)).HEADER_REGEX


@dataclass(frozen=True, slots=True)
class Split:
    """A text in two: `new_text + quoted_text` is the whole."""

    new_text: str = field(repr=False)
    """What its author wrote, with the signature; the whole text when that cannot be told, or it is a forward."""
    quoted_text: str = field(repr=False)
    """From the line that begins the quotation to the end; '' for none."""


def split_quotes(text: str, *, subject: str) -> Split:
    """Return what is new in `text` and what it quotes; never raises.

    Not split are forwards, by their subject or a line that says so; answers between or below the quoted lines; and
    texts that would be left with nothing.
    """
    begin = _begin_of_quotation(text)
    if begin is None or not text[:begin].strip() or _says_forwarded(text[:begin], subject):
        return Split(text, "")
    return Split(text[:begin], text[begin:])


def is_forward(text: str, *, subject: str) -> bool:
    """Whether a mail forwards another one, which then is what it has to say."""
    begin = _begin_of_quotation(text)
    return _says_forwarded(text[: MAX_SEARCHED_CHARS if begin is None else begin], subject)


def _says_forwarded(new_text: str, subject: str) -> bool:
    return _FORWARD_SUBJECT.match(subject) is not None or _FORWARD_MARK.search(new_text) is not None


def _begin_of_quotation(text: str) -> int | None:
    """Return the place of the line that begins the quotation, None when there is none or it is answered within."""
    lines = [_plain(line) for line in text.split("\n")]
    searched = text.count("\n", 0, MAX_SEARCHED_CHARS) + 1
    for number in _candidates(lines[:searched]):
        begin, behind = _quotation_at(lines, number)
        if behind:
            if _answered(lines[behind:]):
                return None
            return sum(len(line) + 1 for line in text.split("\n")[:begin])
    return None


def _plain(line: str) -> str:
    """Return a line as the patterns want it; one that is too long to begin a quotation as one that does not."""
    return line.replace("\xa0", " ").replace("\u202f", " ").strip() if len(line) <= _MAX_LINE_CHARS else "x"


def _candidates(lines: list[str]) -> list[int]:
    """Return the numbers of the lines with which a quotation may begin, in order."""
    searched = "\n".join(lines)
    numbers = {number for number, line in enumerate(lines) if line.startswith((">", "-", "_")) or line.endswith(":")}
    starts = list(accumulate((len(line) + 1 for line in lines), initial=0))
    for found in _HEADERS.finditer(searched):
        leading = len(found[0]) - len(found[0].lstrip("\n"))
        numbers.add(bisect_right(starts, found.start() + leading) - 1)
    return sorted(numbers)


def _quotation_at(lines: list[str], number: int) -> tuple[int, int]:
    """Return the line with which a quotation begins at or around line `number`, and the one behind its heading.

    Both are 0 when none begins there.
    """
    for found in (_attribution(lines, number), _block(lines, number), _bare(lines, number)):
        if found is not None and any(lines[found[1] :]):
            return found
    return 0, 0


def _attribution(lines: list[str], number: int) -> tuple[int, int] | None:
    """Look for `On 3 Nov 2025 at 10:12, Ann Bee <ann@bee.example> wrote:`, on up to three lines."""
    for first in range(max(0, number - 2), number + 1):
        for last in range(first, min(first + 3, len(lines))):
            words = " ".join(line.lstrip("> ") for line in lines[first : last + 1])
            if re.search(r"[\d@]", words) and _WROTE.fullmatch(words):
                return first, last + 1
    return None


def _block(lines: list[str], number: int) -> tuple[int, int] | None:
    """Look for the author, time and subject of the quoted mail, a line each, or for a line that names it as such."""
    if _ORIGINAL.fullmatch(lines[number]):
        return number, number + 1
    first = number
    while first > 0 and number - first < _MAX_BLOCK_LINES and _field(lines[first - 1]):
        first -= 1
    named = {first: _field(lines[first])}
    for place in range(first + 1, min(first + _MAX_BLOCK_LINES, len(lines))):
        if not lines[place].strip("> "):
            break
        if _field(lines[place]):
            named[place] = _field(lines[place])
    found = set(named.values())
    if "" in found or len(found) < 3 or not found & _FROM or not found & _SUBJECT:
        return None
    behind = max(named) + 1
    while first > 0 and (_RULE.fullmatch(lines[first - 1]) or _ORIGINAL.fullmatch(lines[first - 1])):
        first -= 1
    return first, behind


def _field(line: str) -> str:
    found = _FIELD.match(line)
    name = found[1].lower() if found else ""
    return name if name in _FIELDS else ""


def _bare(lines: list[str], number: int) -> tuple[int, int] | None:
    """Look for quoted lines down to the end, below a line of any language that tells of their author or below none."""
    if not lines[number].startswith(">") or (number and lines[number - 1].startswith(">")):
        return None
    if any(line and not line.startswith(">") for line in islice(lines, number, None)):
        return None
    above = number - 1
    while above > 0 and not lines[above]:
        above -= 1
    told = above >= 0 and lines[above].endswith(":") and re.search(r"@|\d", lines[above])
    return (above, number) if told else (number, number)


def _answered(lines: list[str]) -> bool:
    """Whether the quoted lines are marked as such, and anything stands between or below them."""
    first = next((line for line in lines if line), "")
    return first.startswith(">") and any(line and not line.startswith(">") for line in lines)
