"""Which round a fetch delivers: the one under way, or a new listing.

A listing that has nothing to deliver moves the cursor at once, without a commit: what it found was committed before,
or left out by the filter, so there is nothing that a commit could confirm. A subscriber without new messages costs the
provider one listing each time, however often it forgets to commit.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

from adiuva_rpc.failpoints import failpoint
from connectors.errors import CursorInvalid, StaleFetch
from connectors.messages.cursors import Place, advance, ended, open_round, open_state, seal_round
from connectors.messages.domain import FetchMode, JsonObject, Listing, MessageFilter, Query, Ref
from connectors.messages.ports import (
    CursorName,
    CursorStore,
    NewRound,
    Notices,
    Now,
    Quarantine,
    StoredCursor,
)
from connectors.messages.rounds import (
    FIRST_WINDOW,
    MAX_REFS,
    MAX_RETRIES,
    RESYNC_MARGIN,
    Round,
    alias_digest,
    digests,
    merged,
    sound,
    twins,
)
from connectors.vault.domain import Undecryptable
from connectors.vault.vault import ConnectionKey

List = Callable[[Query], Awaitable[Listing]]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a fetch asks for."""

    name: CursorName
    key: ConnectionKey = field(repr=False)
    filter: MessageFilter
    """In normal form."""
    filter_hash: str
    since: datetime | None
    place: Place | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A round to deliver."""

    round: Round
    epoch: int
    position: int
    """The first message that is not committed."""
    skipped: int
    """What this fetch's listing left out, and what was delivered before."""
    delivered: frozenset[bytes]
    """Of the twins in the round, the aliases of those that were delivered and committed."""


