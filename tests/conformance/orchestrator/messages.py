"""What every implementation of `runs.ports.Messages` keeps.

A test module makes a subclass with a fixture `harness`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from orchestrator.agents.domain import MessageFilter
from orchestrator.runs.domain import ConnectionFault, ConnectorsUnavailable, RunFault
from orchestrator.runs.incoming import (
    Arrived,
    Attachment,
    Begun,
    Ended,
    Fetch,
    FetchEvent,
    IncomingMessage,
    Mark,
    Participant,
    Unread,
    Waiting,
)
from orchestrator.runs.ports import Messages
from tests.fakes.mailbox import FakeMailbox, Refused

WANTED = Fetch(
    user_id="ada",
    connection_id="mail",
    subscriber="agent-1",
    filter=MessageFilter(),
    max_messages=100,
    max_body_chars=8_000,
    within=timedelta(seconds=20),
)
FULL = IncomingMessage(
    key="18c2a9f0b1",
    thread_id="18c2",
    received_at=datetime(2026, 3, 2, 9, 30, 15, 250_000, tzinfo=UTC),
    sender=Participant(address="anna@acme.example", name="Anna Rössi 🌿"),
    to=(Participant(address="me@example.org"), Participant(name="Only a name")),
    cc=(Participant(address="boss@acme.example", name="Boss"),),
    subject="Re: Logo",
    text="Here it is.\n\n> Please send it.",
    new_text="Here it is.",
    quoted=True,
    truncated=True,
    full_chars=12_000,
    attachments=(
        Attachment(name="logo.svg", media_type="image/svg+xml", size_bytes=1_200),
        Attachment(name="dot.png", media_type="image/png", inline=True),
    ),
    labels=("INBOX", "IMPORTANT"),
)

REASONS = {
    "NEEDS_REAUTH": "NEEDS_REAUTH",
    "CONNECTION_BLOCKED": "CONNECTION_BLOCKED",
    "DECRYPT_FAILED": "DECRYPT_FAILED",
    "CONNECTION_PENDING": "CONNECTION_PENDING",
    "DISCONNECTED": "DISCONNECTED",
    "NOT_FOUND": "CONNECTION_NOT_FOUND",
    "PROVIDER_UNAVAILABLE": "PROVIDER_UNAVAILABLE",
    "THROTTLED": "THROTTLED",
    "WINDOW_TOO_LARGE": "WINDOW_TOO_LARGE",
    "FILTER_UNSUPPORTED": "FILTER_UNSUPPORTED",
    "FILTER_INVALID": "FILTER_INVALID",
    "OPERATOR_FAULT": "OPERATOR_FAULT",
}
"""What the service says, and what the run is told."""


@dataclass
class MessagesHarness:
    """What a test module gives the suite."""

    messages: Messages
    mailbox: FakeMailbox
    """Ada's connection `mail`, empty."""

    async def fetch(self, wanted: Fetch = WANTED) -> list[FetchEvent]:
        """Fetch to the end."""
        with anyio.fail_after(10):
            async with aclosing(self.messages.fetch(wanted)) as events:
                return [event async for event in events]

    async def fail(self, wanted: Fetch = WANTED) -> tuple[list[FetchEvent], RunFault]:
        """Fetch to the fault."""
        came: list[FetchEvent] = []
        with anyio.fail_after(10), pytest.raises(RunFault) as raised:
            async with aclosing(self.messages.fetch(wanted)) as events:
                async for event in events:
                    came.append(event)  # noqa: PERF401 - what came before the fault is looked at
        return came, raised.value


def keys(events: Sequence[FetchEvent]) -> list[str]:
    return [event.message.key for event in events if isinstance(event, Arrived)]


def tokens(events: Sequence[FetchEvent]) -> list[str]:
    return [event.cursor_token for event in events if isinstance(event, Mark | Ended)]


