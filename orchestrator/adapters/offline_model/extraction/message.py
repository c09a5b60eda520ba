"""A message of a mailbox or chat: what its writer newly says in it, and what is found there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date

from orchestrator.adapters.offline_model.extraction import mail
from orchestrator.adapters.offline_model.extraction.dates import Dates
from orchestrator.adapters.offline_model.extraction.extract import MAX_CHARS, of_text, united_extraction
from orchestrator.adapters.offline_model.extraction.items import Extraction, Milestone, Task
from orchestrator.adapters.offline_model.extraction.language import languages
from orchestrator.adapters.offline_model.extraction.notes import read_note
from orchestrator.adapters.offline_model.extraction.titles import MAX_TITLE_CHARS, trimmed
from orchestrator.adapters.offline_model.extraction.words import INSTRUCTION, normal

_REPLY = re.compile(r"(?:(?:re|aw|antw|r|rif|ref|rép|sv)\s?(?:\[\d+\])?\s?:\s*)+", re.IGNORECASE)
_FORWARD = re.compile(r"\s*(?:fwd?|wg|tr|rv|i|inoltr\w*)\s?:\s*", re.IGNORECASE)

_ROBOT = re.compile(
    r"(?:no[-_.]?reply|do[-_.]?not[-_.]?reply|mailer-daemon|postmaster|newsletters?|news|notifications?|notify|bounces?"
    r"|alerts?|marketing|promo(?:tions?)?|mailings?|auto-?(?:confirm|reply))(?:[-_.+].*)?",
    re.IGNORECASE,
)
_AUTOMATIC_SUBJECT = re.compile(
    r"\s*(?:auto(?:matic)?[- ]?reply|automatic response|out of (?:the )?office|abwesenheit\w*|automatische antwort"
    r"|risposta automatica|fuori (?:sede|ufficio)|réponse automatique|absence du bureau|respuesta automática"
    r"|fuera de (?:la )?oficina|undeliver\w+|delivery status notification|mail delivery|unzustellbar|returned mail)",
    re.IGNORECASE,
)
_LEAVING = re.compile(
    r"\b(?:unsubscribe|manage (?:your )?(?:preferences|subscription)|in (?:your )?browser"
    r"|abbestellen|abmelden|vom newsletter|disiscriv\w+|cancell\w+ (?:la |dalla |l['\u2019])?iscrizione"
    r"|annulla\w* (?:la |l['\u2019])?iscrizione|désabonn\w+|désinscri\w+|darse? de baja"
    r"|cancelar (?:la |tu )?suscripción)\b",
    re.IGNORECASE,
)
_CLICK = re.compile(r"https?://|\b(?:click|klick\w*|hier|here|clicca\w*|qui|cliqu\w+|clic|ici|haz|haga|aquí)\b", re.I)
_LAST_LINES = 12
_SHORT_WORDS = 4
_MASS_LABELS = frozenset({"category promotions", "category social", "promotions", "social"})
_SENT_LABELS = frozenset({"sent", "sentitems", "sent items", "sent mail"})

_INVITATION = re.compile(r"^\[Invitation\] (?P<title>\S.*)\nWhen: (?P<day>\d{4}-\d{2}-\d{2})\b", re.MULTILINE)
"""How the connectors tell of a calendar's invitation."""
_FORWARDED_LINE = re.compile(r"\s*(?:-{2,}.{0,60}-{2,}|_{10,}|Begin forwarded message:)\s*", re.IGNORECASE)
_HEADER = re.compile(r"\W*(?P<name>[A-Za-zÀ-ÿ-]{1,20})\s?:\W*(?P<value>\S.*)")
_FROM = frozenset({"from", "da", "von", "de"})
_SENT = frozenset({"date", "sent", "data", "inviato", "gesendet", "datum", "envoye", "enviado", "fecha"})
_MAX_HEADERS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as it was given."""

    subject: str = field(default="", repr=False)
    sender: str = field(default="", repr=False)
    """The name of who wrote it."""
    address: str = field(default="", repr=False)
    sent: date | None = None
    text: str = field(default="", repr=False)
    """The new text alone: what it quotes was found with its own message."""
    labels: tuple[str, ...] = ()

    @property
    def by_user(self) -> bool:
        """Whether the user wrote it."""
        return any(normal(label) in _SENT_LABELS for label in self.labels)


def extract_message(message: Message) -> Extraction:
    """Return what is found in a message. Newsletters and automatic mails hold nothing."""
    if is_automatic(message):
        return Extraction()
    own, forwarded, forwarded_on = _parts(message)
    known = languages(f"{message.subject}\n{own}\n{forwarded}")
    subject = "" if _REPLY.match(message.subject) else subject_of(message)
    dates = Dates(languages=known, base=message.sent)
    found = _of_part(f"{subject}\n{own}", own, dates, asks=not message.by_user)
    found = united_extraction(found, Extraction(milestones=tuple(_invitations(own, dates))))
    if forwarded:
        base = Dates(languages=known).whole(forwarded_on) if forwarded_on else None
        found = united_extraction(found, _of_part(forwarded, forwarded, Dates(languages=known, base=base)))
    note = read_note(own) or (read_note(f"{subject}\n{own}") if subject else None)
    return replace(found, note=note, cut=len(message.text) > MAX_CHARS)


def is_automatic(message: Message) -> bool:
    """Return whether nobody wrote the message to the user in person."""
    if _ROBOT.fullmatch(message.address.partition("@")[0]) or _AUTOMATIC_SUBJECT.match(message.subject):
        return True
    if any(normal(label) in _MASS_LABELS for label in message.labels):
        return True
    lines = [line.strip() for line in message.text.splitlines() if line.strip()]
    last = (line for line in lines[-_LAST_LINES:] if _LEAVING.search(line[:500]))
    # A client may well write about a link to unsubscribe; a newsletter has one.
    return any(_CLICK.search(line) or len(line.split()) <= _SHORT_WORDS for line in last)


def subject_of(message: Message) -> str:
    """Return the subject without what mail programs put before it."""
    subject = message.subject.strip()
    while True:
        shorter = _FORWARD.sub("", _REPLY.sub("", subject, count=1) if _REPLY.match(subject) else subject, count=1)
        shorter = shorter if _FORWARD.match(subject) or _REPLY.match(subject) else subject
        if shorter == subject:
            return subject
        subject = shorter.strip()


def _of_part(lines: str, body: str, dates: Dates, *, asks: bool = True) -> Extraction:
    found = of_text(lines, dates, note=False)
    asked = list(mail.requests(body, dates)) if asks else []
    return united_extraction(found, Extraction(tasks=tuple(map(_capitalised, asked))))


def _invitations(text: str, dates: Dates) -> Iterator[Milestone]:
    """Yield the days that the writer's calendar invites to."""
    for found in _INVITATION.finditer(text):
        title, day = trimmed(found["title"]), dates.whole(found["day"])
        if day and normal(title) and len(title) <= MAX_TITLE_CHARS and not INSTRUCTION.search(title):
            yield Milestone(title=title, day=day)


