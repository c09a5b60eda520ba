"""The delivery of a round: oldest first, several messages read at a time, and none much earlier than there is room.

What can be committed is told in checkpoints. When the provider fails, everything before the message that it failed at
has been delivered, and a checkpoint says so.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from adiuva_rpc.failpoints import failpoint
from connectors.messages.access import Access, Entered
from connectors.messages.cursors import Outcome, Place, seal_place
from connectors.messages.domain import Listing, Message, Query, Ref, Unreadable
from connectors.messages.errands import Errands
from connectors.messages.events import Checkpoint, Completed, Emit, ItemError, Started, Waiting
from connectors.messages.finding import Found, RoundFinder, Wish
from connectors.messages.ports import Now, Quarantine, Trouble
from connectors.messages.reading import Failed, Gone, Read, Reader, listing_of
from connectors.messages.rounds import alias_digest, twins

CHECKPOINT_EVERY: Final = 20
"""Messages between two checkpoints."""
AHEAD: Final = 2
"""How many messages are read, or being read, before there is room for them: in multiples of what is read at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the caller of a fetch wants at the most."""

    max_messages: int
    """Messages and item errors."""
    max_body_chars: int
    deadline: datetime


class Delivery:
    """One fetch under way.

    Args:
        access: Told how the provider answers.
        quarantine: Keeps the messages that cannot be read.
        tasks: Owns the requests to the provider.
        entered: The connection.
        wish: What is asked for.
        bounds: Of the fetch.
        emit: Takes the events.
        now: The present time.
    """

    def __init__(
        self,
        *,
        access: Access,
        quarantine: Quarantine,
        tasks: asyncio.TaskGroup,
        entered: Entered,
        wish: Wish,
        bounds: Bounds,
        emit: Emit,
        now: Now,
    ) -> None:
        self._access = access
        self._quarantine = quarantine
        self._connection = entered.connection
        self._provider = entered.provider
        self._wish = wish
        self._bounds = bounds
        self._emit = emit
        self._now = now
        self._errands = Errands(tasks, self._paused)
        self._session = entered.session(deadline=bounds.deadline, on_wait=self._errands.asked_to_wait)
        self._told_well = False
        self._outcomes = bytearray()
        self._unmarked = 0
        self._delivered = self._unreadable = self._vanished = self._skipped = 0

    async def run(self, finder: RoundFinder) -> None:
        """Find a round and deliver it.

        Raises:
            adiuva_rpc.errors.AdiuvaError: as `FetchService.fetch` tells.
        """
        found = await finder.find(self._wish, self._list_new)
        refs = found.round.refs
        rest = len(refs) - found.position
        await self._emit(Started(mode=found.round.mode, since=found.round.since, candidates=rest))
        await self._deliver(found)
        await self._checkpoint(found)
        await self._emit(
            Completed(
                cursor_token=self._token(found),
                delivered=self._delivered,
                unreadable=self._unreadable,
                vanished=self._vanished,
                skipped=self._skipped + found.skipped,
                has_more=len(self._outcomes) < rest,
                provider_calls=self._session.calls,
            )
        )

    async def _list_new(self, query: Query) -> Listing:
        listing = await self._errands.result(self._errands.begin(listing_of(self._provider, self._session, query)))
        if isinstance(listing, Failed):
            raise listing.error
        await self._well()
        return listing

    async def _deliver(self, found: Found) -> None:
        refs, bounds = found.round.refs, self._bounds
        reader = Reader(self._provider, self._session, self._wish.filter, max_body_chars=bounds.max_body_chars)
        once = _Once(twins(refs), found.delivered)
        ahead = AHEAD * max(1, self._provider.concurrency)
        waiting = iter(refs[found.position :])
        window: deque[tuple[Ref, asyncio.Task[Read]]] = deque()
        while True:
            room = min(ahead, bounds.max_messages - self._delivered - self._unreadable) - len(window)
            while room > 0 and not reader.failed and (ref := next(waiting, None)) is not None:
                window.append((ref, self._errands.begin(reader.read(ref))))
                room -= 1
            if not window:
                return
            ref, task = window.popleft()
            read = await self._errands.result(task)
            if isinstance(read, Failed):
                await self._checkpoint(found)
                raise read.error
            await self._pass(ref, read, once)
            if self._unmarked >= CHECKPOINT_EVERY:
                await self._checkpoint(found)

    async def _pass(self, ref: Ref, read: Message | Unreadable | Gone, once: _Once) -> None:
        await self._well()
        failpoint("connectors.before_delivery")
        outcome = Outcome.GONE
        if isinstance(read, Unreadable):
            await self._set_apart(ref, read)
            self._unreadable += 1
            outcome = Outcome.UNREADABLE
        elif read is Gone.VANISHED:
            self._vanished += 1
        elif isinstance(read, Message) and once.is_new(ref):
            await self._emit(read)
            self._delivered += 1
            outcome = Outcome.DELIVERED
        else:
            self._skipped += 1
        self._outcomes.append(outcome)
        self._unmarked += 1

    async def _set_apart(self, ref: Ref, unreadable: Unreadable) -> None:
        # Kept before it is told: a message that is told of and nowhere to be found could never be tried again.
        trouble = Trouble(
            user_id=self._connection.user_id, ref=ref, reason=unreadable.reason, message=unreadable.message
        )
        await self._quarantine.put(self._wish.name, trouble, now=self._now())
        await self._emit(
            ItemError(
                key=ref.key,
                provider_id=ref.provider_id,
                reason=unreadable.reason,
                message=unreadable.message,
                received_at=ref.received_at,
            )
        )

    async def _checkpoint(self, found: Found) -> None:
        if self._unmarked:
            self._unmarked = 0
            await self._emit(Checkpoint(cursor_token=self._token(found)))

    def _token(self, found: Found) -> str:
        place = Place(
            subscriber=self._wish.name.subscriber,
            filter_hash=self._wish.filter_hash,
            round_id=found.round.round_id,
            epoch=found.epoch,
            start=found.position,
            position=found.position + len(self._outcomes),
            outcomes=bytes(self._outcomes),
        )
        return seal_place(self._wish.key, place)

    async def _paused(self, until: datetime) -> None:
        self._told_well = False
        await self._emit(Waiting(until=until))
        await self._access.paused(self._connection, until)

    async def _well(self) -> None:
        """Tell that the provider answers: once, and again after a pause."""
        if not self._told_well:
            self._told_well = True
            await self._access.worked(self._connection)


class _Once:
    """Lets each message pass once, of those that are in the round under two ids."""

    def __init__(self, doubled: AbstractSet[bytes], delivered: AbstractSet[bytes]) -> None:
        self._doubled = doubled
        self._delivered = set(delivered)

    def is_new(self, ref: Ref) -> bool:
        alias = alias_digest(ref) if self._doubled else None
        if alias is None or alias not in self._doubled:
            return True
        new = alias not in self._delivered
        self._delivered.add(alias)
        return new
