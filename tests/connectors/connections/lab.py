"""Connections put together on the fakes, or on stores of a test's own, with a clock that is moved by hand."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import anyio

from connectors.connections.authorizations import Asked, Authorization
from connectors.connections.authorizing import Authorizing
from connectors.connections.disconnecting import Disconnecting
from connectors.connections.domain import Connection, ConnectionState, StoredGrant
from connectors.connections.grants import open_grant
from connectors.connections.health import ConnectionHealth, OperatorAlerts
from connectors.connections.linking import Linking
from connectors.connections.opening import GrantOpener
from connectors.connections.ports import AuditTrail, ConnectionStore, FlowStore, GrantStore, Sleep
from connectors.connections.refreshing import Timing
from connectors.connections.testing import Testing
from connectors.connections.tokens import TokenKeeper
from connectors.connections.upkeep import Upkeep
from connectors.providers.port import Flow
from connectors.vault.vault import Vault
from tests.fakes.connection_store import InMemoryConnections
from tests.fakes.identity import CANARY, Clock, FakeIdentity, FakeProvider, FakeProviders
from tests.fakes.key_provider import InMemoryKeys

LOOPBACK = "http://127.0.0.1:8765/"
OURS = "https://app.example.test/consents"
USER = "anna"
ADDRESS = f"anna.{CANARY}@example.org"
QUICK = Timing(call=5.0, lease=8.0, wait=5.0, poll=0.02)
"""For tests in which somebody waits."""
PATIENCE = 10.0


@dataclass(slots=True)
class Stores:
    """Where connections are kept."""

    connections: ConnectionStore
    grants: GrantStore
    flows: FlowStore
    audit: AuditTrail


@dataclass(slots=True)
class World:
    """What all replicas of a test share: the time, the provider, the operator's keys."""

    clock: Clock = field(default_factory=Clock)
    keys: InMemoryKeys = field(default_factory=InMemoryKeys)
    identity: FakeIdentity = field(init=False)
    provider: FakeProvider = field(init=False)
    providers: FakeProviders = field(init=False)

    def __post_init__(self) -> None:
        self.identity = FakeIdentity(self.clock)
        self.provider = FakeProvider("gmail", self.identity)
        self.providers = FakeProviders(self.provider, FakeProvider("outlook", FakeIdentity(self.clock)))


@dataclass(slots=True)
class Lab:
    """One replica."""

    world: World
    stores: Stores
    vault: Vault
    alerts: OperatorAlerts
    opener: GrantOpener
    keeper: TokenKeeper
    health: ConnectionHealth
    authorizing: Authorizing
    linking: Linking
    disconnecting: Disconnecting
    testing: Testing
    upkeep: Upkeep

    @property
    def identity(self) -> FakeIdentity:
        return self.world.identity

    @property
    def clock(self) -> Clock:
        return self.world.clock

    async def begin(self, *, user: str = USER, provider: str = "gmail", **fields: Any) -> Authorization:
        """Begin to link an account."""
        return await self.authorizing.begin(asked(user, **fields), provider=provider)

    async def reauthorize(self, connection: Connection, **fields: Any) -> Authorization:
        """Begin a new consent."""
        return await self.authorizing.reauthorize(
            asked(connection.user_id, **fields), connection_id=connection.connection_id
        )

    def answer(self, code: str, *, begun: int = -1) -> str:
        """Return what the browser comes back with, for the newest flow by default."""
        return f"{LOOPBACK}?state={self.identity.begun[begun]['state']}&code={code}"

    async def complete(self, answer: str, *, user: str = USER) -> Connection:
        """End a flow."""
        return await self.linking.complete(user, answer, actor=user)

    async def link(self, address: str = ADDRESS, *, user: str = USER, **fields: Any) -> Connection:
        """Link an account from beginning to end."""
        await self.begin(user=user)
        return await self.complete(self.answer(self.identity.consent(address, **fields)), user=user)

    async def grant(self, connection: Connection) -> StoredGrant:
        """Return what is stored of a connection."""
        return await self.stores.grants.grant(connection.connection_id)

    async def stored(self, connection: Connection) -> Connection:
        """Return the connection as it is now."""
        return (await self.grant(connection)).connection

    async def state(self, connection: Connection) -> ConnectionState:
        """Return the connection's state now."""
        return (await self.stored(connection)).state

    async def refresh_token(self, connection: Connection) -> str:
        """Return the refresh token that is stored."""
        return (await open_grant(self.vault, await self.grant(connection))).refresh_token

    async def token(self, connection: Connection) -> str:
        """Ask for an access token."""
        return await self.keeper.source(connection).token()

    def expire(self) -> None:
        """Let every access token expire."""
        self.clock.advance(self.identity.lifetime)


def asked(user: str = USER, **fields: Any) -> Asked:
    """Return a request to link an account by a redirect to loopback, or as the fields say."""
    usual: dict[str, Any] = {
        "request_id": str(uuid.uuid4()),
        "flow": Flow.REDIRECT,
        "redirect_uri": LOOPBACK if fields.get("flow", Flow.REDIRECT) is Flow.REDIRECT else "",
        "actor": user,
    }
    return Asked(user_id=user, **usual | fields)


def in_memory() -> tuple[InMemoryConnections, Stores]:
    """Return stores that are one fake."""
    store = InMemoryConnections()
    return store, Stores(store, store, store, store.audit)


@asynccontextmanager
async def replica(
    world: World, stores: Stores, *, timing: Timing = QUICK, sleep: Sleep = anyio.sleep
) -> AsyncIterator[Lab]:
    """Put a replica together."""
    now, vault = world.clock, Vault(world.keys)
    alerts = OperatorAlerts(stores.audit, now=now)
    opener = GrantOpener(stores.grants, vault, now=now)
    shared: dict[str, Any] = {"grants": stores.grants, "providers": world.providers, "now": now}
    async with TokenKeeper(opener=opener, alerts=alerts, sleep=sleep, timing=timing, **shared) as keeper:
        health = ConnectionHealth(stores.grants, alerts, now=now)
        yield Lab(
            world=world,
            stores=stores,
            vault=vault,
            alerts=alerts,
            opener=opener,
            keeper=keeper,
            health=health,
            authorizing=Authorizing(
                connections=stores.connections,
                flows=stores.flows,
                vault=vault,
                alerts=alerts,
                redirect_uris=[OURS],
                **shared,
            ),
            linking=Linking(flows=stores.flows, vault=vault, alerts=alerts, **shared),
            disconnecting=Disconnecting(connections=stores.connections, vault=vault, **shared),
            testing=Testing(
                connections=stores.connections, providers=world.providers, tokens=keeper, health=health, now=now
            ),
            upkeep=Upkeep(
                grants=stores.grants, flows=stores.flows, tokens=keeper, opener=opener, now=now, sleep=now.sleep
            ),
        )


async def until(condition: Callable[[], Awaitable[bool] | bool]) -> None:
    """Wait until something elsewhere makes the condition true."""
    with anyio.fail_after(PATIENCE):
        while True:
            found = condition()
            if found is True or (not isinstance(found, bool) and await found):
                return
            await anyio.sleep(0.005)


def with_fields(grant: StoredGrant, **fields: Any) -> StoredGrant:
    """Return the grant with other fields of its connection."""
    return replace(grant, connection=replace(grant.connection, **fields))
