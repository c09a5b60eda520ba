"""The store of connections in memory: every port of it, and the faults of a database when a test asks for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime

from connectors.connections import states
from connectors.connections.domain import (
    AuditAction,
    AuditEvent,
    Connection,
    ConnectionState,
    Notice,
    NoticeKind,
    StoredFlow,
    StoredGrant,
)
from connectors.connections.errors import ConnectionUnknown, PolledTooEarly, TooManyFlows
from connectors.connections.ports import AccountTaken, Change, Decide, Earlier, NewFlow
from connectors.errors import StateInvalid, StoreUnavailable
from connectors.paging import Key
from connectors.providers.port import Flow


@dataclass(slots=True)
class _Lease:
    owner: str
    until: float


class InMemoryConnections:
    """Implements ConnectionStore, GrantStore, FlowStore and Notices. Others get their turn before each step."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        """Everything that replicas were told, in order."""
        self.listeners: list[Callable[[Notice], None]] = []
        self.audit = InMemoryAuditTrail()
        self.failing_changes = 0
        """So many changes fail, with nothing stored."""
        self.lost_answers = 0
        """So many changes are stored, and fail all the same."""
        self.before_settling: Callable[[], Awaitable[object]] | None = None
        """Happens once, just before the next flow is settled."""
        self.rekeyed: list[str] = []
        """Connections whose cursors were dropped for a new data key."""
        self.erased: list[str] = []
        """Connections whose belongings were destroyed."""
        self._grants: dict[str, StoredGrant] = {}
        self._leases: dict[str, _Lease] = {}
        self._flows: dict[str, NewFlow] = {}

    @property
    def events(self) -> list[AuditEvent]:
        return self.audit.events

    def actions(self, connection_id: str) -> list[AuditAction]:
        """Return what was audited of a connection, in order."""
        return [event.action for event in self.events if event.connection_id == connection_id]

    def put(self, grant: StoredGrant) -> None:
        """Store a grant, whatever was stored."""
        self._grants[grant.connection.connection_id] = grant

    def expire_leases(self) -> None:
        """Make every lease look overdue."""
        for lease in self._leases.values():
            lease.until = 0.0

    # --- ConnectionStore

    async def get(self, user_id: str, connection_id: str) -> Connection:
        connection = (await self.grant(connection_id)).connection
        if connection.user_id != user_id:
            raise ConnectionUnknown
        return connection

    async def page(
        self, user_id: str | None, *, limit: int, after: Key | None, include_disconnected: bool
    ) -> list[Connection]:
        await asyncio.sleep(0)
        found = [
            grant.connection
            for grant in self._grants.values()
            if user_id in {None, grant.connection.user_id}
            and (include_disconnected or grant.connection.state is not ConnectionState.DISCONNECTED)
            and (after is None or _key(grant.connection) < after)
        ]
        return sorted(found, key=_key, reverse=True)[:limit]

    async def load(self, connection_ids: Collection[str]) -> dict[str, Connection]:
        await asyncio.sleep(0)
        return {each: self._grants[each].connection for each in connection_ids if each in self._grants}

    # --- GrantStore

    async def grant(self, connection_id: str) -> StoredGrant:
        await asyncio.sleep(0)
        if connection_id not in self._grants:
            raise ConnectionUnknown
        return self._grants[connection_id]

    async def of_account(self, user_id: str, provider: str, account_id: str) -> StoredGrant | None:
        await asyncio.sleep(0)
        return self._linked(user_id, provider, account_id)

    async def is_linked(self, provider: str, account_id: str) -> bool:
        await asyncio.sleep(0)
        return self._linked(None, provider, account_id) is not None

    async def change(self, connection_id: str, decide: Decide) -> StoredGrant | None:
        await asyncio.sleep(0)
        if self.failing_changes:
            self.failing_changes -= 1
            raise StoreUnavailable
        before = await self.grant(connection_id)
        change = decide(before)
        if change is None:
            return None
        self._apply(before, change)
        if self.lost_answers:
            self.lost_answers -= 1
            raise StoreUnavailable
        return change.grant

    async def take_lease(self, connection_id: str, *, grant_version: int, owner: str, seconds: float) -> bool:
        await asyncio.sleep(0)
        grant, lease = self._grants.get(connection_id), self._leases.get(connection_id)
        if grant is None or grant.grant_version != grant_version:
            return False
        if lease is not None and lease.until > time.monotonic():
            return False
        self._leases[connection_id] = _Lease(owner, time.monotonic() + seconds)
        return True

    async def release_lease(self, connection_id: str, *, owner: str) -> None:
        await asyncio.sleep(0)
        lease = self._leases.get(connection_id)
        if lease is not None and lease.owner == owner:
            del self._leases[connection_id]
            self._tell(NoticeKind.RELEASED, self._grants[connection_id].connection)

    async def stale(self, before: datetime, *, after: str, limit: int) -> list[Connection]:
        await asyncio.sleep(0)
        found = [
            connection_id
            for connection_id, grant in self._grants.items()
            if grant.connection.state in states.WORKING
            and (grant.access_expires_at is None or grant.access_expires_at < before)
            and connection_id > after
        ]
        return [self._grants[each].connection for each in sorted(found)[:limit]]

    async def undecryptable(self, *, after: str, limit: int) -> list[Connection]:
        await asyncio.sleep(0)
        found = [
            connection_id
            for connection_id, grant in self._grants.items()
            if grant.connection.state is ConnectionState.DECRYPT_FAILED and connection_id > after
        ]
        return [self._grants[each].connection for each in sorted(found)[:limit]]

    async def end_throttles(self, now: datetime) -> int:
        await asyncio.sleep(0)
        ended = 0
        for before in list(self._grants.values()):
            if (after := states.unthrottled(before, now=now)) is not None:
                self._apply(before, Change(grant=after))
                ended += 1
        return ended

    # --- FlowStore

    async def earlier(self, user_id: str, request_id: str) -> Earlier | None:
        await asyncio.sleep(0)
        for new in self._flows.values():
            if (new.flow.user_id, new.request_id) == (user_id, request_id):
                return Earlier(new.flow, new.request_hash)
        return None

    async def check_room(self, user_id: str, *, now: datetime, limit: int) -> None:
        await asyncio.sleep(0)
        self._check_room(user_id, now, limit)

    async def begin(
        self, new: NewFlow, pending: StoredGrant | None, audit: AuditEvent, *, limit: int
    ) -> Earlier | None:
        earlier = await self.earlier(new.flow.user_id, new.request_id)
        if earlier is not None:
            return earlier
        self._check_room(new.flow.user_id, new.flow.created_at, limit)
        if pending is not None:
            self._grants[pending.connection.connection_id] = pending
            self._tell(NoticeKind.CHANGED, pending.connection)
        if new.flow.connection_id not in self._grants:
            raise ConnectionUnknown
        self._flows[new.flow.flow_id] = new
        self.audit.write(audit)
        return None

    async def take(self, user_id: str, state_hash: bytes, *, now: datetime) -> StoredFlow | None:
        await asyncio.sleep(0)
        for new in self._flows.values():
            flow = new.flow
            if (new.state_hash, flow.user_id) == (state_hash, user_id):
                if flow.used_at is not None or flow.expires_at <= now:
                    return None
                return self._keep(replace(flow, used_at=now))
        return None

    async def take_poll(self, user_id: str, flow_id: str, *, now: datetime, hold: datetime) -> StoredFlow:
        await asyncio.sleep(0)
        new = self._flows.get(flow_id)
        if new is None or new.flow.user_id != user_id or new.flow.flow is not Flow.DEVICE_CODE:
            raise StateInvalid
        flow = new.flow
        if flow.used_at is not None:
            return flow
        if flow.expires_at <= now:
            raise StateInvalid
        if flow.next_poll_at is not None and flow.next_poll_at > now:
            raise PolledTooEarly(retry_after=(flow.next_poll_at - now).total_seconds())
        self._keep(replace(flow, next_poll_at=hold))
        return flow

    async def poll_again(self, flow_id: str, *, at: datetime) -> None:
        await asyncio.sleep(0)
        if flow_id in self._flows:
            self._keep(replace(self._flows[flow_id].flow, next_poll_at=at))

    async def settle(
        self, flow: StoredFlow, connection_id: str, decide: Decide, *, now: datetime
    ) -> StoredGrant | None:
        await asyncio.sleep(0)
        meanwhile, self.before_settling = self.before_settling, None
        if meanwhile is not None:
            await meanwhile()
        new, before = self._flows.get(flow.flow_id), self._grants.get(connection_id)
        if new is None or before is None or (flow.flow is Flow.DEVICE_CODE and new.flow.used_at is not None):
            raise StateInvalid
        change = decide(before)
        if change is None:
            return None
        after = change.grant.connection
        other = self._linked(after.user_id, after.provider, after.account_id)
        if other is not None and other.connection.connection_id != connection_id:
            raise AccountTaken
        self._keep(replace(new.flow, connection_id=connection_id, used_at=now))
        if connection_id != flow.connection_id:
            self._delete_pending(flow.connection_id)
        self._apply(before, change)
        return change.grant

    async def abandon(self, flow: StoredFlow, audit: AuditEvent) -> None:
        await asyncio.sleep(0)
        self._flows.pop(flow.flow_id, None)
        self._delete_pending(flow.connection_id)
        self.audit.write(audit)

    async def sweep(self, before: datetime) -> int:
        await asyncio.sleep(0)
        for flow_id in [flow_id for flow_id, new in self._flows.items() if new.flow.expires_at < before]:
            del self._flows[flow_id]
        waiting = {new.flow.connection_id for new in self._flows.values()}
        return sum(self._delete_pending(each) for each in list(self._grants) if each not in waiting)

    # --- Notices

    async def resynced(self, connection_id: str) -> None:
        await asyncio.sleep(0)
        if connection_id in self._grants:
            self._tell(NoticeKind.RESYNCED, self._grants[connection_id].connection)

    def _linked(self, user_id: str | None, provider: str, account_id: str) -> StoredGrant | None:
        for grant in self._grants.values():
            connection = grant.connection
            if (
                user_id in {None, connection.user_id}
                and (connection.provider, connection.account_id) == (provider, account_id)
                and account_id
                and connection.state is not ConnectionState.DISCONNECTED
            ):
                return grant
        return None

    def _check_room(self, user_id: str, now: datetime, limit: int) -> None:
        waiting = [
            new.flow.expires_at
            for new in self._flows.values()
            if new.flow.user_id == user_id and new.flow.used_at is None and new.flow.expires_at > now
        ]
        if len(waiting) >= limit:
            raise TooManyFlows(retry_after=(min(waiting) - now).total_seconds())

    def _keep(self, flow: StoredFlow) -> StoredFlow:
        self._flows[flow.flow_id] = replace(self._flows[flow.flow_id], flow=flow)
        return flow

    def _apply(self, before: StoredGrant, change: Change) -> None:
        connection = change.grant.connection
        self._grants[connection.connection_id] = change.grant
        if change.grant.grant_version != before.grant_version:
            self._leases.pop(connection.connection_id, None)
        if change.grant.wrapped_key is None:
            self.erased.append(connection.connection_id)
            self._drop_flows(connection.connection_id)
        elif change.rekeyed:
            self.rekeyed.append(connection.connection_id)
        for event in change.audit:
            self.audit.write(event)
        if connection.version != before.connection.version:
            self._tell(NoticeKind.CHANGED, connection)

    def _delete_pending(self, connection_id: str) -> bool:
        grant = self._grants.get(connection_id)
        if grant is None or grant.connection.state is not ConnectionState.PENDING:
            return False
        del self._grants[connection_id]
        self._drop_flows(connection_id)
        self._tell(NoticeKind.GONE, grant.connection)
        return True

    def _drop_flows(self, connection_id: str) -> None:
        for flow_id in [each for each, new in self._flows.items() if new.flow.connection_id == connection_id]:
            del self._flows[flow_id]

    def _tell(self, kind: NoticeKind, connection: Connection) -> None:
        gone = kind is NoticeKind.GONE
        notice = Notice(
            kind=kind,
            connection_id=connection.connection_id,
            user_id=connection.user_id,
            provider=connection.provider if gone else "",
            created_at=connection.created_at if gone else None,
        )
        self.notices.append(notice)
        for listener in self.listeners:
            listener(notice)


class InMemoryAuditTrail:
    """Implements AuditTrail."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    def write(self, event: AuditEvent) -> None:
        """Write a line at once."""
        self.events.append(replace(event, event_id=str(len(self.events) + 1)))

    async def add(self, event: AuditEvent) -> None:
        await asyncio.sleep(0)
        self.write(event)

    async def page(self, *, user_id: str | None, connection_id: str, limit: int, before: str) -> list[AuditEvent]:
        await asyncio.sleep(0)
        found = [
            event
            for event in reversed(self.events)
            if user_id in {None, event.user_id}
            and connection_id in {"", event.connection_id}
            and (not before or int(event.event_id) < int(before))
        ]
        return found[:limit]


def _key(connection: Connection) -> Key:
    return connection.created_at, connection.connection_id
