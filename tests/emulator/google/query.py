"""Gmail's search language: `from:ada after:1762070400 -in:sent {subject:invoice subject:rechnung} "exact words"`.

An operator that is not known here is refused, where the real one searches for it as a word and finds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo

from tests.emulator.google.mailbox import SYSTEM_LABELS, GmailMessage, Mailbox
from tests.emulator.google.mime import filename_of, parts_of, text_of
from tests.emulator.parameters import BadParameter

Predicate = Callable[[GmailMessage], bool]

_TOKEN = re.compile(r'\s*([(){}]|-(?=[^\s])|"[^"]*"|[A-Za-z_]+:(?=[({"])|[^\s(){}"]+)')
_PLACES = {"inbox": "INBOX", "sent": "SENT", "spam": "SPAM", "trash": "TRASH", "draft": "DRAFT", "drafts": "DRAFT"}
_STATES = {
    "unread": ("UNREAD", True),
    "read": ("UNREAD", False),
    "starred": ("STARRED", True),
    "important": ("IMPORTANT", True),
}
_PACIFIC = ZoneInfo("America/Los_Angeles")


@dataclass(frozen=True, slots=True)
class Query:
    """A query that was understood."""

    matches: Predicate
    looks_into: frozenset[str]
    """Those of SPAM and TRASH that it names, so that they are not left out."""


def understood(text: str, mailbox: Mailbox, *, by_date_header: bool) -> Query:
    """Return the meaning of `text` in a mailbox.

    Args:
        text: The parameter `q`.
        mailbox: Where its label names are looked up.
        by_date_header: Whether `after:` and `before:` look at the `Date` header instead of the time of arrival.

    Raises:
        BadParameter: It has a part that is not known.
    """
    parser = _Parser(text, mailbox, by_date_header)
    return Query(parser.whole(), frozenset(parser.looks_into))


class _Parser:
    def __init__(self, text: str, mailbox: Mailbox, by_date_header: bool) -> None:
        self.looks_into: set[str] = set()
        self._tokens = _tokens(text)
        self._mailbox = mailbox
        self._by_date_header = by_date_header

    def whole(self) -> Predicate:
        found = self._all(end="")
        if self._tokens:
            raise BadParameter("q", f"unexpected {self._tokens[0]!r}")
        return found

    def _all(self, *, end: str, operator: str = "") -> Predicate:
        """Read terms up to `end`; they hold together, but for those with OR between them."""
        groups: list[list[Predicate]] = []
        joined = False
        while self._tokens and self._tokens[0] != end:
            if self._tokens[0] == "OR" and groups:
                self._tokens.pop(0)
                joined = True
                continue
            term = self._term(operator)
            if joined:
                groups[-1].append(term)
            else:
                groups.append([term])
            joined = False
        self._close(end)
        return lambda message: all(any(term(message) for term in group) for group in groups)

    def _any(self, operator: str) -> Predicate:
        terms: list[Predicate] = []
        while self._tokens and self._tokens[0] != "}":
            terms.append(self._term(operator))
        self._close("}")
        return lambda message: any(term(message) for term in terms)

    def _close(self, end: str) -> None:
        if not end:
            return
        if not self._tokens:
            raise BadParameter("q", f"{end!r} is missing")
        self._tokens.pop(0)

    def _term(self, operator: str) -> Predicate:
        token = self._tokens.pop(0)
        if token == "-":
            term = self._term(operator)
            return lambda message: not term(message)
        if token == "(":
            return self._all(end=")", operator=operator)
        if token == "{":
            return self._any(operator)
        if token in {")", "}"}:
            raise BadParameter("q", f"unexpected {token!r}")
        if token.endswith(":") and self._tokens:
            return self._term(token[:-1].lower())
        name, colon, value = token.partition(":")
        if operator or not colon or token.startswith('"'):
            return self._operator(operator, token.strip('"'))
        return self._operator(name.lower(), value)

    def _operator(self, operator: str, value: str) -> Predicate:
        simple = {"": _has_words, "subject": _in_subject, "rfc822msgid": _has_message_id}
        if operator in simple:
            find, wanted = simple[operator], value.lower()
            return lambda message: find(message, wanted)
        if operator in {"from", "to", "cc"}:
            return _address(operator, value.lower())
        if operator in {"label", "in", "is", "category"}:
            return self._place(operator, value)
        if operator in {"after", "before"}:
            return self._time(operator, _moment(operator, value))
        if operator == "has" and value == "attachment":
            return _has_attachment
        raise BadParameter("q", f"unknown operator {operator}:{value}")

    def _place(self, operator: str, value: str) -> Predicate:
        known = value.lower()
        if operator == "in" and known == "anywhere":
            self.looks_into |= {"SPAM", "TRASH"}
            return lambda _: True
        if operator == "is":
            if known not in _STATES:
                raise BadParameter("q", f"unknown state is:{value}")
            label_id, wanted = _STATES[known]
            return lambda message: (label_id in message.label_ids) is wanted
        label_id = f"CATEGORY_{value.upper()}" if operator == "category" else self._label(value)
        self.looks_into |= {label_id} & {"SPAM", "TRASH"}
        return lambda message: label_id in message.label_ids

    def _label(self, value: str) -> str:
        """Return the id of a label by its id or its name, in which spaces and slashes may be dashes."""
        known = value.lower()
        if known in _PLACES or value.upper() in SYSTEM_LABELS:
            return _PLACES.get(known, value.upper())
        for label_id, name in self._mailbox.user_labels.items():
            if known in {label_id.lower(), name.lower(), re.sub(r"[ /&]", "-", name.lower())}:
                return label_id
        return ""

    def _time(self, operator: str, moment: float) -> Predicate:
        def of(message: GmailMessage) -> float:
            if not self._by_date_header:
                return message.internal_date // 1000
            try:
                return parsedate_to_datetime(message.mail.header("Date")).timestamp()
            except ValueError:
                return message.internal_date // 1000

        return (lambda message: of(message) > moment) if operator == "after" else (lambda message: of(message) < moment)


def _tokens(text: str) -> list[str]:
    tokens, at = [], 0
    while at < len(text.rstrip()):
        found = _TOKEN.match(text, at)
        if found is None:
            raise BadParameter("q", f"cannot read {text[at : at + 20]!r}")
        tokens.append(found[1])
        at = found.end()
    return tokens


def _moment(operator: str, value: str) -> float:
    """Return seconds since 1970 of an epoch value, or of a date, which begins at midnight in California."""
    if value.isdecimal():
        return float(value)
    date = re.fullmatch(r"(\d{4})[/-](\d\d?)[/-](\d\d?)", value)
    if date is None:
        raise BadParameter("q", f"not a time: {operator}:{value}")
    return datetime(int(date[1]), int(date[2]), int(date[3]), tzinfo=_PACIFIC).timestamp()


def _address(operator: str, value: str) -> Predicate:
    # `to:` finds all recipients, as the search box does.
    names = {"from": ("From",), "to": ("To", "Cc", "Bcc"), "cc": ("Cc",)}[operator]
    return lambda message: any(value in message.mail.header(name).lower() for name in names)


def _in_subject(message: GmailMessage, value: str) -> bool:
    return value in message.mail.header("Subject").lower()


def _has_words(message: GmailMessage, value: str) -> bool:
    return value in f"{message.mail.header('Subject')} {text_of(message.mail)}".lower()


def _has_message_id(message: GmailMessage, value: str) -> bool:
    return message.mail.message_id.strip("<>").lower() == value.strip("<>")


def _has_attachment(message: GmailMessage) -> bool:
    return any(filename_of(part) for _, part in parts_of(message.mail.parsed))
