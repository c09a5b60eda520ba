"""Authorizations under way. Who needs rows of several tables locks connections first, in the order of their ids."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, and_, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from connectors.adapters.sql.audit import add_events
from connectors.adapters.sql.engine import transaction
from connectors.adapters.sql.notices import notify
from connectors.adapters.sql.rows import add_grant, apply, key_columns, lock_grant, wrapped_key_of
from connectors.adapters.sql.tables import connections, flows
from connectors.connections.domain import AuditEvent, ConnectionState, Notice, NoticeKind, StoredFlow, StoredGrant
from connectors.connections.errors import ConnectionUnknown, PolledTooEarly, TooManyFlows
from connectors.connections.ports import AccountTaken, Decide, Earlier, NewFlow
from connectors.errors import StateInvalid
from connectors.providers.port import Flow

SWEEP_BATCH = 500

_FLOWS: Select[Any] = select(flows, connections.c.provider).join(
    connections, connections.c.connection_id == flows.c.connection_id
)
_PENDING = connections.c.state == ConnectionState.PENDING.value


class SqlFlows:
    """Implements `connections.ports.FlowStore`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def earlier(self, user_id: str, request_id: str) -> Earlier | None:
        """Return the flow of a request; see the port."""
        async with transaction(self._engine) as connection:
            return await _earlier(connection, user_id, request_id)

    async def check_room(self, user_id: str, *, now: datetime, limit: int) -> None:
        """Refuse one flow too many; see the port."""
        async with transaction(self._engine) as connection:
            await _check_room(connection, user_id, now, limit)

    async def begin(
        self, new: NewFlow, pending: StoredGrant | None, audit: AuditEvent, *, limit: int
    ) -> Earlier | None:
        """Store a flow; see the port."""
        flow = new.flow
        try:
            async with transaction(self._engine) as connection:
                # One flow of a user at a time, or two requests could both find the last free place.
                await connection.execute(
                    text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"flows {flow.user_id}"}
                )
                if (earlier := await _earlier(connection, flow.user_id, new.request_id)) is not None:
                    return earlier
                await _check_room(connection, flow.user_id, flow.created_at, limit)
                if pending is not None:
                    await add_grant(connection, pending)
                await connection.execute(insert(flows).values(**_columns(new)))
                await add_events(connection, [audit])
                return None
        except IntegrityError:
            raise ConnectionUnknown from None

    async def take(self, user_id: str, state_hash: bytes, *, now: datetime) -> StoredFlow | None:
        """Use up a redirect flow; see the port."""
        statement = (
            update(flows)
            .where(
                flows.c.state_hash == state_hash,
                flows.c.user_id == user_id,
                flows.c.flow == Flow.REDIRECT.value,
                flows.c.used_at.is_(None),
                flows.c.expires_at > now,
            )
            .values(used_at=now)
            .returning(flows.c.flow_id)
        )
        async with transaction(self._engine) as connection:
            flow_id = (await connection.execute(statement)).scalar_one_or_none()
            if flow_id is None:
                return None
            return _flow((await connection.execute(_FLOWS.where(flows.c.flow_id == flow_id))).one())

    async def take_poll(self, user_id: str, flow_id: str, *, now: datetime, hold: datetime) -> StoredFlow:
        """Get the right to ask for a device flow; see the port."""
        query = _FLOWS.where(
            flows.c.flow_id == flow_id, flows.c.user_id == user_id, flows.c.flow == Flow.DEVICE_CODE.value
        ).with_for_update(of=flows)
        async with transaction(self._engine) as connection:
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                raise StateInvalid
            flow = _flow(row)
            if flow.used_at is not None:
                return flow
            if flow.expires_at <= now:
                raise StateInvalid
            if flow.next_poll_at is not None and flow.next_poll_at > now:
                raise PolledTooEarly(retry_after=(flow.next_poll_at - now).total_seconds())
            await connection.execute(update(flows).where(flows.c.flow_id == flow_id).values(next_poll_at=hold))
            return flow

    async def poll_again(self, flow_id: str, *, at: datetime) -> None:
        """Let the next ask from then on; see the port."""
        async with transaction(self._engine) as connection:
            await connection.execute(update(flows).where(flows.c.flow_id == flow_id).values(next_poll_at=at))

    async def settle(
        self, flow: StoredFlow, connection_id: str, decide: Decide, *, now: datetime
    ) -> StoredGrant | None:
        """Complete a flow; see the port."""
        mine = flows.c.flow_id == flow.flow_id
        try:
            async with transaction(self._engine) as connection:
                both = sorted({flow.connection_id, connection_id})
                locked = {each: await lock_grant(connection, each) for each in both}
                query = select(flows.c.used_at).where(mine).with_for_update()
                row = (await connection.execute(query)).one_or_none()
                if row is None or (flow.flow is Flow.DEVICE_CODE and row.used_at is not None):
                    raise StateInvalid
                change = decide(locked[connection_id])
                if change is None:
                    return None
                values = {"connection_id": connection_id, "used_at": now}
                await connection.execute(update(flows).where(mine).values(**values))
                if connection_id != flow.connection_id:
                    await _delete_pending(connection, [flow.connection_id])
                await apply(connection, locked[connection_id], change)
                return change.grant
        except ConnectionUnknown:
            raise StateInvalid from None
        except IntegrityError:
            raise AccountTaken from None

    async def abandon(self, flow: StoredFlow, audit: AuditEvent) -> None:
        """End a flow that failed; see the port."""
        async with transaction(self._engine) as connection:
            if not await _delete_pending(connection, [flow.connection_id]):
                await connection.execute(flows.delete().where(flows.c.flow_id == flow.flow_id))
            await add_events(connection, [audit])

    async def sweep(self, before: datetime) -> int:
        """Delete what expired before then; see the port."""
        waits = select(flows.c.flow_id).where(
            flows.c.connection_id == connections.c.connection_id, flows.c.expires_at >= before
        )
        never_completed = (
            select(connections.c.connection_id)
            .where(_PENDING, connections.c.created_at < before, ~waits.exists())
            .order_by(connections.c.connection_id)
            .limit(SWEEP_BATCH)
            .with_for_update(skip_locked=True)
        )
        expired = select(flows.c.flow_id).where(flows.c.expires_at < before).with_for_update(skip_locked=True)
        async with transaction(self._engine) as connection:
            found = [row.connection_id for row in await connection.execute(never_completed)]
            deleted = await _delete_pending(connection, found)
        async with transaction(self._engine) as connection:
            await connection.execute(flows.delete().where(flows.c.flow_id.in_(expired)))
        return deleted


