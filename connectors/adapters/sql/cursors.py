"""Cursors, the rounds under way, and what was delivered."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Row, and_, case, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.elements import ColumnElement

from connectors.adapters.sql.engine import transaction
from connectors.adapters.sql.quarantine import clear
from connectors.adapters.sql.tables import cursors, seen
from connectors.connections.errors import ConnectionUnknown
from connectors.errors import TooManySubscribers
from connectors.messages.limits import IDLE_SUBSCRIBER, MAX_SUBSCRIBERS
from connectors.messages.ports import Advance, CursorName, Ended, NewRound, StoredCursor

DIGESTS_AT_A_TIME = 10_000
"""Looked up in one statement."""

_REMEMBER = text("""
INSERT INTO connectors.seen (connection_id, subscriber, digest, received_at)
SELECT :connection_id, :subscriber, given.digest, max(given.received_at)
FROM unnest(CAST(:digests AS bytea[]), CAST(:times AS timestamptz[])) AS given(digest, received_at)
GROUP BY given.digest
ON CONFLICT (connection_id, subscriber, digest) DO NOTHING
""")
_UNSEE = text("""
DELETE FROM connectors.seen
WHERE connection_id = :connection_id AND subscriber = :subscriber AND digest = ANY (CAST(:digests AS bytea[]))
""")
_KNOWN = text("""
SELECT digest FROM connectors.seen
WHERE connection_id = :connection_id AND subscriber = :subscriber AND digest = ANY (CAST(:digests AS bytea[]))
""")


class SqlCursors:
    """Implements `messages.ports.CursorStore`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def begin(self, name: CursorName, *, filter_hash: str, now: datetime) -> StoredCursor:
        """Begin a fetch; see the port."""
        new = insert(cursors).values(
            connection_id=name.connection_id,
            subscriber=name.subscriber,
            epoch=1,
            filter_hash=filter_hash,
            position=0,
            updated_at=now,
        )
        begun = new.on_conflict_do_update(
            index_elements=[cursors.c.connection_id, cursors.c.subscriber],
            set_={"epoch": cursors.c.epoch + 1, "updated_at": now},
        ).returning(cursors)
        try:
            async with transaction(self._engine) as connection:
                row = (await connection.execute(begun)).one()
                if row.epoch == 1:
                    await _make_room(connection, name, now)
                return _cursor(row)
        except IntegrityError:
            raise ConnectionUnknown from None

    async def read(self, name: CursorName) -> StoredCursor | None:
        """Return a cursor; see the port."""
        async with transaction(self._engine) as connection:
            row = (await connection.execute(select(cursors).where(_is(name)))).one_or_none()
        return None if row is None else _cursor(row)

    async def store_round(self, name: CursorName, epoch: int, made: NewRound, *, now: datetime) -> bool:
        """Put a round in the place of the one under way; see the port."""
        same_filter = cursors.c.filter_hash == made.filter_hash
        change = (
            update(cursors)
            .where(_is(name), cursors.c.epoch == epoch)
            .values(
                round_id=made.round_id,
                round=made.sealed,
                position=0,
                state=case((same_filter, cursors.c.state), else_=None),
                listed_at=case((same_filter, cursors.c.listed_at), else_=None),
                filter_hash=made.filter_hash,
                updated_at=now,
            )
        )
        async with transaction(self._engine) as connection:
            return bool((await connection.execute(change)).rowcount)

    async def settle(
        self, name: CursorName, epoch: int, round_id: str, ended: Ended, *, filter_hash: str, now: datetime
    ) -> bool:
        """End a round that has nothing to deliver; see the port."""
        change = (
            update(cursors)
            .where(_is(name), cursors.c.epoch == epoch)
            .values(round_id=round_id, position=0, filter_hash=filter_hash, updated_at=now, **_over(ended))
        )
        async with transaction(self._engine) as connection:
            if not (await connection.execute(change)).rowcount:
                return False
            await _forget(connection, name, ended)
        return True

    async def rewind(self, name: CursorName, epoch: int, round_id: str, position: int, *, now: datetime) -> bool:
        """Go back within the round under way; see the port."""
        change = (
            update(cursors)
            .where(_is(name), _in_round(epoch, round_id), cursors.c.position > position)
            .values(position=position, updated_at=now)
        )
        async with transaction(self._engine) as connection:
            return bool((await connection.execute(change)).rowcount)

    async def advance(self, name: CursorName, step: Advance, *, now: datetime) -> bool:
        """Go forward within the round under way; see the port."""
        over = {} if step.ended is None else _over(step.ended)
        change = (
            update(cursors)
            .where(_is(name), _in_round(step.epoch, step.round_id), cursors.c.position < step.position)
            .values(position=step.position, updated_at=now, **over)
        )
        async with transaction(self._engine) as connection:
            if not (await connection.execute(change)).rowcount:
                return False
            if step.seen:
                digests, times = zip(*step.seen, strict=True)
                await connection.execute(_REMEMBER, {**_named(name), "digests": list(digests), "times": list(times)})
            if step.unseen:
                await connection.execute(_UNSEE, {**_named(name), "digests": list(step.unseen)})
            if step.cleared:
                await clear(connection, name, step.cleared)
            if step.ended is not None:
                await _forget(connection, name, step.ended)
        return True

    async def seen(self, name: CursorName, digests: Collection[bytes]) -> set[bytes]:
        """Return those of the digests that were delivered and committed; see the port."""
        found: set[bytes] = set()
        waiting = iter(digests)
        while batch := list(islice(waiting, DIGESTS_AT_A_TIME)):
            async with transaction(self._engine) as connection:
                rows = await connection.execute(_KNOWN, {**_named(name), "digests": batch})
                found.update(row.digest for row in rows)
        return found


