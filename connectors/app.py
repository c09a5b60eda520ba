"""The composition root: the only file that names adapters."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from adiuva.connectors.v1 import admin_service_pb2_grpc, connection_service_pb2_grpc, message_service_pb2_grpc
from adiuva_rpc.server import Limits, RpcServer, serve_until_signal
from adiuva_rpc.tls import ServerTls
from adiuva_rpc.tokens import TokenFile
from connectors.adapters.sql.audit import SqlAuditTrail
from connectors.adapters.sql.connections import SqlConnections
from connectors.adapters.sql.cursors import SqlCursors
from connectors.adapters.sql.engine import pool
from connectors.adapters.sql.flows import SqlFlows
from connectors.adapters.sql.grants import SqlGrants
from connectors.adapters.sql.keys import SqlKeyStore
from connectors.adapters.sql.notices import SqlNoticeFeed, SqlNotices
from connectors.adapters.sql.quarantine import SqlQuarantine
from connectors.adapters.sql.schema import upgrade
from connectors.admin.rotating import KeyRotation
from connectors.admin.servicer import AdminServicer
from connectors.catalog import PROVIDERS, Maker, providers
from connectors.connections.authorizing import Authorizing
from connectors.connections.disconnecting import Disconnecting
from connectors.connections.domain import Notice
from connectors.connections.health import ConnectionHealth, OperatorAlerts
from connectors.connections.linking import Linking
from connectors.connections.opening import GrantOpener
from connectors.connections.servicer import ConnectionServicer, ConnectionUses
from connectors.connections.testing import Testing
from connectors.connections.tokens import TokenKeeper
from connectors.connections.upkeep import Upkeep
from connectors.connections.watching import ConnectionHub
from connectors.messages.access import Access
from connectors.messages.attachments import AttachmentService
from connectors.messages.cursors import Cursors
from connectors.messages.fetching import FetchService
from connectors.messages.servicer import MessageServicer
from connectors.policy import ADMIN_SERVICE, CONNECTION_SERVICE, MESSAGE_SERVICE, POLICY
from connectors.providers.registry import Registry
from connectors.settings import ConnectorsSettings
from connectors.vault.key_file import FileKeys
from connectors.vault.vault import Vault

LONGEST_UNARY_SECONDS = 90.0
DRAIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Connectors:
    """A replica, put together and not listening yet."""

    server: RpcServer
    hub: ConnectionHub
    registry: Registry


def now() -> datetime:
    """Return the present time."""
    return datetime.now(UTC)


async def serve(settings: ConnectorsSettings) -> None:
    """Run the connectors until SIGTERM or SIGINT. Prints one line of JSON on stdout once the port listens."""
    async with running(settings) as connectors:

        def say_ready() -> None:
            facts = {"ready": True, "port": connectors.server.port, "providers": list(connectors.registry.names)}
            sys.stdout.write(json.dumps(facts) + "\n")
            sys.stdout.flush()

        async def drain() -> None:
            connectors.hub.stop()

        await serve_until_signal(connectors.server, drain=drain, drain_seconds=DRAIN_SECONDS, on_ready=say_ready)


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What the services share."""

    settings: ConnectorsSettings
    engine: AsyncEngine
    registry: Registry
    vault: Vault
    connections: SqlConnections
    grants: SqlGrants
    flows: SqlFlows
    audit: SqlAuditTrail
    alerts: OperatorAlerts
    opener: GrantOpener
    health: ConnectionHealth
    tokens: TokenKeeper


@asynccontextmanager
async def running(settings: ConnectorsSettings, *, makers: Iterable[Maker] = PROVIDERS) -> AsyncIterator[Connectors]:
    """Put a replica together and run its background work; its server is the caller's to start and stop.

    Args:
        settings: What it needs from its environment.
        makers: Who makes the providers.

    Raises:
        OSError, SQLAlchemyError: The database cannot be reached or used.
        TokenFileError: The token file is not usable.
        KeyFileError: The key file is not usable.
        ValueError: Two providers have the same name, or one cannot work with its settings.
    """
    async with shared(settings, makers) as parts:
        hub = ConnectionHub(parts.connections, now=now)
        server = RpcServer(
            address=settings.connectors_listen,
            policy=POLICY,
            authenticator=TokenFile(settings.token_file),
            tls=server_tls(settings),
            limits=Limits(unary_seconds=LONGEST_UNARY_SECONDS),
            reflection=[CONNECTION_SERVICE, MESSAGE_SERVICE, ADMIN_SERVICE],
        )
        connection_service_pb2_grpc.add_ConnectionServiceServicer_to_server(
            connection_servicer(parts, hub), server.grpc
        )
        message_service_pb2_grpc.add_MessageServiceServicer_to_server(message_servicer(parts), server.grpc)
        admin_service_pb2_grpc.add_AdminServiceServicer_to_server(admin_servicer(parts), server.grpc)

        def noticed(notice: Notice) -> None:
            hub.noticed(notice)
            parts.tokens.noticed(notice)

        upkeep = Upkeep(grants=parts.grants, flows=parts.flows, tokens=parts.tokens, opener=parts.opener, now=now)
        feed = SqlNoticeFeed(settings.database_url.get_secret_value())
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(work) for work in (hub.run(), upkeep.run(), feed.run(noticed, hub.hears))]
            try:
                yield Connectors(server, hub, parts.registry)
            finally:
                for task in background:
                    task.cancel()


