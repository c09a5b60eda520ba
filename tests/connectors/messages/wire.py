"""The message service behind a real server, for tests."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc.aio

from adiuva.connectors.v1 import message_service_pb2 as pb
from adiuva.connectors.v1.message_service_pb2_grpc import MessageServiceStub, add_MessageServiceServicer_to_server
from adiuva_rpc.addresses import ListenAddress
from adiuva_rpc.channel import bearer, connect
from adiuva_rpc.identity import Caller, Role
from adiuva_rpc.server import RpcServer
from connectors.messages.servicer import MessageServicer
from connectors.policy import POLICY
from tests.connectors.messages.lab import ANNA, SUBSCRIBER, Lab

if TYPE_CHECKING:
    from adiuva.connectors.v1.message_service_pb2_grpc import MessageServiceAsyncStub


class Tokens:
    """Knows the callers of these tests: the token is the user's name, or `service`."""

    async def authenticate(self, scheme: str, credential: str) -> Caller | None:
        if credential == "service":
            return Caller(role=Role.SERVICE, name="orchestrator")
        return Caller(role=Role.USER, name=credential, user_id=credential)


class Bench:
    """A lab behind a server."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._server = RpcServer(
            address=ListenAddress("127.0.0.1", 0), policy=POLICY, authenticator=Tokens(), with_health=False
        )
        servicer = MessageServicer(
            fetches=lab.fetches, cursors=lab.cursors, attachments=lab.attachments, now=lab.clock.now
        )
        add_MessageServiceServicer_to_server(servicer, self._server.grpc)
        self._channels: list[grpc.aio.Channel] = []

    def stub(self, caller: str = ANNA, user: str | None = None) -> MessageServiceAsyncStub:
        """Return a client."""
        channel = connect(f"127.0.0.1:{self._server.port}", authorization=bearer(caller), user=user)
        self._channels.append(channel)
        return MessageServiceStub(channel)

    async def fetch(self, stub: MessageServiceAsyncStub | None = None, **fields: Any) -> list[pb.FetchMessagesResponse]:
        """Fetch everything."""
        call = (stub or self.stub()).FetchMessages(wanted(**fields), timeout=30)
        return [event async for event in call]

    async def __aenter__(self) -> Self:
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for channel in self._channels:
            await channel.close()
        await self._server.stop(grace=0)


def wanted(**fields: Any) -> pb.FetchMessagesRequest:
    """Return a request of the subscriber."""
    return pb.FetchMessagesRequest(**{"connection_id": "c-1", "subscriber": SUBSCRIBER, **fields})


def kinds(events: list[pb.FetchMessagesResponse]) -> list[str | None]:
    """Return what happened, in order."""
    return [event.WhichOneof("event") for event in events]


def keys(events: list[pb.FetchMessagesResponse]) -> list[str]:
    """Return the keys of the messages, in order."""
    return [event.message.key for event in events if event.WhichOneof("event") == "message"]
