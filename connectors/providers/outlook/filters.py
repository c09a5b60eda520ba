"""Which mails are meant: what can be asked for, and whether a mail of Graph's is one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

from connectors.errors import FilterInvalid, FilterUnsupported
from connectors.messages.domain import JsonObject, MessageFilter

INBOX: Final = "inbox"
SENT: Final = "sentitems"
WELL_KNOWN: Final = frozenset({INBOX, SENT, "archive", "clutter", "conflicts", "deleteditems", "junkemail"})
"""Folders that have a name in every mailbox; other folders go by their ids."""
MAX_FOLDERS: Final = 20
"""Each costs a request whenever there is a look for news."""
MAX_TERMS: Final = 100

_ADDRESS = re.compile(r"[^\s@\x00-\x1f\x7f]{0,64}@[^\s@\x00-\x1f\x7f]{1,255}")
_FOLDER_ID = re.compile(r"[A-Za-z0-9_=-]{20,512}")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_MAX_TEXT = 200


def check(wanted: MessageFilter) -> None:
    """Refuse what cannot be looked for; see the port."""
    if wanted.provider_query:
        raise FilterUnsupported("filter.provider_query", "Outlook has no search that could be combined with a window")
    for name, values in (("senders", wanted.senders), ("recipients", wanted.recipients)):
        if not all(_ADDRESS.fullmatch(value) for value in values):
            raise FilterInvalid(f"filter.{name}", "must be addresses, or domains with a leading @")
    for text in wanted.subject_contains:
        if not text.strip() or len(text) > _MAX_TEXT or _CONTROLS.search(text):
            raise FilterInvalid(
                "filter.subject_contains", f"must be texts of 1 to {_MAX_TEXT} characters without control characters"
            )
    if len(wanted.senders) + len(wanted.recipients) + len(wanted.subject_contains) > MAX_TERMS:
        raise FilterInvalid("filter", f"at most {MAX_TERMS} senders, recipients and subjects together")
    _check_folders(wanted)


def _check_folders(wanted: MessageFilter) -> None:
    for folder in wanted.containers:
        if folder.startswith(("chat:", "channel:")):
            raise FilterUnsupported("filter.containers", "chats and channels are those of Teams")
        if folder.lower() not in WELL_KNOWN and not _FOLDER_ID.fullmatch(folder):
            raise FilterInvalid("filter.containers", f"must be ids of folders, or {', '.join(sorted(WELL_KNOWN))}")
    if len(folders_of(wanted)) > MAX_FOLDERS:
        raise FilterInvalid("filter.containers", f"at most {MAX_FOLDERS}")


def folders_of(wanted: MessageFilter) -> tuple[str, ...]:
    """Return the folders to look into, by name or id. Ids are told apart by case, names are not."""
    named = wanted.containers or (INBOX,)
    found = [folder.lower() if folder.lower() in WELL_KNOWN else folder for folder in named]
    return tuple(dict.fromkeys([*found, *([SENT] if wanted.include_sent else [])]))


def matches(mail: JsonObject, wanted: MessageFilter) -> bool:
    """Return whether a mail of Graph's is meant. Drafts never are. The folder is not looked at."""
    if mail.get("isDraft") or (wanted.unread_only and mail.get("isRead")):
        return False
    if wanted.has_attachment and not mail.get("hasAttachments"):
        return False
    subject = str(mail.get("subject") or "").casefold()
    return (
        _addressed(_addresses([mail.get("from")]), wanted.senders)
        and _addressed(_addresses([*listed(mail, "toRecipients"), *listed(mail, "ccRecipients")]), wanted.recipients)
        and (not wanted.subject_contains or any(text.casefold() in subject for text in wanted.subject_contains))
    )


def listed(mail: JsonObject, name: str) -> list[object]:
    """Return a list that a mail of Graph's holds; an empty one for anything else."""
    value = mail.get(name)
    return value if isinstance(value, list) else []


def _addresses(people: Iterable[object]) -> Iterable[str]:
    for person in people:
        address = person.get("emailAddress") if isinstance(person, dict) else None
        if isinstance(address, dict):
            yield str(address.get("address") or "").casefold()


def _addressed(addresses: Iterable[str], wanted: Collection[str]) -> bool:
    if not wanted:
        return True
    names = {one.casefold() for one in wanted}
    return any(address in names or f"@{address.rpartition('@')[2]}" in names for address in addresses)
