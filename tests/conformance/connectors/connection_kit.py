"""A store of connections under test, and what a test does with it over and over."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

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
from connectors.connections.ports import (
    AuditTrail,
    Change,
    ConnectionStore,
    Earlier,
    FlowStore,
    GrantStore,
    NewFlow,
    Notices,
)
from connectors.connections.states import SealedTokens
from connectors.providers.port import Account, Flow
from connectors.vault.domain import WrappedKey

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TOKENS = SealedTokens(
    refresh_token=b"sealed refresh \x00\xff",
    access_token=b"sealed access \x00\xff",
    expires_at=NOW + timedelta(hours=1),
    scopes=frozenset({"mail.read", "openid"}),
)
KEY = WrappedKey("key-1", bytes(range(256)))


@dataclass(slots=True)
class Kit:
    """A store under test."""

    connections: ConnectionStore
    grants: GrantStore
    flows: FlowStore
    audit: AuditTrail
    tell: Notices
    expire_leases: Callable[[], Awaitable[None]]
    """Makes every lease look overdue."""
    notices: Callable[[], Awaitable[list[Notice]]]
    """What the replicas were told about `user` since the last time."""
    user: str = field(default_factory=lambda: f"user-{uuid.uuid4().hex[:8]}")
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def new_grant(self, *, user: str = "", provider: str = "gmail", at: datetime = NOW) -> StoredGrant:
        """Return a connection that is not stored yet."""
        connection = Connection(
            connection_id=f"c-{next(self._numbers):04}-{uuid.uuid4()}",
            user_id=user or self.user,
            provider=provider,
            state=ConnectionState.PENDING,
            created_at=at,
            updated_at=at,
        )
        return StoredGrant(
            connection=connection,
            wrapped_key=KEY,
            grant_version=0,
            refresh_token=None,
            access_token=None,
            access_expires_at=None,
        )

    def new_flow(self, grant: StoredGrant, *, flow: Flow = Flow.REDIRECT, at: datetime = NOW) -> NewFlow:
        """Return a flow that is not stored yet. Its state's hash is `state of <flow_id>`."""
        flow_id = uuid.uuid4().hex
        stored = StoredFlow(
            flow_id=flow_id,
            user_id=grant.connection.user_id,
            connection_id=grant.connection.connection_id,
            provider=grant.connection.provider,
            flow=flow,
            reauthorizes=grant.connection.state is not ConnectionState.PENDING,
            secret=b"sealed secret",
            shown=b"sealed shown",
            created_at=at,
            expires_at=at + 10 * MINUTE,
            next_poll_at=at + timedelta(seconds=5) if flow is Flow.DEVICE_CODE else None,
            wrapped_key=WrappedKey("key-2", b"of the flow") if flow is Flow.DEVICE_CODE else None,
        )
        state_hash = f"state of {flow_id}".encode() if flow is Flow.REDIRECT else None
        return NewFlow(flow=stored, state_hash=state_hash, request_id=str(uuid.uuid4()), request_hash="hash")

    async def begin(self, new: NewFlow, pending: StoredGrant | None = None, *, limit: int = 10) -> Earlier | None:
        """Store a flow."""
        return await self.flows.begin(new, pending, self.event(new.flow.connection_id), limit=limit)

    async def pending(self, *, flow: Flow = Flow.REDIRECT, at: datetime = NOW) -> StoredFlow:
        """Begin to link an account; return the flow."""
        grant = self.new_grant(at=at)
        new = self.new_flow(grant, flow=flow, at=at)
        assert await self.begin(new, grant) is None
        return new.flow

    async def linked(
        self, account: str = "", *, user: str = "", provider: str = "gmail", at: datetime = NOW
    ) -> StoredGrant:
        """Link an account, which is another one each time unless it is named; return the grant."""
        grant = self.new_grant(user=user, provider=provider, at=at)
        new = self.new_flow(grant, at=at)
        await self.begin(new, grant)
        account_id = account or f"account {next(self._numbers)}"
        stored = await self.flows.settle(new.flow, grant.connection.connection_id, consented(account_id), now=at)
        assert stored is not None
        return stored

    async def become(self, grant: StoredGrant, **fields: object) -> StoredGrant:
        """Change fields of the connection, whatever the rules are; return the grant."""

        def decide(current: StoredGrant) -> Change:
            connection = replace(current.connection, version=current.connection.version + 1, **fields)  # type: ignore[arg-type]
            return Change(grant=replace(current, connection=connection))

        changed = await self.grants.change(grant.connection.connection_id, decide)
        assert changed is not None
        return changed

    def event(self, connection_id: str, action: AuditAction = AuditAction.BEGUN, *, user: str = "") -> AuditEvent:
        """Return a line for the audit trail."""
        return AuditEvent(
            user_id=user or self.user, connection_id=connection_id, action=action, actor="anna", reason="WHY", at=NOW
        )

    async def told(self) -> list[tuple[NoticeKind, str]]:
        """Return kinds and connections of what the replicas were told since the last time."""
        return [(notice.kind, notice.connection_id) for notice in await self.notices()]


def consented(account_id: str, *, at: datetime = NOW) -> Callable[[StoredGrant], Change | None]:
    """Return what makes of a grant one of this account."""

    def decide(current: StoredGrant) -> Change | None:
        account = Account(account_id=account_id, address=f"{account_id}@example.org")
        renewed = states.renewed(current, TOKENS, account, now=at)
        return None if renewed is None else Change(grant=renewed)

    return decide