class MessagesConformance:
    """The suite."""

    @pytest.fixture
    async def harness(self) -> MessagesHarness:
        raise NotImplementedError

    async def test_an_empty_mailbox_begins_and_ends(self, harness: MessagesHarness) -> None:
        begun, ended = await harness.fetch()

        assert begun == Begun(provider="gmail")
        assert isinstance(ended, Ended)
        assert not ended.more

    async def test_a_message_comes_with_everything_that_is_known_of_it(self, harness: MessagesHarness) -> None:
        harness.mailbox.entries[1] = FULL
        harness.mailbox.entries[2] = IncomingMessage(key="bare")

        events = await harness.fetch()

        assert [event.message for event in events if isinstance(event, Arrived)] == [FULL, IncomingMessage(key="bare")]

    async def test_messages_come_oldest_first_with_marks_between_them(self, harness: MessagesHarness) -> None:
        for number in range(5):
            harness.mailbox.add(f"m{number}", "Hello")

        events = await harness.fetch()

        assert keys(events) == ["m0", "m1", "m2", "m3", "m4"]
        assert [type(event).__name__ for event in events] == [
            *("Begun", "Arrived", "Arrived", "Mark", "Arrived", "Arrived", "Mark", "Arrived", "Ended")
        ]

    async def test_nothing_moves_without_a_commit(self, harness: MessagesHarness) -> None:
        for number in range(3):
            harness.mailbox.add(f"m{number}", "Hello")

        first = await harness.fetch()
        second = await harness.fetch()

        assert keys(first) == keys(second) == ["m0", "m1", "m2"]

    async def test_a_commit_moves_the_cursor_to_its_mark(self, harness: MessagesHarness) -> None:
        for number in range(3):
            harness.mailbox.add(f"m{number}", "Hello")
        marks = tokens(await harness.fetch())

        await harness.messages.commit("ada", "mail", marks[0])

        assert keys(await harness.fetch()) == ["m2"]

    async def test_a_commit_can_be_repeated_and_never_moves_back(self, harness: MessagesHarness) -> None:
        for number in range(3):
            harness.mailbox.add(f"m{number}", "Hello")
        marks = tokens(await harness.fetch())

        await harness.messages.commit("ada", "mail", marks[-1])
        await harness.messages.commit("ada", "mail", marks[-1])
        await harness.messages.commit("ada", "mail", marks[0])

        assert keys(await harness.fetch()) == []

    async def test_each_subscriber_has_a_cursor_of_its_own(self, harness: MessagesHarness) -> None:
        harness.mailbox.add("m0", "Hello")
        marks = tokens(await harness.fetch())
        await harness.messages.commit("ada", "mail", marks[-1])

        assert keys(await harness.fetch(replace(WANTED, subscriber="agent-2"))) == ["m0"]

    async def test_the_marks_of_an_older_fetch_are_good_for_nothing(self, harness: MessagesHarness) -> None:
        harness.mailbox.add("m0", "Hello")
        marks = tokens(await harness.fetch())
        await harness.fetch()

        with pytest.raises(ConnectionFault) as raised:
            await harness.messages.commit("ada", "mail", marks[-1])

        assert raised.value.reason == "STALE_FETCH"
        assert keys(await harness.fetch()) == ["m0"]

    async def test_what_is_no_mark_is_refused(self, harness: MessagesHarness) -> None:
        with pytest.raises(ConnectionFault):
            await harness.messages.commit("ada", "mail", "made up")

    async def test_a_message_that_cannot_be_read_is_told_and_the_others_go_on(self, harness: MessagesHarness) -> None:
        harness.mailbox.add("m0", "Hello")
        harness.mailbox.add_unreadable("bad", "MESSAGE_TOO_LARGE")
        harness.mailbox.add("m1", "Hello")

        events = await harness.fetch()

        assert keys(events) == ["m0", "m1"]
        assert [event for event in events if isinstance(event, Unread)] == [
            Unread(key="bad", reason="MESSAGE_TOO_LARGE")
        ]

    async def test_no_more_come_than_were_asked_for(self, harness: MessagesHarness) -> None:
        for number in range(3):
            harness.mailbox.add(f"m{number}", "Hello")

        events = await harness.fetch(replace(WANTED, max_messages=2))

        assert keys(events) == ["m0", "m1"]
        ended = events[-1]
        assert isinstance(ended, Ended)
        assert ended.more

    async def test_the_filter_and_the_limits_reach_the_service(self, harness: MessagesHarness) -> None:
        wanted = replace(
            WANTED,
            filter=MessageFilter(senders=("@acme.example",), unread_only=True, provider_query="-category:promotions"),
            max_body_chars=20,
        )
        harness.mailbox.add("long", "x" * 50)

        events = await harness.fetch(wanted)

        came = [event.message for event in events if isinstance(event, Arrived)]
        assert [(message.truncated, message.full_chars) for message in came] == [(True, 50)]
        asked = harness.mailbox.fetches[0]
        assert replace(asked, within=wanted.within) == wanted
        assert timedelta(0) < asked.within <= wanted.within

    async def test_a_wish_of_the_provider_to_wait_is_told(self, harness: MessagesHarness) -> None:
        harness.mailbox.waits = True

        events = await harness.fetch()

        assert [event for event in events if isinstance(event, Waiting)] == [
            Waiting(until=datetime(2026, 3, 2, 9, 0, tzinfo=UTC))
        ]

    @pytest.mark.parametrize(("said", "told"), sorted(REASONS.items()))
    async def test_every_refusal_has_its_reason_and_a_sentence(
        self, harness: MessagesHarness, said: str, told: str
    ) -> None:
        harness.mailbox.refused = Refused(said)

        came, fault = await harness.fail()

        assert [event for event in came if not isinstance(event, Begun)] == []
        assert isinstance(fault, ConnectionFault)
        assert fault.reason == told
        assert fault.message.endswith(".")
        assert "{" not in fault.message

    async def test_a_throttled_connection_says_for_how_long(self, harness: MessagesHarness) -> None:
        harness.mailbox.refused = Refused("THROTTLED", retry_after=600.0)

        _came, fault = await harness.fail()

        assert "in 10 minutes" in fault.message

    async def test_a_refused_filter_names_its_field(self, harness: MessagesHarness) -> None:
        harness.mailbox.refused = Refused("FILTER_UNSUPPORTED")

        _came, fault = await harness.fail()

        assert "filter.recipients" in fault.message

    async def test_the_connection_of_another_user_is_not_there(self, harness: MessagesHarness) -> None:
        for wanted in (replace(WANTED, user_id="bob"), replace(WANTED, connection_id="other")):
            _came, fault = await harness.fail(wanted)

            assert fault.reason == "CONNECTION_NOT_FOUND"

    async def test_what_came_before_a_fault_is_good(self, harness: MessagesHarness) -> None:
        for number in range(4):
            harness.mailbox.add(f"m{number}", "Hello")
        harness.mailbox.breaks = [(4, Refused("PROVIDER_UNAVAILABLE"))]

        came, fault = await harness.fail()
        await harness.messages.commit("ada", "mail", tokens(came)[0])

        assert keys(came) == ["m0", "m1", "m2"]
        assert fault.reason == "PROVIDER_UNAVAILABLE"
        assert keys(await harness.fetch()) == ["m2", "m3"]

    async def test_a_service_that_goes_in_the_middle_is_worth_another_fetch(self, harness: MessagesHarness) -> None:
        harness.mailbox.add("m0", "Hello")
        harness.mailbox.breaks = [(1, Refused("UNAVAILABLE"))]

        came, fault = await harness.fail()

        assert keys(came) == ["m0"]
        assert isinstance(fault, ConnectorsUnavailable)

    async def test_a_service_that_is_not_there_is_unavailable(self, harness: MessagesHarness) -> None:
        harness.mailbox.refused = Refused("UNAVAILABLE")

        came, fault = await harness.fail()

        assert came == []
        assert isinstance(fault, ConnectorsUnavailable)
        assert fault.reason == "CONNECTORS_UNAVAILABLE"

    async def test_leaving_early_ends_the_fetch(self, harness: MessagesHarness) -> None:
        for number in range(2_000):
            harness.mailbox.add(f"m{number}", "x" * 2_000)

        with anyio.fail_after(10):
            async with aclosing(harness.messages.fetch(replace(WANTED, max_messages=2_000))) as events:
                async for event in events:
                    if isinstance(event, Arrived):
                        break
            await harness.mailbox.left.wait()
