"""The way to a connection: whether it may be used now, with what, and how it went."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from adiuva_rpc.errors import AdiuvaError
from connectors.connections.domain import Connection, ConnectionState
from connectors.connections.states import usable
from connectors.errors import StoreUnavailable, Throttled
from connectors.messages.ports import Connections, Health, Keys, Now, Providers, TokenKeeper
from connectors.providers.port import Account, Provider, Session, TokenSource
from connectors.vault.vault import ConnectionKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """A connection that may be used."""

    connection: Connection
    provider: Provider
    key: ConnectionKey = field(repr=False)
    tokens: TokenSource = field(repr=False)

    def session(self, *, deadline: datetime, on_wait: Callable[[datetime], None]) -> Session:
        """Return what the provider works with."""
        return Session(
            connection_id=self.connection.connection_id,
            account=Account(account_id=self.connection.account_id, address=self.connection.account),
            tokens=self.tokens,
            deadline=deadline,
            on_wait=on_wait,
        )


class Access:
    """Opens connections, and tells how they do; that this cannot be noted is no reason to stop.

    Args:
        connections: Of all users.
        keys: Their data keys.
        tokens: Their access tokens.
        providers: Of this service.
        health: Told how the providers answer.
        now: The present time.
    """

    def __init__(
        self,
        *,
        connections: Connections,
        keys: Keys,
        tokens: TokenKeeper,
        providers: Providers,
        health: Health,
        now: Now,
    ) -> None:
        self._connections = connections
        self._keys = keys
        self._tokens = tokens
        self._providers = providers
        self._health = health
        self._now = now

    async def enter(self, user_id: str, connection_id: str) -> Entered:
        """Return a connection of the user, if it may be used.

        BLOCKED and DECRYPT_FAILED are no reason not to try: an administrator may have opened what was blocked, and an
        operator may have brought back a key.

        Raises:
            NotFound: the user has no such connection.
            ConnectionPending, NeedsReauth, Disconnected: its state allows nothing.
            DecryptFailed: its key does not open.
            ProviderUnknown: the operator has taken its provider away.
        """
        connection = await self._connections.get(user_id, connection_id)
        usable(connection)
        provider = self._providers.get(connection.provider)
        key = await self._keys.key(connection_id)
        return Entered(connection=connection, provider=provider, key=key, tokens=self._tokens.source(connection))

    async def key(self, user_id: str, connection_id: str) -> ConnectionKey:
        """Return the data key of a connection, whatever the connection's state.

        Raises:
            NotFound: the user has no such connection.
            Disconnected: it was destroyed.
            DecryptFailed: it does not open.
        """
        return await self._keys.key((await self._connections.get(user_id, connection_id)).connection_id)

    def pause_of(self, connection: Connection, *, deadline: datetime) -> datetime | None:
        """Return until when the provider has asked to be left alone: asking before that would only prolong it.

        Raises:
            Throttled: that is longer than the caller stays.
        """
        until, now = connection.next_allowed_at, self._now()
        if connection.state is not ConnectionState.THROTTLED or until is None or until <= now:
            return None
        if until > deadline:
            raise Throttled(retry_after=(until - now).total_seconds())
        return until

    async def worked(self, connection: Connection) -> None:
        """The provider answered."""
        with suppress(StoreUnavailable):
            await self._health.succeeded(connection.connection_id)

    async def paused(self, connection: Connection, until: datetime) -> None:
        """The provider asked to wait."""
        with suppress(StoreUnavailable):
            await self._health.throttled(connection.connection_id, until)

    async def failed(self, connection: Connection, error: AdiuvaError) -> None:
        """The work at the provider ended with an error."""
        with suppress(StoreUnavailable):
            await self._health.failed(connection.connection_id, error)
