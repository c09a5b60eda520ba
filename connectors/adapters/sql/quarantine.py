"""The messages that could not be read."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from connectors.adapters.sql.engine import transaction
from connectors.adapters.sql.tables import quarantine
from connectors.admin.domain import QuarantinedMessage
from connectors.admin.errors import NotInQuarantine
from connectors.connections.errors import ConnectionUnknown
from connectors.messages.domain import Ref
from connectors.messages.ports import CursorName, Trouble
from connectors.paging import Key

_CLEAR = text("""
DELETE FROM connectors.quarantine USING unnest(CAST(:ids AS text[]), CAST(:versions AS text[])) AS given(id, version)
WHERE connection_id = :connection_id AND subscriber = :subscriber
    AND quarantine.provider_id = given.id AND quarantine.version = given.version
""")


class SqlQuarantine:
    """Implements `messages.ports.Quarantine` and `admin.ports.QuarantineDesk`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def put(self, name: CursorName, trouble: Trouble, *, now: datetime) -> None:
        """Keep a message, or count one more try; see the port."""
        new = insert(quarantine).values(
            quarantine_id=uuid.uuid4().hex,
            user_id=trouble.user_id,
            connection_id=name.connection_id,
            subscriber=name.subscriber,
            provider_id=trouble.ref.provider_id,
            version=trouble.ref.version,
            container=trouble.ref.container,
            alias=trouble.ref.alias,
            received_at=trouble.ref.received_at,
            reason=trouble.reason,
            message=trouble.message,
            attempts=1,
            first_tried_at=now,
            last_tried_at=now,
        )
        kept = new.on_conflict_do_update(
            index_elements=[
                quarantine.c.connection_id,
                quarantine.c.subscriber,
                quarantine.c.provider_id,
                quarantine.c.version,
            ],
            set_={
                "reason": trouble.reason,
                "message": trouble.message,
                "attempts": quarantine.c.attempts + 1,
                "last_tried_at": now,
                "retry_requested": False,
            },
        )
        try:
            async with transaction(self._engine) as connection:
                await connection.execute(kept)
        except IntegrityError:
            raise ConnectionUnknown from None

    async def retries(self, name: CursorName, *, limit: int) -> list[Ref]:
        """Return messages that are to be tried again; see the port."""
        query = (
            select(quarantine)
            .where(
                quarantine.c.connection_id == name.connection_id,
                quarantine.c.subscriber == name.subscriber,
                quarantine.c.retry_requested,
            )
            .order_by(quarantine.c.received_at, quarantine.c.quarantine_id)
            .limit(limit)
        )
        async with transaction(self._engine) as connection:
            return [_ref(row) for row in await connection.execute(query)]

    async def drop(self, name: CursorName, refs: Collection[Ref]) -> None:
        """Keep messages no longer; see the port."""
        async with transaction(self._engine) as connection:
            await clear(connection, name, [(ref.provider_id, ref.version) for ref in refs])

    async def page(
        self, *, user_id: str | None, connection_id: str, limit: int, after: Key | None
    ) -> list[QuarantinedMessage]:
        """Return messages, newest first; see the port."""
        query = (
            select(quarantine)
            .order_by(quarantine.c.first_tried_at.desc(), quarantine.c.quarantine_id.desc())
            .limit(limit)
        )
        if user_id is not None:
            query = query.where(quarantine.c.user_id == user_id)
        if connection_id:
            query = query.where(quarantine.c.connection_id == connection_id)
        if after is not None:
            query = query.where(tuple_(quarantine.c.first_tried_at, quarantine.c.quarantine_id) < tuple_(*after))
        async with transaction(self._engine) as connection:
            return [_message(row) for row in await connection.execute(query)]

    async def request_retry(self, quarantine_ids: Collection[str], *, user_id: str | None) -> int:
        """Have messages tried again; see the port."""
        wanted = set(quarantine_ids)
        change = (
            update(quarantine)
            .where(quarantine.c.quarantine_id.in_(wanted))
            .values(retry_requested=True)
            .returning(quarantine.c.quarantine_id)
        )
        if user_id is not None:
            change = change.where(quarantine.c.user_id == user_id)
        async with transaction(self._engine) as connection:
            found = (await connection.execute(change)).scalars().all()
            if len(found) < len(wanted):
                raise NotInQuarantine
        return len(found)


async def clear(connection: AsyncConnection, name: CursorName, cleared: Sequence[tuple[str, str]]) -> None:
    """Delete messages, by their provider_ids and versions."""
    facts = {
        "connection_id": name.connection_id,
        "subscriber": name.subscriber,
        "ids": [provider_id for provider_id, _ in cleared],
        "versions": [version for _, version in cleared],
    }
    await connection.execute(_CLEAR, facts)


def _ref(row: Row[Any]) -> Ref:
    return Ref(
        provider_id=row.provider_id,
        received_at=row.received_at,
        container=row.container,
        version=row.version,
        alias=row.alias,
    )


def _message(row: Row[Any]) -> QuarantinedMessage:
    return QuarantinedMessage(
        quarantine_id=row.quarantine_id,
        user_id=row.user_id,
        connection_id=row.connection_id,
        subscriber=row.subscriber,
        provider_id=row.provider_id,
        reason=row.reason,
        message=row.message,
        attempts=row.attempts,
        first_tried_at=row.first_tried_at,
        last_tried_at=row.last_tried_at,
        retry_requested=row.retry_requested,
    )
