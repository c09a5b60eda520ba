"""What the suite of `providers` works with: a lab, and a subscriber that reads as the service does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from connectors.messages.domain import (
    FetchMode,
    JsonObject,
    LeftOut,
    Listing,
    Message,
    MessageFilter,
    Query,
    Ref,
    Unreadable,
    Vanished,
)
from connectors.messages.rounds import REMEMBERED, RESYNC_MARGIN, digests, in_order, sound
from connectors.providers.port import Account, Provider, Session, TokenSource
from tests.connectors.providers.support import FakeTokens
from tests.emulator.core import Core, Fault

WINDOW = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A message that comes in."""

    text: str
    at: datetime
    attachment: bytes | None = None
    """The content of a file with it; only asked for of a provider with `has_attachments`."""


class ProviderLab(Protocol):
    """A provider, and the hands that move what stands behind it. One account is linked, and its mailbox is empty."""

    has_attachments: bool
    """Whether attachments can be read."""
    calls_when_idle: int
    """How many requests a listing without news may take."""
    api: str
    """Regular expression of the paths of its API: what faults hit, and what is counted."""
    wanted: MessageFilter
    """What is listed in the tests, such as a channel; usually nothing in particular."""
    refused: Mapping[str, Sequence[MessageFilter]]
    """Filters that it cannot express, by the field that is at fault, such as `filter.senders`."""

    @property
    def provider(self) -> Provider: ...

    @property
    def core(self) -> Core:
        """The clock, the faults and the counters of what it calls. The provider's own clock is this one, too."""
        ...

    @property
    def account(self) -> Account:
        """Whose it is, as the consent told."""
        ...

    def token(self) -> str:
        """Return an access token that works."""
        ...

    async def deliver(self, said: Said) -> str:
        """Let a message come in; returns the `provider_id` of its ref."""
        ...

    async def remove(self, provider_id: str) -> None:
        """Delete a message for good."""
        ...

    async def spoil(self, provider_id: str) -> None:
        """Make a message one that cannot be made into text, when it is read by its ref."""
        ...

    async def forget(self) -> bool:
        """Let the states that were given out so far be too old; returns whether such a thing ever happens."""
        ...


def session(lab: ProviderLab, *, seconds: float = 3600, tokens: TokenSource | None = None) -> Session:
    """Return a session of the linked account."""
    return Session(
        connection_id="c-1",
        account=lab.account,
        tokens=tokens or FakeTokens(tokens=[lab.token()]),
        deadline=lab.core.now() + timedelta(seconds=seconds),
    )


@dataclass(slots=True)
class Subscriber:
    """Reads a connection as the service does: what was delivered is known, and refs go through a store."""

    lab: ProviderLab
    since: datetime | None = None
    """Where its window begins; a day ago by default."""
    wanted: MessageFilter | None = None
    """Its filter; the lab's by default."""
    state: JsonObject | None = None
    modes: list[FetchMode] = field(default_factory=list)
    calls: int = 0
    """Requests of the last fetch."""
    unreadable: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    _listed_at: datetime | None = None
    _known: dict[bytes, datetime] = field(default_factory=dict)

    async def fetch(self, *, max_body_chars: int = 8_000) -> list[Message]:
        """List, read what is new, oldest first, and go on from there the next time."""
        refs = await self.list_new()
        here = session(self.lab)
        messages = []
        for ref in refs:
            try:
                messages.append(await self.lab.provider.read(here, ref, self._filter, max_body_chars=max_body_chars))
            except Unreadable:
                self.unreadable.append(ref.provider_id)
            except Vanished:
                self.vanished.append(ref.provider_id)
            except LeftOut:
                self.left_out.append(ref.provider_id)
        self.calls += here.calls
        return messages

    async def list_new(self) -> list[Ref]:
        """List, and return the refs that are new, oldest first; they count as delivered from now on."""
        here = session(self.lab)
        listing = await self.lab.provider.list_new(here, self.query())
        self.calls, self._listed_at = here.calls, self.lab.core.now()
        self.modes.append(listing.mode)
        self.state = json.loads(json.dumps(listing.state))
        return self._fresh(listing)

    def query(self) -> Query:
        """Return what is asked next."""
        now = self.lab.core.now()
        since = self.since or now - WINDOW if self._listed_at is None else self._listed_at - RESYNC_MARGIN
        return Query(filter=self._filter, state=self.state, since=since, now=now)

    @property
    def _filter(self) -> MessageFilter:
        return self.lab.wanted if self.wanted is None else self.wanted

    def _fresh(self, listing: Listing) -> list[Ref]:
        now = self.lab.core.now()
        found = []
        for ref in in_order(sound(listing.refs, listed_at=now)):
            own = digests(ref)
            if self._known.keys().isdisjoint(own):
                found.append(ref)
                self._known.update(dict.fromkeys(own, ref.received_at))
        # What is long ago is forgotten.
        self._known = {digest: at for digest, at in self._known.items() if at >= now - REMEMBERED}
        return found


def stored(ref: Ref) -> Ref:
    """Return a ref as it comes back from the store: without what it carried."""
    return Ref(
        provider_id=ref.provider_id,
        received_at=ref.received_at,
        container=ref.container,
        version=ref.version,
        alias=ref.alias,
    )


async def say(lab: ProviderLab, text: str, *, ago: timedelta = timedelta(0), attachment: bytes | None = None) -> str:
    """Let a message come in."""
    return await lab.deliver(Said(text=text, at=lab.core.now() - ago, attachment=attachment))


async def refs_of(lab: ProviderLab) -> list[Ref]:
    """Return what a window lists now, as it comes back from the store, oldest first."""
    return [stored(ref) for ref in await Subscriber(lab).list_new()]


def passing(lab: ProviderLab, later: timedelta) -> None:
    """Let time pass."""
    lab.core.clock.advance(later)


@asynccontextmanager
async def held(lab: ProviderLab, work: Callable[[], Awaitable[object]], *, skip: int) -> AsyncIterator[bool]:
    """Do some work, and hold its request after the first `skip` ones during the block; tells whether it has as many."""
    fault = lab.core.faults.add(Fault(route=lab.api, skip=skip, hold=True))
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        working = tasks.create_task(_done(work))
        holding = tasks.create_task(lab.core.faults.until_held(fault))
        await asyncio.wait((working, holding), return_when=asyncio.FIRST_COMPLETED)
        try:
            yield holding.done()
        finally:
            holding.cancel()
            await lab.core.faults.release(fault)


async def leave(lab: ProviderLab, work: Callable[[], Awaitable[object]]) -> None:
    """Begin some work, and leave it while its first request is under way."""
    fault = lab.core.faults.add(Fault(route=lab.api, hold=True))
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        working = tasks.create_task(_done(work))
        await lab.core.faults.until_held(fault)
        working.cancel()
        await asyncio.wait((working,))
        assert working.cancelled()
    await lab.core.faults.release(fault)


async def _done(work: Callable[[], Awaitable[object]]) -> None:
    await work()
