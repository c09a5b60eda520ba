"""A gRPC server of ours: the gate, limits, keepalive, health, reflection, and an orderly end.

    server = RpcServer(
        address=settings.listen, policy=POLICY, authenticator=TokenFile(settings.tokens), errors=BASE_STATUS | STATUS,
        tls=ServerTls(cert=…, key=…), reflection=["adiuva.orchestrator.v1.RunService"],
    )
    add_RunServiceServicer_to_server(RunServicer(…), server.grpc)
    await serve_until_signal(server, drain=runs.drain)

In tests: `async with RpcServer(address=ListenAddress("127.0.0.1", 0), …) as server: … server.port …`, or add the
servicers first and then `await server.start()`. The only module here that imports server libraries.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
import structlog
from google.protobuf.internal import api_implementation
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection as reflection_v1alpha, reflection_pb2

from adiuva_rpc.addresses import ListenAddress
from adiuva_rpc.identity import ANYONE, AUTHENTICATED, Authenticator, Gate, Metadata, Policy
from adiuva_rpc.interceptor import CallLimits, Interceptor, Spans
from adiuva_rpc.status import BASE_STATUS, ErrorTable
from adiuva_rpc.tls import ServerTls, server_credentials

HEALTH_POLICY: Final[Policy] = {"/grpc.health.v1.Health/Check": ANYONE, "/grpc.health.v1.Health/Watch": ANYONE}
REFLECTION_SERVICES: Final = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
REFLECTION_POLICY: Final[Policy] = {f"/{name}/ServerReflectionInfo": AUTHENTICATED for name in REFLECTION_SERVICES}
HEALTH_SECONDS: Final = 2.0
"""For telling watchers; one that does not read must not hold up the end."""

_log = structlog.get_logger(__name__)


class InsecureListenerError(ValueError):
    """A listener beyond loopback without TLS."""


class SlowProtobufError(RuntimeError):
    """The pure Python protobuf: deeply nested messages overflow its stack, and it is 20 times slower."""


class PortInUseError(OSError):
    """Something else listens on the address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What peers may ask of a server."""

    max_message_bytes: int = 4 << 20
    """Largest message, either way; a larger request is refused RESOURCE_EXHAUSTED before it is read."""
    max_metadata_bytes: int = 8 << 10
    """Request headers; more than twice as many are always refused."""
    max_concurrent_streams: int = 1000
    """Calls at a time on one connection."""
    max_connection_idle_seconds: float | None = None
    """A connection is closed when it had no call for so long."""
    request_seconds: float = 10.0
    """Until the caller is known and the message of a unary request has arrived."""
    unary_seconds: float = 120.0
    """Longest a call with one response may take, whatever its caller asked for."""


class RpcServer:
    """One listener with its services.

    Args:
        address: Where to listen; port 0 lets the system choose.
        policy: Roles per method, for the services added. Health and reflection need no entry.
        authenticator: Knows the credentials.
        errors: Status codes of the errors that handlers raise.
        tls: Certificate and key; None only for loopback.
        limits: What peers may ask.
        with_health: Whether grpc.health.v1 is offered, to anyone.
        reflection: Full names of the services that reflection tells authenticated callers about; empty for none.
        spans: Called around each handler, e.g. `open_telemetry_spans()`.

    Raises:
        InsecureListenerError: Beyond loopback without TLS.
        SlowProtobufError: protobuf runs without its C library.
    """

    def __init__(
        self,
        *,
        address: ListenAddress,
        policy: Policy,
        authenticator: Authenticator,
        errors: ErrorTable = BASE_STATUS,
        tls: ServerTls | None = None,
        limits: Limits | None = None,
        with_health: bool = True,
        reflection: Sequence[str] = (),
        spans: Spans | None = None,
    ) -> None:
        if tls is None and not address.is_loopback:
            msg = f"refusing to listen on {address} without TLS: give a certificate and a key, or listen on 127.0.0.1"
            raise InsecureListenerError(msg)
        if api_implementation.Type() != "upb":
            raise SlowProtobufError("protobuf runs in pure Python: unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION")
        self._address = address
        self._tls = tls
        self._limits = limits or Limits()
        self._port = 0
        complete = {**policy, **(HEALTH_POLICY if with_health else {}), **(REFLECTION_POLICY if reflection else {})}
        interceptor = Interceptor(
            Gate(complete, authenticator),
            errors,
            limits=CallLimits(
                request_seconds=self._limits.request_seconds,
                unary_seconds=self._limits.unary_seconds,
                max_message_bytes=self._limits.max_message_bytes,
            ),
            spans=spans,
            certificates=tls is not None and tls.client_ca is not None,
        )
        self.grpc: grpc.aio.Server = grpc.aio.server(interceptors=[interceptor], options=_options(self._limits))
        """To which the generated `add_…Servicer_to_server` functions add services, before `start`."""
        self._health = health.aio.HealthServicer() if with_health else None
        if self._health is not None:
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc)
        if reflection:
            _add_reflection(self.grpc, reflection)

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        return self._port

    async def start(self) -> int:
        """Listen, and report health SERVING; return the port.

        Raises:
            PortInUseError: The address is taken, or is not one of this machine.
            TlsFileError: The certificate or key is unusable.
        """
        try:
            if self._tls is None:
                self._port = self.grpc.add_insecure_port(str(self._address))
            else:
                self._port = self.grpc.add_secure_port(str(self._address), server_credentials(self._tls))
        except RuntimeError:
            # grpc tells no more than "failed to bind"; the system's own reason went to stderr.
            msg = f"cannot listen on {self._address}: the port is in use, or the host is not ours"
            raise PortInUseError(msg) from None
        await self.grpc.start()
        await self.set_ready(ready=True)
        _log.info("listening", address=str(self._address.with_port(self._port)), tls=self._tls is not None)
        return self._port

    async def set_ready(self, *, ready: bool) -> None:
        """Report health SERVING or NOT_SERVING. Calls are served either way."""
        if self._health is None:
            return
        status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEALTH_SECONDS):
                await self._health.set(health.OVERALL_HEALTH, status)

    async def stop(self, *, grace: float = 1.0) -> None:
        """Take no new calls, give those under way `grace` seconds, then cancel them."""
        await self.grpc.stop(grace)

    async def __aenter__(self) -> RpcServer:
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop(grace=0)


async def serve_until_signal(
    *servers: RpcServer,
    drain: Callable[[], Coroutine[Any, Any, None]] | None = None,
    drain_seconds: float = 20.0,
    grace_seconds: float = 1.0,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Start the servers, wait for SIGTERM or SIGINT, and end in order: not ready, drain, stop.

    Also when it is cancelled or a server does not start, those that did are ended in order. A second signal skips what
    is left of the drain.

    Args:
        servers: Not started yet.
        drain: Ends what is under way by our own means, e.g. tells devices to go elsewhere. Streams that it leaves open
            are cut by the stop.
        drain_seconds: Longest the drain may take.
        grace_seconds: Between the end of the drain and the cut.
        on_ready: Called when all servers listen.

    Raises:
        PortInUseError: See `RpcServer.start`.
    """
    asked, insisted = asyncio.Event(), asyncio.Event()
    with _on_signals(lambda: (insisted if asked.is_set() else asked).set()):
        try:
            for server in servers:
                await server.start()
            if on_ready is not None:
                on_ready()
            await asked.wait()
        finally:
            _log.info("stopping")
            asked.set()
            for server in servers:
                await server.set_ready(ready=False)
            if drain is not None:
                await _drain(drain, drain_seconds, insisted)
            async with asyncio.TaskGroup() as stops:
                for server in servers:
                    stops.create_task(server.stop(grace=grace_seconds))


