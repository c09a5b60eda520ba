"""A small service without stubs, with a method of each kind, whose handlers a test can replace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import grpc
import grpc.aio
import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import StringValue

from adiuva_rpc.addresses import ListenAddress
from adiuva_rpc.errors import PermissionDenied
from adiuva_rpc.identity import ANYONE, Caller, Policy, Role, only
from adiuva_rpc.server import Limits, RpcServer
from adiuva_rpc.status import RpcFailure, from_rpc_error

SERVICE = "test.Probe"
ANNA = "token-of-anna"
BRIDGE = "token-of-the-bridge"
REVOKED = "token-of-a-revoked-device"

POLICY: Policy = {
    **{
        f"/{SERVICE}/{method}": only(Role.USER, Role.SERVICE)
        for method in ("Unary", "Watch", "Collect", "Talk", "Tree")
    },
    f"/{SERVICE}/Internal": only(Role.SERVICE),
    f"/{SERVICE}/Enrol": only(Role.ENROLLING),
    f"/{SERVICE}/Open": ANYONE,
}

encode = StringValue.SerializeToString
decode = StringValue.FromString


class KnownTokens:
    """Authenticates the three tokens above."""

    async def authenticate(self, scheme: str, credential: str) -> Caller | None:
        if scheme == "enrolment":
            return Caller(role=Role.ENROLLING, name="enrolling", code=credential)
        if scheme != "bearer":
            return None
        if credential == REVOKED:
            raise PermissionDenied("This device was revoked.")
        return {
            ANNA: Caller(role=Role.USER, name="anna", user_id="anna"),
            BRIDGE: Caller(role=Role.SERVICE, name="bridge"),
        }.get(credential)


async def _echo(request: StringValue, _context: object) -> StringValue:
    return request


async def _echo_tree(request: Struct, _context: object) -> Struct:
    return request


async def _echo_all(requests: AsyncIterator[StringValue], context: Any) -> None:
    async for request in requests:
        await context.write(request)


async def _repeat(request: StringValue, context: Any) -> None:
    for _ in range(3):
        await context.write(request)


async def _join(requests: AsyncIterator[StringValue], _context: object) -> StringValue:
    return StringValue(value="".join([request.value async for request in requests]))


class Probe:
    """The service.

    Attributes:
        unary, watch, collect, talk: The handlers; a test may replace them before its first call.
        live: How many of them are running.
    """

    def __init__(self) -> None:
        self.unary: Callable[..., Any] = _echo
        self.watch: Callable[..., Any] = _repeat
        self.collect: Callable[..., Any] = _join
        self.talk: Callable[..., Any] = _echo_all
        self.live = 0
        self.started = 0
        self._changed = asyncio.Event()

    def generic_handler(self) -> grpc.GenericRpcHandler:
        unary = grpc.unary_unary_rpc_method_handler(self._counted(lambda: self.unary), decode, encode)
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Unary": unary,
                "Watch": grpc.unary_stream_rpc_method_handler(self._counted(lambda: self.watch), decode, encode),
                "Collect": grpc.stream_unary_rpc_method_handler(self._counted(lambda: self.collect), decode, encode),
                "Talk": grpc.stream_stream_rpc_method_handler(self._counted(lambda: self.talk), decode, encode),
                "Tree": grpc.unary_unary_rpc_method_handler(_echo_tree, Struct.FromString, Struct.SerializeToString),
                "Internal": unary,
                "Enrol": unary,
                "Open": unary,
                "Forgotten": unary,
            },
        )

    def _counted(self, handler: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
        def counted(request: Any, context: Any) -> Any:
            answer = handler()(request, context)
            if isinstance(answer, AsyncGenerator):
                return self._counted_generator(answer)
            return self._counted_coroutine(answer) if isinstance(answer, Awaitable) else answer

        return counted

    async def _counted_coroutine(self, answer: Awaitable[Any]) -> Any:
        self._count(live=+1)
        try:
            return await answer
        finally:
            self._count(live=-1)

    async def _counted_generator(self, answer: AsyncGenerator[Any]) -> AsyncGenerator[Any]:
        self._count(live=+1)
        try:
            async for message in answer:
                yield message
        finally:
            await answer.aclose()
            self._count(live=-1)

    def _count(self, *, live: int) -> None:
        self.live += live
        self.started += max(live, 0)
        self._changed.set()
        self._changed = asyncio.Event()

    async def until_idle(self, seconds: float = 5) -> None:
        """Wait until no handler runs."""
        with anyio.fail_after(seconds):
            while self.live:
                await self._changed.wait()

    async def until_started(self, count: int = 1, seconds: float = 5) -> None:
        """Wait until `count` handlers have been started."""
        with anyio.fail_after(seconds):
            while self.started < count:
                await self._changed.wait()

    def echo(self, channel: grpc.aio.Channel) -> Callable[[str], Awaitable[str]]:
        """Return a caller of Unary."""
        method = channel.unary_unary(f"/{SERVICE}/Unary", encode, decode)

        async def call(text: str) -> str:
            response = await method(StringValue(value=text), timeout=5)
            return response.value

        return call


def probe_server(probe: Probe, *, limits: Limits | None = None, **options: Any) -> RpcServer:
    """Return a server with the probe, not started."""
    arguments: dict[str, Any] = {
        "address": ListenAddress("127.0.0.1", 0),
        "policy": POLICY,
        "authenticator": KnownTokens(),
        "limits": limits or Limits(max_message_bytes=1 << 20),
        **options,
    }
    server = RpcServer(**arguments)
    server.grpc.add_generic_rpc_handlers((probe.generic_handler(),))
    return server


async def failure(call: Any) -> RpcFailure:
    """Await a call that must fail; return why."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def reading(call: Any) -> list[str]:
    """Read a stream to its end."""
    return [message.value async for message in call]