def _capitalised(task: Task) -> Task:
    """Return the request as a title: what follows "please" begins with a small letter."""
    return replace(task, title=task.title[:1].upper() + task.title[1:])


def _parts(message: Message) -> tuple[str, str, str]:
    """Return what the writer says, what is forwarded with it, and the date that the forwarded mail has."""
    text = message.text[:MAX_CHARS]
    own = mail.own_text(text)
    if not _FORWARD.match(message.subject):
        return own, "", ""
    lines = text.splitlines()
    start = next((place for place, line in enumerate(lines) if _FORWARDED_LINE.fullmatch(line)), None)
    if start is None:
        start = next((place for place, line in enumerate(lines) if _header(line)[0] in _FROM), None)
    if start is None:
        return own, "", ""
    return mail.own_text("\n".join(lines[:start])), *_forwarded(lines[start:])


def _forwarded(lines: list[str]) -> tuple[str, str]:
    """Return a forwarded mail's own text, and its date as it is written."""
    sent = ""
    end = 0
    for place, line in enumerate(lines[:_MAX_HEADERS]):
        name, value = _header(line)
        if name in _SENT and not sent:
            sent = value
        if name:
            end = place + 1
    return mail.own_text("\n".join(lines[max(end, 1) :])), sent


def _header(line: str) -> tuple[str, str]:
    found = _HEADER.fullmatch(line)
    return (normal(found["name"]), found["value"].strip()) if found else ("", "")
