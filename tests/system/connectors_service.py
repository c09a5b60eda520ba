"""The connectors as real processes on one database, with the emulator for providers, and a client of theirs."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc.aio
import httpx2

from adiuva.connectors.v1 import (
    admin_service_pb2_grpc as admin_grpc,
    connection_pb2,
    connection_service_pb2 as connections_pb,
    connection_service_pb2_grpc as connections_grpc,
    message_service_pb2_grpc as messages_grpc,
)
from adiuva_rpc.channel import bearer, connect
from adiuva_rpc.tls import write_private
from adiuva_rpc.tokens import new_token, token_hash
from connectors.vault.key_file import create_key_file
from orchestrator.cli.stack.process import Program
from tests.emulator.google.state import CLIENT as GOOGLE
from tests.emulator.microsoft.people import PUBLIC_CLIENT as MICROSOFT

HOST = "127.0.0.1"
USER = "mia"
REDIRECT_URI = "http://localhost:8765/callback"
CALL_SECONDS = 100.0
"""For one call: longer than any wait for another replica's refresh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What the replicas share. Make one with `installation`."""

    place: Path
    """Holds the callers, the keys and the logs."""
    database_url: str
    providers: str
    """The emulator's base URL."""
    token: str = field(repr=False)
    """A service's: it may act for any user."""

    @property
    def key_file(self) -> Path:
        """The key-encryption keys."""
        return self.place / "keys.json"

    @property
    def environment(self) -> dict[str, str]:
        """The settings of every replica, but for where it listens."""
        named = ("GOOGLE_ACCOUNTS", "GOOGLE_OAUTH2", "GMAIL", "MICROSOFT_LOGIN", "GRAPH")
        return {
            "ADIUVA_DATABASE_URL": self.database_url,
            "ADIUVA_TOKEN_FILE": str(self.place / "callers.json"),
            "ADIUVA_KEY_FILE": str(self.key_file),
            "ADIUVA_GOOGLE_CLIENT_ID": GOOGLE.client_id,
            "ADIUVA_GOOGLE_CLIENT_SECRET": GOOGLE.secret,
            "ADIUVA_MICROSOFT_CLIENT_ID": MICROSOFT.client_id,
            **{f"ADIUVA_{name}_URL": self.providers for name in named},
        }


def installation(place: Path, database_url: str, providers: str) -> Installation:
    """Make what replicas need.

    Args:
        place: An empty directory, or none.
        database_url: Of an empty database, `postgresql+asyncpg://…`.
        providers: The emulator's base URL.
    """
    place.mkdir(parents=True, exist_ok=True)
    token, _hash = new_token()
    callers = [{"name": "orchestrator", "role": "service", "sha256": token_hash(token)}]
    write_private(place / "callers.json", json.dumps(callers).encode())
    made = Installation(place=place, database_url=database_url, providers=providers, token=token)
    create_key_file(made.key_file)
    return made


class Replica:
    """A process of the connectors. It keeps its port from one start to the next.

    Args:
        shared: What it shares with the others.
        name: Of its log.
        settings: Further variables.
    """

    def __init__(
        self, shared: Installation, name: str = "connectors", settings: Mapping[str, str] | None = None
    ) -> None:
        self._shared = shared
        self._program = Program(
            name=name,
            command=[sys.executable, "-m", "connectors"],
            environment=lambda ready: {
                **shared.environment,
                "ADIUVA_CONNECTORS_LISTEN": f"{HOST}:{ready.get('port', 0)}",
                **(settings or {}),
            },
            log=shared.place / f"{name}.log",
        )

    @property
    def log(self) -> str:
        """What it has logged, in all its lives."""
        return self._program.log.read_text(encoding="utf-8", errors="replace")

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._program.process is None or self._program.process.returncode is not None

    async def start(self) -> None:
        """Start the process, and wait until it listens."""
        await self._program.start()

    async def stop(self) -> None:
        """End the process in order."""
        await self._program.stop()

    def send_kill(self) -> None:
        """Send SIGKILL, if it has not ended."""
        if self._program.process is not None and not self.has_ended:
            self._program.process.kill()

    async def until_ended(self) -> None:
        """Wait for the end of the process; the caller sets the deadline."""
        if self._program.process is not None:
            await self._program.process.wait()

    def channel(self, user: str | None = None) -> grpc.aio.Channel:
        """Return a channel of a service; with a user it acts for that one in every call."""
        target = f"{HOST}:{self._program.ready['port']}"
        return connect(target, authorization=bearer(self._shared.token), user=user, deadline=CALL_SECONDS)

    @asynccontextmanager
    async def client(self, user: str = USER) -> AsyncIterator[Client]:
        """Give a client that acts for a user, on a connection of its own."""
        async with self.channel(user) as channel:
            yield Client(
                connections=connections_grpc.ConnectionServiceStub(channel),
                messages=messages_grpc.MessageServiceStub(channel),
                admin=admin_grpc.AdminServiceStub(channel),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The services of a replica, for one user."""

    connections: connections_grpc.ConnectionServiceAsyncStub
    messages: messages_grpc.MessageServiceAsyncStub
    admin: admin_grpc.AdminServiceAsyncStub

    async def link(self, provider: str, account: str) -> connection_pb2.Connection:
        """Link an account that is signed in at the emulator, as its user does in a browser."""
        request = connections_pb.BeginAuthorizationRequest(
            request_id=str(uuid.uuid4()),
            provider=provider,
            flow=connections_pb.AUTHORIZATION_FLOW_REDIRECT,
            redirect_uri=REDIRECT_URI,
            login_hint=account,
        )
        return await self._consent((await self.connections.BeginAuthorization(request)).authorization)

    async def reauthorize(self, connection_id: str) -> connection_pb2.Connection:
        """Consent again."""
        request = connections_pb.ReauthorizeRequest(
            request_id=str(uuid.uuid4()),
            connection_id=connection_id,
            flow=connections_pb.AUTHORIZATION_FLOW_REDIRECT,
            redirect_uri=REDIRECT_URI,
        )
        return await self._consent((await self.connections.Reauthorize(request)).authorization)

    async def get(self, connection_id: str) -> connection_pb2.Connection:
        """Return a connection as it is stored."""
        request = connections_pb.GetConnectionRequest(connection_id=connection_id)
        return (await self.connections.GetConnection(request)).connection

    async def test(self, connection_id: str) -> connection_pb2.Connection:
        """Have the provider asked once, with a token that is good."""
        request = connections_pb.TestConnectionRequest(connection_id=connection_id)
        return (await self.connections.TestConnection(request)).connection

    async def _consent(self, begun: connections_pb.Authorization) -> connection_pb2.Connection:
        async with httpx2.AsyncClient(trust_env=False) as browser:
            answer = await browser.get(begun.authorization_url)
        assert answer.status_code == 302, answer.text
        request = connections_pb.CompleteAuthorizationRequest(redirect_response=answer.headers["location"])
        return (await self.connections.CompleteAuthorization(request)).connection


@asynccontextmanager
async def replicas(*made: Replica) -> AsyncIterator[None]:
    """Start replicas, and end those that still run when the block ends."""
    try:
        for replica in made:
            await replica.start()
        yield
    finally:
        for replica in made:
            await replica.stop()
