"""A connection with its messages, as a connectors service would keep it, and the port that runs use over it.

    mailbox = FakeMailbox()
    mailbox.add("m1", "Please send the logo.", thread="t1", subject="Logo")
    messages = FakeMessages(mailbox)                       # implements `runs.ports.Messages`

`tests.fakes.connectors` plays the same script on the real wire.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from adiuva_rpc import errors
from orchestrator.runs.connection_faults import connection_fault
from orchestrator.runs.domain import ConnectorsUnavailable
from orchestrator.runs.incoming import (
    Arrived,
    Begun,
    Ended,
    Fetch,
    FetchEvent,
    IncomingMessage,
    Mark,
    Participant,
    Unread,
    Waiting,
)

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ANNA = Participant(address="anna@acme.example", name="Anna Rossi")

ERRORS: dict[str, type[errors.AdiuvaError]] = {
    "NEEDS_REAUTH": errors.FailedPrecondition,
    "CONNECTION_BLOCKED": errors.FailedPrecondition,
    "DECRYPT_FAILED": errors.FailedPrecondition,
    "CONNECTION_PENDING": errors.FailedPrecondition,
    "DISCONNECTED": errors.FailedPrecondition,
    "PROVIDER_UNAVAILABLE": errors.Unavailable,
    "THROTTLED": errors.ResourceExhausted,
    "WINDOW_TOO_LARGE": errors.ResourceExhausted,
    "FILTER_UNSUPPORTED": errors.InvalidArgument,
    "FILTER_INVALID": errors.InvalidArgument,
    "OPERATOR_FAULT": errors.Internal,
    "STALE_FETCH": errors.Aborted,
    "CURSOR_INVALID": errors.InvalidArgument,
    "NOT_FOUND": errors.NotFound,
    "UNAVAILABLE": errors.Unavailable,
}
"""The reasons of the service, each with the error that it is. UNAVAILABLE: the service itself is not there."""


class Refused(Exception):
    """The service ends a call with a status."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after

    def as_error(self) -> errors.AdiuvaError:
        """Return the error as the real service would raise it."""
        base = ERRORS[self.reason]
        named: Any = base if self.reason == base.reason else type("Named", (base,), {"reason": self.reason})
        if issubclass(base, errors.InvalidArgument):
            error: errors.AdiuvaError = named("filter.recipients", "unknown here")
        elif issubclass(base, errors.ResourceExhausted):
            error = named("The service said so.", retry_after=self.retry_after or 30.0)
        else:
            error = named("connection")
        return error


