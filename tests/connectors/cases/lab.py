"""Two replicas with emulated providers, and everybody who has to do with them: users, browsers, operators."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import grpc.aio
import httpx2
import psycopg
import pytest
from psycopg import sql

from adiuva.connectors.v1 import (
    admin_service_pb2 as admin_pb,
    connection_pb2,
    connection_service_pb2 as pb,
    message_service_pb2 as messages_pb,
)
from adiuva_rpc.status import RpcFailure, from_rpc_error
from tests.connectors.harness import REDIRECT, Fetched, Harness, in_a_browser
from tests.emulator.core import Emulator
from tests.emulator.mails import Mail, compose
from tests.emulator.oauth import Grant, Grants

STATE: Final = connection_pb2.ConnectionState
ACTIVE: Final = connection_pb2.CONNECTION_STATE_ACTIVE
NEEDS_REAUTH: Final = connection_pb2.CONNECTION_STATE_NEEDS_REAUTH
DISCONNECTED: Final = connection_pb2.CONNECTION_STATE_DISCONNECTED
THROTTLED: Final = connection_pb2.CONNECTION_STATE_THROTTLED
AGENT: Final = "agent-1"
MAIL_PROVIDERS: Final = ("gmail", "outlook")

_NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account at a provider, and a connection to it."""

    address: str
    provider: str
    connection_id: str = ""


@dataclass(slots=True)
class Heard:
    """What a fetch told, and how it failed if it did."""

    events: list[messages_pb.FetchMessagesResponse] = field(default_factory=list)
    failure: RpcFailure | None = None

    @property
    def subjects(self) -> list[str]:
        """Of the messages, in order."""
        return [message.subject for message in Fetched(self.events).messages]

    @property
    def kinds(self) -> list[str | None]:
        """What happened, in order."""
        return [event.WhichOneof("event") for event in self.events]

    @property
    def started(self) -> messages_pb.FetchStarted:
        """How it began."""
        return next(event.started for event in self.events if event.WhichOneof("event") == "started")

    @property
    def completed(self) -> messages_pb.Completed:
        """How it ended."""
        assert self.failure is None, self.failure
        return Fetched(self.events).completed

    @property
    def token(self) -> str:
        """The last place that may be committed."""
        tokens = [event.checkpoint.cursor_token or event.completed.cursor_token for event in self.events]
        return next(token for token in reversed(tokens) if token)


