"""Ends authorizations: with the address that a browser came back to, or by asking for the outcome of a device code.

begin ──▶ a flow that waits (ten minutes, one user, one use) ──▶ complete or poll ──▶ a connection that is ACTIVE
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from adiuva_rpc.errors import AdiuvaError
from connectors.connections import states
from connectors.connections.authorizations import state_hash, within
from connectors.connections.domain import AuditAction, Connection, StoredFlow
from connectors.connections.flow_secrets import FlowSecrets
from connectors.connections.granting import Granter
from connectors.connections.health import OperatorAlerts, event_of
from connectors.connections.ports import FlowStore, GrantStore, Now, Providers
from connectors.connections.redirects import parse_response
from connectors.errors import (
    AccountMismatch,
    CodeRefused,
    ConsentRefused,
    Disconnected,
    OperatorFault,
    ScopeMissing,
    StateInvalid,
    Throttled,
)
from connectors.vault.vault import Vault

POLL_HOLD: Final = timedelta(seconds=40)
"""How long a poll keeps the next one off, unless it ends before: a code is exchanged once."""

_ENDS_A_FLOW: Final = (ConsentRefused, StateInvalid, CodeRefused, ScopeMissing, AccountMismatch, Disconnected)
"""A device flow goes on after any other failure: it can be polled again."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Polled:
    """What a poll found: the connection, or how long to wait before the next."""

    connection: Connection | None
    retry_after: timedelta = timedelta()


class Linking:
    """Ends authorizations.

    Args:
        grants: The grants.
        flows: The authorizations under way.
        providers: How users consent.
        vault: Opens and seals.
        alerts: Hears of operator faults.
        now: The present time.
    """

    def __init__(
        self,
        *,
        grants: GrantStore,
        flows: FlowStore,
        providers: Providers,
        vault: Vault,
        alerts: OperatorAlerts,
        now: Now,
    ) -> None:
        self._flows = flows
        self._providers = providers
        self._secrets = FlowSecrets(grants, vault)
        self._granter = Granter(grants=grants, flows=flows, vault=vault, now=now)
        self._alerts = alerts
        self._now = now

    async def complete(self, user_id: str, response: str, *, actor: str) -> Connection:
        """End a redirect flow with what the browser came back with.

        Args:
            user_id: Who completes it: only whoever began it can.
            response: The address that the browser came back to, or its query.
            actor: Who calls, for the audit trail.

        Raises:
            StateInvalid: The state is missing, unknown, used, expired or another user's. The provider was not asked.
            ConsentRefused, ScopeMissing, AccountMismatch, CodeRefused: As they say.
            OperatorFault, ProviderUnavailable, Throttled: The provider did not exchange the code.
            InvalidArgument: The response is too long.
            Disconnected: The connection was ended meanwhile.
            ProviderUnknown, KeyProviderUnavailable, StoreUnavailable: Begin again.
        """
        answer = parse_response(response)
        flow = await self._flows.take(user_id, state_hash(answer["state"]), now=self._now())
        if flow is None:
            raise StateInvalid
        try:
            identity = self._providers.get(flow.provider).identity
            granted = await within(identity.complete_redirect(await self._secrets.secret(flow), answer))
            return await self._granter.settle(flow, granted, identity, actor=actor)
        except AdiuvaError as error:
            await self._end(flow, error, actor)
            raise

    async def poll(self, user_id: str, flow_id: str, *, actor: str) -> Polled:
        """Ask once whether a user has consented with a device code. A flow that is completed gives its connection.

        Raises:
            StateInvalid: There is no such flow of the user's, or it has expired.
            PolledTooEarly: With the time to wait.
            ConsentRefused, ScopeMissing, AccountMismatch, CodeRefused, Disconnected: The flow has ended.
            OperatorFault, ProviderUnavailable, Throttled, KeyProviderUnavailable, StoreUnavailable: Poll again.
        """
        now = self._now()
        flow = await self._flows.take_poll(user_id, flow_id, now=now, hold=now + POLL_HOLD)
        if flow.used_at is not None:
            return Polled(await self._completed(flow))
        interval = (await self._secrets.shown(flow)).interval
        try:
            identity = self._providers.get(flow.provider).identity
            granted = await within(identity.poll_device(await self._secrets.secret(flow)))
            if granted is not None:
                return Polled(await self._granter.settle(flow, granted, identity, actor=actor))
        except _ENDS_A_FLOW as error:
            await self._end(flow, error, actor)
            raise
        except AdiuvaError as error:
            if isinstance(error, OperatorFault):
                await self._alerts.report(await self._secrets.connection(flow), actor=actor)
            asked = (error.retry_after or 0.0) if isinstance(error, Throttled) else 0.0
            await self._flows.poll_again(flow_id, at=self._now() + max(interval, timedelta(seconds=asked)))
            raise
        await self._flows.poll_again(flow_id, at=self._now() + interval)
        return Polled(None, interval)

    async def _completed(self, flow: StoredFlow) -> Connection:
        connection = await self._secrets.connection(flow)
        if connection.state not in states.LIVE:
            raise StateInvalid
        return connection

    async def _end(self, flow: StoredFlow, error: AdiuvaError, actor: str) -> None:
        """Write down why a flow ended without a grant, and delete what it leaves."""
        _log.info("authorization ended without a grant", connection_id=flow.connection_id, reason=error.reason)
        try:
            connection = await self._secrets.connection(flow)
            if isinstance(error, OperatorFault):
                await self._alerts.report(connection, actor=actor)
            action = AuditAction.AUTHORIZATION_REFUSED
            event = event_of(connection, action, reason=error.reason, actor=actor, at=self._now())
            await self._flows.abandon(flow, event)
        except AdiuvaError as fault:
            # What the caller has to hear is why the authorization failed; what is left is swept away when it expires.
            _log.warning("authorization not cleared away", flow_id=flow.flow_id, reason=fault.reason)
