"""Tests connections: one cheap call that shows whether the grant works."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from adiuva_rpc.errors import AdiuvaError
from connectors.connections import states
from connectors.connections.domain import Connection
from connectors.connections.ports import ConnectionStore, Health, Now, Providers
from connectors.connections.tokens import TokenKeeper
from connectors.errors import ProviderUnavailable
from connectors.providers.port import Account, Session

TEST_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Tested:
    """A connection that works."""

    connection: Connection
    """As it is after the test."""
    took: timedelta


class Testing:
    """Tests connections.

    Args:
        connections: The connections.
        providers: Who is asked.
        tokens: What they are asked with.
        health: Hears how it went.
        now: The present time.
    """

    __test__ = False  # no test case, whatever its name

    def __init__(
        self, *, connections: ConnectionStore, providers: Providers, tokens: TokenKeeper, health: Health, now: Now
    ) -> None:
        self._connections = connections
        self._providers = providers
        self._tokens = tokens
        self._health = health
        self._now = now

    async def test(self, user_id: str, connection_id: str) -> Tested:
        """Ask the provider whose account it is.

        Raises:
            ConnectionUnknown: The user has no such connection.
            ConnectionPending, NeedsReauth, ConnectionBlocked, DecryptFailed, Disconnected: It does not work.
            Throttled: With the time to wait; the provider was not asked before that which it had asked for is over.
            OperatorFault, ProviderUnavailable, ProviderUnknown: That says nothing about the connection.
            KeyProviderUnavailable, StoreUnavailable: Try again.
        """
        connection = await self._connections.get(user_id, connection_id)
        states.usable(connection)
        began = self._now()
        states.allowed(connection, began)
        provider = self._providers.get(connection.provider)
        session = Session(
            connection_id=connection_id,
            account=Account(account_id=connection.account_id, address=connection.account),
            tokens=self._tokens.source(connection),
            deadline=began + timedelta(seconds=TEST_SECONDS),
        )
        try:
            async with asyncio.timeout(2 * TEST_SECONDS):
                await provider.account(session)
        except TimeoutError:
            raise ProviderUnavailable from None
        except AdiuvaError as error:
            await self._health.failed(connection_id, error)
            raise
        took = self._now() - began
        await self._health.succeeded(connection_id)
        return Tested(await self._connections.get(user_id, connection_id), took)
