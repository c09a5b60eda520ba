"""Mail: what its writer says in it and nobody before, and what the writer asks for."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from orchestrator.adapters.offline_model.extraction.dates import Dates
from orchestrator.adapters.offline_model.extraction.items import Task
from orchestrator.adapters.offline_model.extraction.titles import read_task
from orchestrator.adapters.offline_model.extraction.words import MONTHS_AFTER_STOP, normal

_HEADER = re.compile(r"(?P<name>[A-Za-z][A-Za-z-]{1,40}):[ \t]?(?P<value>.*)")
_MAX_HEADERS = 60
MAX_SENTENCE_CHARS = 2000

_WROTE = re.compile(
    r"(?:On|Am|Le|Il|El|Op)\b.{4,300}\b(?:wrote|schrieb|a\s+écrit|ha\s+scritto|escribió)\b.{0,120}:\s*", re.DOTALL
)
_FORWARDED = re.compile(
    r"\s*(?:-{2,}\s*(?:Original(?:nachricht| Message)?|Ursprüngliche Nachricht|Messaggio originale|Message d'origine"
    r"|Mensaje original|Forwarded message|Weitergeleitete Nachricht|Messaggio inoltrato|Message transféré"
    r"|Mensaje reenviado)\b.*|_{10,}\s*|Begin forwarded message:\s*)",
    re.IGNORECASE,
)
_QUOTED_FROM = re.compile(r"\**(?:From|Da|Von|De)\s?:\**\s?\S.*")
_QUOTED_SENT = re.compile(r"\**(?:Sent|Date|Inviato|Data|Gesendet|Datum|Envoyé|Date|Enviado|Fecha)\s?:\**\s?\S.*")

_SENTENCE_END = re.compile(r"[.?!]+(?=[\s\"'»”)]|$)")
_DAY_BEFORE_STOP = re.compile(r"(?<!\d)\d{1,2}$")
_FIRST_WORD = re.compile(r"\s+([^\W\d_]+)")
_ABBREVIATED = re.compile(
    r"(?:^|[\s(])(?:mrs?|ms|dr|prof|dott|sig(?:\.ra)?|hr|fr|mme?|sra?|st|no|nr|vs|e\.g|i\.e|z\.\s?b|ca|bzw|p\.\s?ej|pag|pp?)$",
    re.IGNORECASE,
)

_COURTESY = r"please|per\s+favore|per\s+cortesia|bitte|s['\u2019]il\s+(?:vous|te)\s+pla[iî]t|veuillez|por\s+favor"
# "Merci de" asks with a verb behind it, and thanks with anything else.
_MERCI = r"merci\s+d(?:e\s+|['\u2019])(?:bien\s+vouloir\s+)?(?!(?:votre|notre|leur|être|avoir)\b)(?=\w+(?:er|ir|re)\b)"
_QUESTION = (
    r"(?:could|would|can)\s+you(?:\s+mind)?|potrest[ie]|potrebbe|puoi|può|(?:könnten|würden|können)\s+Sie|(?:könntest|kannst)\s+du"
    r"|pourriez[- ]vous|pourrais[- ]tu|pouvez[- ]vous|peux[- ]tu|podrías?|podrían|podéis|puedes|puede\s+usted"
)
_ASKING = re.compile(
    rf"[¿¡]?(?<!\w)(?:(?P<question>(?:{_QUESTION})(?:,?\s+(?:{_COURTESY}))?)|(?P<courtesy>(?:{_COURTESY})"
    rf"(?:,?\s+(?:{_QUESTION}))?))(?!\w),?\s*|(?<!\w){_MERCI}",
    re.IGNORECASE,
)
_AS_YOU_PLEASE = re.compile(r"\byou\s+$", re.IGNORECASE)
_NO_QUESTION = re.compile(r"(?:how|what|where|when|why|who|which|if|as|wie|wann|warum|wo|come|quando|perché)\s+$", re.I)
_NO_REQUEST = re.compile(
    r"(?:find|note|feel\s+free|do\s*n[o'\u2019]t\s+hesitate|do\s+not\s+hesitate|accept\s+(?:my|our)|excuse|be\s+(?:aware|advised)"
    r"|see\s+(?:attached|below)|let\s+(?:me|us)\s+know\s+if\s+(?:you|there|anything)"
    r"|non\s+esit\w*|trova\w*\s+(?:in\s+)?allegat\w*|scus\w+|nota\w*\s+che"
    r"|finden\s+Sie|beachten\s+Sie|zögern\s+Sie|entschuldigen\s+Sie|zögere?\s+nicht"
    r"|trouver|agréer|recevoir|noter|croire|accepter\s+(?:mes|nos)|excuser|n['\u2019]hésitez"
    r"|no\s+dudes?|encuentr\w+|tenga\s+en\s+cuenta|ten\s+en\s+cuenta|disculp\w+)(?!\w)",
    re.IGNORECASE,
)
_WONDER = re.compile(
    r"(?:imagine|believe|guess|immaginare|immaginarti|imaginer|imaginar|imaginarte)(?!\w)", re.IGNORECASE
)
_CLAUSE_END = re.compile(
    r"(?:[,;:\u2013\u2014(]|^|\b(?:and|so|but|also|then|und|aber|also|e|poi|quindi|et|donc|y|así\s+que))\s*$", re.I
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail as its text form gives it."""

    sent: date | None
    body: str
    """What its writer says: without quotes and signature."""


