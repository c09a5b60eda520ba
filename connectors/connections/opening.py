"""Opens grants, and keeps their states true to whether they open: a missing key is a state, and so is its return."""

from __future__ import annotations

import structlog

from connectors.connections import states
from connectors.connections.domain import AuditAction, ConnectionState, StoredGrant
from connectors.connections.grants import OpenGrant, open_grant
from connectors.connections.health import event_of
from connectors.connections.ports import Change, GrantStore, Now
from connectors.errors import DecryptFailed, Disconnected
from connectors.vault.domain import DecryptFailed as NotOpened
from connectors.vault.vault import ConnectionKey, Vault

_log = structlog.get_logger(__name__)


class GrantOpener:
    """Opens what is stored for connections.

    Args:
        grants: The grants.
        vault: Opens their keys.
        now: The present time.
    """

    def __init__(self, grants: GrantStore, vault: Vault, *, now: Now) -> None:
        self._grants = grants
        self._vault = vault
        self._now = now

    async def open(self, grant: StoredGrant) -> OpenGrant:
        """Open a grant. A connection that is DECRYPT_FAILED and opens is ACTIVE again.

        Raises:
            DecryptFailed: It does not open: the connection says so from now on, with the key's id in its message.
            Disconnected: There is nothing to open any more.
            KeyProviderUnavailable, StoreUnavailable: Try again.
        """
        try:
            opened = await open_grant(self._vault, grant)
        except NotOpened as error:
            raise await self._not_opened(grant, error) from None
        if grant.connection.state is ConnectionState.DECRYPT_FAILED:
            await self._grants.change(grant.connection.connection_id, self._opened)
            _log.info("grant opens again", connection_id=grant.connection.connection_id)
        return opened

    async def key(self, connection_id: str) -> ConnectionKey:
        """Open a connection's data key, for whatever else is sealed with it, such as cursors.

        Raises:
            ConnectionUnknown: There is no such connection.
            DecryptFailed, Disconnected, KeyProviderUnavailable, StoreUnavailable: As `open`.
        """
        grant = await self._grants.grant(connection_id)
        if grant.wrapped_key is None:
            raise Disconnected
        try:
            return await self._vault.open_key(grant.connection.owner, grant.wrapped_key)
        except NotOpened as error:
            raise await self._not_opened(grant, error) from None

    async def _not_opened(self, grant: StoredGrant, error: NotOpened) -> DecryptFailed:
        """Write down that the grant does not open, once, and return the error to raise."""
        now, reason = self._now(), error.reason

        def decide(current: StoredGrant) -> Change | None:
            changed = states.undecryptable(
                current, known=grant.grant_version, reason=reason, message=error.message, now=now
            )
            if changed is None:
                return None
            event = event_of(current.connection, AuditAction.DECRYPT_FAILED, reason=reason, at=now)
            return Change(grant=changed, audit=(event,))

        connection_id = grant.connection.connection_id
        if await self._grants.change(connection_id, decide) is not None:
            key_id = error.metadata.get("key_id", "")
            _log.error("grant does not open", alert=reason, connection_id=connection_id, key_id=key_id)
        return DecryptFailed(error.message, metadata=error.metadata)

    def _opened(self, current: StoredGrant) -> Change | None:
        changed = states.opened(current, now=self._now())
        return None if changed is None else Change(grant=changed)
