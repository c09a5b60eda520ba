"""Grants: read, changed under a lock, and leased to whoever goes to the provider."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from connectors.adapters.sql.engine import transaction
from connectors.adapters.sql.notices import notify
from connectors.adapters.sql.rows import apply, connection_of, grant_of, lock_grant
from connectors.adapters.sql.tables import connections
from connectors.connections import states
from connectors.connections.domain import Connection, ConnectionState, Notice, NoticeKind, StoredGrant
from connectors.connections.errors import ConnectionUnknown
from connectors.connections.ports import Change, Decide

SWEEP_BATCH = 500

_NOT_ENDED = connections.c.state != ConnectionState.DISCONNECTED.value
_PRESENT = func.clock_timestamp()
"""The time of the database, which is the same for all replicas: leases go by it."""


class SqlGrants:
    """Implements `connections.ports.GrantStore`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def grant(self, connection_id: str) -> StoredGrant:
        """Return a grant; see the port."""
        query = select(connections).where(connections.c.connection_id == connection_id)
        async with transaction(self._engine) as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise ConnectionUnknown
        return grant_of(row)

    async def of_account(self, user_id: str, provider: str, account_id: str) -> StoredGrant | None:
        """Return the user's connection to an account; see the port."""
        query = select(connections).where(
            connections.c.user_id == user_id,
            connections.c.provider == provider,
            connections.c.account_id == account_id,
            connections.c.account_id != "",
            _NOT_ENDED,
        )
        async with transaction(self._engine) as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else grant_of(row)

    async def is_linked(self, provider: str, account_id: str) -> bool:
        """Tell whether anybody has linked an account; see the port."""
        query = (
            select(connections.c.connection_id)
            .where(
                connections.c.provider == provider,
                connections.c.account_id == account_id,
                connections.c.account_id != "",
                _NOT_ENDED,
            )
            .limit(1)
        )
        async with transaction(self._engine) as connection:
            return (await connection.execute(query)).one_or_none() is not None

    async def change(self, connection_id: str, decide: Decide) -> StoredGrant | None:
        """Change a grant as decided; see the port."""
        async with transaction(self._engine) as connection:
            before = await lock_grant(connection, connection_id)
            change = decide(before)
            if change is None:
                return None
            await apply(connection, before, change)
            return change.grant

    async def take_lease(self, connection_id: str, *, grant_version: int, owner: str, seconds: float) -> bool:
        """Become the only one who goes to the provider; see the port."""
        statement = (
            update(connections)
            .where(
                connections.c.connection_id == connection_id,
                connections.c.grant_version == grant_version,
                or_(connections.c.refresh_until.is_(None), connections.c.refresh_until <= _PRESENT),
            )
            .values(refresh_owner=owner, refresh_until=_PRESENT + timedelta(seconds=seconds))
            .returning(connections.c.connection_id)
        )
        async with transaction(self._engine) as connection:
            return (await connection.execute(statement)).one_or_none() is not None

    async def release_lease(self, connection_id: str, *, owner: str) -> None:
        """Give the lease back; see the port."""
        statement = (
            update(connections)
            .where(connections.c.connection_id == connection_id, connections.c.refresh_owner == owner)
            .values(refresh_owner=None, refresh_until=None)
            .returning(connections.c.user_id)
        )
        async with transaction(self._engine) as connection:
            user_id = (await connection.execute(statement)).scalar_one_or_none()
            if user_id is not None:
                notice = Notice(kind=NoticeKind.RELEASED, connection_id=connection_id, user_id=user_id)
                await notify(connection, [notice])

    async def stale(self, before: datetime, *, after: str, limit: int) -> list[Connection]:
        """Return working connections whose access token is old; see the port."""
        expires = connections.c.access_expires_at
        query = (
            select(connections)
            .where(
                connections.c.state.in_([state.value for state in states.WORKING]),
                or_(expires.is_(None), expires < before),
                connections.c.connection_id > after,
            )
            .order_by(connections.c.connection_id)
            .limit(limit)
        )
        return await self._connections(query)

    async def undecryptable(self, *, after: str, limit: int) -> list[Connection]:
        """Return connections that do not open; see the port."""
        query = (
            select(connections)
            .where(connections.c.state == ConnectionState.DECRYPT_FAILED.value, connections.c.connection_id > after)
            .order_by(connections.c.connection_id)
            .limit(limit)
        )
        return await self._connections(query)

    async def end_throttles(self, now: datetime) -> int:
        """Make connections ACTIVE whose throttle is over; see the port."""
        over = or_(connections.c.next_allowed_at.is_(None), connections.c.next_allowed_at <= now)
        query = (
            select(connections)
            .where(connections.c.state == ConnectionState.THROTTLED.value, over)
            .order_by(connections.c.connection_id)
            .limit(SWEEP_BATCH)
            .with_for_update(key_share=True, skip_locked=True)
        )
        ended = 0
        async with transaction(self._engine) as connection:
            for before in [grant_of(row) for row in await connection.execute(query)]:
                if (after := states.unthrottled(before, now=now)) is not None:
                    await apply(connection, before, Change(grant=after))
                    ended += 1
        return ended

    async def _connections(self, query: Select[Any]) -> list[Connection]:
        async with transaction(self._engine) as connection:
            return [connection_of(row) for row in await connection.execute(query)]
