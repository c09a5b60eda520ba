"""No token, code or mail gets anywhere but where it belongs: the logs at DEBUG, the errors and the database hold none.

The emulated providers remember every token and code that they ever gave out. A whole life of connections is led on a
stack that logs everything, with all that can go wrong on the way; then each of them is looked for in all that is left.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from psycopg import sql

from adiuva.connectors.v1 import message_service_pb2 as pb
from adiuva.connectors.v1.message_service_pb2_grpc import MessageServiceStub
from tests.emulator.client import ControlClient
from tests.emulator.mails import Attachment, Mail, compose
from tests.emulator.microsoft.login import Decision
from tests.emulator.oauth import RefreshMode
from tests.system.accounts import Providers, come_back, database, linking, visit
from tests.system.local_stack import LocalStack
from tests.system.test_connectors_port import channel
from tests.system.users import Json, User, add_user, like_anybody

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

GMAIL, WORK = "carla@example.com", "carla@contoso.example"
SUBJECT, TEXT = "Kanarienvogel 4711", "Bitte den Kanarienvogel 4712 füttern."
FEWEST_SECRETS = 25


@dataclass
class Life:
    """What was said while the connections lived."""

    user: User
    providers: Providers
    said: list[str] = field(default_factory=list)
    """All that commands have printed, and all that calls were refused with."""
    runs: list[str] = field(default_factory=list)

    def adiuva(self, *arguments: str, check: bool = True) -> str:
        """Run a command, and remember what it said."""
        done = self.user.adiuva(*arguments, check=check)
        self.said += [done.stdout, done.stderr]
        return done.stdout

    def link(self, *arguments: str, paste: bool = False) -> str:
        """Link or renew an account, and return the connection's id."""
        with linking(self.user, *arguments, "--no-browser", "--json") as command:
            if paste:
                done = command.ended(pasted=come_back(command.address))
            else:
                visit(command.address)
                done = command.ended()
        self.said += [done.stdout, done.stderr]
        connection: Json = json.loads(done.stdout)
        return str(connection["connection_id"])

    def link_by_code(self, provider: str) -> str:
        """Link the work account with a code."""
        with linking(self.user, "link", provider, "--by", "device-code", "--json") as command:
            code = command.user_code
            self.providers.do(lambda emulator: emulator.microsoft.decide_device(code, Decision.APPROVED, WORK))
            done = command.ended()
        self.said += [done.stdout, done.stderr]
        connection: Json = json.loads(done.stdout)
        return str(connection["connection_id"])

    def run(self, connection: str) -> None:
        """Let an agent work on a connection, and remember the run with all of its events."""
        agent = json.loads(self.adiuva("agents", "create", "Mail", "--connection", connection, "--json"))
        run = json.loads(self.adiuva("runs", "start", agent["agent_id"], "--watch", "--json", check=False))
        self.runs.append(run["run_id"])
        self.said.append(self.adiuva("runs", "watch", run["run_id"], "--events"))

    def fetch(self, connection: str) -> None:
        """Fetch as a client of its own, with the first attachment, and remember what it is refused with."""
        subscriber = str(uuid.uuid4())
        with channel(self.user) as own:
            stub = MessageServiceStub(own)
            try:
                for event in stub.FetchMessages(
                    pb.FetchMessagesRequest(connection_id=connection, subscriber=subscriber), timeout=60
                ):
                    self.said.append(str(event))
                    for attachment in event.message.attachments:
                        list(
                            stub.GetAttachment(
                                pb.GetAttachmentRequest(
                                    connection_id=connection,
                                    provider_id=event.message.provider_id,
                                    attachment_id=attachment.attachment_id,
                                ),
                                timeout=60,
                            )
                        )
            except grpc.RpcError as error:
                self.said += [str(error.details()), str(error.trailing_metadata())]


