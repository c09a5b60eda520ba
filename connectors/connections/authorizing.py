"""Begins authorizations: asks the provider where its user consents, and keeps the secrets of that here, sealed."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from connectors.connections.authorizations import (
    FLOW_LIFETIME,
    MAX_DEVICE_LIFETIME,
    MAX_INTERVAL,
    MIN_INTERVAL,
    Asked,
    Authorization,
    secret_field,
    shown_field,
    shown_to_bytes,
    state_hash,
    within,
)
from connectors.connections.domain import AuditAction, Connection, ConnectionState, StoredFlow, StoredGrant
from connectors.connections.errors import RequestIdReused
from connectors.connections.flow_secrets import FlowSecrets
from connectors.connections.health import OperatorAlerts, event_of
from connectors.connections.ports import ConnectionStore, Earlier, FlowStore, GrantStore, NewFlow, Now, Providers
from connectors.errors import ConnectionPending, Disconnected, FlowUnsupported, OperatorFault
from connectors.providers.port import Flow, Identity
from connectors.vault.domain import DecryptFailed as NotOpened, Owner, WrappedKey
from connectors.vault.vault import ConnectionKey, Vault

MAX_OPEN_FLOWS: Final = 10
"""Of one user."""
STATE_BYTES: Final = 32


def random_id() -> str:
    """Return a random UUID."""
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """What an authorization is for."""

    connection: Connection
    pending: StoredGrant | None = None
    """The connection again when it is new and not stored yet."""
    wrapped_key: WrappedKey | None = field(default=None, repr=False)
    """What the flow is sealed under, when that is not the connection's own key."""
    key: ConnectionKey
    claims: str = field(default="", repr=False)


