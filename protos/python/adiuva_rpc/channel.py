"""Channels to our services: TLS (or loopback), credentials with every call, keepalive, deadlines, request ids.

    async with connect("bridge.example:7002", tls=channel_credentials(ca_file), authorization=bearer(token)) as channel:
        stub = ToolServiceStub(channel)
        result = await stub.CallTool(request)          # at most 30 s unless a timeout is given

A channel reconnects by itself for ever, at most 5 s apart. Keep it; don't make one per call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, Final, NoReturn, Self

import grpc
import grpc.aio

from adiuva_rpc.addresses import ListenAddress
from adiuva_rpc.identity import AUTHORIZATION_HEADER, USER_HEADER, Metadata
from adiuva_rpc.request_ids import REQUEST_ID_HEADER, current_request_id, new_request_id

DEFAULT_DEADLINE_SECONDS: Final = 30.0
MAX_MESSAGE_BYTES: Final = 4 << 20

Authorization = Callable[[], str]
"""Returns the value of the `authorization` header; asked at every call, so that a credential can be renewed."""


_STATUS_SECONDS: Final = 1.0


class InsecureTargetError(ValueError):
    """A target beyond loopback without TLS: a credential would travel in clear text."""


def bearer(token: str) -> Authorization:
    """Return the authorization of a bearer token."""
    return lambda: f"Bearer {token}"


def enrolment(code: str) -> Authorization:
    """Return the authorization of a device that enrols with a one-time code."""
    return lambda: f"Enrolment {code}"


def connect(
    target: str,
    *,
    tls: grpc.ChannelCredentials | None = None,
    authorization: Authorization | None = None,
    user: str | None = None,
    deadline: float = DEFAULT_DEADLINE_SECONDS,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    server_name: str | None = None,
) -> grpc.aio.Channel:
    """Return a channel; it connects at the first call. Close it, or use it in `async with`.

    Args:
        target: "host:port" or "[ipv6]:port".
        tls: From `adiuva_rpc.tls.channel_credentials`; None only for loopback.
        authorization: `bearer(token)`, `enrolment(code)`, or a function that knows the current value.
        user: The user a SERVICE acts for in every call of this channel (`adiuva-user`).
        deadline: Seconds for a unary call that is given no `timeout`. Streams get none.
        max_message_bytes: Largest message, sent or received.
        server_name: Name the server's certificate must hold, when it is not the target's host.

    Raises:
        ValueError: The target is not host:port.
        InsecureTargetError: No TLS, and the target is not loopback.
    """
    address = ListenAddress.parse(target)
    options = _options(address, max_message_bytes, server_name)
    if tls is not None:
        inner = grpc.aio.secure_channel(str(address), tls, options=options)
    elif address.is_loopback:
        inner = grpc.aio.insecure_channel(str(address), options=options)
    else:
        msg = f"{address} is not on this machine: TLS is required"
        raise InsecureTargetError(msg)
    return _Channel(inner, _CallDefaults(authorization, user, deadline))


def _options(address: ListenAddress, max_message_bytes: int, server_name: str | None) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # keepalive_timeout does not time a missing ping answer; this does (its default is 60 s).
        ("grpc.http2.ping_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 200),
        # In spite of its name: the time that one attempt to connect may take, TLS handshake included.
        ("grpc.min_reconnect_backoff_ms", 10_000),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
        # Otherwise channels with equal options share one connection, and one backoff.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if address.is_loopback:
        options.append(("grpc.enable_http_proxy", 0))
    if server_name is not None:
        options.append(("grpc.ssl_target_name_override", server_name))
    return options


class _CallDefaults:
    """What is added to every call."""

    def __init__(self, authorization: Authorization | None, user: str | None, deadline: float) -> None:
        self._authorization = authorization
        self._user = user
        self.deadline = deadline

    def metadata(self, given: Metadata | None) -> tuple[tuple[str, str | bytes], ...]:
        """Return the call's metadata; what the caller gave wins."""
        result = tuple(given or ())
        keys = {key for key, _ in result}
        if self._authorization is not None and AUTHORIZATION_HEADER not in keys:
            result += ((AUTHORIZATION_HEADER, self._authorization()),)
        if self._user is not None and USER_HEADER not in keys:
            result += ((USER_HEADER, self._user),)
        if REQUEST_ID_HEADER not in keys:
            result += ((REQUEST_ID_HEADER, current_request_id() or new_request_id()),)
        return result


