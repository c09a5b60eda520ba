"""What a hostile or broken peer sends, and what it gets. After each case a good call succeeds (see `server`)."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

import anyio
import grpc
import grpc.aio
import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import StringValue

from adiuva_rpc.channel import bearer, connect
from adiuva_rpc.server import Limits, RpcServer
from tests.adiuva_rpc.probe import ANNA, BRIDGE, REVOKED, SERVICE, Probe, decode, encode, failure, probe_server
from tests.adiuva_rpc.raw_http2 import WINDOW_BYTES, message, raw_call

AUTHORIZED = ((b"authorization", b"Bearer " + ANNA.encode()),)
UNARY = f"/{SERVICE}/Unary".encode()
HELLO = message(encode(StringValue(value="hello")))

MALFORMED = {
    "random bytes": b"\xde\xad\xbe\xef\x00\x01\x02",
    "truncated field": b"\x0a\x20abc",
    "invalid UTF-8": b"\x0a\x02\xff\xfe",
    "field number 0": b"\x02\x01a",
    "varint overflow": b"\x08" + b"\xff" * 10 + b"\x01",
    "200,000 start-group tags": b"\x0b" * 200_000,
    "end-group without start": b"\x0c",
}


def nested(depth: int) -> bytes:
    """Return a Struct whose values are structs, `depth` times."""
    raw = b""
    for _ in range(depth):
        for tag in (b"\x2a", b"\x12", b"\x0a"):  # Value.struct_value, FieldsEntry.value, Struct.fields
            raw = tag + _varint(len(raw)) + raw
    return raw


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= 128:
        encoded.append(number % 128 + 128)
        number //= 128
    return bytes(encoded) + bytes([number])


def bytes_method(channel: grpc.aio.Channel, name: str) -> Any:
    """Return a unary method that sends bytes as they are."""
    return channel.unary_unary(f"/{SERVICE}/{name}", None, None)


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED.keys())
async def test_bytes_that_are_no_message_are_an_invalid_argument(channel: grpc.aio.Channel, raw: bytes) -> None:
    found = await failure(bytes_method(channel, "Unary")(raw))

    assert (found.code, found.reason, found.message) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "MALFORMED_MESSAGE",
        "The message cannot be read.",
    )


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED.keys())
async def test_so_are_they_in_the_middle_of_a_stream(channel: grpc.aio.Channel, raw: bytes) -> None:
    call: Any = channel.stream_stream(f"/{SERVICE}/Talk", None, decode)()
    await call.write(encode(StringValue(value="first")))
    assert (await call.read()).value == "first"

    await call.write(raw)

    found = await failure(call.read())
    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE")


@pytest.mark.parametrize("depth", [50, 20_000])
async def test_messages_nested_too_deeply_are_an_invalid_argument(channel: grpc.aio.Channel, depth: int) -> None:
    found = await failure(bytes_method(channel, "Tree")(nested(depth)))

    assert found.reason == "MALFORMED_MESSAGE"


async def test_moderate_nesting_is_read(channel: grpc.aio.Channel) -> None:
    tree = Struct.FromString(nested(16))

    assert await channel.unary_unary(f"/{SERVICE}/Tree", Struct.SerializeToString, Struct.FromString)(tree) == tree


async def test_a_request_over_the_limit_is_refused(channel: grpc.aio.Channel, server: RpcServer, probe: Probe) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as unlimited:
        method = unlimited.unary_unary(f"/{SERVICE}/Unary", encode, decode)
        metadata = (("authorization", f"Bearer {ANNA}"),)

        found = await failure(method(StringValue(value="x" * ((1 << 20) + 1)), metadata=metadata))

    assert found.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert probe.started == 0


async def test_a_header_that_claims_4_gib_is_refused(server: RpcServer, probe: Probe) -> None:
    status = await raw_call(server.port, UNARY, AUTHORIZED, message(b"x", claimed=0xFFFFFFFF), end_stream=False)

    assert status == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert probe.started == 0


async def test_a_response_over_the_limit_is_our_fault_and_says_so(
    server: RpcServer, channel: grpc.aio.Channel, probe: Probe
) -> None:
    async def much(_request: StringValue, _context: object) -> StringValue:
        return StringValue(value="x" * (1 << 20))

    async def streamed(request: StringValue, context: Any) -> None:
        await context.write(await much(request, context))

    usual, probe.unary, probe.watch = probe.unary, much, streamed
    unary = await failure(channel.unary_unary(f"/{SERVICE}/Unary", encode, decode)(StringValue()))
    stream = await failure(channel.unary_stream(f"/{SERVICE}/Watch", encode, decode)(StringValue()).read())
    probe.unary = usual

    assert (unary.code, unary.reason) == (grpc.StatusCode.INTERNAL, "RESPONSE_TOO_LARGE")
    assert (stream.code, stream.reason) == (grpc.StatusCode.INTERNAL, "RESPONSE_TOO_LARGE")


async def test_a_compressed_bomb_is_refused(server: RpcServer, probe: Probe) -> None:
    bomb = zlib.compress(b"\x00" * (32 << 20), level=9)
    assert len(bomb) < WINDOW_BYTES

    status = await raw_call(server.port, UNARY, (*AUTHORIZED, (b"grpc-encoding", b"deflate")), message(bomb, flag=1))

    assert status == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert probe.started == 0


async def test_a_compressed_flag_without_an_encoding_is_an_error(server: RpcServer) -> None:
    status = await raw_call(server.port, UNARY, AUTHORIZED, message(b"whatever", flag=1))

    assert status in {grpc.StatusCode.INTERNAL.value[0], grpc.StatusCode.UNIMPLEMENTED.value[0]}


async def test_an_unknown_encoding_is_an_error(server: RpcServer) -> None:
    status = await raw_call(server.port, UNARY, (*AUTHORIZED, (b"grpc-encoding", b"lzma")), message(b"x", flag=1))

    assert status in {grpc.StatusCode.INTERNAL.value[0], grpc.StatusCode.UNIMPLEMENTED.value[0]}


async def test_an_odd_compression_flag_is_answered_and_harms_nobody(server: RpcServer) -> None:
    odd = message(encode(StringValue(value="hello")), flag=7)
    codes = grpc.StatusCode

    # The library gives such a message on as it is or, depending on how its bytes came in, as something else.
    answered = await raw_call(server.port, UNARY, AUTHORIZED, odd)

    assert answered in {codes.OK.value[0], codes.INVALID_ARGUMENT.value[0], codes.INTERNAL.value[0]}
    assert await raw_call(server.port, UNARY, AUTHORIZED, HELLO) == 0


async def test_a_second_message_is_tolerated(server: RpcServer, probe: Probe) -> None:
    assert await raw_call(server.port, UNARY, AUTHORIZED, HELLO + HELLO) == 0
    assert probe.started == 1


async def test_a_truncated_message_is_answered(probe: Probe) -> None:
    async with probe_server(probe, limits=Limits(request_seconds=0.05)) as server:
        status = await raw_call(server.port, UNARY, AUTHORIZED, message(b"half", claimed=100))

    assert status not in {0, grpc.StatusCode.UNKNOWN.value[0]}
    assert probe.started == 0


async def test_a_unary_call_that_ends_without_a_message_is_answered(channel: grpc.aio.Channel, probe: Probe) -> None:
    call: Any = channel.stream_unary(f"/{SERVICE}/Unary", encode, decode)()
    await call.done_writing()

    with anyio.fail_after(5):
        found = await failure(call)

    assert (found.code, found.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MESSAGE_MISSING")
    assert probe.started == 0


async def test_a_unary_call_that_never_sends_its_message_ends(probe: Probe) -> None:
    async with (
        probe_server(probe, limits=Limits(request_seconds=0.05)) as server,
        connect(f"127.0.0.1:{server.port}", authorization=bearer(ANNA)) as channel,
    ):
        with anyio.fail_after(5):
            found = await failure(channel.stream_unary(f"/{SERVICE}/Unary", encode, decode)())

        assert (found.code, found.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
        assert probe.started == 0


@pytest.mark.parametrize("method", ["Unary", "Watch", "Collect", "Talk"])
async def test_a_call_without_a_credential_is_refused_before_any_message(
    server: RpcServer, probe: Probe, method: str
) -> None:
    async with connect(f"127.0.0.1:{server.port}") as channel:
        with anyio.fail_after(5):
            found = await failure(channel.stream_stream(f"/{SERVICE}/{method}", encode, decode)().read())

    assert found.code is grpc.StatusCode.UNAUTHENTICATED
    assert probe.started == 0


@pytest.mark.parametrize(
    "path",
    [f"/{SERVICE}/Nothing", "/no.such.Service/Method", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"],
)
async def test_an_unknown_method_is_unimplemented(channel: grpc.aio.Channel, path: str) -> None:
    found = await failure(channel.unary_unary(path, encode, decode)(StringValue()))

    assert (found.code, found.reason) == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_NOT_FOUND")


async def test_a_path_without_a_slash_is_unimplemented(server: RpcServer) -> None:
    assert await raw_call(server.port, b"nonsense", AUTHORIZED, HELLO) == grpc.StatusCode.UNIMPLEMENTED.value[0]


async def test_a_method_that_is_in_no_policy_table_is_refused(channel: grpc.aio.Channel, probe: Probe) -> None:
    found = await failure(channel.unary_unary(f"/{SERVICE}/Forgotten", encode, decode)(StringValue()))

    assert found.code is grpc.StatusCode.PERMISSION_DENIED
    assert probe.started == 0


@pytest.mark.parametrize("timeout", [b"abc", b"-5S"])
async def test_a_timeout_that_cannot_be_read_is_an_error(server: RpcServer, timeout: bytes) -> None:
    status = await raw_call(server.port, UNARY, (*AUTHORIZED, (b"grpc-timeout", timeout)), HELLO)

    assert status in {grpc.StatusCode.INTERNAL.value[0], 0}


async def test_an_enormous_timeout_is_cut_to_the_servers_own(probe: Probe) -> None:
    async def never(_request: StringValue, _context: object) -> None:
        await anyio.sleep_forever()

    probe.unary = never
    async with probe_server(probe, limits=Limits(unary_seconds=0.05)) as server:
        headers = (*AUTHORIZED, (b"grpc-timeout", b"99999999H"))
        assert await raw_call(server.port, UNARY, headers, HELLO) == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
    await probe.until_idle()


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ((("x", "y" * 7000),), None),
        ((("x", "y" * 20_000),), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (tuple((f"k{number}", "v") for number in range(5000)), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=["7 KB", "20 KB", "5,000 keys"],
)
async def test_metadata_is_bounded(
    channel: grpc.aio.Channel, extra: tuple[tuple[str, str], ...], code: grpc.StatusCode | None
) -> None:
    method = channel.unary_unary(f"/{SERVICE}/Unary", encode, decode)

    if code is None:
        assert (await method(StringValue(value="a"), metadata=extra)).value == "a"
    else:
        assert (await failure(method(StringValue(value="a"), metadata=extra))).code is code


async def test_binary_metadata_that_is_no_base64_is_an_error(server: RpcServer) -> None:
    status = await raw_call(server.port, UNARY, (*AUTHORIZED, (b"x-bin", b"!!!")), HELLO)

    assert status not in {0, grpc.StatusCode.UNKNOWN.value[0]}


async def test_a_reserved_metadata_key_is_ignored(server: RpcServer) -> None:
    assert await raw_call(server.port, UNARY, (*AUTHORIZED, (b"grpc-foo", b"bar")), HELLO) == 0


BAD_CREDENTIALS = {
    "nothing": None,
    "empty": "",
    "scheme only": "Bearer",
    "scheme and space": "Bearer ",
    "other scheme": f"Basic {ANNA}",
    "no scheme": ANNA,
    "two tokens": f"Bearer {ANNA} {ANNA}",
    "unknown": "Bearer nobody",
    "prefix of a token": f"Bearer {ANNA[:-1]}",
    "6 KB": "Bearer " + "x" * 6000,
    "unsigned JWT": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm5hIn0.",
}


@pytest.mark.parametrize("value", BAD_CREDENTIALS.values(), ids=BAD_CREDENTIALS.keys())
async def test_every_credential_that_is_not_accepted_gets_the_same_answer(
    server: RpcServer, probe: Probe, value: str | None
) -> None:
    metadata = () if value is None else (("authorization", value),)
    async with connect(f"127.0.0.1:{server.port}") as channel:
        found = await failure(
            channel.unary_unary(f"/{SERVICE}/Unary", encode, decode)(StringValue(), metadata=metadata)
        )

    assert (found.code, found.message) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "The credential is missing or not accepted.",
    )
    assert probe.started == 0


async def test_two_credentials_are_not_accepted(server: RpcServer) -> None:
    both = (("authorization", f"Bearer {ANNA}"), ("authorization", f"Bearer {BRIDGE}"))
    async with connect(f"127.0.0.1:{server.port}") as channel:
        found = await failure(channel.unary_unary(f"/{SERVICE}/Unary", encode, decode)(StringValue(), metadata=both))

    assert found.code is grpc.StatusCode.UNAUTHENTICATED


async def test_a_non_ascii_token_is_not_accepted(server: RpcServer) -> None:
    headers = ((b"authorization", "Bearer tökèn".encode()),)

    assert await raw_call(server.port, UNARY, headers, HELLO) not in {0, grpc.StatusCode.UNKNOWN.value[0]}


async def test_a_revoked_credential_is_denied(server: RpcServer) -> None:
    async with connect(f"127.0.0.1:{server.port}", authorization=bearer(REVOKED)) as channel:
        found = await failure(channel.unary_unary(f"/{SERVICE}/Unary", encode, decode)(StringValue()))

    assert (found.code, found.message) == (grpc.StatusCode.PERMISSION_DENIED, "This device was revoked.")


async def test_a_thousand_refused_calls_leave_nothing_behind(server: RpcServer, probe: Probe) -> None:
    async with connect(f"127.0.0.1:{server.port}") as channel:
        method = channel.unary_unary(f"/{SERVICE}/Unary", encode, decode)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(20):
                tasks.create_task(_refused(method, 50))

    assert probe.started == 0


async def _refused(method: Any, times: int) -> None:
    for _ in range(times):
        assert (await failure(method(StringValue()))).code is grpc.StatusCode.UNAUTHENTICATED
