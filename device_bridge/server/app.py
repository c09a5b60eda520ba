"""The composition root: the only file that names adapters."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from adiuva.device_bridge.v1 import device_service_pb2_grpc, session_service_pb2_grpc, tool_service_pb2_grpc
from adiuva_rpc.errors import AdiuvaError
from adiuva_rpc.server import Limits as ServerLimits, RpcServer, serve_until_signal
from adiuva_rpc.tls import ServerTls
from adiuva_rpc.tokens import TokenFile
from device_bridge.server.adapters.sql.devices import SqlDeviceStore
from device_bridge.server.adapters.sql.engine import pool
from device_bridge.server.adapters.sql.enrolment import SqlEnrolmentStore
from device_bridge.server.adapters.sql.notices import SqlNoticeFeed
from device_bridge.server.adapters.sql.schema import upgrade
from device_bridge.server.adapters.sql.sessions import SqlSessionStore
from device_bridge.server.devices.domain import Notice
from device_bridge.server.devices.servicer import DeviceServicer
from device_bridge.server.devices.watch import PresenceHub
from device_bridge.server.enrolment.authenticator import DeviceAuthenticator
from device_bridge.server.enrolment.enroller import CodeEnroller
from device_bridge.server.policy import DEVICE_POLICY, DEVICE_SERVICE, INTERNAL_POLICY, TOOL_SERVICE
from device_bridge.server.routing.calls import CallTable, TableLimits
from device_bridge.server.routing.domain import MAX_TIMEOUT, ByteBudget
from device_bridge.server.routing.execute import ExecuteStreams
from device_bridge.server.routing.memory import OutcomeMemory
from device_bridge.server.routing.router import Router
from device_bridge.server.routing.servicer import ToolServicer
from device_bridge.server.sessions.admission import Admission
from device_bridge.server.sessions.conversion import failed_outcome
from device_bridge.server.sessions.domain import Limits
from device_bridge.server.sessions.leases import Leases
from device_bridge.server.sessions.registry import Sessions
from device_bridge.server.sessions.servicer import DeviceSessionServicer
from device_bridge.server.sessions.session import Surroundings
from device_bridge.server.settings import BridgeSettings
from device_bridge.server.status import STATUSES

FINISH_SECONDS = 5.0
"""For calls under way when the bridge stops."""
FAREWELL_SECONDS = 1.0
"""For telling devices and callers."""
LISTEN_SECONDS = 5.0
"""At the start, for the feed of presence changes. Without it everything but WatchDevices works."""
DEVICE_CONNECTION = ServerLimits(
    max_message_bytes=1 << 20,
    max_metadata_bytes=8 << 10,
    max_concurrent_streams=4,
    max_connection_idle_seconds=60.0,
)
"""What a stranger may ask of the public port."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Stores:
    """What the bridge keeps in the database."""

    sessions: SqlSessionStore
    devices: SqlDeviceStore
    enrolment: SqlEnrolmentStore


@dataclass(frozen=True, slots=True, eq=False)
class Bridge:
    """A replica, put together and not listening yet."""

    device_server: RpcServer
    """The public port."""
    internal_server: RpcServer
    sessions: Sessions
    admission: Admission
    table: CallTable
    streams: ExecuteStreams
    hub: PresenceHub
    leases: Leases
    router: Router
    shared: Surroundings
    budget: ByteBudget

    async def drain(self) -> None:
        """Let calls under way finish, then tell devices, callers and watchers to go elsewhere."""
        self.admission.stopping = True
        self.table.stop_accepting()
        await _at_most(FINISH_SECONDS, self.table.idle)
        self.table.end_all()
        self.sessions.close_all()
        self.streams.stopping.set()
        self.hub.stop()
        await _at_most(FAREWELL_SECONDS, self.admission.deserted)
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self.leases.release()
        except (AdiuvaError, TimeoutError):
            _log.warning("leases not released; they expire by themselves")


async def serve(settings: BridgeSettings) -> None:
    """Run the bridge until SIGTERM or SIGINT. Prints one line of JSON on stdout once both ports listen."""
    async with running(settings) as bridge:

        def say_ready() -> None:
            ports = {"device_port": bridge.device_server.port, "internal_port": bridge.internal_server.port}
            sys.stdout.write(json.dumps({"ready": True, **ports}) + "\n")
            sys.stdout.flush()

        await serve_until_signal(
            bridge.internal_server,
            bridge.device_server,
            drain=bridge.drain,
            drain_seconds=FINISH_SECONDS + 2 * FAREWELL_SECONDS,
            grace_seconds=0.2,
            on_ready=say_ready,
        )


