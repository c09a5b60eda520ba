"""What callers may ask for: filters that a provider can express, places that are theirs, connections of their own."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest

from adiuva.connectors.v1 import (
    connection_service_pb2 as pb,
    message_pb2,
    message_service_pb2 as messages_pb,
)
from connectors.policy import ADMIN_SERVICE, CONNECTION_SERVICE, MESSAGE_SERVICE, POLICY
from tests.connectors.cases.lab import AGENT, Lab, Person, changed, failure_of, outcome_of, visit
from tests.connectors.harness import REDIRECT, Harness
from tests.emulator.core import Fault

MAIL = pytest.mark.parametrize("provider", ["gmail", "outlook"])
API = r"^/gmail/v1/|^/v1\.0/"


# --- filters


@pytest.mark.parametrize(
    ("provider", "wanted", "reason", "field"),
    [
        ("gmail", {"senders": ["anna"]}, "FILTER_INVALID", "filter.senders"),
        ("gmail", {"senders": ["a@b.c OR in:trash"]}, "FILTER_INVALID", "filter.senders"),
        ("gmail", {"subject_contains": ['" OR in:anywhere "']}, "FILTER_INVALID", "filter.subject_contains"),
        ("gmail", {"containers": ["SPAM"]}, "FILTER_INVALID", "filter.containers"),
        ("gmail", {"provider_query": "in:inbox\x00"}, "FILTER_INVALID", "filter.provider_query"),
        ("outlook", {"provider_query": "from:anna"}, "FILTER_UNSUPPORTED", "filter.provider_query"),
        ("outlook", {"containers": ["chat:19:x"]}, "FILTER_UNSUPPORTED", "filter.containers"),
        ("outlook", {"containers": ["../messages"]}, "FILTER_INVALID", "filter.containers"),
        ("outlook", {"subject_contains": ["x" * 300]}, "FILTER_INVALID", "filter.subject_contains"),
        ("teams", {"senders": ["anna@example.com"]}, "FILTER_UNSUPPORTED", "filter.senders"),
        ("teams", {"recipients": ["anna@example.com"]}, "FILTER_UNSUPPORTED", "filter.recipients"),
        ("teams", {"subject_contains": ["budget"]}, "FILTER_UNSUPPORTED", "filter.subject_contains"),
        ("teams", {"unread_only": True}, "FILTER_UNSUPPORTED", "filter.unread_only"),
        ("teams", {"has_attachment": True}, "FILTER_UNSUPPORTED", "filter.has_attachment"),
        ("teams", {"provider_query": "budget"}, "FILTER_UNSUPPORTED", "filter.provider_query"),
        ("teams", {"containers": ["inbox"]}, "FILTER_INVALID", "filter.containers"),
    ],
)
async def test_what_a_provider_cannot_look_for_is_refused_by_its_field(
    lab: Lab, provider: str, wanted: dict[str, Any], reason: str, field: str
) -> None:
    person = await lab.linked(provider)
    lab.emulator.counters.reset()

    heard = await lab.fetch(person, filter=message_pb2.MessageFilter(**wanted))

    assert heard.failure is not None
    assert (heard.failure.code.name, heard.failure.reason) == ("INVALID_ARGUMENT", reason)
    assert field in heard.failure.message
    assert heard.events == []
    assert lab.emulator.counters.count(API) == 0


@MAIL
async def test_a_label_or_folder_that_the_mailbox_does_not_have_is_said_so(lab: Lab, provider: str) -> None:
    person = await lab.linked(provider)
    container = "No such label" if provider == "gmail" else "A" * 64

    heard = await lab.fetch(person, filter=message_pb2.MessageFilter(containers=[container]))

    assert heard.failure is not None
    assert heard.failure.reason == "FILTER_INVALID"
    assert "filter.containers" in heard.failure.message


@MAIL
async def test_another_filter_looks_at_the_last_days_again_and_repeats_nothing(lab: Lab, provider: str) -> None:
    person = await lab.linked(provider)
    for sender in ("ada", "bob"):
        lab.receive(person, f"Of {sender}", sender=f"{sender}@x.test")
    ada = {"senders": ["ada@x.test"]}

    assert (await lab.consume(person, filter=ada)).subjects == ["Of ada"]
    assert (await lab.consume(person)).subjects == ["Of bob"]
    assert (await lab.consume(person, filter=ada)).subjects == []


# --- places


@asynccontextmanager
async def _tokens(lab: Lab, provider: str) -> AsyncIterator[tuple[Person, str]]:
    person = await lab.linked(provider)
    lab.many(person, 4)
    yield person, (await lab.fetch(person, max_messages=2)).token


@MAIL
async def test_a_place_of_another_connection_is_none(lab: Lab, provider: str) -> None:
    other = await lab.linked("outlook" if provider == "gmail" else "gmail")
    same = await lab.linked(provider)
    async with _tokens(lab, provider) as (person, token):
        for elsewhere in (other, same):
            heard = await lab.fetch(elsewhere, cursor_token=token)
            assert heard.failure is not None
            assert (heard.failure.code.name, heard.failure.reason) == ("INVALID_ARGUMENT", "CURSOR_INVALID")
            assert (await failure_of(lab.commit(elsewhere, token))).reason == "CURSOR_INVALID"
        await lab.commit(person, token)


@MAIL
async def test_a_place_of_another_filter_or_subscriber_is_none(lab: Lab, provider: str) -> None:
    async with _tokens(lab, provider) as (person, token):
        for fields in ({"filter": {"senders": ["ada@x.test"]}}, {"subscriber": "agent-2"}):
            heard = await lab.fetch(person, cursor_token=token, **fields)

            assert heard.failure is not None
            assert heard.failure.reason == "CURSOR_INVALID"
        assert (await lab.fetch(person, cursor_token=token)).subjects == ["Mail 002", "Mail 003"]


async def test_whatever_is_changed_about_a_place_makes_it_none(lab: Lab) -> None:
    async with _tokens(lab, "gmail") as (person, token):
        bad = ["", "A", "=" * 8, "💥", "x" * 40_000, token[:-4], token + token, token[::-1]]
        for place in range(0, len(token), 29):
            flipped = "A" if token[place] != "A" else "B"
            bad.append(token[:place] + flipped + token[place + 1 :])

        reasons = {(await failure_of(lab.commit(person, one))).reason for one in bad}
        fetched = [await lab.fetch(person, cursor_token=one) for one in bad[:8]]

        assert reasons == {"CURSOR_INVALID"}
        assert {heard.failure.reason for heard in fetched if heard.failure} == {"CURSOR_INVALID"}
        await lab.commit(person, token)


async def test_a_place_is_worth_nothing_to_another_user(lab: Lab) -> None:
    async with _tokens(lab, "gmail") as (person, token):
        failure = await failure_of(lab.commit(person, token, user="ben"))

        assert failure.reason == "CONNECTION_UNKNOWN"
        assert (await lab.fetch(person)).subjects[0] == "Mail 000"


async def test_a_place_that_was_copied_into_anothers_row_opens_nothing(lab: Lab) -> None:
    mine, other = await lab.linked("gmail"), await lab.linked("gmail", "ben")
    lab.many(other, 3)
    await lab.consume(other, user="ben")
    await lab.consume(mine)
    lab.receive(mine, "Mine")
    lab.sql(
        "UPDATE connectors.cursors AS mine SET state = other.state FROM connectors.cursors AS other "
        "WHERE mine.connection_id = %s AND other.connection_id = %s",
        mine.connection_id,
        other.connection_id,
    )

    heard = await lab.fetch(mine)

    assert heard.subjects == ["Mine"]
    assert heard.started.mode == messages_pb.FETCH_MODE_RESYNC


async def test_of_two_fetches_of_one_subscriber_the_newest_may_commit(lab: Lab) -> None:
    person = await lab.linked("outlook")
    lab.many(person, 6)
    older = await lab.fetch(person, max_messages=2)
    newer = await lab.fetch(person, at=lab.other, max_messages=4)

    failure = await failure_of(lab.commit(person, older.token))

    assert (failure.code.name, failure.reason) == ("ABORTED", "STALE_FETCH")
    await lab.commit(person, newer.token, at=lab.other)
    assert (await lab.consume(person)).subjects == ["Mail 004", "Mail 005"]


async def test_two_who_fetch_and_commit_at_once_at_two_replicas_neither_lose_nor_repeat(lab: Lab) -> None:
    person = await lab.linked("gmail")
    subjects, committed = lab.many(person, 24), set[str]()

    async def take(service: Harness) -> None:
        heard = await lab.fetch(person, at=service, max_messages=5)
        if heard.failure is None and await outcome_of(lab.commit(person, heard.token, at=service)) == "OK":
            # Who was given the same as the other may have committed it, too.
            committed.update(heard.subjects)

    for _ in range(3 * len(subjects)):
        await asyncio.gather(take(lab.service), take(lab.other))
        if len(committed) == len(subjects):
            break

    assert sorted(committed) == subjects
    assert (await lab.consume(person)).subjects == []


# --- whose connection it is


def about(connection_id: str) -> dict[str, Callable[[Harness, str], Awaitable[object]]]:
    """Return everything that can be asked about a connection."""

    async def fetch(service: Harness, user: str) -> None:
        stub = await service.messages(user)
        request = messages_pb.FetchMessagesRequest(connection_id=connection_id, subscriber=AGENT)
        async for _ in stub.FetchMessages(request, timeout=10):
            pass

    async def attachment(service: Harness, user: str) -> None:
        stub = await service.messages(user)
        request = messages_pb.GetAttachmentRequest(connection_id=connection_id, provider_id="a", attachment_id="b")
        async for _ in stub.GetAttachment(request, timeout=10):
            pass

    async def commit(service: Harness, user: str) -> None:
        stub = await service.messages(user)
        await stub.CommitCursor(messages_pb.CommitCursorRequest(connection_id=connection_id, cursor_token="A" * 400))

    def unary(name: str, request: object) -> Callable[[Harness, str], Awaitable[object]]:
        async def call(service: Harness, user: str) -> object:
            return await getattr(await service.connections(user), name)(request)

        return call

    again = pb.ReauthorizeRequest(request_id=str(uuid.uuid4()), connection_id=connection_id, redirect_uri=REDIRECT)
    return {
        "FetchMessages": fetch,
        "GetAttachment": attachment,
        "CommitCursor": commit,
        "GetConnection": unary("GetConnection", pb.GetConnectionRequest(connection_id=connection_id)),
        "TestConnection": unary("TestConnection", pb.TestConnectionRequest(connection_id=connection_id)),
        "Disconnect": unary("Disconnect", pb.DisconnectRequest(connection_id=connection_id)),
        "Reauthorize": unary("Reauthorize", again),
    }


async def test_the_connection_of_another_user_is_as_unknown_as_one_that_is_not_there(lab: Lab) -> None:
    person = await lab.linked("gmail")
    before = await lab.connection(person)
    lab.emulator.counters.reset()

    for connection_id in (person.connection_id, str(uuid.uuid4()), "'; DROP TABLE connectors.connections; --"):
        for name, call in about(connection_id).items():
            failure = await failure_of(call(lab.service, "ben"))

            assert (name, failure.code.name, failure.reason) == (name, "NOT_FOUND", "CONNECTION_UNKNOWN")
            assert person.address not in failure.message

    assert lab.emulator.counters.count() == 0
    assert await lab.connection(person) == before
    assert person.connection_id not in await lab.connections_of("ben")


def test_everything_that_takes_a_connection_is_tried() -> None:
    tried = about("")
    services = [module.DESCRIPTOR.services_by_name.values() for module in (pb, messages_pb)]
    named = {
        method.name
        for found in services
        for service in found
        for method in service.methods
        if "connection_id" in method.input_type.fields_by_name
    }

    assert named == set(tried)


# --- other places


@asynccontextmanager
async def elsewhere() -> AsyncIterator[tuple[str, list[bytes]]]:
    """Listen on this machine, as somebody to whom a provider's answer leads; gives the origin, and what came."""
    came: list[bytes] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await reader.read(4096))
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", came


