"""One Gmail mailbox: messages, labels, and the history that tells what changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from tests.emulator.mails import Folder, Mail

if TYPE_CHECKING:
    from tests.emulator.core import Core

SYSTEM_LABELS = (
    *("INBOX", "SENT", "DRAFT", "SPAM", "TRASH", "UNREAD", "STARRED", "IMPORTANT", "CHAT"),
    *("CATEGORY_PERSONAL", "CATEGORY_SOCIAL", "CATEGORY_PROMOTIONS", "CATEGORY_UPDATES", "CATEGORY_FORUMS"),
)
FOLDER_LABELS: dict[Folder, str] = {"inbox": "INBOX", "sent": "SENT", "archive": "", "junk": "SPAM", "deleted": "TRASH"}

_FIRST_HISTORY_ID = 1_048_577
_REFRESHED_EVERY = timedelta(hours=1)


class Change(StrEnum):
    """The kinds of history records, as `historyTypes` names them."""

    MESSAGE_ADDED = "messageAdded"
    MESSAGE_DELETED = "messageDeleted"
    LABEL_ADDED = "labelAdded"
    LABEL_REMOVED = "labelRemoved"


@dataclass(slots=True, eq=False, kw_only=True)
class GmailMessage:
    """A message in a mailbox."""

    message_id: str
    thread_id: str
    mail: Mail
    label_ids: list[str]
    history_id: int
    """Of the last change to it."""
    sequence: int
    """The order of delivery: it decides between messages of the same time."""

    @property
    def internal_date(self) -> int:
        """Milliseconds since 1970."""
        return int(self.mail.received_at.timestamp() * 1000)

    @property
    def order(self) -> tuple[int, int]:
        """What a list is sorted by, newest first."""
        return self.internal_date, self.sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of the history."""

    history_id: int
    change: Change
    message_id: str
    thread_id: str
    label_ids: tuple[str, ...]
    """The message's labels after the change."""
    changed_labels: tuple[str, ...] = ()


@dataclass(kw_only=True, eq=False)
class Mailbox:
    """The mailbox of one account. Ids depend on the address and the order of deliveries only."""

    core: Core
    email: str
    history_lifetime: timedelta = timedelta(days=7)
    """How old a history id may be and still be taken as a start."""
    messages: dict[str, GmailMessage] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    user_labels: dict[str, str] = field(default_factory=dict)
    """Names by ids."""
    _threads: dict[str, str] = field(default_factory=dict)
    _history_id: int = _FIRST_HISTORY_ID
    _issued: list[tuple[int, datetime]] = field(default_factory=list)
    _floor: int = _FIRST_HISTORY_ID
    _sequence: int = 0

    def deliver(self, mail: Mail) -> GmailMessage:
        """Take a mail in, as it would arrive, with a `messageAdded` record."""
        self._sequence += 1
        message_id = mail.web_id or self._hex(f"message:{self._sequence}")
        if message_id in self.messages:
            raise ValueError(f"there is a message {message_id} already")
        thread_id = self._threads.setdefault(mail.thread, message_id) if mail.thread else message_id
        names = [FOLDER_LABELS[mail.folder], *map(self.label, mail.labels), "UNREAD" if mail.unread else ""]
        message = GmailMessage(
            message_id=message_id,
            thread_id=thread_id,
            mail=mail,
            label_ids=[label_id for label_id in names if label_id],
            history_id=0,
            sequence=self._sequence,
        )
        self.messages[message_id] = message
        self._record(Change.MESSAGE_ADDED, message)
        return message

    def remove(self, message_id: str) -> None:
        """Delete a message for good, with a `messageDeleted` record."""
        self._record(Change.MESSAGE_DELETED, self.messages.pop(message_id))

    def relabel(self, message_id: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        """Add and remove labels (ids, or names of a user's own), with a record for what really changed."""
        message = self.messages[message_id]
        added = [label_id for label_id in map(self.label, add) if label_id not in message.label_ids]
        removed = [label_id for label_id in map(self.label, remove) if label_id in message.label_ids]
        message.label_ids = [label_id for label_id in message.label_ids if label_id not in removed] + added
        if added:
            self._record(Change.LABEL_ADDED, message, added)
        if removed:
            self._record(Change.LABEL_REMOVED, message, removed)

    def move(self, message_id: str, folder: Folder) -> None:
        """Give a message the label of a folder, and take those of the others."""
        kept = FOLDER_LABELS[folder]
        others = [label_id for label_id in FOLDER_LABELS.values() if label_id and label_id != kept]
        self.relabel(message_id, add=[kept] if kept else [], remove=others)

    def label(self, name: str) -> str:
        """Return the id of a label that is given by its id or its name; a new name becomes a new label."""
        if name in SYSTEM_LABELS or name in self.user_labels:
            return name
        for label_id, known in self.user_labels.items():
            if known == name:
                return label_id
        label_id = f"Label_{len(self.user_labels) + 1}"
        self.user_labels[label_id] = name
        return label_id

    def newest_first(self) -> list[GmailMessage]:
        """Return all messages, the last received first."""
        return sorted(self.messages.values(), key=lambda message: message.order, reverse=True)

    def history_id(self) -> int:
        """Return the id of the mailbox's present; it moves on with the time, even when nothing happens."""
        if not self._issued or self.core.now() - self._issued[-1][1] >= _REFRESHED_EVERY:
            self._next_history_id()
        return self._history_id

    def expire_history(self) -> None:
        """Forget the history: every id that was given out so far is too old as a start."""
        self._floor = self._next_history_id()

    def history_is_gone(self, start: int) -> bool:
        """Return whether a start is too old, or was never given out."""
        if start < self._floor or start > self._history_id:
            return True
        issued_at = max((at for history_id, at in self._issued if history_id <= start), default=None)
        return issued_at is not None and self.core.now() - issued_at > self.history_lifetime

    def records_after(self, start: int, changes: Iterable[Change], label_id: str) -> list[Record]:
        """Return the records after `start`, oldest first, of these kinds and of messages with this label, if any."""
        wanted = set(changes) or set(Change)
        return [
            record
            for record in self.records
            if record.history_id > start
            and record.change in wanted
            and (not label_id or label_id in {*record.label_ids, *record.changed_labels})
        ]

    def _record(self, change: Change, message: GmailMessage, changed_labels: Sequence[str] = ()) -> None:
        message.history_id = self._next_history_id()
        self.records.append(
            Record(
                history_id=message.history_id,
                change=change,
                message_id=message.message_id,
                thread_id=message.thread_id,
                label_ids=tuple(message.label_ids),
                changed_labels=tuple(changed_labels),
            )
        )

    def _next_history_id(self) -> int:
        # Real ids have gaps, because other things in the account use up numbers too.
        self._history_id += 1 + self._history_id * 7 % 23
        self._issued.append((self._history_id, self.core.now()))
        return self._history_id

    def _hex(self, what: str) -> str:
        return hashlib.sha256(f"{self.email}:{what}".encode()).hexdigest()[:16]