async def _make_room(connection: AsyncConnection, name: CursorName, now: datetime) -> None:
    """Forget the cursors that nobody uses, and refuse one too many: its transaction is rolled back."""
    idle = select(cursors.c.subscriber).where(
        cursors.c.connection_id == name.connection_id, cursors.c.updated_at < now - IDLE_SUBSCRIBER
    )
    of_idle = and_(seen.c.connection_id == name.connection_id, seen.c.subscriber.in_(idle))
    await connection.execute(delete(seen).where(of_idle))
    of_connection = cursors.c.connection_id == name.connection_id
    await connection.execute(delete(cursors).where(of_connection, cursors.c.updated_at < now - IDLE_SUBSCRIBER))
    used = select(func.count()).select_from(cursors).where(of_connection)
    if (await connection.execute(used)).scalar_one() > MAX_SUBSCRIBERS:
        raise TooManySubscribers


async def _forget(connection: AsyncConnection, name: CursorName, ended: Ended) -> None:
    old = and_(seen.c.connection_id == name.connection_id, seen.c.subscriber == name.subscriber)
    await connection.execute(delete(seen).where(old, seen.c.received_at < ended.forget_before))


def _is(name: CursorName) -> ColumnElement[bool]:
    return and_(cursors.c.connection_id == name.connection_id, cursors.c.subscriber == name.subscriber)


def _in_round(epoch: int, round_id: str) -> ColumnElement[bool]:
    return and_(cursors.c.epoch == epoch, cursors.c.round_id == round_id, cursors.c.round.is_not(None))


def _over(ended: Ended) -> dict[str, Any]:
    return {"state": ended.state, "listed_at": ended.listed_at, "round": None}


def _named(name: CursorName) -> dict[str, Any]:
    return {"connection_id": name.connection_id, "subscriber": name.subscriber}


def _cursor(row: Row[Any]) -> StoredCursor:
    return StoredCursor(
        epoch=row.epoch,
        filter_hash=row.filter_hash,
        state=row.state,
        listed_at=row.listed_at,
        round_id=row.round_id or "",
        round=row.round,
        position=row.position,
    )