@asynccontextmanager
async def running(settings: BridgeSettings) -> AsyncIterator[Bridge]:
    """Put a replica together and run its background work; its servers are the caller's to start and stop.

    Raises:
        StoreUnavailable: The database cannot be reached.
        TokenFileError: The token file is not usable.
    """
    database_url = settings.database_url.get_secret_value()
    async with pool(database_url) as engine:
        await upgrade(engine)
        stores = Stores(SqlSessionStore(engine), SqlDeviceStore(engine), SqlEnrolmentStore(engine))
        if settings.bridge_internal_listen.port or settings.bridge_replica_address:
            dropped = await stores.sessions.drop_leases_of(settings.replica)
            _log.info("starting", replica=settings.replica, stale_leases=dropped)
        bridge = assemble(settings, stores, clock=asyncio.get_running_loop().time)

        def noticed(notice: Notice) -> None:
            bridge.sessions.noticed(notice)
            bridge.hub.noticed(notice)

        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(work)
                for work in (
                    bridge.leases.run(),
                    bridge.hub.run(),
                    bridge.router.run(),
                    SqlNoticeFeed(database_url).run(noticed, bridge.hub.hears),
                )
            ]
            try:
                # A watch that comes before the feed listens would be sent away at once.
                await _at_most(LISTEN_SECONDS, bridge.hub.listening)
                yield bridge
            finally:
                for task in background:
                    task.cancel()


def assemble(settings: BridgeSettings, stores: Stores, *, clock: Callable[[], float]) -> Bridge:
    """Put the parts of a replica together; nothing runs yet."""
    budget = ByteBudget(settings.bridge_result_budget_bytes)
    # Never repeated, also not by the process before: devices remember the numbers of calls across a restart.
    boot = secrets.token_hex(6)
    table = CallTable(
        limits=TableLimits(waiting_calls=4 * settings.bridge_calls_per_device),
        keys=(f"{boot}-{number}" for number in itertools.count(1)),
        memory=OutcomeMemory(),
        now=clock(),
    )
    sessions = Sessions(table, rng=random.SystemRandom())
    enroller = CodeEnroller(stores.enrolment)
    admission = Admission(
        store=stores.sessions,
        enroller=enroller,
        sessions=sessions,
        desk=table,
        replica=settings.replica,
        lease_seconds=settings.lease_seconds,
        max_sessions=settings.bridge_max_sessions,
    )
    too_large = "The result is too large. Ask for less, for example page by page."
    shared = Surroundings(
        limits=session_limits(settings),
        desk=table,
        budget=budget,
        clock=clock,
        too_large=failed_outcome("RESULT_TOO_LARGE", too_large, retryable=False),
    )
    streams = ExecuteStreams(
        table=table, statuses=STATUSES, clock=clock, budget=budget, write_blocked=settings.bridge_write_blocked_seconds
    )
    hub = PresenceHub(stores.devices)
    leases = Leases(
        store=stores.sessions,
        sessions=sessions,
        replica=settings.replica,
        interval=settings.bridge_heartbeat_seconds,
        lease_seconds=settings.lease_seconds,
    )
    device_server = device_listener(settings, stores)
    session_service_pb2_grpc.add_DeviceSessionServiceServicer_to_server(
        DeviceSessionServicer(shared=shared, admission=admission, sessions=sessions, store=stores.sessions),
        device_server.grpc,
    )
    internal_server = internal_listener(settings)
    tool_service_pb2_grpc.add_ToolServiceServicer_to_server(
        ToolServicer(table=table, streams=streams, statuses=STATUSES, clock=clock), internal_server.grpc
    )
    device_service_pb2_grpc.add_DeviceServiceServicer_to_server(
        DeviceServicer(store=stores.devices, hub=hub, enroller=enroller, sessions=sessions), internal_server.grpc
    )
    router = Router(table=table, directory=stores.devices, clock=clock)
    return Bridge(
        device_server, internal_server, sessions, admission, table, streams, hub, leases, router, shared, budget
    )


def device_listener(settings: BridgeSettings, stores: Stores) -> RpcServer:
    """Return the public port: sessions of devices, and neither health nor reflection for strangers."""
    return RpcServer(
        address=settings.bridge_device_listen,
        policy=DEVICE_POLICY,
        authenticator=DeviceAuthenticator(stores.enrolment),
        errors=STATUSES,
        tls=server_tls(settings),
        limits=DEVICE_CONNECTION,
        with_health=False,
    )


def internal_listener(settings: BridgeSettings) -> RpcServer:
    """Return the port of services, clients and engineers."""
    return RpcServer(
        address=settings.bridge_internal_listen,
        policy=INTERNAL_POLICY,
        authenticator=TokenFile(settings.token_file),
        errors=STATUSES,
        tls=server_tls(settings),
        limits=ServerLimits(unary_seconds=MAX_TIMEOUT + 10.0),
        reflection=[TOOL_SERVICE, DEVICE_SERVICE],
    )


def session_limits(settings: BridgeSettings) -> Limits:
    """Return what a session may do."""
    return Limits(
        heartbeat_interval=settings.bridge_heartbeat_seconds,
        hello_within=settings.bridge_hello_seconds,
        write_blocked=settings.bridge_write_blocked_seconds,
        max_calls=settings.bridge_calls_per_device,
        max_result_bytes=settings.bridge_max_result_bytes,
    )


def server_tls(settings: BridgeSettings) -> ServerTls | None:
    """Return the certificate to serve with, None when none is set."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return ServerTls(cert=settings.tls_cert, key=settings.tls_key)


async def _at_most(seconds: float, event: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