class RoundFinder:
    """Finds the round that a fetch delivers.

    Args:
        store: Of the cursors.
        quarantine: Messages that are to be tried again join the next round.
        notices: Who watches connections hears of resyncs.
        now: The present time.
    """

    def __init__(self, *, store: CursorStore, quarantine: Quarantine, notices: Notices, now: Now) -> None:
        self._store = store
        self._quarantine = quarantine
        self._notices = notices
        self._now = now

    async def find(self, wish: Wish, list_new: List) -> Found:
        """Begin a fetch, and return what it delivers; the round is stored.

        Args:
            wish: What is asked for.
            list_new: Asks the provider.

        Raises:
            CursorInvalid: the place is of a round that is long over, or was given up.
            StaleFetch: a newer fetch has begun meanwhile.
            WindowTooLarge: there are too many messages.
        """
        if wish.place is not None:
            known = await self._store.read(wish.name)
            if known is None or known.round_id != wish.place.round_id:
                raise CursorInvalid("its round is over, or was given up; begin without a cursor")
        cursor = await self._store.begin(wish.name, filter_hash=wish.filter_hash, now=self._now())
        if wish.place is not None:
            cursor = await self._move(wish, cursor, wish.place)
        return await self._resume(wish, cursor) or await self._list(wish, cursor, list_new)

    async def _move(self, wish: Wish, cursor: StoredCursor, place: Place) -> StoredCursor:
        """Put the cursor where the caller says, forward or back; a round that is over stays over."""
        if cursor.round_id != place.round_id:
            raise StaleFetch
        if cursor.round is None or cursor.position == place.position:
            return cursor
        if cursor.position < place.position:
            moved = await advance(self._store, wish.key, wish.name, cursor, place, now=self._now())
        else:
            moved = await self._store.rewind(wish.name, cursor.epoch, place.round_id, place.position, now=self._now())
        changed = await self._store.read(wish.name)
        if not moved or changed is None or changed.epoch != cursor.epoch:
            raise StaleFetch
        return changed

    async def _resume(self, wish: Wish, cursor: StoredCursor) -> Found | None:
        if wish.since is not None or cursor.round is None or cursor.filter_hash != wish.filter_hash:
            return None
        try:
            made = await open_round(wish.key, wish.name, cursor)
        except (Undecryptable, ValueError):
            # Sealed under a key that is lost: what was not committed of it is found again by a window.
            _log.warning("a round cannot be opened", connection_id=wish.name.connection_id)
            return None
        delivered = await self._delivered(wish.name, made.refs, cursor.position)
        rest = [ref for ref in made.refs[cursor.position :] if alias_digest(ref) not in delivered]
        due = {ref.key for ref in rest}
        retries = [ref for ref in await self._retries(wish.name) if ref.key not in due]
        if not retries:
            return Found(round=made, epoch=cursor.epoch, position=cursor.position, skipped=0, delivered=delivered)
        renewed = replace(made, round_id=_new_id(), refs=merged(rest, retries))
        await self._keep(wish, cursor.epoch, renewed)
        return Found(round=renewed, epoch=cursor.epoch, position=0, skipped=0, delivered=delivered)

    async def _delivered(self, name: CursorName, refs: Sequence[Ref], position: int) -> frozenset[bytes]:
        doubled = twins(refs) if position else frozenset()
        if not doubled:
            return doubled
        passed = {alias for ref in refs[:position] if (alias := alias_digest(ref)) is not None}
        return frozenset(await self._store.seen(name, passed & doubled))

    async def _list(self, wish: Wish, cursor: StoredCursor, list_new: List) -> Found:
        query, lost = self._query(wish, cursor)
        listing = await list_new(query)
        mode = FetchMode.RESYNC if lost else listing.mode
        found = await asyncio.to_thread(_digested, listing.refs, query.now)
        seen = await self._store.seen(wish.name, [digest for _, own in found for digest in own])
        fresh = [ref for ref, own in found if seen.isdisjoint(own)]
        made = Round(
            round_id=_new_id(),
            mode=mode,
            since=None if mode is FetchMode.INCREMENTAL else query.since,
            listed_at=query.now,
            refs=merged(fresh, await self._retries(wish.name)),
            state=listing.state,
        )
        await self._keep(wish, cursor.epoch, made)
        if mode is FetchMode.RESYNC:
            await self._notices.resynced(wish.name.connection_id)
        return Found(
            round=made,
            epoch=cursor.epoch,
            position=0,
            skipped=listing.left_out + len(found) - len(fresh),
            delivered=frozenset(),
        )

    def _query(self, wish: Wish, cursor: StoredCursor) -> tuple[Query, bool]:
        """Return what to ask the provider, and whether that is a window because the state was lost."""
        now = self._now()
        state: JsonObject | None = None
        since = wish.since
        lost = False
        if since is None and cursor.filter_hash == wish.filter_hash and cursor.listed_at is not None:
            since = cursor.listed_at - RESYNC_MARGIN
            state = self._state(wish, cursor)
            lost = state is None
        query = Query(
            filter=wish.filter,
            state=state,
            since=now - FIRST_WINDOW if since is None else since,
            now=now,
            max_refs=MAX_REFS,
        )
        return query, lost

    def _state(self, wish: Wish, cursor: StoredCursor) -> JsonObject | None:
        if cursor.state is None:
            return None
        try:
            return open_state(wish.key, wish.name.subscriber, cursor.state)
        except Undecryptable:
            _log.warning("a cursor cannot be opened", connection_id=wish.name.connection_id)
            return None

    async def _retries(self, name: CursorName) -> list[Ref]:
        """Return the quarantined messages that are to be tried again."""
        refs = await self._quarantine.retries(name, limit=MAX_RETRIES)
        seen = await self._store.seen(name, [alias for ref in refs if (alias := alias_digest(ref)) is not None])
        # A copy of it was delivered under another id meanwhile: there is nothing to be tried any more.
        if known := [ref for ref in refs if alias_digest(ref) in seen]:
            await self._quarantine.drop(name, known)
        return [ref for ref in refs if alias_digest(ref) not in seen]

    async def _keep(self, wish: Wish, epoch: int, made: Round) -> None:
        failpoint("connectors.before_round_stored")
        if made.refs:
            sealed = await seal_round(wish.key, wish.name.subscriber, made)
            new = NewRound(round_id=made.round_id, sealed=sealed, filter_hash=wish.filter_hash)
            kept = await self._store.store_round(wish.name, epoch, new, now=self._now())
        else:
            kept = await self._store.settle(
                wish.name,
                epoch,
                made.round_id,
                ended(wish.key, wish.name.subscriber, made),
                filter_hash=wish.filter_hash,
                now=self._now(),
            )
        if not kept:
            raise StaleFetch
        failpoint("connectors.after_round_stored")


def _digested(refs: Sequence[Ref], listed_at: datetime) -> list[tuple[Ref, tuple[bytes, ...]]]:
    return [(ref, digests(ref)) for ref in sound(refs, listed_at=listed_at)]


def _new_id() -> str:
    return uuid.uuid4().hex