@asynccontextmanager
async def shared(settings: ConnectorsSettings, makers: Iterable[Maker]) -> AsyncIterator[Parts]:
    """Give what the services share, with the database up to date, until the block ends."""
    vault = Vault(FileKeys(settings.key_file))
    async with (
        pool(settings.database_url.get_secret_value()) as engine,
        providers(settings, now=now, sleep=asyncio.sleep, makers=makers) as registry,
    ):
        await upgrade(engine)
        grants, audit = SqlGrants(engine), SqlAuditTrail(engine)
        alerts = OperatorAlerts(audit, now=now)
        opener = GrantOpener(grants, vault, now=now)
        async with TokenKeeper(grants=grants, opener=opener, providers=registry, alerts=alerts, now=now) as tokens:
            yield Parts(
                settings=settings,
                engine=engine,
                registry=registry,
                vault=vault,
                connections=SqlConnections(engine),
                grants=grants,
                flows=SqlFlows(engine),
                audit=audit,
                alerts=alerts,
                opener=opener,
                health=ConnectionHealth(grants, alerts, now=now),
                tokens=tokens,
            )


def connection_servicer(parts: Parts, hub: ConnectionHub) -> ConnectionServicer:
    """Return what links, lists, tests, watches and ends connections."""
    uses = ConnectionUses(
        connections=parts.connections,
        authorizing=Authorizing(
            connections=parts.connections,
            grants=parts.grants,
            flows=parts.flows,
            providers=parts.registry,
            vault=parts.vault,
            alerts=parts.alerts,
            redirect_uris=parts.settings.redirect_uris,
            now=now,
        ),
        linking=Linking(
            grants=parts.grants,
            flows=parts.flows,
            providers=parts.registry,
            vault=parts.vault,
            alerts=parts.alerts,
            now=now,
        ),
        testing=Testing(
            connections=parts.connections, providers=parts.registry, tokens=parts.tokens, health=parts.health, now=now
        ),
        disconnecting=Disconnecting(
            connections=parts.connections, grants=parts.grants, providers=parts.registry, vault=parts.vault, now=now
        ),
        hub=hub,
    )
    return ConnectionServicer(uses, now=now)


def message_servicer(parts: Parts) -> MessageServicer:
    """Return what delivers messages."""
    access = Access(
        connections=parts.connections,
        keys=parts.opener,
        tokens=parts.tokens,
        providers=parts.registry,
        health=parts.health,
        now=now,
    )
    cursors = SqlCursors(parts.engine)
    fetches = FetchService(
        access=access,
        store=cursors,
        quarantine=SqlQuarantine(parts.engine),
        notices=SqlNotices(parts.engine),
        now=now,
        sleep=asyncio.sleep,
    )
    return MessageServicer(
        fetches=fetches,
        cursors=Cursors(store=cursors, access=access, now=now),
        attachments=AttachmentService(access=access, now=now, sleep=asyncio.sleep),
        now=now,
    )


def admin_servicer(parts: Parts) -> AdminServicer:
    """Return what the operator calls."""
    rotation = KeyRotation(store=SqlKeyStore(parts.engine), vault=parts.vault, audit=parts.audit, now=now)
    return AdminServicer(rotation=rotation, quarantine=SqlQuarantine(parts.engine), audit=parts.audit, now=now)


def server_tls(settings: ConnectorsSettings) -> ServerTls | None:
    """Return the certificate to serve with, None when none is set."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return ServerTls(cert=settings.tls_cert, key=settings.tls_key)