@dataclass
class FakeMailbox:
    """A connection with its messages and cursors."""

    user_id: str = "ada"
    connection_id: str = "mail"
    provider: str = "gmail"
    checkpoint_every: int = 2
    entries: dict[int, IncomingMessage | Unread] = field(default_factory=dict)
    """By number, oldest first."""
    cursors: dict[str, int] = field(default_factory=dict)
    """Subscriber to the number of the last entry that is behind it."""
    epochs: dict[str, int] = field(default_factory=dict)
    fetches: list[Fetch] = field(default_factory=list)
    commits: list[str] = field(default_factory=list)
    """The tokens that moved a cursor."""
    refused: Refused | None = None
    """How every call ends."""
    refused_commit: Refused | None = None
    breaks: list[tuple[int, Refused]] = field(default_factory=list)
    """One for each fetch that breaks: after so many events, and how."""
    waits: bool = False
    """Whether the provider asks to wait before the first message."""
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a caller has left a fetch before its end."""
    _numbers: int = 0

    def add(self, key: str, text: str = "", **fields: Any) -> IncomingMessage:
        """Let a message come in, an hour after the one before."""
        self._numbers += 1
        given: dict[str, Any] = {
            "thread_id": fields.pop("thread", key),
            "received_at": MONDAY + timedelta(hours=self._numbers),
            "sender": ANNA,
            "new_text": text,
            "full_chars": len(text),
            **fields,
        }
        message = IncomingMessage(key=key, text=text, **given)
        self.entries[self._numbers] = message
        return message

    def add_unreadable(self, key: str, reason: str = "MESSAGE_UNREADABLE") -> None:
        """Let a message come in that nobody can read."""
        self._numbers += 1
        self.entries[self._numbers] = Unread(key=key, reason=reason)

    def remove(self, key: str) -> None:
        """Let the user delete a message."""
        self.entries = {number: entry for number, entry in self.entries.items() if entry.key != key}

    def behind(self, subscriber: str) -> list[str]:
        """Return the keys that the subscriber's cursor has passed."""
        return [entry.key for number, entry in self.entries.items() if number <= self.cursors.get(subscriber, 0)]

    def check(self, user_id: str, connection_id: str) -> None:
        """Refuse what is not this connection of its user."""
        if self.refused is not None and self.refused.reason == "UNAVAILABLE":
            raise self.refused
        if (user_id, connection_id) != (self.user_id, self.connection_id):
            raise Refused("NOT_FOUND")

    def play(self, wanted: Fetch) -> Iterator[FetchEvent]:
        """Yield the events of a fetch but for `Begun`, or raise `Refused`."""
        self.fetches.append(wanted)
        self.check(wanted.user_id, wanted.connection_id)
        if self.refused is not None:
            raise self.refused
        break_at, broken = self.breaks.pop(0) if self.breaks else (-1, None)
        for number, event in enumerate(self._events(wanted)):
            if broken is not None and number == break_at:
                raise broken
            yield event

    def _events(self, wanted: Fetch) -> Iterator[FetchEvent]:
        epoch = self.epochs[wanted.subscriber] = self.epochs.get(wanted.subscriber, 0) + 1
        place = self.cursors.get(wanted.subscriber, 0)
        new = {number: entry for number, entry in self.entries.items() if number > place}
        if self.waits:
            yield Waiting(until=MONDAY)
        delivered = 0
        for number, entry in new.items():
            if delivered == wanted.max_messages:
                yield Ended(cursor_token=self._token(wanted, epoch, place), more=True)
                return
            yield entry if isinstance(entry, Unread) else Arrived(message=_cut(entry, wanted.max_body_chars))
            delivered += not isinstance(entry, Unread)
            place = number
            if delivered and delivered % self.checkpoint_every == 0:
                yield Mark(cursor_token=self._token(wanted, epoch, place))
        yield Ended(cursor_token=self._token(wanted, epoch, place), more=False)

    def commit(self, user_id: str, connection_id: str, token: str) -> None:
        """Move a cursor, or raise `Refused`."""
        self.check(user_id, connection_id)
        if self.refused_commit is not None:
            raise self.refused_commit
        try:
            subscriber, epoch, place = json.loads(token)
        except ValueError:
            raise Refused("CURSOR_INVALID") from None
        if epoch != self.epochs.get(subscriber):
            raise Refused("STALE_FETCH")
        self.commits.append(token)
        self.cursors[subscriber] = max(place, self.cursors.get(subscriber, 0))

    @staticmethod
    def _token(wanted: Fetch, epoch: int, place: int) -> str:
        return json.dumps([wanted.subscriber, epoch, place])


class FakeMessages:
    """Implements `runs.ports.Messages` over mailboxes in memory."""

    def __init__(self, *mailboxes: FakeMailbox) -> None:
        self._mailboxes = mailboxes

    async def fetch(self, wanted: Fetch) -> AsyncGenerator[FetchEvent, None]:
        """Play the mailbox's script."""
        ended = False
        mailbox = mailbox_of(self._mailboxes, wanted.user_id, wanted.connection_id)
        try:
            mailbox.check(wanted.user_id, wanted.connection_id)
            yield Begun(provider=mailbox.provider)
            for event in mailbox.play(wanted):
                await asyncio.sleep(0)
                ended = isinstance(event, Ended)
                yield event
        except Refused as refused:
            ended = True
            raise _fault(refused) from None
        finally:
            if not ended:
                mailbox.left.set()

    async def commit(self, user_id: str, connection_id: str, cursor_token: str) -> None:
        """Move the cursor."""
        await asyncio.sleep(0)
        try:
            mailbox_of(self._mailboxes, user_id, connection_id).commit(user_id, connection_id, cursor_token)
        except Refused as refused:
            raise _fault(refused) from None


def mailbox_of(mailboxes: tuple[FakeMailbox, ...], user_id: str, connection_id: str) -> FakeMailbox:
    """Return the mailbox that is meant; any other one, which will say so, when there is none."""
    found = [box for box in mailboxes if (box.user_id, box.connection_id) == (user_id, connection_id)]
    return (found or list(mailboxes))[0]


def _cut(message: IncomingMessage, most: int) -> IncomingMessage:
    if len(message.text) <= most:
        return message
    return replace(message, text=message.text[:most], new_text=message.new_text[:most], truncated=True)


def _fault(refused: Refused) -> Exception:
    if refused.reason == "UNAVAILABLE":
        return ConnectorsUnavailable("The connectors service cannot be reached.")
    reason = "CONNECTION_NOT_FOUND" if refused.reason == "NOT_FOUND" else refused.reason
    return connection_fault(reason, where=refused.as_error().message, retry_after=refused.retry_after)