def open_telemetry_spans() -> Spans:
    """Return spans for OpenTelemetry's current provider; they hold method names only, never an error's text."""
    from opentelemetry import propagate, trace

    tracer = trace.get_tracer("adiuva_rpc")

    def span(method: str, metadata: Metadata) -> contextlib.AbstractContextManager[object]:
        carrier = {key: value for key, value in metadata if isinstance(value, str)}
        return tracer.start_as_current_span(
            method.removeprefix("/"),
            context=propagate.extract(carrier),
            kind=trace.SpanKind.SERVER,
            record_exception=False,
            set_status_on_exception=False,
        )

    return span


@contextlib.contextmanager
def _on_signals(callback: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, callback)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _drain(drain: Callable[[], Coroutine[Any, Any, None]], seconds: float, insisted: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as tasks:
            work = tasks.create_task(drain())
            signalled = tasks.create_task(insisted.wait())
            await asyncio.wait({work, signalled}, return_when=asyncio.FIRST_COMPLETED)
            work.cancel()
            signalled.cancel()
    except TimeoutError:
        _log.warning("drain not finished in time", seconds=seconds)
    except ExceptionGroup:
        _log.exception("drain failed")


def _options(limits: Limits) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        # Otherwise a second server on a taken port binds silently and gets some of the connections.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", limits.max_message_bytes),
        # The response is measured by the interceptor, which answers with a reason; this is the second net.
        ("grpc.max_send_message_length", limits.max_message_bytes),
        ("grpc.max_metadata_size", limits.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", 2 * limits.max_metadata_bytes),
        ("grpc.max_concurrent_streams", limits.max_concurrent_streams),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # keepalive_timeout does not time a missing ping answer; this does (its default is 60 s).
        ("grpc.http2.ping_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # Half of the interval at which our channels ping: else they are told to calm down and cut off.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]
    if limits.max_connection_idle_seconds is not None:
        options.append(("grpc.max_connection_idle_ms", round(limits.max_connection_idle_seconds * 1000)))
    return options


def _add_reflection(server: grpc.aio.Server, services: Sequence[str]) -> None:
    """Offer reflection as v1alpha and v1: the messages of both are the same on the wire."""
    servicer = reflection_v1alpha.aio.ReflectionServicer([*services, *REFLECTION_SERVICES])
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for service in REFLECTION_SERVICES:
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {"ServerReflectionInfo": handler}),)
        )