@pytest.mark.parametrize("provider", ["outlook", "teams"])
async def test_a_link_to_another_place_is_not_followed(lab: Lab, provider: str) -> None:
    person = await lab.linked(provider)
    if provider == "outlook":
        lab.many(person, 150)
    else:
        chat = lab.emulator.microsoft.teams.add_chat(person.address, lab.person("teams").address)
        for number in range(60):
            lab.emulator.microsoft.teams.post(chat.chat_id, chat.members[1].address, f"<p>{number}</p>")
    async with elsewhere() as (origin, came):
        lab.emulator.microsoft.graph.links_to = origin

        heard = await lab.fetch(person)

    assert heard.failure is not None
    assert heard.failure.reason == "PROVIDER_UNAVAILABLE"
    assert heard.failure.metadata["cause"] == "FOREIGN_LINK"
    assert came == []


@pytest.mark.parametrize("provider", ["gmail", "outlook", "teams"])
async def test_a_redirect_takes_no_token_anywhere(lab: Lab, provider: str) -> None:
    person = await lab.linked(provider)
    async with elsewhere() as (origin, came):
        for target in (origin, "http://169.254.169.254/latest/meta-data", "//evil.example/x"):
            await lab.emulator.faults.clear()
            where = rf"{API}|/token$"
            lab.emulator.faults.add(Fault(route=where, times=0, status=302, headers={"Location": target}))
            outcomes = {await outcome_of(lab.use(person))}
            lab.grants(provider).expire_access(person.address)
            outcomes.add(await outcome_of(lab.use(person)))

            assert not outcomes & {"OK", "NEEDS_REAUTH"}

    assert came == []


