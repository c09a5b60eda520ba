"""Makes a connection of a consent: checks what was granted and for whom, seals it, and stores it in its one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import structlog

from adiuva_rpc.errors import AdiuvaError
from connectors.connections import states
from connectors.connections.domain import AuditAction, Connection, StoredFlow, StoredGrant
from connectors.connections.errors import ConnectionUnknown
from connectors.connections.grants import seal_tokens
from connectors.connections.health import event_of
from connectors.connections.ports import AccountTaken, Change, FlowStore, GrantStore, Now
from connectors.connections.revoking import revoke
from connectors.connections.states import SealedTokens
from connectors.errors import AccountMismatch, Disconnected, ScopeMissing, StateInvalid
from connectors.providers.port import Granted, Identity
from connectors.vault.domain import DecryptFailed as NotOpened, WrappedKey
from connectors.vault.vault import Vault

ATTEMPTS: Final = 20
"""Each further one only because somebody else has just changed the very same connection."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sealed:
    tokens: SealedTokens
    key: WrappedKey | None = field(repr=False)
    """The data key that they are sealed under, if that is a new one."""


class Granter:
    """Ends flows with what was granted.

    Args:
        grants: The grants.
        flows: The authorizations under way.
        vault: Seals.
        now: The present time.
    """

    def __init__(self, *, grants: GrantStore, flows: FlowStore, vault: Vault, now: Now) -> None:
        self._grants = grants
        self._flows = flows
        self._vault = vault
        self._now = now

    async def settle(self, flow: StoredFlow, granted: Granted, identity: Identity, *, actor: str) -> Connection:
        """Make or renew the connection of a flow.

        An account that the user has linked already keeps its connection, with its id and cursors; the one that the
        flow began with is deleted. A grant that is not kept is ended at the provider again, unless the account is
        linked, or not known because too little was granted: providers end all grants of an account together, so a
        connection that works would end with it.

        Args:
            flow: Which is used up.
            granted: What the provider gave.
            identity: The provider's.
            actor: Who completes it, for the audit trail.

        Raises:
            ScopeMissing: Less was granted than is needed.
            AccountMismatch: It is another account than the connection's.
            StateInvalid, Disconnected: The connection has ended meanwhile.
            KeyProviderUnavailable, StoreUnavailable: Begin again.
        """
        try:
            _check_scopes(granted, identity)
            stored = await self._kept(flow, granted, actor)
        except (ScopeMissing, AccountMismatch, StateInvalid, Disconnected):
            await self._give_back(flow, granted, identity)
            raise
        _log.info("account linked", connection_id=stored.connection_id, provider=stored.provider)
        return stored

    async def _kept(self, flow: StoredFlow, granted: Granted, actor: str) -> Connection:
        for _ in range(ATTEMPTS):
            target = await self._target(flow, granted)
            if (stored := await self._store(flow, target, granted, actor)) is not None:
                return stored
        raise StateInvalid

    async def _target(self, flow: StoredFlow, granted: Granted) -> StoredGrant:
        """Return the connection that this consent is for."""
        account_id = granted.account.account_id
        try:
            if flow.reauthorizes:
                target = await self._grants.grant(flow.connection_id)
                if target.wrapped_key is None:
                    raise Disconnected
                if target.connection.account_id != account_id:
                    raise AccountMismatch
                return target
            linked = await self._grants.of_account(flow.user_id, flow.provider, account_id)
            return linked or await self._grants.grant(flow.connection_id)
        except ConnectionUnknown:
            raise StateInvalid from None

    async def _store(self, flow: StoredFlow, target: StoredGrant, granted: Granted, actor: str) -> Connection | None:
        """Store what was granted; None when the connection has changed since it was read."""
        sealed, now = await self._sealed(target, granted), self._now()
        first = target.connection.state not in states.LIVE
        action = AuditAction.AUTHORIZED if first else AuditAction.REAUTHORIZED

        def decide(current: StoredGrant) -> Change | None:
            if current.grant_version != target.grant_version:
                return None
            renewed = states.renewed(current, sealed.tokens, granted.account, key=sealed.key, now=now)
            if renewed is None:
                return None
            audit = event_of(current.connection, action, reason=flow.flow.name, actor=actor, at=now)
            return Change(grant=renewed, audit=(audit,), rekeyed=sealed.key is not None)

        try:
            stored = await self._flows.settle(flow, target.connection.connection_id, decide, now=now)
        except AccountTaken:
            return None
        return None if stored is None else stored.connection

    async def _sealed(self, target: StoredGrant, granted: Granted) -> _Sealed:
        owner, tokens, new_key = target.connection.owner, granted.tokens, None
        if target.wrapped_key is None:
            raise Disconnected
        try:
            key = await self._vault.open_key(owner, target.wrapped_key)
        except NotOpened:
            # The old key is lost, and everything under it. The consent does not need it.
            new_key = await self._vault.new_key(owner)
            key = await self._vault.open_key(owner, new_key)
        assert tokens.refresh_token is not None  # noqa: S101 - checked before
        version = target.grant_version + 1
        return _Sealed(tokens=seal_tokens(key, version, tokens, refresh_token=tokens.refresh_token), key=new_key)

    async def _give_back(self, flow: StoredFlow, granted: Granted, identity: Identity) -> None:
        account_id = granted.account.account_id
        try:
            if not account_id or await self._grants.is_linked(flow.provider, account_id):
                return
        except AdiuvaError:
            return
        token = granted.tokens.refresh_token or granted.tokens.access_token
        await revoke(identity, token, connection_id=flow.connection_id)


def _check_scopes(granted: Granted, identity: Identity) -> None:
    if granted.tokens.refresh_token is None:
        raise ScopeMissing("Access was granted for an hour only. Begin again and allow it while you are away.")
    if not identity.required_scopes <= granted.tokens.scopes:
        raise ScopeMissing
