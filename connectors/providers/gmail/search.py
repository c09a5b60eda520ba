"""Our filter in Gmail's words: which labels are looked at, what is searched for, and what is checked again here."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from connectors.errors import FilterInvalid
from connectors.messages.domain import JsonObject, Message, MessageFilter

INBOX: Final = "INBOX"
SENT: Final = "SENT"
SYSTEM_LABELS: Final[Mapping[str, str]] = {
    INBOX: "in:inbox",
    SENT: "in:sent",
    "STARRED": "is:starred",
    "IMPORTANT": "is:important",
    "UNREAD": "is:unread",
    "CATEGORY_PERSONAL": "category:primary",
    **{f"CATEGORY_{name.upper()}": f"category:{name}" for name in ("social", "promotions", "updates", "forums")},
}
"""The labels that every mailbox has, by their ids, and how each is searched for."""
NEVER: Final = frozenset({"DRAFT", "SPAM", "TRASH", "CHAT"})
"""Labels of what is no message for anybody."""
OVERLAP: Final = timedelta(days=1)
"""Sources disagree on whether `after:` compares the time of arrival or the sender's own date: the search begins so much
earlier, and what arrived before the window is left out when it is read."""
MAX_TERMS: Final = 100

_ADDRESS = re.compile(r"[A-Za-z0-9._%+'=/&$!#*?^`~-]{0,64}@[A-Za-z0-9.-]{1,253}")
_FORBIDDEN = re.compile(r'["\x00-\x1f\x7f]')
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Place:
    """A label that is looked at."""

    label_id: str
    term: str = field(repr=False)
    """How it is searched for."""


def check(wanted: MessageFilter) -> None:
    """Refuse what cannot be searched for.

    Raises:
        FilterInvalid: An address, text or label that Gmail would read as something else.
    """
    for name, values in (("senders", wanted.senders), ("recipients", wanted.recipients)):
        if not all(_ADDRESS.fullmatch(value) for value in values):
            raise FilterInvalid(f"filter.{name}", "must be addresses, or domains with a leading @")
    for name, values in (("subject_contains", wanted.subject_contains), ("containers", wanted.containers)):
        if not all(value.strip() and not _FORBIDDEN.search(value) for value in values):
            raise FilterInvalid(f"filter.{name}", "must not be empty or hold quotes or control characters")
    if NEVER & {container.upper() for container in wanted.containers}:
        raise FilterInvalid("filter.containers", "drafts, spam, trash and chats are never read")
    if _CONTROLS.search(wanted.provider_query):
        raise FilterInvalid("filter.provider_query", "must not hold control characters")
    terms = len(wanted.senders) + len(wanted.recipients) + len(wanted.subject_contains)
    if terms > MAX_TERMS:
        raise FilterInvalid("filter", f"at most {MAX_TERMS} senders, recipients and subjects together")


def names_labels(wanted: MessageFilter) -> bool:
    """Return whether the filter names labels of the user's own, whose ids only the mailbox knows."""
    return any(name.upper() not in SYSTEM_LABELS for name in wanted.containers)


def places(wanted: MessageFilter, labels: Collection[JsonObject] = ()) -> tuple[Place, ...]:
    """Return where the filter looks.

    Args:
        wanted: The filter.
        labels: Those of the mailbox, as Gmail tells them; needed when `names_labels`.

    Raises:
        FilterInvalid: There is no such label.
    """
    ids = {str(label.get("name")).casefold(): str(label.get("id")) for label in labels}
    ids |= {str(label.get("id")).casefold(): str(label.get("id")) for label in labels}
    found: dict[Place, None] = {}
    for name in [*(wanted.containers or (INBOX,)), *([SENT] if wanted.include_sent else [])]:
        label_id = name.upper() if name.upper() in SYSTEM_LABELS else ids.get(name.casefold(), "")
        if not label_id:
            raise FilterInvalid("filter.containers", "the mailbox has no such label")
        found[Place(label_id, SYSTEM_LABELS.get(label_id) or _label(name))] = None
    return tuple(found)


def query(wanted: MessageFilter, where: Collection[Place], since: datetime) -> str:
    """Return the parameter `q` of a search. Its time is seconds: a date would begin at midnight in California.

    Args:
        wanted: The filter.
        where: Any of these; none when the label is asked for by its id.
        since: The beginning of the window.
    """
    terms = [f"after:{max(0, int((since - OVERLAP).timestamp()))}", _any(place.term for place in where)]
    terms += [
        _any(f"from:{one}" for one in wanted.senders),
        _any(f'subject:"{one}"' for one in wanted.subject_contains),
    ]
    terms.append(_any(f"{where}:{address}" for address in wanted.recipients for where in ("to", "cc")))
    if wanted.unread_only:
        terms.append("is:unread")
    if wanted.has_attachment:
        terms.append("has:attachment")
    if wanted.provider_query:
        terms.append(f"({wanted.provider_query})")
    return " ".join(term for term in terms if term)


def narrows(wanted: MessageFilter) -> bool:
    """Return whether the filter asks for more than for places."""
    return bool(
        wanted.senders
        or wanted.recipients
        or wanted.subject_contains
        or wanted.unread_only
        or wanted.has_attachment
        or wanted.provider_query
    )


def lies_in(labels: Collection[str], where: Collection[str]) -> bool:
    """Return whether a message with these labels lies in one of the places, whose ids are given."""
    return _is_meant(labels, with_sent=SENT in where) and not set(where).isdisjoint(labels)


def matches(message: Message, labels: Collection[str], wanted: MessageFilter) -> bool:
    """Return whether a message that was read matches what can be told from it.

    Whether it has a label of the user's own is only known by the label's id, which the listing has compared.
    """
    recipients = [one.address for one in (*message.to, *message.cc)]
    named = {name.upper() for name in wanted.containers} or {INBOX}
    with_sent = wanted.include_sent or SENT in named
    return (
        (_is_meant(labels, with_sent=with_sent) if names_labels(wanted) else lies_in(labels, _with(named, with_sent)))
        and (not wanted.unread_only or "UNREAD" in labels)
        and _addressed([message.sender.address], wanted.senders)
        and _addressed(recipients, wanted.recipients)
        and (
            not wanted.subject_contains
            or any(text.casefold() in message.subject.casefold() for text in wanted.subject_contains)
        )
        and (not wanted.has_attachment or any(not one.inline for one in message.attachments))
    )


def _with(named: set[str], with_sent: bool) -> set[str]:
    return named | {SENT} if with_sent else named


def _is_meant(labels: Collection[str], *, with_sent: bool) -> bool:
    if not NEVER.isdisjoint(labels):
        return False
    # A note to oneself is in the inbox, too.
    return with_sent or SENT not in labels or INBOX in labels


def _label(name: str) -> str:
    """Return the search for a label of the user's own, in the form that Gmail's own pages give it."""
    dashed = re.sub(r"[\s/&]", "-", name)
    return f"label:{dashed}" if re.fullmatch(r"[\w.@+-]+", dashed) else f'label:"{name}"'


def _any(terms: Iterable[str]) -> str:
    found = list(terms)
    return found[0] if len(found) == 1 else f"{{{' '.join(found)}}}" if found else ""


def _addressed(addresses: Iterable[str], wanted: Collection[str]) -> bool:
    if not wanted:
        return True
    names = {one.casefold() for one in wanted}
    lowered = [address.casefold() for address in addresses]
    return any(address in names or f"@{address.rpartition('@')[2]}" in names for address in lowered)