@dataclass(eq=False, repr=False)
class Lab:
    """The replicas, the database behind them, and the providers."""

    service: Harness
    other: Harness
    """The second replica."""
    emulator: Emulator
    database_url: str = field(repr=False)

    # --- people

    def person(self, provider: str) -> Person:
        """Give somebody an account that nobody else has."""
        number = next(_NUMBERS)
        if provider == "gmail":
            address = f"mia-{number}@example.com"
            self.emulator.google.add_account(address)
        else:
            address = f"mia-{number}@contoso.example"
            self.emulator.microsoft.add_account(address)
        return Person(address, provider)

    async def linked(self, provider: str, user: str = "anna") -> Person:
        """Give somebody an account, and link it."""
        person = self.person(provider)
        connection = await self.service.link(provider, person.address, user)
        return Person(person.address, provider, connection.connection_id)

    def receive(self, person: Person, subject: str, *, at: datetime | None = None, **mail: Any) -> str:
        """Let a mail come in, just now or at another time; returns the provider's id of it."""
        raw = mail.pop("raw", None) or compose(
            subject=subject,
            text=mail.pop("text", f"{subject}\n"),
            message_id=mail.pop("message_id", f"<{uuid.uuid4()}@x.test>"),
            **{name: mail.pop(name) for name in ("html", "attachments", "sender", "to") if name in mail},
        )
        arrived = Mail(raw=raw, received_at=at or self.emulator.now(), **mail)
        if person.provider == "gmail":
            return self.emulator.google.mailbox(person.address).deliver(arrived).message_id
        return self.emulator.microsoft.mailbox(person.address).deliver(arrived).message_id

    def many(self, person: Person, count: int) -> list[str]:
        """Let mails come in, a minute apart, the last one a minute ago; returns their subjects, oldest first."""
        now = self.emulator.now()
        subjects = [f"Mail {number:03}" for number in range(count)]
        for number, subject in enumerate(subjects):
            self.receive(person, subject, at=now - timedelta(minutes=count - number))
        return subjects

    # --- consents

    async def begin(self, provider: str, *, user: str = "anna", hint: str = "", **fields: Any) -> pb.Authorization:
        """Begin to link an account."""
        usual: dict[str, Any] = {"request_id": str(uuid.uuid4()), "provider": provider, "login_hint": hint}
        usual |= {"flow": pb.AUTHORIZATION_FLOW_REDIRECT, "redirect_uri": REDIRECT}
        stub = await self.service.connections(user)
        return (await stub.BeginAuthorization(pb.BeginAuthorizationRequest(**usual | fields))).authorization

    async def begin_again(self, person: Person, *, user: str = "anna") -> pb.Authorization:
        """Begin to consent again."""
        stub = await self.service.connections(user)
        request = pb.ReauthorizeRequest(
            request_id=str(uuid.uuid4()),
            connection_id=person.connection_id,
            flow=pb.AUTHORIZATION_FLOW_REDIRECT,
            redirect_uri=REDIRECT,
        )
        return (await stub.Reauthorize(request)).authorization

    async def complete(
        self, address: str, *, user: str = "anna", at: Harness | None = None
    ) -> connection_pb2.Connection:
        """Bring back the address at which the browser ended."""
        stub = await (at or self.service).connections(user)
        return (await stub.CompleteAuthorization(pb.CompleteAuthorizationRequest(redirect_response=address))).connection

    async def reauthorize(self, person: Person) -> connection_pb2.Connection:
        """Consent again."""
        begun = await self.begin_again(person)
        return await self.complete(await in_a_browser(begun.authorization_url))

    # --- connections

    async def connection(self, person: Person, *, user: str = "anna") -> connection_pb2.Connection:
        """Return the connection as it is now."""
        stub = await self.other.connections(user)
        request = pb.GetConnectionRequest(connection_id=person.connection_id)
        return (await stub.GetConnection(request)).connection

    async def connections_of(self, user: str) -> set[str]:
        """Return the ids of all connections of a user, ended ones too."""
        stub, found, token = await self.service.connections(user), set(), ""
        while True:
            request = pb.ListConnectionsRequest(include_disconnected=True, page_size=500, page_token=token)
            page = await stub.ListConnections(request)
            found |= {each.connection_id for each in page.connections}
            token = page.next_page_token
            if not token:
                return found

    async def use(self, person: Person, *, at: Harness | None = None, timeout: float | None = None) -> None:
        """Use the connection with one cheap call."""
        stub = await (at or self.service).connections()
        await stub.TestConnection(pb.TestConnectionRequest(connection_id=person.connection_id), timeout=timeout)

    async def disconnect(self, person: Person) -> pb.DisconnectResponse:
        """End the connection."""
        stub = await self.service.connections()
        return await stub.Disconnect(pb.DisconnectRequest(connection_id=person.connection_id))

    async def audited(self, person: Person) -> list[str]:
        """Return what was done to the connection's grant, oldest first."""
        admin = await self.service.admin()
        request = admin_pb.ListAuditEventsRequest(connection_id=person.connection_id, page_size=1000)
        return [event.action for event in reversed((await admin.ListAuditEvents(request)).events)]

    # --- messages

    async def fetch(
        self, person: Person, *, at: Harness | None = None, user: str = "anna", timeout: float = 30, **fields: Any
    ) -> Heard:
        """Fetch to the end, or to a failure."""
        stub, heard = await (at or self.service).messages(user), Heard()
        request = messages_pb.FetchMessagesRequest(
            **{"connection_id": person.connection_id, "subscriber": AGENT} | fields
        )
        try:
            async for event in stub.FetchMessages(request, timeout=timeout):
                heard.events.append(event)
        except grpc.aio.AioRpcError as error:
            heard.failure = from_rpc_error(error)
        return heard

    async def commit(self, person: Person, token: str, *, at: Harness | None = None, user: str = "anna") -> None:
        """Move the cursor."""
        await (at or self.service).commit(person.connection_id, token, user)

    async def consume(self, person: Person, *, user: str = "anna", **fields: Any) -> Heard:
        """Fetch, and commit, until nothing is left; returns all that was told."""
        told = Heard()
        while True:
            heard = await self.fetch(person, user=user, **fields)
            told.events += heard.events
            await self.commit(person, heard.completed.cursor_token, user=user)
            if not heard.completed.has_more:
                return told

    # --- what stands behind it

    def grants(self, provider: str) -> Grants:
        """Return the grants that a provider has given."""
        return self.emulator.google.grants if provider == "gmail" else self.emulator.microsoft.login.grants

    def grant(self, person: Person) -> Grant:
        """Return the last grant of an account."""
        return self.grants(person.provider).grants_of(person.address)[-1]

    def sql(self, statement: str, *values: object) -> Sequence[tuple[Any, ...]]:
        """Do to the database what time, a crash or a thief would do."""
        with psycopg.connect(self.database_url.replace("+asyncpg", ""), autocommit=True) as database:
            cursor = database.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else ()

    def rows(self, table: str, person: Person | None = None) -> Sequence[tuple[Any, ...]]:
        """Return the rows of a table, of one connection or of all."""
        query = sql.SQL("SELECT * FROM {}").format(sql.Identifier("connectors", table))
        if person is not None:
            query += sql.SQL(" WHERE connection_id = {}").format(sql.Literal(person.connection_id))
        with psycopg.connect(self.database_url.replace("+asyncpg", ""), autocommit=True) as database:
            return database.execute(query).fetchall()

    def end_lease(self, person: Person) -> None:
        """Let the time pass after which somebody else may go to the provider."""
        self.sql(
            "UPDATE connectors.connections SET refresh_until = clock_timestamp() WHERE connection_id = %s",
            person.connection_id,
        )

    @property
    def token_calls(self) -> int:
        """How often the token endpoints were asked since the test began."""
        return self.emulator.counters.count(r"/token$", method="POST")


async def failure_of(call: Awaitable[object]) -> RpcFailure:
    """Return how a call failed, which it must."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return from_rpc_error(failed.value)


async def outcome_of(call: Awaitable[object]) -> str:
    """Return the reason of a call's failure, or OK."""
    with suppress(StopAsyncIteration):
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return from_rpc_error(error).reason
    return "OK"


def changed(address: str, **fields: str | None) -> str:
    """Return what a browser came back with, with other parameters; None takes one away."""
    parts = urlsplit(address)
    query: Mapping[str, str | None] = dict(parse_qsl(parts.query)) | fields
    kept = {name: value for name, value in query.items() if value is not None}
    return parts._replace(query=urlencode(kept)).geturl()


def parameter(address: str, name: str) -> str:
    """Return a parameter of an address; empty when it is not there."""
    return dict(parse_qsl(urlsplit(address).query)).get(name, "")


async def visit(url: str) -> httpx2.Response:
    """Open an address in a browser that stays where it is."""
    async with httpx2.AsyncClient(trust_env=False) as browser:
        return await browser.get(url)
