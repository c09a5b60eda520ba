"""What must be seen nowhere: a long and unhappy life is led with everything logged, and then it is looked for."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import psycopg
import pytest
from psycopg import sql

from adiuva.connectors.v1 import (
    admin_service_pb2 as admin_pb,
    connection_service_pb2 as pb,
    message_pb2,
    message_service_pb2 as messages_pb,
)
from adiuva_rpc.telemetry import QUIET_LIBRARIES
from tests.connectors.cases.lab import Lab, Person, changed, parameter
from tests.connectors.harness import in_a_browser
from tests.emulator.core import Fault
from tests.emulator.google.errors import error_body
from tests.emulator.google.state import CLIENT
from tests.emulator.mails import Attachment
from tests.emulator.oauth import Consent

CANARY = "canary"
"""In everything that somebody wrote: mails, chats, files, filters, and what providers say in their errors."""
TOKEN, API = r"/token$", r"^/gmail/v1/|^/v1\.0/"
STRANGE = {
    "id": CANARY,
    "internalDate": "1795373774000",
    "labelIds": 7,
    "payload": {"mimeType": "text/plain", "headers": [{"name": "Subject", "value": CANARY}], "body": {}},
}
"""A mail as no provider tells one."""
WROTE = f"<b>{CANARY}</b>\x1b[31m\r\n{CANARY}"


@dataclass(eq=False, repr=False)
class Story:
    """What was led, and what was seen of it."""

    lab: Lab
    logs: io.StringIO
    errors: list[grpc.aio.AioRpcError] = field(default_factory=list)
    told: list[Any] = field(default_factory=list)
    """What the operator and the watchers were told."""
    states: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    """Of cursors."""

    async def tries(self, call: Awaitable[object]) -> None:
        """Do what may go wrong."""
        try:
            await call
        except grpc.aio.AioRpcError as error:
            self.errors.append(error)

    async def fetches(self, person: Person, **fields: Any) -> None:
        """Fetch, and commit what came."""
        stub = await self.lab.service.messages()
        fields = {"connection_id": person.connection_id, "subscriber": f"agent of {CANARY}"} | fields
        try:
            async for event in stub.FetchMessages(messages_pb.FetchMessagesRequest(**fields), timeout=5):
                token = event.checkpoint.cursor_token or event.completed.cursor_token
                if token:
                    self.tokens.append(token)
        except grpc.aio.AioRpcError as error:
            self.errors.append(error)
        if self.tokens:
            await self.tries(self.lab.commit(person, self.tokens[-1]))

    async def consents(self, provider: str) -> Person:
        """Every way to a connection, and most ways to none."""
        lab, person = self.lab, self.lab.person(provider)
        for fields in (
            {"error": "access_denied", "error_description": WROTE, "code": None},
            {"code": f"{CANARY}-code"},
            {"state": f"{CANARY}-state"},
            {"iss": f"https://{CANARY}.example"},
        ):
            begun = await lab.begin(provider, hint=person.address)
            self.states.append(parameter(begun.authorization_url, "state"))
            address = await in_a_browser(begun.authorization_url)
            await self.tries(lab.complete(changed(address, **fields)))
        for status in (400, 401, 500):
            body = {"error": "invalid_client" if status == 401 else CANARY, "error_description": WROTE}
            begun = await lab.begin(provider, hint=person.address)
            address = await in_a_browser(begun.authorization_url)
            fault = lab.emulator.faults.add(
                Fault(route=TOKEN, status=status, body=body, headers={"Retry-After": "900"}, times=0)
            )
            await self.tries(lab.complete(address))
            fault.times = fault.fired
        await self.tries(lab.begin(provider, hint=f"{CANARY}\n"))
        await self.tries(lab.begin(provider, redirect_uri=f"https://{CANARY}.example/"))
        return await lab.linked(provider)

    async def reads(self, person: Person) -> None:
        """Mails with everything in them, and answers that are none."""
        lab = self.lab
        for number in range(3):
            lab.receive(
                person,
                f"About {CANARY} {number}",
                text=f"{CANARY} wrote this\n" * 20,
                html=f"<p>{CANARY}</p>",
                sender=f"{CANARY} <{CANARY}@x.test>",
                attachments=(Attachment(f"{CANARY}.txt", CANARY.encode(), "text/plain"),),
                message_id=f"<{number}-{person.connection_id}@x.test>",
                at=lab.emulator.now() - timedelta(minutes=5 - number),
            )
        wanted = message_pb2.MessageFilter(subject_contains=[CANARY], senders=[f"{CANARY}@x.test"])
        for body in (
            WROTE,
            {"value": WROTE, "messages": {CANARY: 1}},
            {"id": [CANARY], "payload": {"headers": CANARY}},
        ):
            lab.emulator.faults.add(Fault(route=API, account=person.address, status=200, body=body))
            await self.fetches(person)
        lab.emulator.faults.add(Fault(route=r"/messages/[^/]+$", account=person.address, status=200, body=STRANGE))
        await self.fetches(person, filter=wanted)
        await self.fetches(person, filter=message_pb2.MessageFilter(provider_query=f"{CANARY}\x00"))
        await self.fetches(person, filter=message_pb2.MessageFilter(containers=[f"chat:{CANARY}"]))
        await self.fetches(person, cursor_token=f"{CANARY}-cursor")
        await self.fetches(person, subscriber=f"{CANARY}\x00")
        for status, reason in ((400, CANARY), (403, "domainPolicy"), (403, "rateLimitExceeded"), (404, CANARY)):
            body = error_body(status, reason, WROTE)
            lab.emulator.faults.add(Fault(route=API, account=person.address, status=status, body=body, times=1))
            await self.fetches(person, filter=wanted)
        self.unthrottle(person)

    async def ends(self, person: Person) -> None:
        """Tokens that expire, grants that die, and the end."""
        lab, grants = self.lab, self.lab.grants(person.provider)
        for status, error in ((503, "server_error"), (400, CANARY), (401, "invalid_client"), (400, "invalid_grant")):
            grants.expire_access(person.address)
            body = {"error": error, "error_description": WROTE, "suberror": CANARY, "claims": f'{{"{CANARY}":1}}'}
            lab.emulator.faults.add(Fault(route=TOKEN, status=status, body=body, headers={"Retry-After": "900"}))
            await self.tries(lab.use(person))
            self.unthrottle(person)
        await self.tries(lab.reauthorize(person))
        lab.emulator.google.consent = lab.emulator.microsoft.login.consent = Consent(
            account=lab.person(person.provider).address
        )
        await self.tries(lab.reauthorize(person))
        lab.emulator.google.consent = lab.emulator.microsoft.login.consent = Consent()
        lab.emulator.faults.add(Fault(route="/revoke$", status=400, body={"error": CANARY, "error_description": WROTE}))
        self.told.append(await lab.disconnect(person))
        await self.tries(lab.use(person))

    async def stays(self, provider: str) -> None:
        """A connection that goes on, in the middle of a round, and an authorization under way."""
        person = await self.lab.linked(provider)
        await self.lab.begin(provider, hint=person.address)
        for number in range(3):
            self.lab.receive(person, f"{CANARY} {number}", at=self.lab.emulator.now() - timedelta(minutes=5 - number))
        await self.fetches(person, max_messages=1)
        self.lab.grants(provider).expire_access(person.address)
        await self.fetches(person, max_messages=1)

    def unthrottle(self, person: Person) -> None:
        """Let the time pass that the provider asked for."""
        self.lab.sql(
            "UPDATE connectors.connections SET state = 'ACTIVE', next_allowed_at = NULL WHERE connection_id = %s "
            "AND state IN ('THROTTLED', 'BLOCKED')",
            person.connection_id,
        )

    async def asks(self) -> None:
        """What the operator and a watcher see."""
        admin = await self.lab.service.admin()
        self.told.append(await admin.ListAuditEvents(admin_pb.ListAuditEventsRequest(page_size=1000)))
        self.told.append(await admin.ListQuarantinedMessages(admin_pb.ListQuarantinedMessagesRequest()))
        stub = await self.lab.service.connections("service")
        watch = stub.WatchConnections(pb.WatchConnectionsRequest())
        async for event in watch:
            self.told.append(event)
            if event.kind == pb.CONNECTION_EVENT_KIND_SNAPSHOT_END:
                break
        watch.cancel()


@contextlib.contextmanager
def everything_logged() -> Iterator[io.StringIO]:
    """Log at DEBUG, without the masking that processes have: nothing may rely on that."""
    logs = io.StringIO()
    handler = logging.StreamHandler(logs)
    root = logging.getLogger()
    levels = {logger: logger.level for logger in (root, *map(logging.getLogger, QUIET_LIBRARIES))}
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with contextlib.redirect_stdout(logs), contextlib.redirect_stderr(logs):
            logging.getLogger("somebody").debug("even this is seen")
            yield logs
    finally:
        root.removeHandler(handler)
        for logger, level in levels.items():
            logger.setLevel(level)


@pytest.fixture(scope="module")
async def story(replicas: Lab) -> AsyncIterator[Story]:
    """The life of two connections."""
    with everything_logged() as logs:
        story = Story(replicas, logs)
        for provider in ("gmail", "outlook"):
            person = await story.consents(provider)
            await story.reads(person)
            await story.ends(person)
            await story.stays(provider)
        await story.asks()
        yield story


@pytest.fixture(scope="module")
def secrets(story: Story, directory: Path) -> list[str]:
    """Every token, code, state, secret and key that there was."""
    keys = json.loads((directory / "keys.json").read_text())["keys"]
    found = [
        *story.lab.emulator.secrets,
        *story.lab.service.tokens.values(),
        *story.states,
        *(str(key) for key in keys.values()),
        CLIENT.secret,
    ]
    assert len(found) > 40
    return found


def seen(text: str, secrets: list[str]) -> list[str]:
    """Return what of all that a text shows."""
    return [secret for secret in (CANARY, *secrets, "BEGIN PRIVATE", "Bearer ") if secret in text]


def test_no_log_line_shows_it(story: Story, secrets: list[str]) -> None:
    logged = story.logs.getvalue()

    for line in ("even this is seen", "account linked", "grant refused by its provider", "for an unforeseen reason"):
        assert line in logged
    assert seen(logged, [*secrets, *story.tokens]) == []


def test_no_error_shows_it(story: Story, secrets: list[str]) -> None:
    reasons = set()
    for error in story.errors:
        text = f"{error.code()} {error.details()} {error.trailing_metadata()!r} {error.debug_error_string()}"
        assert seen(text, [*secrets, *story.tokens]) == [], text
        assert all(line.isprintable() for line in (error.details() or "").splitlines())
        assert "Traceback" not in text
        reasons.add(error.code().name)
    assert len(story.errors) > 40
    assert len(reasons) > 3


def test_neither_the_operator_nor_a_watcher_is_told_it(story: Story, secrets: list[str]) -> None:
    shown = "".join(str(message) for message in story.told)

    assert "AUTHORIZED" in shown
    # The subscriber's name is the caller's own choice.
    assert seen(shown.replace(f"agent of {CANARY}", ""), secrets) == []


def test_no_table_of_the_database_holds_it(story: Story, secrets: list[str]) -> None:
    url = story.lab.database_url.replace("+asyncpg", "")
    searched = [word.encode() for word in (CANARY, *secrets, *story.tokens)]
    held: list[str] = []
    with psycopg.connect(url, autocommit=True) as database:
        tables = database.execute(
            "SELECT table_schema, table_name FROM information_schema.tables "
            "WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for schema, table in tables:
            for row in database.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, table))):
                shown = b"\0".join(value if isinstance(value, bytes) else str(value).encode() for value in row)
                shown = shown.replace(f"agent of {CANARY}".encode(), b"")
                held += [f"{table}: {word!r}" for word in searched if word in shown]

    assert len(tables) > 6
    assert held == []


def test_there_was_something_to_be_searched(story: Story) -> None:
    sql = story.lab.sql

    assert sql("SELECT 1 FROM connectors.cursors WHERE round IS NOT NULL AND position > 0")
    for table in ("audit", "flows", "seen"):
        assert story.lab.rows(table), table
    assert sql("SELECT 1 FROM connectors.connections WHERE state = 'ACTIVE' AND refresh_token IS NOT NULL")
    assert sql("SELECT 1 FROM connectors.connections WHERE state = 'DISCONNECTED' AND refresh_token IS NULL")