# --- what is not accepted at all


async def test_what_providers_push_is_not_even_answered(lab: Lab) -> None:
    person = await lab.linked("gmail")
    before = await lab.connection(person)
    pushes = [
        ("POST", "/webhooks/gmail", '{"message":{"data":"eyJlbWFpbEFkZHJlc3MiOiJhIiwiaGlzdG9yeUlkIjoiMSJ9"}}'),
        ("POST", "/?validationToken=echo-me", ""),
        ("POST", "/graph", '{"value":[{"changeType":"created","resource":"me/messages/1","clientState":"x"}]}'),
        ("GET", "/callback?code=x&state=y", ""),
    ]

    for method, path, body in pushes:
        answer = await asyncio.to_thread(sent, lab.service.connectors.server.port, method, path, body)
        assert b"echo-me" not in answer
        assert not answer.startswith(b"HTTP/1.1 2")

    assert await lab.connection(person) == before


def sent(port: int, method: str, path: str, body: str) -> bytes:
    """Send a plain request of HTTP to the service; returns what comes back until it hangs up."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall((head + body).encode())
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while piece := connection.recv(4096):
                answer += piece
        except OSError:
            pass
        return answer


async def test_there_is_no_method_for_notifications(lab: Lab) -> None:
    channel = await lab.service.channel("service")
    for service in (CONNECTION_SERVICE, MESSAGE_SERVICE, ADMIN_SERVICE):
        for method in ("Notify", "ReceiveNotification", "HandleWebhook", "Push", "Validate"):
            call: Any = channel.unary_unary(f"/{service}/{method}")

            failure = await failure_of(call(b""))

            assert failure.code is grpc.StatusCode.UNIMPLEMENTED
            assert not [name for name in POLICY if method in name]


async def test_nobody_listens_where_a_consent_comes_back_to(lab: Lab) -> None:
    """The service has no page for browsers: what comes back is brought by the caller."""
    url = changed(f"http://127.0.0.1:{lab.service.connectors.server.port}/callback", state="x", code="y")

    with pytest.raises(Exception, match=r"."):
        await visit(url)
