"""Ends connections: at the provider as far as that goes, and here for good."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from connectors.connections import states
from connectors.connections.domain import AuditAction, Connection, ConnectionState, StoredGrant
from connectors.connections.grants import open_grant
from connectors.connections.health import event_of
from connectors.connections.ports import Change, ConnectionStore, GrantStore, Now, Providers
from connectors.connections.revoking import revoke
from connectors.errors import Disconnected as NothingLeft, ProviderUnknown
from connectors.vault.domain import DecryptFailed as NotOpened, KeyProviderUnavailable
from connectors.vault.vault import Vault

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ended:
    """A connection that was ended."""

    connection: Connection
    revoked: bool
    """Whether the provider has ended the grant too."""
    manage_url: str
    """Where its user ends the consent by hand; empty when that is not needed, or the provider is gone."""


class Disconnecting:
    """Ends connections.

    Args:
        connections: The connections.
        grants: Their grants.
        providers: Where the grants are ended.
        vault: Opens them.
        now: The present time.
    """

    def __init__(
        self, *, connections: ConnectionStore, grants: GrantStore, providers: Providers, vault: Vault, now: Now
    ) -> None:
        self._connections = connections
        self._grants = grants
        self._providers = providers
        self._vault = vault
        self._now = now

    async def disconnect(self, user_id: str, connection_id: str, *, actor: str) -> Ended:
        """Revoke a connection's grant if that can be done, and destroy it. The second time changes nothing.

        Neither a provider that is down nor a grant that does not open keeps a connection alive.

        Raises:
            ConnectionUnknown: The user has no such connection.
            StoreUnavailable: Try again.
        """
        connection = await self._connections.get(user_id, connection_id)
        if connection.state is not ConnectionState.DISCONNECTED:
            await self._erase(connection_id, await self._outcome(await self._grants.grant(connection_id)), actor)
            connection = await self._connections.get(user_id, connection_id)
        by_hand = self._manage_url(connection.provider) if connection.reason == states.NOT_REVOKED else ""
        return Ended(connection, connection.reason == states.REVOKED, by_hand)

    async def _outcome(self, grant: StoredGrant) -> str:
        """Revoke the grant if that can be done, and return the reason for the connection's record."""
        if grant.connection.state is ConnectionState.PENDING:
            return states.AUTHORIZATION_ENDED
        return states.REVOKED if await self._revoked(grant) else states.NOT_REVOKED

    async def _revoked(self, grant: StoredGrant) -> bool:
        connection = grant.connection
        try:
            identity = self._providers.get(connection.provider).identity
            opened = await open_grant(self._vault, grant)
        except (NotOpened, KeyProviderUnavailable, NothingLeft, ProviderUnknown) as error:
            _log.info("no grant to revoke", connection_id=connection.connection_id, reason=error.reason)
            return False
        return await revoke(identity, opened.refresh_token, connection_id=connection.connection_id)

    async def _erase(self, connection_id: str, reason: str, actor: str) -> None:
        now = self._now()

        def decide(current: StoredGrant) -> Change | None:
            erased = states.erased(current, reason=reason, now=now)
            if erased is None:
                return None
            audit = event_of(current.connection, AuditAction.DISCONNECTED, reason=reason, actor=actor, at=now)
            return Change(grant=erased, audit=(audit,))

        if await self._grants.change(connection_id, decide) is not None:
            _log.info("connection ended", connection_id=connection_id, reason=reason)

    def _manage_url(self, provider: str) -> str:
        try:
            return self._providers.get(provider).identity.manage_url
        except ProviderUnknown:
            return ""
