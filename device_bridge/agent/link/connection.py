"""The stream below a session: one channel to the bridge, kept and replaced only when it looks stuck."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Self

import grpc
import grpc.aio
import structlog

from adiuva.device_bridge.v1.session_service_pb2_grpc import DeviceSessionServiceStub
from adiuva_rpc.addresses import ListenAddress
from adiuva_rpc.channel import connect
from adiuva_rpc.identity import AUTHORIZATION_HEADER
from adiuva_rpc.status import from_rpc_error
from device_bridge.agent.link.conversion import WireFrame, frame_from_proto
from device_bridge.agent.link.domain import EndKind, Frame, ProtocolViolation, SessionEnd
from device_bridge.agent.link.ports import StreamEnded

log = structlog.get_logger(__name__)

Connect = Callable[[], grpc.aio.Channel]
"""Makes a channel; it connects when it is first used."""

_KINDS: Mapping[grpc.StatusCode, EndKind] = MappingProxyType(
    {
        grpc.StatusCode.UNAUTHENTICATED: EndKind.REFUSED,
        grpc.StatusCode.FAILED_PRECONDITION: EndKind.INCOMPATIBLE,
        grpc.StatusCode.ABORTED: EndKind.SUPERSEDED,
    }
)
"""What a status means. A code that is not here is the end of one stream: CANCELLED above all, which a peer's reset
looks like, and which must never be taken for the agent's own wish to stop."""

REVOKED_REASON = "DEVICE_REVOKED"


def channel_to(target: str, *, ca_pem: str = "", server_name: str = "") -> Connect:
    """Return what makes channels to a bridge: over TLS, but for a bridge on this machine without an authority.

    Args:
        target: host:port.
        ca_pem: The authority of the bridge's certificate; the system's authorities when empty.
        server_name: The name in the certificate, when it is not the target's host.
    """
    plain = not ca_pem and ListenAddress.parse(target).is_loopback
    tls = None if plain else grpc.ssl_channel_credentials(ca_pem.encode() or None)
    return lambda: connect(target, tls=tls, server_name=server_name or None)


class GrpcStream:
    """A `Stream` on a grpc.aio call. One reader and one writer; neither may stand under a timeout."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def read(self) -> Frame:
        """Return the next frame.

        Raises:
            StreamEnded: With the status of the stream.
            ProtocolViolation: The frame cannot be read.
        """
        try:
            message = await self._call.read()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Nobody cancelled this task: the call was ended locally, below us.
            raise StreamEnded(SessionEnd(kind=EndKind.LOST, detail="the stream was cancelled")) from None
        except grpc.aio.AioRpcError as error:
            raise StreamEnded(end_from_error(error)) from None
        except (grpc.aio.BaseError, asyncio.InvalidStateError) as error:
            raise StreamEnded(SessionEnd(kind=EndKind.LOST, detail=type(error).__name__)) from None
        if message is grpc.aio.EOF:
            raise StreamEnded(SessionEnd(kind=EndKind.LOST, detail="the bridge ended the stream"))
        if message is None:
            # What grpc.aio hands out for bytes that are no message.
            raise ProtocolViolation("a frame could not be read")
        return frame_from_proto(message)

    async def write(self, frame: WireFrame) -> None:
        """Hand a frame over.

        Raises:
            StreamEnded: The stream is over; a read tells why.
        """
        try:
            await self._call.write(frame)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise StreamEnded(SessionEnd(kind=EndKind.LOST, detail="the stream was cancelled")) from None
        except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
            raise StreamEnded(SessionEnd(kind=EndKind.LOST, detail="the stream is over")) from None

    async def done_writing(self) -> None:
        """End this side of the stream."""
        try:
            await self._call.done_writing()
        except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
            log.debug("half_close_of_a_lost_stream")

    def cancel(self) -> None:
        """End the stream at once."""
        self._call.cancel()


class GrpcDialler:
    """Opens streams on one channel. An async context manager: leaving it closes the channel."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.renew()

    def open(self, authorization: str) -> GrpcStream:
        """Open a stream; its first read tells when the bridge could not be reached."""
        if self._channel is None:
            self._channel = self._connect()
        stub = DeviceSessionServiceStub(self._channel)
        return GrpcStream(stub.Connect(metadata=((AUTHORIZATION_HEADER, authorization),)))

    async def renew(self) -> None:
        """Close the channel; the next stream makes a new one."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()


def end_from_error(error: grpc.aio.AioRpcError) -> SessionEnd:
    """Return what the status of a stream means for the sessions to come."""
    failure = from_rpc_error(error)
    kind = _KINDS.get(failure.code, EndKind.LOST)
    if failure.code is grpc.StatusCode.PERMISSION_DENIED and failure.reason == REVOKED_REASON:
        # The reason and not the code alone: a proxy on the way may forbid something too, and that passes.
        kind = EndKind.REVOKED
    detail = f"{failure.code.name}: {failure.message}" if failure.message else failure.code.name
    return SessionEnd(kind=kind, detail=detail, retry_after=failure.retry_after)
