"""What a flow keeps sealed while it waits, opened for the work at hand."""

from __future__ import annotations

import structlog

from connectors.connections.authorizations import Authorization, secret_field, shown_field, shown_from_bytes
from connectors.connections.domain import Connection, StoredFlow, StoredGrant
from connectors.connections.errors import ConnectionUnknown
from connectors.connections.ports import GrantStore
from connectors.errors import StateInvalid
from connectors.vault.domain import DecryptFailed as NotOpened
from connectors.vault.vault import Vault

_log = structlog.get_logger(__name__)


class FlowSecrets:
    """Opens flows. One that does not open, or whose connection is gone, is no flow any more.

    Args:
        grants: The grants of their connections.
        vault: Opens their keys.
    """

    def __init__(self, grants: GrantStore, vault: Vault) -> None:
        self._grants = grants
        self._vault = vault

    async def secret(self, flow: StoredFlow) -> bytes:
        """Return what the provider needs to end the flow.

        Raises:
            StateInvalid: See the class.
            KeyProviderUnavailable, StoreUnavailable: Try again.
        """
        return await self._open(flow, secret_field(flow.flow_id), flow.secret)

    async def shown(self, flow: StoredFlow) -> Authorization:
        """Return what the user was shown. Errors as `secret`."""
        return shown_from_bytes(flow, await self._open(flow, shown_field(flow.flow_id), flow.shown))

    async def connection(self, flow: StoredFlow) -> Connection:
        """Return the connection that the flow is for.

        Raises:
            StateInvalid: It is gone.
            StoreUnavailable: Try again.
        """
        return (await self._grant(flow)).connection

    async def _open(self, flow: StoredFlow, field: str, sealed: bytes) -> bytes:
        grant = await self._grant(flow)
        wrapped = flow.wrapped_key or grant.wrapped_key
        if wrapped is None:
            raise StateInvalid
        try:
            key = await self._vault.open_key(grant.connection.owner, wrapped)
            return key.open(field, 0, sealed)
        except NotOpened:
            # Ten minutes are the most that is lost with its key: the user begins again.
            _log.error("authorization does not open", connection_id=flow.connection_id, flow_id=flow.flow_id)
            raise StateInvalid from None

    async def _grant(self, flow: StoredFlow) -> StoredGrant:
        try:
            return await self._grants.grant(flow.connection_id)
        except ConnectionUnknown:
            raise StateInvalid from None
