"""Listeners: where they may listen, what they offer, how they end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import grpc
import grpc.aio
import pytest
import structlog
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from adiuva_rpc.addresses import ListenAddress
from adiuva_rpc.channel import bearer, connect
from adiuva_rpc.server import (
    InsecureListenerError,
    Limits,
    PortInUseError,
    RpcServer,
    open_telemetry_spans,
    serve_until_signal,
)
from tests.adiuva_rpc.probe import ANNA, SERVICE, Probe, decode, encode, failure, probe_server

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "bridge.example"])  # noqa: S104 - refused
async def test_nothing_listens_beyond_loopback_without_tls(probe: Probe, host: str) -> None:
    with pytest.raises(InsecureListenerError, match=r"refusing to listen on .* without TLS"):
        probe_server(probe, address=ListenAddress(host, 0))


async def test_a_port_in_use_is_named(probe: Probe, server: RpcServer) -> None:
    second = probe_server(probe, address=ListenAddress("127.0.0.1", server.port))

    with pytest.raises(PortInUseError, match=rf"127\.0\.0\.1:{server.port}"):
        await second.start()


async def test_health_is_open_to_anyone(server: RpcServer) -> None:
    async with connect(f"127.0.0.1:{server.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)

        assert (await stub.Check(health_pb2.HealthCheckRequest())).status == SERVING
        assert (await failure(stub.Check(health_pb2.HealthCheckRequest(service="no.Such")))).reason == "NOT_FOUND"


async def test_a_watcher_of_health_sees_readiness_change(server: RpcServer) -> None:
    async with connect(f"127.0.0.1:{server.port}") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == SERVING

        await server.set_ready(ready=False)
        assert (await watch.read()).status == NOT_SERVING

        await server.set_ready(ready=True)
        assert (await watch.read()).status == SERVING


async def test_a_server_without_health_has_no_health_method(probe: Probe) -> None:
    async with probe_server(probe, with_health=False) as server, connect(f"127.0.0.1:{server.port}") as channel:
        found = await failure(health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest()))

    assert found.code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_the_services_to_authenticated_callers_only(probe: Probe, version: str) -> None:
    def listing(channel: grpc.aio.Channel) -> Any:
        return channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))

    async with probe_server(probe, reflection=["grpc.health.v1.Health"]) as server:
        async with connect(f"127.0.0.1:{server.port}", authorization=bearer(ANNA)) as channel:
            answer = await listing(channel).read()
        async with connect(f"127.0.0.1:{server.port}") as stranger:
            refused = await failure(listing(stranger).read())

    assert {service.name for service in answer.list_services_response.service} >= {"grpc.health.v1.Health"}
    assert refused.code is grpc.StatusCode.UNAUTHENTICATED


async def test_one_connection_may_hold_only_so_many_calls(probe: Probe) -> None:
    async with probe_server(probe, limits=Limits(max_concurrent_streams=3)) as server:
        async with connect(f"127.0.0.1:{server.port}", authorization=bearer(ANNA)) as channel:
            calls: list[Any] = [channel.stream_stream(f"/{SERVICE}/Talk", encode, decode)() for _ in range(5)]
            await probe.until_started(3)
            # The fourth waits at the client for a free place.
            with anyio.move_on_after(0.2):
                await probe.until_started(4)
            assert probe.live == 3
            for call in calls:
                call.cancel()
        await probe.until_idle()


async def test_spans_surround_handlers_and_hold_the_method_only(probe: Probe) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import set_tracer_provider

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    set_tracer_provider(provider)

    async def boom(_request: object, _context: object) -> None:
        raise ValueError("hunter2")

    probe.unary = boom
    async with (
        probe_server(probe, spans=open_telemetry_spans()) as server,
        connect(f"127.0.0.1:{server.port}", authorization=bearer(ANNA)) as channel,
    ):
        await failure(probe.echo(channel)("hello"))

    (span,) = exporter.get_finished_spans()
    assert span.name == f"{SERVICE}/Unary"
    assert "hunter2" not in span.to_json()


class Ending:
    """A server that runs in `serve_until_signal`, and what happened to it."""

    def __init__(self, probe: Probe, **options: Any) -> None:
        self.server = probe_server(probe)
        self.events: list[str] = []
        self.ready = anyio.Event()
        self.draining = anyio.Event()
        self._options = options

    async def run(self, drain: Callable[[], Awaitable[None]] | None = None) -> None:
        async def draining() -> None:
            self.events.append("drain")
            self.draining.set()
            if drain is not None:
                await drain()

        await serve_until_signal(self.server, drain=draining, on_ready=self.ready.set, **self._options)
        self.events.append("stopped")

    async def until_ready(self) -> None:
        with anyio.fail_after(5):
            await self.ready.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_in_order_not_ready_drain_stop(probe: Probe, number: int) -> None:
    ending = Ending(probe)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ending.run())
        await ending.until_ready()
        async with connect(f"127.0.0.1:{ending.server.port}") as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == SERVING

            os.kill(os.getpid(), number)

            assert (await watch.read()).status == NOT_SERVING
            with anyio.fail_after(5), pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
                await watch.read()

    assert ending.events == ["drain", "stopped"]


async def test_calls_are_still_served_during_the_drain(probe: Probe) -> None:
    ending = Ending(probe)
    served: list[str] = []

    async def drain() -> None:
        async with connect(f"127.0.0.1:{ending.server.port}", authorization=bearer(ANNA)) as channel:
            served.append(await probe.echo(channel)("late"))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ending.run(drain))
        await ending.until_ready()
        os.kill(os.getpid(), signal.SIGTERM)

    assert served == ["late"]


async def test_a_drain_that_does_not_end_is_cut_by_its_deadline(probe: Probe) -> None:
    ending = Ending(probe, drain_seconds=0.05)

    with structlog.testing.capture_logs() as logs, anyio.fail_after(5):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ending.run(anyio.sleep_forever))
            await ending.until_ready()
            os.kill(os.getpid(), signal.SIGTERM)

    assert ending.events == ["drain", "stopped"]
    assert "drain not finished in time" in {line["event"] for line in logs}


async def test_a_second_signal_skips_the_drain(probe: Probe) -> None:
    ending = Ending(probe, drain_seconds=60)

    with anyio.fail_after(5):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ending.run(anyio.sleep_forever))
            await ending.until_ready()
            os.kill(os.getpid(), signal.SIGTERM)
            await ending.draining.wait()
            os.kill(os.getpid(), signal.SIGTERM)

    assert ending.events == ["drain", "stopped"]


async def test_a_drain_that_fails_does_not_keep_the_server_up(probe: Probe) -> None:
    async def fails() -> None:
        raise ValueError("a bug")

    ending = Ending(probe)
    with structlog.testing.capture_logs() as logs, anyio.fail_after(5):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ending.run(fails))
            await ending.until_ready()
            os.kill(os.getpid(), signal.SIGTERM)

    assert ending.events == ["drain", "stopped"]
    assert "drain failed" in {line["event"] for line in logs}


async def test_streams_left_after_the_drain_are_cut(probe: Probe) -> None:
    ending = Ending(probe, grace_seconds=0.05)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ending.run())
        await ending.until_ready()
        async with connect(f"127.0.0.1:{ending.server.port}", authorization=bearer(ANNA)) as channel:
            call: Any = channel.stream_stream(f"/{SERVICE}/Talk", encode, decode)()
            await call.write(StringValue(value="hello"))
            await call.read()

            os.kill(os.getpid(), signal.SIGTERM)

            with anyio.fail_after(5):
                assert (await failure(call.read())).code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    await probe.until_idle()


async def test_the_first_server_is_stopped_when_the_second_cannot_start(probe: Probe) -> None:
    first = probe_server(probe)
    async with probe_server(probe) as holder:
        second = probe_server(probe, address=ListenAddress("127.0.0.1", holder.port))

        with pytest.raises(PortInUseError):
            await serve_until_signal(first, second)

    async with probe_server(probe, address=ListenAddress("127.0.0.1", first.port)) as again:
        assert again.port == first.port


async def test_a_cancelled_server_ends_in_order_too(probe: Probe) -> None:
    ending = Ending(probe)
    with anyio.fail_after(5):
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(ending.run())
            await ending.until_ready()
            task.cancel()

    assert ending.events == ["drain"]
    async with probe_server(probe, address=ListenAddress("127.0.0.1", ending.server.port)) as again:
        assert again.port == ending.server.port


def test_protobuf_without_its_c_library_is_refused() -> None:
    script = """
import asyncio
from tests.adiuva_rpc.probe import Probe, probe_server

async def main():
    probe_server(Probe())

asyncio.run(main())
"""
    environment = {**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False, env=environment
    )

    assert "SlowProtobufError" in done.stderr
