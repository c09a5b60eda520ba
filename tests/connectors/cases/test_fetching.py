"""Messages of providers as they really are: nothing is lost or comes twice, and one bad message stops no other."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from email.mime.multipart import MIMEMultipart
from typing import Any

import grpc.aio
import pytest

from adiuva.connectors.v1 import (
    admin_service_pb2 as admin_pb,
    connection_service_pb2 as pb,
    message_service_pb2 as messages_pb,
)
from tests.connectors.cases.lab import AGENT, THROTTLED, Lab, Person, outcome_of
from tests.connectors.harness import Harness
from tests.emulator.core import Fault
from tests.emulator.google.errors import error_body
from tests.emulator.google.quota import Tells
from tests.emulator.mails import compose
from tests.emulator.microsoft.conversations import Chat
from tests.emulator.microsoft.graph import RetryAfter

MAIL = pytest.mark.parametrize("provider", ["gmail", "outlook"])
MESSAGE = r"/messages/[^/]+$"
MINUTE = timedelta(minutes=1)
INCREMENTAL, RESYNC = messages_pb.FETCH_MODE_INCREMENTAL, messages_pb.FETCH_MODE_RESYNC


def forget(lab: Lab, person: Person) -> None:
    """Let the provider forget the places that it has given out."""
    if person.provider == "gmail":
        lab.emulator.google.mailbox(person.address).expire_history()
    else:
        lab.emulator.microsoft.expire_delta(person.address)


async def quarantined(lab: Lab, person: Person) -> list[admin_pb.QuarantinedMessage]:
    """Return what could not be read."""
    admin = await lab.service.admin()
    request = admin_pb.ListQuarantinedMessagesRequest(connection_id=person.connection_id)
    return list((await admin.ListQuarantinedMessages(request)).messages)


# --- nothing is lost, nothing comes twice


@MAIL
async def test_ten_looks_without_new_mail_bring_nothing_and_cost_little(lab: Lab, provider: str) -> None:
    person = await lab.linked(provider)
    lab.many(person, 3)
    await lab.consume(person)

    for number in range(10):
        heard = await lab.fetch(person, at=(lab.service, lab.other)[number % 2])

        assert heard.kinds == ["started", "completed"]
        assert heard.started.mode == INCREMENTAL
        assert heard.completed.provider_calls <= 3


@MAIL
async def test_fourteen_mails_of_one_second_come_once_each_across_a_boundary(lab: Lab, provider: str) -> None:
    person = await lab.linked(provider)
    second = lab.emulator.now().replace(microsecond=0) - MINUTE
    early = [f"Early {number}" for number in range(9)]
    late = [f"Late {number}" for number in range(5)]
    for subject in early:
        lab.receive(person, subject, at=second)
    first = await lab.fetch(person, max_messages=4)
    await lab.commit(person, first.token)
    for subject in late:
        lab.receive(person, subject, at=second)

    rest = [
        *(await lab.consume(person, max_messages=4)).subjects,
        *(await lab.consume(person, max_messages=4)).subjects,
    ]

    assert sorted(first.subjects + rest) == sorted(early + late)


@MAIL
async def test_a_mail_that_comes_in_during_a_listing_is_delivered(lab: Lab, provider: str) -> None:
    person = await lab.linked(provider)
    lab.many(person, 3)
    held = lab.emulator.faults.add(Fault(route=r"/messages(/delta)?$", account=person.address, hold=True))

    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(lab.consume(person))
        await lab.emulator.faults.until_held(held)
        lab.receive(person, "Meanwhile")
        await lab.emulator.faults.release(held)
    second = await lab.consume(person)

    assert sorted(first.result().subjects + second.subjects) == ["Mail 000", "Mail 001", "Mail 002", "Meanwhile"]


async def test_when_the_third_message_fails_it_and_all_behind_it_come_the_next_time(lab: Lab) -> None:
    person = await lab.linked("gmail")
    subjects = lab.many(person, 8)
    third = sorted(lab.emulator.google.mailbox(person.address).messages.values(), key=lambda one: one.order)[2]
    lab.emulator.faults.add(Fault(route=f"/messages/{third.message_id}$", status=200, body="<html>no answer of ours"))

    first = await lab.fetch(person)
    await lab.commit(person, first.token)
    second = await lab.consume(person, at=lab.other)

    assert first.failure is not None
    assert first.failure.reason == "PROVIDER_UNAVAILABLE"
    assert first.subjects == subjects[:2], "no message behind the failed one, whose commit would lose it"
    assert second.subjects == subjects[2:]


@MAIL
async def test_what_was_not_committed_comes_again_and_is_not_listed_again(lab: Lab, provider: str) -> None:
    person = await lab.linked(provider)
    subjects = lab.many(person, 5)
    first = await lab.fetch(person, max_messages=3)
    lab.emulator.counters.reset()

    again = await lab.fetch(person, at=lab.other)

    assert (first.subjects, again.subjects) == (subjects[:3], subjects)
    assert lab.emulator.counters.count(r"/messages$|/delta$|/history$") == 0


@MAIL
async def test_a_forgotten_place_is_made_up_for_by_a_window_that_repeats_nothing(lab: Lab, provider: str) -> None:
    person = await lab.linked(provider)
    lab.many(person, 4)
    await lab.consume(person)
    forget(lab, person)
    lab.receive(person, "Since then")

    first, second = await lab.consume(person), await lab.consume(person)

    assert (first.subjects, first.started.mode) == (["Since then"], RESYNC)
    assert (second.subjects, second.started.mode) == ([], INCREMENTAL)
    assert (await lab.connection(person)).state != THROTTLED


async def test_whoever_watches_hears_that_a_place_was_forgotten_at_both_replicas(lab: Lab) -> None:
    person = await lab.linked("gmail")
    await lab.consume(person)
    watches = [await watching(service) for service in (lab.service, lab.other)]
    forget(lab, person)

    await lab.consume(person)

    for watch in watches:
        event = await watch.read()
        while event.kind != pb.CONNECTION_EVENT_KIND_RESYNCED:
            event = await watch.read()
        assert event.connection.connection_id == person.connection_id
        watch.cancel()


async def watching(service: Harness) -> Any:
    """Return a watch whose snapshot is complete. One that has just started may be told to come again."""
    stub = await service.connections()
    while True:
        watch: Any = stub.WatchConnections(pb.WatchConnectionsRequest(), timeout=20)
        with contextlib.suppress(grpc.aio.AioRpcError):
            while (await watch.read()).kind != pb.CONNECTION_EVENT_KIND_SNAPSHOT_END:
                pass
            return watch


async def test_a_place_that_is_forgotten_on_the_way_begins_the_window_anew(lab: Lab) -> None:
    person = await lab.linked("outlook")
    await lab.consume(person)
    subjects = lab.many(person, 230)
    lab.emulator.microsoft.delta.expire_at_page = 3

    heard = await lab.consume(person, max_messages=2000)

    assert heard.subjects == subjects
    assert (await lab.consume(person)).subjects == []


@MAIL
async def test_empty_pages_repeats_and_replays_make_no_difference(lab: Lab, provider: str) -> None:
    person = await lab.linked(provider)
    await lab.consume(person)
    lab.emulator.google.switches.empty_history_pages = True
    delta = lab.emulator.microsoft.delta
    delta.empty_pages, delta.duplicates, delta.replays, delta.strays = 2, True, 3, 2

    for turn in range(3):
        subjects = [f"Turn {turn}, mail {number}" for number in range(4)]
        for subject in subjects:
            lab.receive(person, subject)

        assert sorted((await lab.consume(person)).subjects) == subjects


async def test_a_mail_that_is_moved_away_and_back_comes_once(lab: Lab) -> None:
    person = await lab.linked("outlook")
    mailbox = lab.emulator.microsoft.mailbox(person.address)
    moved = lab.receive(person, "Moved")
    heard = await lab.consume(person)

    for folder in ("archive", "inbox"):
        mailbox.move(moved, folder)
        assert (await lab.consume(person)).subjects == []
    both = {"containers": ["inbox", "archive"]}
    mailbox.move(moved, "archive")

    assert heard.subjects == ["Moved"]
    assert (await lab.consume(person, filter=both)).subjects == []


# --- bad messages


def bad_mails() -> dict[str, bytes]:
    """Mails that break some rule, and can be read all the same."""
    deep = "<div>" * 400 + "the tail" + "</div>" * 400
    text = b"\r\nContent-Type: text/plain; charset="
    return {
        "no such charset": b"Subject: no such charset" + text + b"unknown-8bit\r\n\r\n\xe9t\xe9",
        "bad iso-2022-jp": b"Subject: bad iso-2022-jp" + text + b"iso-2022-jp\r\n\r\n\x1b$B\xff",
        "bad message id": b"Message-ID: <[abc@x.test]>\r\nSubject: bad message id\r\n\r\nHello\r\n",
        "no boundary": b"Subject: no boundary\r\nContent-Type: multipart/mixed\r\n\r\nHello\r\n",
        "bad base64": b"Subject: bad base64\r\nContent-Transfer-Encoding: base64\r\n\r\n%%%%=\r\n",
        "bad date": b"Subject: bad date\r\nDate: Tomorrow\r\nFrom: <<>\r\nTo: ,,,\r\n\r\nHello\r\n",
        "deep html": compose(subject="deep html", html=deep),
    }


@MAIL
async def test_mails_that_break_the_rules_are_read_as_far_as_that_goes(lab: Lab, provider: str) -> None:
    person = await lab.linked(provider)
    now = lab.emulator.now()
    mails = bad_mails()
    for number, (subject, raw) in enumerate(mails.items()):
        lab.receive(person, subject, raw=raw, at=now - (len(mails) - number) * MINUTE)
    lab.receive(person, "A good one", at=now)

    heard = await lab.consume(person)

    assert heard.subjects == [*mails, "A good one"]
    texts = {event.message.subject: event.message.text for event in heard.events if event.message.subject}
    assert "the tail" in texts["deep html"]
    assert await quarantined(lab, person) == []


async def test_a_message_that_cannot_be_read_is_set_apart_and_the_others_go_on(lab: Lab) -> None:
    person = await lab.linked("gmail")
    now = lab.emulator.now()
    lab.receive(person, "Before", at=now - 2 * MINUTE)
    bad = lab.receive(person, "Bad", raw=nested(60), at=now - MINUTE)
    lab.receive(person, "After", at=now)

    heard = await lab.consume(person)
    again = await lab.consume(person)
    (kept,) = await quarantined(lab, person)

    assert heard.subjects == ["Before", "After"]
    (error,) = [event.item_error for event in heard.events if event.WhichOneof("event") == "item_error"]
    assert (error.provider_id, error.reason) == (bad, "MESSAGE_UNREADABLE")
    assert again.kinds == ["started", "completed"]
    assert (kept.provider_id, kept.subscriber, kept.attempts) == (bad, AGENT, 1)

    message = lab.emulator.google.mailbox(person.address).messages[bad]
    message.mail = type(message.mail)(raw=compose(subject="Mended"), received_at=message.mail.received_at)
    admin = await lab.service.admin()
    await admin.RetryQuarantinedMessages(admin_pb.RetryQuarantinedMessagesRequest(quarantine_ids=[kept.quarantine_id]))
    assert (await lab.consume(person)).subjects == ["Mended"]
    assert await quarantined(lab, person) == []


def nested(levels: int) -> bytes:
    """Return a mail of parts within parts: more than anybody's mail has."""
    outer = inner = MIMEMultipart()
    outer["Subject"] = "Bad"
    for _ in range(levels):
        part = MIMEMultipart()
        inner.attach(part)
        inner = part
    return outer.as_bytes()


