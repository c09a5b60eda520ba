"""Connections and grants as rows, and what a change of one does to the tables."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.adapters.sql.audit import add_events
from connectors.adapters.sql.notices import notify
from connectors.adapters.sql.tables import connections, cursors, flows, quarantine, seen
from connectors.connections.domain import Connection, ConnectionState, Notice, NoticeKind, StoredGrant
from connectors.connections.errors import ConnectionUnknown
from connectors.connections.ports import Change
from connectors.vault.domain import WrappedKey

_BELONGINGS = (flows, cursors, seen, quarantine)
"""What is destroyed with a connection's key. Always after the connection is locked, and in this order."""


def connection_of(row: Row[Any]) -> Connection:
    """Return the connection in a row of all its columns."""
    return Connection(
        connection_id=row.connection_id,
        user_id=row.user_id,
        provider=row.provider,
        account_id=row.account_id,
        account=row.account,
        scopes=frozenset(row.scopes),
        state=ConnectionState(row.state),
        reason=row.reason,
        message=row.message,
        last_success_at=row.last_success_at,
        next_allowed_at=row.next_allowed_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )


def grant_of(row: Row[Any]) -> StoredGrant:
    """Return the grant in a row of all columns of a connection."""
    return StoredGrant(
        connection=connection_of(row),
        wrapped_key=wrapped_key_of(row.key_id, row.wrapped_key),
        grant_version=row.grant_version,
        refresh_token=row.refresh_token,
        access_token=row.access_token,
        access_expires_at=row.access_expires_at,
        claims=row.claims,
    )


def wrapped_key_of(key_id: str | None, blob: bytes | None) -> WrappedKey | None:
    """Return the wrapped key in two columns, which are both set or both not."""
    return None if key_id is None or blob is None else WrappedKey(key_id, blob)


def key_columns(wrapped: WrappedKey | None) -> dict[str, Any]:
    """Return the two columns of a wrapped key."""
    return {"key_id": wrapped.key_id if wrapped else None, "wrapped_key": wrapped.blob if wrapped else None}


async def add_grant(connection: AsyncConnection, grant: StoredGrant) -> None:
    """Store a new connection, and tell the replicas."""
    await connection.execute(insert(connections).values(**_columns(grant)))
    await notify(connection, [_changed(grant.connection)])


async def lock_grant(connection: AsyncConnection, connection_id: str) -> StoredGrant:
    """Return a grant that nobody else changes until the end of the transaction.

    Raises:
        ConnectionUnknown: There is no such connection.
    """
    # Weaker than FOR UPDATE: rows that refer to the connection may come in meanwhile.
    query = select(connections).where(connections.c.connection_id == connection_id).with_for_update(key_share=True)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise ConnectionUnknown
    return grant_of(row)


async def apply(connection: AsyncConnection, before: StoredGrant, change: Change) -> None:
    """Make of a locked grant what was decided; see `connections.ports.Change`."""
    after = change.grant
    values = _columns(after)
    if after.grant_version != before.grant_version:
        values |= {"refresh_owner": None, "refresh_until": None}
    mine = connections.c.connection_id == after.connection.connection_id
    await connection.execute(update(connections).where(mine).values(**values))
    if after.wrapped_key is None:
        for table in _BELONGINGS:
            await connection.execute(table.delete().where(table.c.connection_id == after.connection.connection_id))
    elif change.rekeyed:
        # What was sealed under the old key. That of the last listing stays: a window since then makes up for the rest.
        await connection.execute(
            update(cursors)
            .where(cursors.c.connection_id == after.connection.connection_id)
            .values(state=None, round_id=None, round=None, position=0)
        )
    await add_events(connection, change.audit)
    if after.connection.version != before.connection.version:
        await notify(connection, [_changed(after.connection)])


def _changed(connection: Connection) -> Notice:
    return Notice(kind=NoticeKind.CHANGED, connection_id=connection.connection_id, user_id=connection.user_id)


def _columns(grant: StoredGrant) -> dict[str, Any]:
    connection = grant.connection
    return {
        "connection_id": connection.connection_id,
        "user_id": connection.user_id,
        "provider": connection.provider,
        "account_id": connection.account_id,
        "account": connection.account,
        "scopes": sorted(connection.scopes),
        "state": connection.state.value,
        "reason": connection.reason,
        "message": connection.message,
        "last_success_at": connection.last_success_at,
        "next_allowed_at": connection.next_allowed_at,
        "created_at": connection.created_at,
        "updated_at": connection.updated_at,
        "version": connection.version,
        **key_columns(grant.wrapped_key),
        "grant_version": grant.grant_version,
        "refresh_token": grant.refresh_token,
        "access_token": grant.access_token,
        "access_expires_at": grant.access_expires_at,
        "claims": grant.claims,
    }