class Authorizing:
    """Begins authorizations.

    Args:
        connections: The connections.
        grants: Their grants.
        flows: The authorizations under way.
        providers: How users consent.
        vault: Makes the keys of new connections.
        alerts: Hears of operator faults.
        redirect_uris: Where consents may come back to, beside loopback; compared to the letter.
        now: The present time.
        new_id: A random UUID at each call: for connections and flows.
    """

    def __init__(
        self,
        *,
        connections: ConnectionStore,
        grants: GrantStore,
        flows: FlowStore,
        providers: Providers,
        vault: Vault,
        alerts: OperatorAlerts,
        redirect_uris: Collection[str],
        now: Now,
        new_id: Callable[[], str] = random_id,
    ) -> None:
        self._connections = connections
        self._grants = grants
        self._flows = flows
        self._providers = providers
        self._vault = vault
        self._secrets = FlowSecrets(grants, vault)
        self._alerts = alerts
        self._redirect_uris = frozenset(redirect_uris)
        self._now = now
        self._new_id = new_id

    async def begin(self, asked: Asked, *, provider: str) -> Authorization:
        """Start to link an account.

        Raises:
            InvalidArgument: A field of what is asked.
            ProviderUnknown, FlowUnsupported: There is no such provider, or it has no such flow.
            RequestIdReused: The request_id was used for another request.
            TooManyFlows: The user has too many that wait.
            OperatorFault, ProviderUnavailable, Throttled: A device code could not be had.
            KeyProviderUnavailable, StoreUnavailable: Try again.
        """
        asked.check(self._redirect_uris)
        identity = self._identity(provider, asked.flow)
        fingerprint = asked.fingerprint(f"link {provider}")
        if (earlier := await self._flows.earlier(asked.user_id, asked.request_id)) is not None:
            return await self._again(earlier, fingerprint)
        now = self._now()
        await self._flows.check_room(asked.user_id, now=now, limit=MAX_OPEN_FLOWS)
        connection = Connection(
            connection_id=self._new_id(),
            user_id=asked.user_id,
            provider=provider,
            state=ConnectionState.PENDING,
            created_at=now,
            updated_at=now,
        )
        wrapped, key = await self._new_key(connection.owner)
        pending = StoredGrant(
            connection=connection,
            wrapped_key=wrapped,
            grant_version=0,
            refresh_token=None,
            access_token=None,
            access_expires_at=None,
        )
        subject = _Subject(connection=connection, pending=pending, key=key)
        return await self._start(asked, fingerprint, subject, identity, hint=asked.login_hint)

    async def reauthorize(self, asked: Asked, *, connection_id: str) -> Authorization:
        """Start a new consent for a connection, which works with its old grant until the new one is there.

        Raises:
            ConnectionUnknown: The user has no such connection.
            Disconnected, ConnectionPending: It was ended, or never completed.
            InvalidArgument, ProviderUnknown, FlowUnsupported, RequestIdReused, TooManyFlows: As `begin`.
            OperatorFault, ProviderUnavailable, Throttled, KeyProviderUnavailable, StoreUnavailable: As `begin`.
        """
        asked.check(self._redirect_uris)
        connection = await self._connections.get(asked.user_id, connection_id)
        fingerprint = asked.fingerprint(f"reauthorize {connection_id}")
        if (earlier := await self._flows.earlier(asked.user_id, asked.request_id)) is not None:
            return await self._again(earlier, fingerprint)
        grant = await self._grants.grant(connection_id)
        if connection.state is ConnectionState.PENDING:
            raise ConnectionPending
        if grant.wrapped_key is None:
            raise Disconnected
        identity = self._identity(connection.provider, asked.flow)
        await self._flows.check_room(asked.user_id, now=self._now(), limit=MAX_OPEN_FLOWS)
        subject = await self._renewing(grant, grant.wrapped_key)
        return await self._start(asked, fingerprint, subject, identity, hint=connection.account)

    async def _start(
        self, asked: Asked, fingerprint: str, subject: _Subject, identity: Identity, *, hint: str
    ) -> Authorization:
        """Begin at the provider, and store the flow with its secrets sealed."""
        connection, flow_id, now = subject.connection, self._new_id(), self._now()
        state = secrets.token_urlsafe(STATE_BYTES) if asked.flow is Flow.REDIRECT else ""
        named = Authorization(flow_id=flow_id, connection_id=connection.connection_id, expires_at=now + FLOW_LIFETIME)
        try:
            if asked.flow is Flow.REDIRECT:
                shown, secret = await self._redirect(asked, identity, named, state, hint, subject.claims)
            else:
                shown, secret = await self._device(identity, named, now)
        except OperatorFault:
            await self._alerts.report(connection, actor=asked.actor)
            raise
        flow = StoredFlow(
            flow_id=flow_id,
            user_id=asked.user_id,
            connection_id=connection.connection_id,
            provider=connection.provider,
            flow=asked.flow,
            reauthorizes=subject.pending is None,
            secret=subject.key.seal(secret_field(flow_id), 0, secret),
            shown=subject.key.seal(shown_field(flow_id), 0, shown_to_bytes(shown)),
            created_at=now,
            expires_at=shown.expires_at,
            next_poll_at=now + shown.interval if asked.flow is Flow.DEVICE_CODE else None,
            wrapped_key=subject.wrapped_key,
        )
        hashed = state_hash(state) if state else None
        new = NewFlow(flow=flow, state_hash=hashed, request_id=asked.request_id, request_hash=fingerprint)
        audit = event_of(connection, AuditAction.BEGUN, reason=asked.flow.name, actor=asked.actor, at=now)
        earlier = await self._flows.begin(new, subject.pending, audit, limit=MAX_OPEN_FLOWS)
        return shown if earlier is None else await self._again(earlier, fingerprint)

    async def _redirect(
        self, asked: Asked, identity: Identity, named: Authorization, state: str, hint: str, claims: str
    ) -> tuple[Authorization, bytes]:
        begun = await within(
            identity.begin_redirect(redirect_uri=asked.redirect_uri, state=state, login_hint=hint, claims=claims)
        )
        return replace(named, url=begun.url), begun.secret

    async def _device(self, identity: Identity, named: Authorization, now: datetime) -> tuple[Authorization, bytes]:
        begun = await within(identity.begin_device())
        shown = replace(
            named,
            expires_at=min(begun.expires_at, now + MAX_DEVICE_LIFETIME),
            user_code=begun.user_code,
            verification_uri=begun.verification_uri,
            interval=min(max(begun.interval, MIN_INTERVAL), MAX_INTERVAL),
        )
        return shown, begun.secret

    async def _again(self, earlier: Earlier, fingerprint: str) -> Authorization:
        if earlier.request_hash != fingerprint:
            raise RequestIdReused
        return await self._secrets.shown(earlier.flow)

    async def _renewing(self, grant: StoredGrant, wrapped: WrappedKey) -> _Subject:
        """Return a connection as what a flow is for. One whose key is lost can be consented to again all the same."""
        connection = grant.connection
        own: WrappedKey | None = None
        try:
            key = await self._vault.open_key(connection.owner, wrapped)
        except NotOpened:
            own, key = await self._new_key(connection.owner)
        return _Subject(connection=connection, wrapped_key=own, key=key, claims=grant.claims)

    async def _new_key(self, owner: Owner) -> tuple[WrappedKey, ConnectionKey]:
        wrapped = await self._vault.new_key(owner)
        return wrapped, await self._vault.open_key(owner, wrapped)

    def _identity(self, provider: str, flow: Flow) -> Identity:
        identity = self._providers.get(provider).identity
        if flow not in identity.flows:
            raise FlowUnsupported
        return identity
