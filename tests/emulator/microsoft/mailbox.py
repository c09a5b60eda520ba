"""One Outlook mailbox: folders, messages, and the log of changes that delta queries are answered from."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from tests.emulator.mails import Mail
from tests.emulator.microsoft.mime import Contents, contents_of

if TYPE_CHECKING:
    from tests.emulator.core import Core

WELL_KNOWN = {
    "inbox": "Inbox",
    "sentitems": "Sent Items",
    "archive": "Archive",
    "deleteditems": "Deleted Items",
    "junkemail": "Junk Email",
    "drafts": "Drafts",
}
"""Names that a path may have in place of a folder's id, and what the folders are called."""
_SEEDED = {"sent": "sentitems", "junk": "junkemail", "deleted": "deleteditems"}


class Change(StrEnum):
    """What happened to a message in a folder."""

    CAME = "came"
    LEFT = "left"
    """For another folder."""
    DELETED = "deleted"
    """For good."""
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder; all lie side by side."""

    folder_id: str
    name: str
    well_known: str = ""


@dataclass(slots=True, eq=False, kw_only=True)
class OutlookMessage:
    """A message in a mailbox."""

    message_id: str
    """The immutable id: it survives moves."""
    sequence: int
    """The order of delivery."""
    mail: Mail
    contents: Contents
    folder: Folder
    conversation_id: str
    default_id: str
    """The id of callers who do not ask for immutable ones: another one after each move."""
    unread: bool
    modified_at: datetime
    version: int = 1

    @property
    def change_key(self) -> str:
        """What changes with each change."""
        return _opaque(f"{self.message_id}:{self.version}", length=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One line of the log of changes."""

    folder_id: str
    change: Change
    message: OutlookMessage
    default_id: str
    """What its default id was in that folder."""


@dataclass(kw_only=True, eq=False)
class Mailbox:
    """The mailbox of one account. Ids depend on the address and the order of deliveries only."""

    core: Core
    address: str
    folders: dict[str, Folder] = field(default_factory=dict)
    """By id."""
    messages: dict[str, OutlookMessage] = field(default_factory=dict)
    """By immutable id."""
    log: list[Record] = field(default_factory=list)
    _by_default_id: dict[str, OutlookMessage] = field(default_factory=dict)
    _sequence: int = 0

    def __post_init__(self) -> None:
        for well_known, name in WELL_KNOWN.items():
            self._add_folder(name, well_known)

    def add_folder(self, name: str) -> Folder:
        """Make a folder of the user's own."""
        if any(folder.name == name for folder in self.folders.values()):
            raise ValueError(f"there is a folder {name} already")
        return self._add_folder(name, "")

    def folder(self, name: str) -> Folder | None:
        """Return a folder by its id, its well-known name, the name that a seed calls it, or its own name."""
        name = _SEEDED.get(name, name)
        if name in self.folders:
            return self.folders[name]
        found = (one for one in self.folders.values() if name and name in {one.well_known, one.name})
        return next(found, None)

    def deliver(self, mail: Mail) -> OutlookMessage:
        """Take a mail in, as it would arrive."""
        self._sequence += 1
        sequence = self._sequence
        message_id = mail.web_id or f"AAkALgAA{_opaque(f'{self.address}:message:{sequence}')}"
        if message_id in self.messages:
            raise ValueError(f"there is a message {message_id} already")
        thread = f"thread:{mail.thread}" if mail.thread else f"message:{sequence}"
        message = OutlookMessage(
            message_id=message_id,
            sequence=sequence,
            mail=mail,
            contents=contents_of(mail),
            folder=self._known(mail.folder),
            conversation_id=f"AAQkAD{_opaque(f'{self.address}:{thread}')}",
            default_id="",
            unread=mail.unread,
            modified_at=self.core.now(),
        )
        self.messages[message_id] = message
        self._settle(message)
        return message

    def move(self, message_id: str, folder: str) -> OutlookMessage:
        """Move a message (by its immutable id) to a folder: its default id changes."""
        message = self.messages[message_id]
        target = self._known(folder)
        self._note(message, Change.LEFT)
        del self._by_default_id[message.default_id]
        message.folder = target
        message.version += 1
        self._settle(message)
        return message

    def remove(self, message_id: str) -> None:
        """Delete a message for good; a move to `deleted` is what a user's delete key does."""
        message = self.messages.pop(message_id)
        del self._by_default_id[message.default_id]
        self._note(message, Change.DELETED)

    def mark(self, message_id: str, *, unread: bool) -> None:
        """Mark a message as read or unread."""
        message = self.messages[message_id]
        message.unread = unread
        message.version += 1
        message.modified_at = self.core.now()
        self._note(message, Change.CHANGED)

    def find(self, any_id: str) -> OutlookMessage | None:
        """Return a message by its immutable or its present default id; letters of another case are another id."""
        return self.messages.get(any_id) or self._by_default_id.get(any_id)

    def inside(self, folder: Folder | None) -> list[OutlookMessage]:
        """Return the messages of a folder, or of all, in the order of delivery."""
        return [one for one in self.messages.values() if folder is None or one.folder == folder]

    def _add_folder(self, name: str, well_known: str) -> Folder:
        folder_id = f"AQMkAD{_opaque(f'{self.address}:folder:{name}')}"
        self.folders[folder_id] = Folder(folder_id=folder_id, name=name, well_known=well_known)
        return self.folders[folder_id]

    def _known(self, name: str) -> Folder:
        folder = self.folder(name)
        if folder is None:
            raise KeyError(name)
        return folder

    def _settle(self, message: OutlookMessage) -> None:
        message.default_id = f"AAMkAD{_opaque(f'{self.address}:{message.sequence}:{message.version}')}"
        message.modified_at = self.core.now()
        self._by_default_id[message.default_id] = message
        self._note(message, Change.CAME)

    def _note(self, message: OutlookMessage, change: Change) -> None:
        self.log.append(
            Record(folder_id=message.folder.folder_id, change=change, message=message, default_id=message.default_id)
        )


def _opaque(what: str, *, length: int = 30) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(what.encode()).digest()[:length]).decode() + "AAA="
