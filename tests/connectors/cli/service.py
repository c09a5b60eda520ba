"""A connection service that says what a test tells it to, on the real wire."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import grpc
import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from adiuva.connectors.v1 import connection_pb2, connection_service_pb2 as pb
from adiuva_rpc.addresses import ListenAddress
from adiuva_rpc.channel import bearer, connect
from adiuva_rpc.errors import AdiuvaError
from adiuva_rpc.identity import Caller, Role
from adiuva_rpc.server import RpcServer
from connectors.policy import CONNECTION_SERVICE, POLICY

LINKED = connection_pb2.Connection(connection_id="c-1", provider="outlook", account="mia@contoso.example")


@dataclass(eq=False)
class FakeConnectionService:
    """Takes every answer, and lets a device code be polled as scripted."""

    polls: deque[pb.PollDeviceAuthorizationResponse | AdiuvaError] = field(default_factory=deque)
    """What the polls are answered; after the last one, with the connection."""
    refusal: AdiuvaError | None = None
    """What an answer of the browser is refused with."""
    answers: list[str] = field(default_factory=list)
    """What the browser came back with."""
    polled: int = 0

    async def complete(
        self, request: pb.CompleteAuthorizationRequest, context: object
    ) -> pb.CompleteAuthorizationResponse:
        self.answers.append(request.redirect_response)
        if self.refusal is not None:
            raise self.refusal
        return pb.CompleteAuthorizationResponse(connection=LINKED)

    async def poll(
        self, request: pb.PollDeviceAuthorizationRequest, context: object
    ) -> pb.PollDeviceAuthorizationResponse:
        self.polled += 1
        step = self.polls.popleft() if self.polls else pb.PollDeviceAuthorizationResponse(connection=LINKED)
        if isinstance(step, AdiuvaError):
            raise step
        return step

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return the methods that a consent needs once it has begun."""
        return grpc.method_handlers_generic_handler(
            CONNECTION_SERVICE,
            {
                "CompleteAuthorization": grpc.unary_unary_rpc_method_handler(
                    self.complete,
                    request_deserializer=pb.CompleteAuthorizationRequest.FromString,
                    response_serializer=pb.CompleteAuthorizationResponse.SerializeToString,
                ),
                "PollDeviceAuthorization": grpc.unary_unary_rpc_method_handler(
                    self.poll,
                    request_deserializer=pb.PollDeviceAuthorizationRequest.FromString,
                    response_serializer=pb.PollDeviceAuthorizationResponse.SerializeToString,
                ),
            },
        )


class _Anyone:
    async def authenticate(self, scheme: str, credential: str) -> Caller | None:
        return Caller(role=Role.USER, name=credential, user_id=credential)


@asynccontextmanager
async def serving(service: FakeConnectionService) -> AsyncIterator[grpc.aio.Channel]:
    """Serve it, and give a channel to it."""
    server = RpcServer(address=ListenAddress("127.0.0.1", 0), policy=POLICY, authenticator=_Anyone(), with_health=False)
    server.grpc.add_generic_rpc_handlers((service.handlers(),))
    async with server, connect(f"127.0.0.1:{server.port}", authorization=bearer("mia")) as channel:
        yield channel


def pending(seconds: float = 0) -> pb.PollDeviceAuthorizationResponse:
    """Return what a poll is answered while nobody has decided."""
    answer = pb.PollDeviceAuthorizationResponse()
    answer.retry_after.FromMilliseconds(round(seconds * 1000))
    return answer


def expiring(within: timedelta) -> Timestamp:
    """Return when an authorization ends."""
    moment = Timestamp()
    moment.FromDatetime(datetime.now(UTC) + within)
    return moment
