"""Channels: where they go, and what they add to a call."""

from __future__ import annotations

from typing import Any

import anyio
import grpc
import grpc.aio
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from adiuva_rpc.addresses import ListenAddress
from adiuva_rpc.channel import InsecureTargetError, bearer, connect
from adiuva_rpc.request_ids import REQUEST_ID_HEADER, bind_request_id
from adiuva_rpc.server import RpcServer
from adiuva_rpc.status import from_rpc_error
from tests.adiuva_rpc.probe import ANNA, BRIDGE, SERVICE, Probe, decode, encode, failure, probe_server

HELLO = StringValue(value="hello")


@pytest.mark.parametrize("target", ["bridge.example:7001", "10.0.0.1:7001", "[2001:db8::1]:7001", "0.0.0.0:7001"])
async def test_a_credential_never_leaves_the_machine_in_clear_text(target: str) -> None:
    with pytest.raises(InsecureTargetError, match="TLS is required"):
        connect(target, authorization=bearer(ANNA))


@pytest.mark.parametrize("target", ["7001", "localhost", "http://localhost:7001", "localhost:port", "::1:7001", ""])
async def test_a_target_is_a_host_and_a_port(target: str) -> None:
    with pytest.raises(ValueError, match=r"host|brackets"):
        connect(target)


async def test_a_unary_call_has_a_deadline_even_if_none_was_given(probe: Probe, server: RpcServer) -> None:
    remaining: list[float | None] = []

    async def handler(request: StringValue, context: Any) -> StringValue:
        remaining.append(context.time_remaining())
        return request

    probe.unary = handler
    async with connect(f"127.0.0.1:{server.port}", authorization=bearer(ANNA), deadline=7) as channel:
        method = channel.unary_unary(f"/{SERVICE}/Unary", encode, decode)
        await method(HELLO)
        await method(HELLO, timeout=3)

    default, given = remaining
    assert default is not None
    assert given is not None
    assert 5 < default < 8
    assert 1 < given < 4


async def test_a_stream_has_none(probe: Probe, channel: grpc.aio.Channel) -> None:
    remaining: list[float | None] = []

    async def handler(_requests: object, context: Any) -> None:
        remaining.append(context.time_remaining())

    probe.talk = handler
    await channel.stream_stream(f"/{SERVICE}/Talk", encode, decode)().read()

    assert remaining == [None]


async def test_the_credential_is_asked_for_at_every_call(server: RpcServer) -> None:
    tokens = iter(["stale", ANNA])
    async with connect(f"127.0.0.1:{server.port}", authorization=lambda: f"Bearer {next(tokens)}") as channel:
        method = channel.unary_unary(f"/{SERVICE}/Unary", encode, decode)

        assert (await failure(method(HELLO))).code is grpc.StatusCode.UNAUTHENTICATED
        assert (await method(HELLO)).value == "hello"


async def test_metadata_of_the_call_goes_before_the_channels(server: RpcServer) -> None:
    async with connect(f"127.0.0.1:{server.port}", authorization=bearer("wrong"), user="bob") as channel:
        method = channel.unary_unary(f"/{SERVICE}/Internal", encode, decode)

        assert (await method(HELLO, metadata=(("authorization", f"Bearer {BRIDGE}"),))).value == "hello"


async def test_the_current_request_id_travels_on(server: RpcServer, channel: grpc.aio.Channel) -> None:
    bind_request_id("outer-1")
    call = channel.unary_unary(f"/{SERVICE}/Unary", encode, decode)(HELLO)
    await call

    assert dict(await call.trailing_metadata())[REQUEST_ID_HEADER] == "outer-1"


async def test_a_reader_learns_the_servers_status_although_a_write_failed(
    probe: Probe, channel: grpc.aio.Channel
) -> None:
    async def refuses(_requests: object, context: Any) -> None:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "protocol 1 is too old")

    usual, probe.talk = probe.talk, refuses
    for _ in range(20):
        call: Any = channel.stream_stream(f"/{SERVICE}/Talk", encode, decode)()
        with anyio.fail_after(5), pytest.raises(grpc.aio.AioRpcError) as written:
            while True:
                await call.write(StringValue(value="x" * 100_000))
        assert from_rpc_error(written.value).message == "protocol 1 is too old"
        assert (await failure(call.read())).message == "protocol 1 is too old"
        with pytest.raises(grpc.aio.AioRpcError, match="protocol 1 is too old"):
            await call.write(HELLO)
    probe.talk = usual


async def test_a_write_to_a_stream_that_ended_well_fails_and_a_read_is_the_end(
    probe: Probe, channel: grpc.aio.Channel
) -> None:
    async def leaves(_requests: object, _context: object) -> None:
        return

    usual, probe.talk = probe.talk, leaves
    call: Any = channel.stream_stream(f"/{SERVICE}/Talk", encode, decode)()
    with anyio.fail_after(5), pytest.raises(grpc.aio.AioRpcError, match="the peer has ended the stream"):
        while True:
            await call.write(HELLO)
    assert await call.read() is grpc.aio.EOF
    probe.talk = usual


async def test_an_upload_learns_the_servers_status(probe: Probe, channel: grpc.aio.Channel) -> None:
    async def refuses(_requests: object, context: Any) -> None:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")

    probe.collect = refuses
    endless = (StringValue(value="x" * 100_000) for _ in range(1000))

    assert (await failure(channel.stream_unary(f"/{SERVICE}/Collect", encode, decode)(endless))).message == "enough"


async def test_a_channel_finds_a_server_that_came_back(probe: Probe) -> None:
    first = probe_server(probe)
    await first.start()
    async with connect(f"127.0.0.1:{first.port}", authorization=bearer(ANNA)) as channel:
        assert await probe.echo(channel)("one") == "one"
        await first.stop(grace=0)
        assert (await failure(probe.echo(channel)("two"))).code is grpc.StatusCode.UNAVAILABLE

        async with probe_server(probe, address=ListenAddress("127.0.0.1", first.port)):
            method = channel.unary_unary(f"/{SERVICE}/Unary", encode, decode)
            assert (await method(HELLO, wait_for_ready=True, timeout=10)).value == "hello"