@pytest.fixture(scope="module")
def life(cloud: LocalStack, providers: Providers, scratch: Path) -> Iterator[Life]:
    user = add_user(cloud, "carla", scratch)
    with user.at_the_device(prefix=like_anybody() or ()):
        life = Life(user, providers)
        _live(life)
        yield life


def _live(life: Life) -> None:
    do = life.providers.do
    do(_move_in)
    gmail = life.link("link", "gmail", "--account", GMAIL)
    outlook = life.link("link", "outlook", "--account", WORK, "--by", "paste", paste=True)
    teams = life.link_by_code("teams")
    for connection in (gmail, outlook, teams):
        life.run(connection)
        life.fetch(connection)
    # New tokens, and refresh tokens that are good for one use.
    do(lambda emulator: emulator.google.set_tokens(mode=RefreshMode.STRICT))
    do(lambda emulator: emulator.microsoft.set_tokens(mode=RefreshMode.STRICT))
    for _ in range(2):
        do(_expire)
        for connection in (gmail, outlook, teams):
            life.adiuva("connections", "test", connection, "--json")
    _fail(life, gmail, outlook)
    do(lambda emulator: emulator.google.revoke(GMAIL))
    life.adiuva("connections", "test", gmail, check=False)
    life.run(gmail)
    life.link("reauthorize", gmail)
    life.adiuva("connections", "show", gmail)
    life.adiuva("connections", "disconnect", teams, "--yes", "--json")
    life.run(teams)


async def _move_in(emulator: ControlClient) -> None:
    await emulator.google.add_account(GMAIL)
    await emulator.microsoft.add_account(WORK)
    at = datetime.now(UTC)
    for number in range(3):
        raw = compose(
            subject=f"{SUBJECT} {number}",
            text=f"{TEXT}\n",
            message_id=f"<{uuid.uuid4()}@x.test>",
            attachments=(Attachment("futter.txt", b"Kanarienvogel 4713\n", "text/plain"),),
        )
        mail = Mail(raw=raw, received_at=at)
        await emulator.google.deliver(GMAIL, mail)
        await emulator.microsoft.deliver(WORK, mail)
    chat = await emulator.microsoft.add_chat(WORK)
    await emulator.microsoft.say(chat, WORK, f"<p>{TEXT}</p>")


async def _expire(emulator: ControlClient) -> None:
    await emulator.google.expire_access(GMAIL)
    await emulator.microsoft.expire_access(WORK)


def _fail(life: Life, gmail: str, outlook: str) -> None:
    """Let the providers answer with the very tokens that they were asked with: what they say is not to be repeated."""
    tokens = life.providers.do(lambda emulator: emulator.secrets())
    told = {"error": "invalid_request", "error_description": " ".join(tokens), "error_uri": tokens[0]}
    graph = {"error": {"code": tokens[0], "message": " ".join(tokens)}}
    plans = (
        ("/token", 400, told),
        ("/token", 401, told | {"error": "invalid_client"}),
        ("/gmail/|/v1.0/", 400, graph),
        ("/gmail/|/v1.0/", 403, graph),
        ("/gmail/|/v1.0/", 503, graph),
    )
    headers = {"X-Token": tokens[0], "Location": f"/?{tokens[0]}"}
    for route, status, body in plans:
        life.providers.do(_expire)
        planned = partial(_answer_with, route=route, status=status, body=body, headers=headers)
        life.providers.do(planned)
        life.adiuva("connections", "test", gmail, check=False)
        # Each of these waits between its tries when the provider is down.
        if status < 500:
            life.adiuva("connections", "test", outlook, check=False)
            life.fetch(gmail)
            life.fetch(outlook)
        life.providers.do(lambda emulator: emulator.clear_faults())


async def _answer_with(emulator: ControlClient, **fault: Any) -> None:
    await emulator.add_fault(times=0, **fault)