# --- a provider that wants to be left alone


async def left_alone(lab: Lab, person: Person, *, seconds: float) -> None:
    """Fetch past a throttle that is longer than the call, and see both replicas keep away from then on."""
    lab.emulator.counters.reset()

    refused = [await lab.fetch(person, at=(lab.service, lab.other)[number % 2], timeout=5) for number in range(4)]

    for heard in refused:
        assert heard.failure is not None
        assert heard.failure.reason == "THROTTLED"
        assert heard.failure.retry_after == pytest.approx(seconds, abs=5)
    assert lab.emulator.counters.early == 0
    assert lab.emulator.counters.count(status=429) + lab.emulator.counters.count(status=403) == 1
    connection = await lab.connection(person)
    assert connection.state == THROTTLED
    left = connection.next_allowed_at.ToDatetime() - lab.emulator.now().replace(tzinfo=None)
    assert left.total_seconds() == pytest.approx(seconds, abs=5)


@pytest.mark.parametrize("tells", [Tells.HEADER, Tells.TEXT])
@pytest.mark.parametrize("status", [429, 403])
async def test_gmail_is_left_alone_as_long_as_it_asks_in_whatever_way(lab: Lab, status: int, tells: Tells) -> None:
    person = await lab.linked("gmail")
    lab.many(person, 1)
    until = lab.emulator.now() + timedelta(minutes=40)
    text, headers = "User-rate limit exceeded.", {"Retry-After": "2400"}
    if tells is Tells.TEXT:
        text, headers = f"{text}  Retry after {until:%Y-%m-%dT%H:%M:%S}.000Z", {}
    body = error_body(status, "rateLimitExceeded", text, domain="usageLimits")
    lab.emulator.faults.add(Fault(route="^/gmail/", account=person.address, status=status, headers=headers, body=body))

    await left_alone(lab, person, seconds=2400)