class _StatusKept:
    """Stands before grpc.aio's inner call, and keeps a failed write from making up a status.

    A write fails when the call is over, often a moment before the server's status is there. grpc.aio then sets INTERNAL
    "Internal error from Core" instead and forgets the true one, e.g. UNAUTHENTICATED. Here the true one gets a second.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        # Called for every frame: no detour through __getattr__.
        self.done = inner.done
        self.send_serialized_message = inner.send_serialized_message
        self.receive_serialized_message = inner.receive_serialized_message

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def set_internal_error(self, text: str) -> None:
        asyncio.get_running_loop().call_later(_STATUS_SECONDS, self._give_up, text)

    def _give_up(self, text: str) -> None:
        if not self._inner.done():
            self._inner.set_internal_error(text)


class _RequestStream:
    """A call with a stream of requests. A write to a call that is over raises the server's status."""

    def __init__(self, call: Any) -> None:
        call._cython_call = _StatusKept(call._cython_call)  # noqa: SLF001 - there is no public way to mend this
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def __aiter__(self) -> Any:
        return aiter(self._call)

    def __await__(self) -> Generator[Any, None, Any]:
        result: Generator[Any, None, Any] = self._call.__await__()
        return result

    async def write(self, request: object) -> None:
        """Send a message; UNAVAILABLE when the peer has ended the stream with a status OK."""
        try:
            await self._call.write(request)
        except asyncio.InvalidStateError:
            if not self._call.done():
                raise
        if self._call.done():
            await self._raise_status()

    async def _raise_status(self) -> NoReturn:
        code = await self._call.code()
        if code is grpc.StatusCode.OK:
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, details="the peer has ended the stream")
        raise grpc.aio.AioRpcError(
            code,
            await self._call.initial_metadata(),
            await self._call.trailing_metadata(),
            details=await self._call.details(),
            debug_error_string=await self._call.debug_error_string(),
        )


# Interceptors would do the same, but grpc.aio puts a task and a queue of one between an intercepted stream and its
# caller: a blocked write would no longer be seen. So the multicallables are wrapped instead.
class _Multicallable:
    def __init__(self, inner: Any, defaults: _CallDefaults, deadline: float | None = None) -> None:
        self._inner = inner
        self._defaults = defaults
        self._deadline = deadline

    def __call__(
        self,
        *requests: object,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        **others: Any,
    ) -> Any:
        return self._inner(
            *requests,
            timeout=self._deadline if timeout is None else timeout,
            metadata=self._defaults.metadata(metadata),
            **others,
        )


class _StreamMulticallable(_Multicallable):
    def __call__(self, *requests: object, **options: Any) -> _RequestStream:
        return _RequestStream(super().__call__(*requests, **options))


class _Channel(grpc.aio.Channel):
    def __init__(self, inner: grpc.aio.Channel, defaults: _CallDefaults) -> None:
        self._inner = inner
        self._defaults = defaults

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        return _Multicallable(self._inner.unary_unary(*args, **kwargs), self._defaults, self._defaults.deadline)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        return _Multicallable(self._inner.unary_stream(*args, **kwargs), self._defaults)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        return _StreamMulticallable(self._inner.stream_unary(*args, **kwargs), self._defaults)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        return _StreamMulticallable(self._inner.stream_stream(*args, **kwargs), self._defaults)

    async def close(self, grace: float | None = None) -> None:
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._inner.channel_ready()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> bool | None:
        return await self._inner.__aexit__(exc_type, exc_val, exc_tb)
