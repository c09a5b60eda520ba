"""Methods for callers that are nobody yet: a device that enrols, and anyone at all."""

from __future__ import annotations

import grpc

from adiuva_rpc.channel import connect, enrolment
from adiuva_rpc.server import RpcServer
from tests.adiuva_rpc.probe import SERVICE, decode, encode, failure
from tests.adiuva_rpc.test_interceptor import HELLO, call_of


async def test_an_enrolling_device_may_call_what_the_table_says_and_nothing_else(server: RpcServer) -> None:
    async with connect(f"127.0.0.1:{server.port}", authorization=enrolment("CODE-1234")) as channel:
        answer = await channel.unary_unary(f"/{SERVICE}/Enrol", encode, decode)(HELLO)
        found = await failure(call_of(channel, "unary"))

    assert answer.value == "hello"
    assert found.code is grpc.StatusCode.PERMISSION_DENIED


async def test_a_method_open_to_anyone_needs_no_credential(server: RpcServer) -> None:
    async with connect(f"127.0.0.1:{server.port}") as channel:
        answer = await channel.unary_unary(f"/{SERVICE}/Open", encode, decode)(HELLO)

    assert answer.value == "hello"
