"""A provider in memory, with a script: `connectors.providers.port.Provider` in all that it promises.

Its mailbox is a log of arrivals. A state is a place in that log, so an incremental listing is what came after it; a
forgotten log makes the next one a resync. What is listed comes newest first, as from most providers.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from connectors.errors import AttachmentGone, FilterUnsupported, Throttled, WindowTooLarge
from connectors.messages.domain import (
    FetchMode,
    LeftOut,
    Listing,
    Message,
    MessageFilter,
    Participant,
    Query,
    Ref,
    Vanished,
)
from connectors.providers.port import Account, Identity, Session
from tests.fakes.identity import FakeIdentity


class ManualClock:
    """A clock that is moved by hand, and by whoever sleeps on it when it is `hasty`."""

    def __init__(self, start: datetime = datetime(2026, 11, 22, 12, tzinfo=UTC), *, hasty: bool = True) -> None:
        self.time = start
        self.hasty = hasty
        self.slept: list[float] = []
        self._moved = asyncio.Event()

    def now(self) -> datetime:
        return self.time

    def advance(self, by: timedelta) -> None:
        self.time += by
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        until = self.time + timedelta(seconds=seconds)
        if self.hasty:
            self.time = max(self.time, until)
            await asyncio.sleep(0)
        while self.time < until:
            await self._moved.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeMail:
    """A message in the mailbox."""

    provider_id: str
    received_at: datetime
    sender: str = "anna@example.org"
    container: str = "inbox"
    text: str = field(default="hello", repr=False)
    version: str = ""
    alias: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """In a script: the provider asks to wait so long, and then answers."""

    seconds: float


Step = Exception | Pause
Hook = Callable[[], Awaitable[None] | None]


class FakeProvider:
    """Reads a mailbox of its own.

    Attributes:
        log: All arrivals.
        scripts: By provider_id: what happens at each next read of that message, in order.
        listing_script: The same for listings.
        holds: By provider_id: reads of it wait until the event is set.
        vanished, left_out: The provider_ids of messages that are gone, or match no filter.
        during_listing: Called after the state was taken and before the listing is answered.
        repeats: How often each message is named in a listing.
        cancelled: The provider_ids of reads that were cancelled.
    """

    def __init__(self, clock: ManualClock, *, name: str = "fake", concurrency: int = 4) -> None:
        self._clock = clock
        self._identity = FakeIdentity(clock.now)
        self._name = name
        self._concurrency = concurrency
        self.log: list[FakeMail] = []
        self._generation = 0
        self.scripts: defaultdict[str, deque[Step]] = defaultdict(deque)
        self.listing_script: deque[Step] = deque()
        self.holds: dict[str, asyncio.Event] = {}
        self.vanished: set[str] = set()
        self.left_out: set[str] = set()
        self.during_listing: Hook | None = None
        self.repeats = 1
        self.cancelled: list[str] = []
        self.begun: list[str] = []
        self.queries: list[Query] = []
        self.running = 0
        self.most_running = 0
        self.attachments: dict[tuple[str, str], list[bytes]] = {}
        self.open_attachments = 0

    # --- the script

    def receive(self, *mails: FakeMail) -> None:
        """Put messages into the mailbox; another version of one that is there is an edit."""
        self.log.extend(mails)

    def move(self, provider_id: str, *, new_id: str, container: str) -> None:
        """Move a message as providers do that give it another id: the old one is gone."""
        old = next(mail for mail in reversed(self.log) if mail.provider_id == provider_id)
        self.vanished.add(provider_id)
        self.log.append(replace(old, provider_id=new_id, container=container))

    def forget(self) -> None:
        """Forget all states that were given out."""
        self._generation += 1

    def hold(self, provider_id: str) -> asyncio.Event:
        """Let reads of a message wait; set the event to let them go on."""
        return self.holds.setdefault(provider_id, asyncio.Event())

    @property
    def mails(self) -> list[FakeMail]:
        """The messages as they are now, each in its last version."""
        return list({mail.provider_id: mail for mail in self.log}.values())

    # --- Provider

    @property
    def name(self) -> str:
        return self._name

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def concurrency(self) -> int:
        return self._concurrency

    def check_filter(self, wanted: MessageFilter) -> None:
        for name in ("recipients", "subject_contains", "provider_query", "unread_only", "has_attachment"):
            if getattr(wanted, name):
                raise FilterUnsupported(f"filter.{name}", "this provider cannot express it")

    async def account(self, session: Session) -> Account:
        session.calls += 1
        return session.account

    async def list_new(self, session: Session, query: Query) -> Listing:
        self.queries.append(query)
        session.calls += 1
        await session.tokens.token()
        await self._play(self.listing_script, session)
        state = {"generation": self._generation, "place": len(self.log)}
        if self.during_listing is not None:
            waiting = self.during_listing()
            if waiting is not None:
                await waiting
        mode, found = self._found(query)
        matching = [mail for mail in found if _matches(mail, query.filter)]
        if len(matching) > query.max_refs:
            raise WindowTooLarge(retry_after=None)
        refs = [_ref(mail) for mail in reversed(matching) for _ in range(self.repeats)]
        return Listing(mode=mode, refs=tuple(refs), state=state, left_out=len(found) - len(matching))

    async def read(self, session: Session, ref: Ref, wanted: MessageFilter, *, max_body_chars: int) -> Message:
        self.begun.append(ref.provider_id)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self._read(session, ref, wanted, max_body_chars)
        except asyncio.CancelledError:
            self.cancelled.append(ref.provider_id)
            raise
        finally:
            self.running -= 1

    async def attachment(self, session: Session, provider_id: str, attachment_id: str) -> AsyncIterator[bytes]:
        session.calls += 1
        pieces = self.attachments.get((provider_id, attachment_id))
        if pieces is None:
            raise AttachmentGone
        self.open_attachments += 1
        try:
            for piece in pieces:
                await asyncio.sleep(0)
                yield piece
        finally:
            self.open_attachments -= 1

    def _found(self, query: Query) -> tuple[FetchMode, list[FakeMail]]:
        if query.state is not None and query.state["generation"] == self._generation:
            return FetchMode.INCREMENTAL, self.log[query.state["place"] :]
        window = [mail for mail in self.mails if mail.received_at >= query.since]
        there = [mail for mail in window if mail.provider_id not in self.vanished]
        return (FetchMode.WINDOW if query.state is None else FetchMode.RESYNC), there

    async def _read(self, session: Session, ref: Ref, wanted: MessageFilter, max_body_chars: int) -> Message:
        session.calls += 1
        await session.tokens.token()
        # Messages do not come back in the order in which they were asked for.
        for _ in range(sum(ref.provider_id.encode()) % 5):
            await asyncio.sleep(0)
        if (held := self.holds.get(ref.provider_id)) is not None:
            await held.wait()
        await self._play(self.scripts[ref.provider_id], session)
        mail = next((mail for mail in self.log if _ref(mail).key == ref.key), None)
        if mail is None or ref.provider_id in self.vanished:
            raise Vanished
        if ref.provider_id in self.left_out or not _matches(mail, wanted):
            raise LeftOut
        return Message(
            key=ref.key,
            provider_id=ref.provider_id,
            thread_id="thread",
            received_at=mail.received_at,
            sender=Participant(address=mail.sender),
            text=mail.text[:max_body_chars],
            full_chars=len(mail.text),
            text_truncated=len(mail.text) > max_body_chars,
        )

    async def _play(self, script: deque[Step], session: Session) -> None:
        while script:
            step = script.popleft()
            if isinstance(step, Exception):
                raise step
            until = self._clock.now() + timedelta(seconds=step.seconds)
            if until > session.deadline:
                raise Throttled(retry_after=step.seconds)
            session.on_wait(until)
            session.calls += 1
            await self._clock.sleep(step.seconds)


def _matches(mail: FakeMail, wanted: MessageFilter) -> bool:
    return (not wanted.senders or mail.sender in wanted.senders) and (
        not wanted.containers or mail.container in wanted.containers
    )


def _ref(mail: FakeMail) -> Ref:
    return Ref(
        provider_id=mail.provider_id,
        received_at=mail.received_at,
        container=mail.container,
        version=mail.version,
        alias=mail.alias,
    )