@pytest.mark.parametrize("says", [RetryAfter.SECONDS, RetryAfter.DATE])
async def test_graph_is_left_alone_as_long_as_it_asks_in_whatever_way(lab: Lab, says: RetryAfter) -> None:
    person = await lab.linked("outlook")
    lab.many(person, 1)
    lab.emulator.microsoft.graph.throttle(
        r"^/v1\.0/", account=person.address, retry_after=says, wait=timedelta(minutes=40)
    )

    await left_alone(lab, person, seconds=2400)


async def test_calls_that_are_refused_because_of_a_throttle_do_not_make_it_longer(lab: Lab) -> None:
    person = await lab.linked("gmail")
    lab.emulator.faults.add(
        Fault(route="^/gmail/", account=person.address, status=429, headers={"Retry-After": "2400"}, body={})
    )
    await lab.fetch(person, timeout=5)
    before = await lab.connection(person)

    for number in range(5):
        assert (await lab.fetch(person, at=(lab.service, lab.other)[number % 2], timeout=5)).failure
        assert await outcome_of(lab.use(person)) == "THROTTLED"
        assert await outcome_of(attachment(lab.service, person)) == "THROTTLED"

    assert await lab.connection(person) == before


async def attachment(service: Harness, person: Person) -> None:
    """Ask for an attachment."""
    stub = await service.messages()
    request = messages_pb.GetAttachmentRequest(
        connection_id=person.connection_id, provider_id="message", attachment_id="attachment"
    )
    async for _ in stub.GetAttachment(request, timeout=5):
        pass