async def _earlier(connection: AsyncConnection, user_id: str, request_id: str) -> Earlier | None:
    query = _FLOWS.where(flows.c.user_id == user_id, flows.c.request_id == request_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Earlier(_flow(row), row.request_hash)


async def _check_room(connection: AsyncConnection, user_id: str, now: datetime, limit: int) -> None:
    query = select(func.count().label("open"), func.min(flows.c.expires_at).label("first")).where(
        flows.c.user_id == user_id, flows.c.used_at.is_(None), flows.c.expires_at > now
    )
    row = (await connection.execute(query)).one()
    if row.open >= limit:
        raise TooManyFlows(retry_after=(row.first - now).total_seconds())


async def _delete_pending(connection: AsyncConnection, connection_ids: list[str]) -> int:
    """Delete those of these connections that are PENDING, with their flows; return how many."""
    if not connection_ids:
        return 0
    deleted = await connection.execute(
        connections.delete()
        .where(and_(connections.c.connection_id.in_(connection_ids), _PENDING))
        .returning(connections.c.connection_id, connections.c.user_id, connections.c.provider, connections.c.created_at)
    )
    notices = [
        Notice(
            kind=NoticeKind.GONE,
            connection_id=row.connection_id,
            user_id=row.user_id,
            provider=row.provider,
            created_at=row.created_at,
        )
        for row in deleted
    ]
    await notify(connection, notices)
    return len(notices)


def _flow(row: Row[Any]) -> StoredFlow:
    return StoredFlow(
        flow_id=row.flow_id,
        user_id=row.user_id,
        connection_id=row.connection_id,
        provider=row.provider,
        flow=Flow(row.flow),
        reauthorizes=row.reauthorizes,
        secret=row.secret,
        shown=row.shown,
        created_at=row.created_at,
        expires_at=row.expires_at,
        used_at=row.used_at,
        next_poll_at=row.next_poll_at,
        wrapped_key=wrapped_key_of(row.key_id, row.wrapped_key),
    )


def _columns(new: NewFlow) -> dict[str, Any]:
    flow = new.flow
    return {
        "flow_id": flow.flow_id,
        "user_id": flow.user_id,
        "connection_id": flow.connection_id,
        "flow": flow.flow.value,
        "reauthorizes": flow.reauthorizes,
        "state_hash": new.state_hash,
        "request_id": new.request_id,
        "request_hash": new.request_hash,
        "secret": flow.secret,
        "shown": flow.shown,
        **key_columns(flow.wrapped_key),
        "created_at": flow.created_at,
        "expires_at": flow.expires_at,
        "next_poll_at": flow.next_poll_at,
    }