@pytest.fixture(scope="module")
def needles(life: Life) -> list[bytes]:
    """Every token and code in all the ways in which it could be written down."""
    secrets = life.providers.do(lambda emulator: emulator.secrets())
    assert len(secrets) >= FEWEST_SECRETS
    return [form for secret in secrets for form in _forms(secret)]


def _forms(secret: str) -> set[bytes]:
    raw = secret.encode()
    encoded = [base64.b64encode(b"-" * shift + raw)[4:-4] for shift in range(3)]
    return {raw, quote(secret, safe="").encode(), raw.hex().encode(), *encoded}


def hits(needles: Sequence[bytes], where: bytes) -> int:
    """Return how many of the needles are there."""
    return sum(needle in where for needle in needles)


def dump(cloud: LocalStack) -> bytes:
    """Return the content of every table of every schema; bytes as they are."""
    pieces: list[bytes] = []
    with database(cloud) as connection:
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        assert {"connectors", "orchestrator"} <= {schema for schema, _ in tables}
        for schema, table in tables:
            statement = sql.SQL("SELECT * FROM {}.{}").format(sql.Identifier(schema), sql.Identifier(table))
            for row in connection.execute(statement):
                pieces += [value if isinstance(value, bytes) else str(value).encode() for value in row]
    return b"\n".join(pieces)


def files(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file below a directory."""
    for file in sorted(directory.rglob("*")):
        if file.is_file() and not file.is_symlink():
            yield str(file.relative_to(directory)), file.read_bytes()


def logs(life: Life, cloud: LocalStack, scratch: Path) -> bytes:
    """Return all that the programs have logged, those of the user's device and the supervisor too."""
    others = [file.read_text(encoding="utf-8", errors="replace") for file in scratch.rglob("*.err")]
    return "\n".join([cloud.logs(), *others]).encode()


# --- the tests


def test_the_net_holds_what_it_is_to_catch(life: Life, cloud: LocalStack, scratch: Path) -> None:
    written = logs(life, cloud, scratch)

    assert hits([GMAIL.encode(), TEXT.encode()], dump(cloud)) == 2
    assert b'"level": "debug"' in written or b'"level":"debug"' in written
    assert all(run.encode() in written for run in life.runs)
    assert hits([GMAIL.encode()], "".join(life.said).encode()) == 1
    (needle, *_) = _forms("1//0a+b")
    assert hits([needle], b"x" + needle) == 1


def test_no_token_is_in_a_log(life: Life, needles: list[bytes], cloud: LocalStack, scratch: Path) -> None:
    assert hits(needles, logs(life, cloud, scratch)) == 0


def test_no_token_is_in_the_database(needles: list[bytes], cloud: LocalStack) -> None:
    assert hits(needles, dump(cloud)) == 0


def test_no_token_is_in_a_file_of_the_stack_or_of_the_device(life: Life, cloud: LocalStack) -> None:
    secrets = [secret.encode() for secret in life.providers.do(lambda emulator: emulator.secrets())]

    found = [name for place in (cloud.data, life.user.data) for name, content in files(place) if hits(secrets, content)]

    assert found == []


def test_no_token_is_in_an_answer_an_error_or_an_event(life: Life, needles: list[bytes]) -> None:
    assert hits(needles, "\n".join(life.said).encode()) == 0


def test_neither_addresses_nor_what_mails_say_are_in_a_log(life: Life, cloud: LocalStack, scratch: Path) -> None:
    written = logs(life, cloud, scratch)

    assert hits([GMAIL.encode(), WORK.encode(), SUBJECT.encode(), b"Kanarienvogel"], written) == 0


def test_what_was_ended_is_destroyed(life: Life, cloud: LocalStack) -> None:
    with database(cloud) as connection:
        rows = connection.execute(
            "SELECT wrapped_key, refresh_token, access_token FROM connectors.connections"
            " WHERE user_id = 'carla' AND state = 'DISCONNECTED'"
        ).fetchall()

    assert rows == [(None, None, None)]
