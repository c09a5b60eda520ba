"""How well connections work: what providers' answers make of their states, and what the operator has to hear."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Final

import structlog

from adiuva_rpc.errors import AdiuvaError
from connectors.connections import states
from connectors.connections.domain import AuditAction, AuditEvent, Connection, StoredGrant
from connectors.connections.errors import ConnectionUnknown
from connectors.connections.ports import AuditTrail, Change, Decide, GrantStore, Now
from connectors.errors import ConnectionBlocked, NeedsReauth, OperatorFault, StoreUnavailable, Throttled

SERVICE: Final = "connectors"
"""The actor of what the service does by itself."""
ALERT_EVERY: Final = timedelta(minutes=1)
"""For one connection; its next fault within that time is the same one."""
MAX_REMEMBERED: Final = 10_000
DEFAULT_WAIT: Final = timedelta(seconds=60)
"""When a provider throttles without saying for how long."""

_log = structlog.get_logger(__name__)


def event_of(
    connection: Connection, action: AuditAction, *, reason: str = "", actor: str = SERVICE, at: datetime
) -> AuditEvent:
    """Return a line of the audit trail about a connection."""
    return AuditEvent(
        user_id=connection.user_id,
        connection_id=connection.connection_id,
        action=action,
        actor=actor,
        reason=reason,
        at=at,
    )


class OperatorAlerts:
    """Says that a provider refused this service itself: in the log as an error, and in the audit trail.

    Args:
        audit: The audit trail.
        now: The present time.
    """

    def __init__(self, audit: AuditTrail, *, now: Now) -> None:
        self._audit = audit
        self._now = now
        self._told: OrderedDict[str, datetime] = OrderedDict()

    async def report(self, connection: Connection, *, actor: str = SERVICE) -> None:
        """Say it, unless it was said of this connection within the last minute. Never raises for the database."""
        now = self._now()
        last = self._told.get(connection.connection_id)
        if last is not None and now - last < ALERT_EVERY:
            return
        self._told[connection.connection_id] = now
        self._told.move_to_end(connection.connection_id)
        while len(self._told) > MAX_REMEMBERED:
            self._told.popitem(last=False)
        _log.error(
            "the provider refused this service itself: check its client id and secret",
            alert=OperatorFault.reason,
            provider=connection.provider,
            connection_id=connection.connection_id,
        )
        event = event_of(connection, AuditAction.OPERATOR_FAULT, reason=OperatorFault.reason, actor=actor, at=now)
        try:
            await self._audit.add(event)
        except StoreUnavailable:
            _log.warning("operator fault not audited", connection_id=connection.connection_id)


class ConnectionHealth:
    """Implements `connections.ports.Health`.

    Args:
        grants: The grants.
        alerts: Hears of operator faults.
        now: The present time.
    """

    def __init__(self, grants: GrantStore, alerts: OperatorAlerts, *, now: Now) -> None:
        self._grants = grants
        self._alerts = alerts
        self._now = now

    async def succeeded(self, connection_id: str) -> None:
        """The provider answered as it should."""
        now = self._now()
        await self._change(connection_id, lambda grant: _change(states.succeeded(grant, now=now)))

    async def throttled(self, connection_id: str, until: datetime) -> None:
        """The provider asked to wait until then."""
        now = self._now()
        await self._change(connection_id, lambda grant: _change(states.throttled(grant, until=until, now=now)))

    async def failed(self, connection_id: str, fault: AdiuvaError) -> None:
        """The provider's answer ended the work with this error; see the port.

        A NeedsReauth with a cause comes from who keeps the tokens, and has been written down for the grant that it is
        about: by now, there may have been a new consent.
        """
        now = self._now()
        match fault:
            case NeedsReauth() if "cause" not in fault.metadata:
                await self._change(connection_id, lambda grant: given_up(grant, now=now))
            case ConnectionBlocked():
                await self._change(connection_id, lambda grant: _change(states.blocked(grant, now=now)))
            case Throttled():
                wait = DEFAULT_WAIT if fault.retry_after is None else timedelta(seconds=fault.retry_after)
                await self.throttled(connection_id, now + wait)
            case OperatorFault():
                try:
                    grant = await self._grants.grant(connection_id)
                except ConnectionUnknown:
                    return
                await self._alerts.report(grant.connection)

    async def _change(self, connection_id: str, decide: Decide) -> None:
        try:
            await self._grants.change(connection_id, decide)
        except ConnectionUnknown:
            _log.debug("a connection is gone before its health was noted", connection_id=connection_id)


def given_up(grant: StoredGrant, *, known: int | None = None, now: datetime) -> Change | None:
    """Return what a grant becomes whose access tokens are refused though they are new, with its audit line.

    Args:
        grant: As it is stored.
        known: The version that the tokens were of; None when that is not known.
        now: The present time.
    """
    changed = states.access_refused(grant, known=known, now=now)
    if changed is None:
        return None
    event = event_of(grant.connection, AuditAction.REFRESH_REFUSED, reason=states.ACCESS_REFUSED, at=now)
    return Change(grant=changed, audit=(event,))


def _change(grant: StoredGrant | None) -> Change | None:
    return None if grant is None else Change(grant=grant)