def read_mail(path: str, text: str) -> Mail | None:
    """Return the mail, or None when the file is none: neither named so nor beginning with a mail's headers."""
    head, _, body = text.replace("\r\n", "\n").partition("\n\n")
    headers: dict[str, str] = {}
    for line in head.split("\n")[:_MAX_HEADERS]:
        found = _HEADER.fullmatch(line)
        if found is None and not line.startswith((" ", "\t")):
            headers = {}
            break
        if found:
            headers.setdefault(found["name"].lower(), found["value"].strip())
    addressed = "from" in headers and bool({"to", "subject", "date"} & set(headers))
    if not addressed and not path.lower().endswith(".eml"):
        return None
    return Mail(sent=_sent(headers.get("date", "")), body=own_text(body if headers else text))


def own_text(body: str) -> str:
    """Return the text without quoted lines, what introduces them, forwarded mail and the signature."""
    lines = body.split("\n")
    kept: list[str] = []
    index = 0
    while index < len(lines):
        line = lines[index]
        if line.rstrip("\r ") == "--" or _FORWARDED.fullmatch(line) or _is_quoted_head(lines, index):
            break
        if count := _introduction(lines, index):
            index += count
            following = next((later for later in lines[index:] if later.strip()), "")
            if not following.startswith(">"):
                break  # quoted without any sign at its lines: nothing below can be told apart
            continue
        if not line.lstrip().startswith(">"):
            kept.append(line)
        index += 1
    return "\n".join(kept)


def requests(body: str, dates: Dates) -> Iterator[Task]:
    """Yield what the writer asks for, in order: the request's words as they stand, without the words of asking."""
    for paragraph in re.split(r"\n\s*\n", body):
        for sentence in _sentences(" ".join(paragraph.split())):
            text = _requested(sentence[:MAX_SENTENCE_CHARS])
            if text and (task := read_task(text, dates)):
                yield task


def _sent(value: str) -> date | None:
    try:
        return email.utils.parsedate_to_datetime(value).date()
    except (ValueError, IndexError):
        return Dates().whole(value)


def _is_quoted_head(lines: list[str], index: int) -> bool:
    """Return whether the headers of an older mail begin here, as some programs put them above a quote."""
    if not _QUOTED_FROM.fullmatch(lines[index].strip()):
        return False
    return any(_QUOTED_SENT.fullmatch(line.strip()) for line in lines[index + 1 : index + 4])


def _introduction(lines: list[str], index: int) -> int:
    """Return how many lines, from this one, say that somebody wrote what follows; 0 for none."""
    if not lines[index].startswith(("On ", "Am ", "Le ", "Il ", "El ")):
        return 0
    for count in (1, 2, 3):
        piece = "\n".join(lines[index : index + count])
        if "\n\n" in piece:
            return 0
        if _WROTE.fullmatch(piece):
            return count
    return 0


def _sentences(text: str) -> Iterator[str]:
    start = 0
    for end in _SENTENCE_END.finditer(text):
        before = text[max(start, end.start() - 12) : end.start()]
        following = _FIRST_WORD.match(text, end.end())
        in_date = _DAY_BEFORE_STOP.search(before) and following and normal(following[1]) in MONTHS_AFTER_STOP
        if in_date or _ABBREVIATED.search(before):
            continue
        yield text[start : end.end()].strip()
        start = end.end()
    yield text[start:].strip()


def _requested(sentence: str) -> str:
    """Return what the sentence asks for, or nothing."""
    for asking in _ASKING.finditer(sentence):
        before, after = sentence[: asking.start()], sentence[asking.end() :]
        if asking["question"]:
            if not _NO_QUESTION.search(before) and not _WONDER.match(after):
                return after
        elif not _AS_YOU_PLEASE.search(before):
            return "" if _NO_REQUEST.match(after) else _bidden(sentence, asking)
    return ""


def _bidden(sentence: str, courtesy: re.Match[str]) -> str:
    """Return what a word such as "please" stands by: what follows it, or the clause around it."""
    before, after = sentence[: courtesy.start()], sentence[courtesy.end() :]
    if not after.strip(" .?!"):
        return before
    if _CLAUSE_END.search(before):
        return after
    # "Schicken Sie mir bitte die Logos": the request began before the courtesy.
    return re.split(r"[,;:]\s+", before)[-1] + sentence[courtesy.start() :]