# --- chats


async def test_only_what_people_said_within_the_window_comes_from_teams(lab: Lab) -> None:
    person, other, chat = await in_teams(lab)
    teams = lab.emulator.microsoft.teams
    teams.leaky_filter = True
    now = lab.emulator.now()
    teams.post(chat.chat_id, other.address, "<p>too old</p>", at=now - timedelta(days=8))
    teams.post(chat.chat_id, other.address, "<p>said</p>", at=now - timedelta(days=1))
    teams.post(chat.chat_id, "", "<systemEventMessage/>", at=now - timedelta(hours=2))
    deleted = teams.post(chat.chat_id, other.address, "<p>deleted</p>", at=now - timedelta(hours=1))
    teams.delete(deleted)
    try:
        heard = await lab.consume(person)
        again = await lab.consume(person)
    finally:
        teams.leaky_filter = False

    texts = [event.message.text.strip() for event in heard.events if event.WhichOneof("event") == "message"]
    assert texts == ["said"]
    assert again.kinds == ["started", "completed"]
    asked = lab.emulator.counters.matching(r"/chats/[^/]+/messages$")
    assert asked
    for call in asked:
        assert "orderby=lastModifiedDateTime" in call.query.replace("%24", "").replace("$", "")
        assert "filter=lastModifiedDateTime" in call.query.replace("%24", "").replace("$", "")


async def in_teams(lab: Lab) -> tuple[Person, Person, Chat]:
    """Link somebody's Teams, and give them a chat with somebody else."""
    person, other = lab.person("teams"), lab.person("teams")
    chat = lab.emulator.microsoft.teams.add_chat(person.address, other.address)
    connection = await lab.service.link("teams", person.address)
    return Person(person.address, "teams", connection.connection_id), other, chat
