"""Cursors and the quarantine in memory: they pass the same conformance suite as the real ones."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime

from adiuva_rpc.errors import AdiuvaError
from connectors.admin.domain import QuarantinedMessage
from connectors.admin.errors import NotInQuarantine
from connectors.connections.errors import ConnectionUnknown
from connectors.errors import StoreUnavailable, TooManySubscribers
from connectors.messages.domain import Ref
from connectors.messages.limits import IDLE_SUBSCRIBER, MAX_SUBSCRIBERS
from connectors.messages.ports import Advance, CursorName, Ended, NewRound, StoredCursor, Trouble
from connectors.paging import Key


@dataclass(slots=True)
class _Row:
    name: CursorName
    trouble: Trouble
    told: QuarantinedMessage


class InMemoryQuarantine:
    """Implements `messages.ports.Quarantine` and `admin.ports.QuarantineDesk`."""

    def __init__(self) -> None:
        self._rows: list[_Row] = []

    async def put(self, name: CursorName, trouble: Trouble, *, now: datetime) -> None:
        await asyncio.sleep(0)
        row = next((row for row in self._rows if row.name == name and row.trouble.ref.key == trouble.ref.key), None)
        if row is None:
            told = QuarantinedMessage(
                quarantine_id=uuid.uuid4().hex,
                user_id=trouble.user_id,
                connection_id=name.connection_id,
                subscriber=name.subscriber,
                provider_id=trouble.ref.provider_id,
                reason=trouble.reason,
                message=trouble.message,
                attempts=1,
                first_tried_at=now,
                last_tried_at=now,
                retry_requested=False,
            )
            self._rows.append(_Row(name, trouble, told))
            return
        row.told = replace(
            row.told,
            reason=trouble.reason,
            message=trouble.message,
            attempts=row.told.attempts + 1,
            last_tried_at=now,
            retry_requested=False,
        )

    async def retries(self, name: CursorName, *, limit: int) -> list[Ref]:
        await asyncio.sleep(0)
        due = [row.trouble.ref for row in self._rows if row.name == name and row.told.retry_requested]
        bare = [replace(ref, carried=None) for ref in due]
        return sorted(bare, key=lambda ref: ref.received_at)[:limit]

    async def drop(self, name: CursorName, refs: Collection[Ref]) -> None:
        await asyncio.sleep(0)
        self.clear(name, [(ref.provider_id, ref.version) for ref in refs])

    async def page(
        self, *, user_id: str | None, connection_id: str, limit: int, after: Key | None
    ) -> list[QuarantinedMessage]:
        def wanted(one: QuarantinedMessage) -> bool:
            return (
                user_id in {None, one.user_id}
                and connection_id in {"", one.connection_id}
                and (after is None or (one.first_tried_at, one.quarantine_id) < after)
            )

        found = [row.told for row in self._rows if wanted(row.told)]
        return sorted(found, key=lambda one: (one.first_tried_at, one.quarantine_id), reverse=True)[:limit]

    async def request_retry(self, quarantine_ids: Collection[str], *, user_id: str | None) -> int:
        wanted = set(quarantine_ids)
        found = [row for row in self._rows if row.told.quarantine_id in wanted and user_id in {None, row.told.user_id}]
        if len(found) < len(wanted):
            raise NotInQuarantine
        for row in found:
            row.told = replace(row.told, retry_requested=True)
        return len(found)

    def clear(self, name: CursorName, cleared: Collection[tuple[str, str]]) -> None:
        """Forget messages, as a commit does."""
        gone = set(cleared)
        self._rows = [
            row
            for row in self._rows
            if row.name != name or (row.trouble.ref.provider_id, row.trouble.ref.version) not in gone
        ]


class InMemoryCursors:
    """Implements `messages.ports.CursorStore`. Others get their turn before each step, as while a database answers.

    Attributes:
        lost: Set it, and every call fails as when the database is away.
        steps: How often a cursor was changed.
    """

    def __init__(self, quarantine: InMemoryQuarantine | None = None, *, known: Collection[str] | None = None) -> None:
        self._quarantine = quarantine or InMemoryQuarantine()
        self._known = known
        self._cursors: dict[CursorName, StoredCursor] = {}
        self._begun: dict[CursorName, datetime] = {}
        self._seen: dict[CursorName, dict[bytes, datetime]] = {}
        self.lost: AdiuvaError | None = None
        self.steps = 0

    async def begin(self, name: CursorName, *, filter_hash: str, now: datetime) -> StoredCursor:
        await self._answer()
        if self._known is not None and name.connection_id not in self._known:
            raise ConnectionUnknown
        old = self._cursors.get(name)
        if old is None:
            self._make_room(name, now)
            old = StoredCursor(
                epoch=0, filter_hash=filter_hash, state=None, listed_at=None, round_id="", round=None, position=0
            )
        self._begun[name] = now
        return self._put(name, replace(old, epoch=old.epoch + 1))

    def _make_room(self, name: CursorName, now: datetime) -> None:
        others = [one for one in self._cursors if one.connection_id == name.connection_id]
        for one in others:
            if self._begun[one] < now - IDLE_SUBSCRIBER:
                del self._cursors[one]
                self._seen.pop(one, None)
        if sum(one.connection_id == name.connection_id for one in self._cursors) >= MAX_SUBSCRIBERS:
            raise TooManySubscribers

    async def read(self, name: CursorName) -> StoredCursor | None:
        await self._answer()
        return self._cursors.get(name)

    async def store_round(self, name: CursorName, epoch: int, made: NewRound, *, now: datetime) -> bool:
        await self._answer()
        old = self._cursors.get(name)
        if old is None or old.epoch != epoch:
            return False
        if old.filter_hash != made.filter_hash:
            old = replace(old, state=None, listed_at=None, filter_hash=made.filter_hash)
        self._put(name, replace(old, round_id=made.round_id, round=made.sealed, position=0))
        return True

    async def settle(
        self, name: CursorName, epoch: int, round_id: str, ended: Ended, *, filter_hash: str, now: datetime
    ) -> bool:
        await self._answer()
        old = self._cursors.get(name)
        if old is None or old.epoch != epoch:
            return False
        self._end(name, replace(old, round_id=round_id, position=0, filter_hash=filter_hash), ended)
        return True

    async def rewind(self, name: CursorName, epoch: int, round_id: str, position: int, *, now: datetime) -> bool:
        await self._answer()
        old = self._cursors.get(name)
        if old is None or not _in_round(old, epoch, round_id) or old.position <= position:
            return False
        self._put(name, replace(old, position=position))
        return True

    async def advance(self, name: CursorName, step: Advance, *, now: datetime) -> bool:
        await self._answer()
        old = self._cursors.get(name)
        if old is None or not _in_round(old, step.epoch, step.round_id) or old.position >= step.position:
            return False
        moved = self._put(name, replace(old, position=step.position))
        remembered = self._seen.setdefault(name, {})
        for digest, received_at in step.seen:
            remembered.setdefault(digest, received_at)
        for digest in step.unseen:
            remembered.pop(digest, None)
        self._quarantine.clear(name, step.cleared)
        if step.ended is not None:
            self._end(name, moved, step.ended)
        return True

    async def seen(self, name: CursorName, digests: Collection[bytes]) -> set[bytes]:
        await self._answer()
        return self._seen.get(name, {}).keys() & set(digests)

    def remembered(self, name: CursorName) -> int:
        """How many digests there are."""
        return len(self._seen.get(name, {}))

    def _put(self, name: CursorName, cursor: StoredCursor) -> StoredCursor:
        self.steps += 1
        self._cursors[name] = cursor
        return cursor

    def _end(self, name: CursorName, cursor: StoredCursor, ended: Ended) -> None:
        self._put(name, replace(cursor, state=ended.state, listed_at=ended.listed_at, round=None))
        kept = {digest: at for digest, at in self._seen.get(name, {}).items() if at >= ended.forget_before}
        self._seen[name] = kept

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.lost is not None:
            raise self.lost

    def lose(self) -> None:
        """Let the database be away."""
        self.lost = StoreUnavailable()


def _in_round(cursor: StoredCursor, epoch: int, round_id: str) -> bool:
    return cursor.epoch == epoch and cursor.round_id == round_id and cursor.round is not None
