"""A whole replica for a test: a real server on port 0, a real database, the emulated providers, callers with tokens."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import grpc.aio
import httpx2

from adiuva.connectors.v1 import (
    connection_pb2,
    connection_service_pb2 as pb,
    message_service_pb2 as messages_pb,
)
from adiuva.connectors.v1.admin_service_pb2_grpc import AdminServiceStub
from adiuva.connectors.v1.connection_service_pb2_grpc import ConnectionServiceStub
from adiuva.connectors.v1.message_service_pb2_grpc import MessageServiceStub
from adiuva_rpc.channel import bearer, connect
from adiuva_rpc.settings import load
from adiuva_rpc.tokens import new_token
from connectors.app import Connectors, running
from connectors.catalog import PROVIDERS, Maker
from connectors.settings import ConnectorsSettings
from connectors.vault.key_file import create_key_file
from tests.emulator.core import Clock, Emulator
from tests.emulator.google.state import CLIENT
from tests.emulator.microsoft.people import PUBLIC_CLIENT
from tests.emulator.running import running as emulator_running

if TYPE_CHECKING:
    from adiuva.connectors.v1.admin_service_pb2_grpc import AdminServiceAsyncStub
    from adiuva.connectors.v1.connection_service_pb2_grpc import ConnectionServiceAsyncStub
    from adiuva.connectors.v1.message_service_pb2_grpc import MessageServiceAsyncStub

REDIRECT = "http://localhost:8765/callback"
USERS = ("anna", "ben")


@dataclass(eq=False)
class Harness:
    """A replica, and ways to talk to it."""

    connectors: Connectors
    emulator: Emulator
    tokens: dict[str, str]
    """By caller: the users, and `service`."""
    channels: AsyncExitStack = field(repr=False)

    @property
    def target(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.connectors.server.port}"

    async def channel(self, caller: str | None = "anna", user: str | None = None) -> grpc.aio.Channel:
        """Return a channel of a caller; None is one without a token."""
        authorization = bearer(self.tokens[caller]) if caller is not None else None
        return await self.channels.enter_async_context(connect(self.target, authorization=authorization, user=user))

    async def connections(self, caller: str = "anna") -> ConnectionServiceAsyncStub:
        """Return a stub."""
        return ConnectionServiceStub(await self.channel(caller))

    async def messages(self, caller: str = "anna") -> MessageServiceAsyncStub:
        """Return a stub."""
        return MessageServiceStub(await self.channel(caller))

    async def admin(self) -> AdminServiceAsyncStub:
        """Return a stub of a service that names no user."""
        return AdminServiceStub(await self.channel("service"))

    async def link(self, provider: str, account: str, caller: str = "anna") -> connection_pb2.Connection:
        """Link an account as a user with a browser does."""
        stub = await self.connections(caller)
        begun = await stub.BeginAuthorization(
            pb.BeginAuthorizationRequest(
                request_id=str(uuid.uuid4()),
                provider=provider,
                flow=pb.AUTHORIZATION_FLOW_REDIRECT,
                redirect_uri=REDIRECT,
                login_hint=account,
            )
        )
        answer = await in_a_browser(begun.authorization.authorization_url)
        done = await stub.CompleteAuthorization(pb.CompleteAuthorizationRequest(redirect_response=answer))
        return done.connection

    async def fetch(self, connection_id: str, caller: str = "anna", **fields: Any) -> Fetched:
        """Fetch everything that is new."""
        stub = await self.messages(caller)
        request = messages_pb.FetchMessagesRequest(connection_id=connection_id, subscriber="agent-1", **fields)
        return Fetched([event async for event in stub.FetchMessages(request, timeout=30)])

    async def commit(self, connection_id: str, cursor_token: str, caller: str = "anna") -> None:
        """Move the cursor."""
        stub = await self.messages(caller)
        await stub.CommitCursor(messages_pb.CommitCursorRequest(cursor_token=cursor_token, connection_id=connection_id))


@dataclass
class Fetched:
    """The events of a fetch that ended well."""

    events: list[messages_pb.FetchMessagesResponse]

    @property
    def messages(self) -> list[Any]:
        """The messages, in order."""
        return [event.message for event in self.events if event.WhichOneof("event") == "message"]

    @property
    def completed(self) -> messages_pb.Completed:
        """How it ended."""
        assert self.events[-1].WhichOneof("event") == "completed"
        return self.events[-1].completed


async def in_a_browser(url: str) -> str:
    """Open an address as a browser does, and return the address at which it ends, where nobody listens."""
    async with httpx2.AsyncClient(trust_env=False) as browser:
        answer = await browser.get(url)
    assert answer.status_code == 302, answer.text
    location: str = answer.headers["Location"]
    assert location.startswith(REDIRECT)
    assert "state" in parse_qs(urlsplit(location).query)
    return location


def environment(emulator: Emulator) -> dict[str, str]:
    """Return the variables that let the service work with the emulated providers."""
    places = ("GOOGLE_ACCOUNTS_URL", "GOOGLE_OAUTH2_URL", "GMAIL_URL", "MICROSOFT_LOGIN_URL", "GRAPH_URL")
    return {
        "ADIUVA_GOOGLE_CLIENT_ID": CLIENT.client_id,
        "ADIUVA_GOOGLE_CLIENT_SECRET": CLIENT.secret,
        "ADIUVA_MICROSOFT_CLIENT_ID": PUBLIC_CLIENT.client_id,
        **{f"ADIUVA_{name}": emulator.base_url for name in places},
    }


@asynccontextmanager
async def emulated() -> AsyncIterator[Emulator]:
    """Give an emulator whose clock shows the time of the service, which is the real one."""
    async with emulator_running(Emulator(Clock(datetime.now(UTC), ticking=True))) as emulator:
        yield emulator


@asynccontextmanager
async def harness(
    directory: Path, database_url: str, emulator: Emulator, *, makers: Iterable[Maker] = PROVIDERS
) -> AsyncIterator[Harness]:
    """Run a replica.

    Args:
        directory: Where its files are; replicas that share one have the same callers and keys.
        database_url: `postgresql+asyncpg://…`.
        emulator: The providers.
        makers: Who makes the providers of the service.
    """
    settings = load(
        ConnectorsSettings,
        {
            **environment(emulator),
            "ADIUVA_CONNECTORS_LISTEN": "127.0.0.1:0",
            "ADIUVA_DATABASE_URL": database_url,
            "ADIUVA_TOKEN_FILE": str(directory / "callers.json"),
            "ADIUVA_KEY_FILE": str(directory / "keys.json"),
        },
    )
    tokens = callers(directory)
    async with AsyncExitStack() as channels, running(settings, makers=makers) as connectors, connectors.server:
        yield Harness(connectors, emulator, tokens, channels)
        await channels.aclose()


def callers(directory: Path) -> dict[str, str]:
    """Have callers and keys in a directory, and return the callers' tokens."""
    clear = directory / "tokens.json"
    if clear.exists():
        known: dict[str, str] = json.loads(clear.read_text())
        return known
    create_key_file(directory / "keys.json")
    made = {name: new_token() for name in (*USERS, "service")}
    entries = [
        {"name": name, "role": "service" if name == "service" else "user", "sha256": hashed}
        | ({} if name == "service" else {"user_id": name})
        for name, (_token, hashed) in made.items()
    ]
    file = directory / "callers.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps(entries))
    tokens = {name: token for name, (token, _hashed) in made.items()}
    clear.write_text(json.dumps(tokens))
    return tokens
