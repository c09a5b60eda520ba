"""A mailbox that is larger than the quota of a minute is read within it: Gmail refuses nothing, and no time is lost."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from adiuva_rpc.settings import Secret
from connectors.catalog import providers
from connectors.messages.access import Access
from connectors.messages.domain import Message
from connectors.messages.events import Completed, Event, Waiting
from connectors.messages.fetching import FetchRequest, FetchService
from connectors.settings import ConnectorsSettings
from tests.connectors.messages.lab import ANNA, SUBSCRIBER, FakeConnections, FakeHealth, FakeNotices
from tests.emulator.core import Emulator
from tests.emulator.google.state import CLIENT
from tests.emulator.mails import Mail, compose
from tests.emulator.running import running
from tests.fakes.cursor_store import InMemoryCursors, InMemoryQuarantine

ADDRESS = "anna@example.org"
MAILS = 700
"""Two minutes of the quota of a new project, and some more."""
LATEST_SECONDS = 0.25
"""Of real time, until a request that was made has come in."""
A_MINUTES = 300
"""Mails: 6,000 units, 20 for each."""


class EmulatedTokens:
    """The token that the emulator gave."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        return self._token

    async def replace(self, refused: str) -> str:
        raise AssertionError("it is good for an hour")


async def test_seven_hundred_mails_take_two_minutes_and_gmail_refuses_nothing() -> None:
    async with running() as emulator:
        fill(emulator)
        before = emulator.now()

        events = await fetched(emulator)

        took = emulator.now() - before
        completed = events[-1]
        assert isinstance(completed, Completed)
        assert (completed.delivered, completed.has_more) == (MAILS, False)
        assert sum(isinstance(event, Message) for event in events) == MAILS
        assert not [event for event in events if isinstance(event, Waiting)], "the provider asked for nothing"
        assert (
            emulator.google.quota.units_per_minute == ConnectorsSettings.model_fields["gmail_units_per_minute"].default
        )
        assert emulator.google.quota.refused == 0
        assert emulator.counters.count(status=429) == 0
        assert emulator.counters.most_in_flight[f"google:{ADDRESS}"] <= 20
        minutes = timedelta(minutes=MAILS // A_MINUTES)
        assert minutes <= took <= minutes + timedelta(seconds=5)


def fill(emulator: Emulator) -> None:
    emulator.google.add_account(ADDRESS)
    emulator.google.quota.most_at_once = 20
    for number in range(MAILS):
        raw = compose(subject=f"Report {number}", text="Please send it.\n", message_id=f"<{number}@example.com>")
        at = emulator.now() - timedelta(minutes=MAILS - number)
        emulator.google.mailbox(ADDRESS).deliver(Mail(raw=raw, received_at=at))


async def nothing_on_its_way(emulator: Emulator) -> None:
    """Wait until all requests have come in: those on their way would be late by the time that now passes at once."""
    seen = -1
    while seen != len(emulator.counters.calls) or emulator.counters.in_flight.total():
        seen = len(emulator.counters.calls)
        await asyncio.sleep(LATEST_SECONDS)


async def fetched(emulator: Emulator) -> list[Event]:
    """Fetch everything with the service as it is set up by default; its waits pass at once by the virtual clock."""

    async def sleep(seconds: float) -> None:
        await nothing_on_its_way(emulator)
        emulator.clock.advance(timedelta(seconds=seconds))

    settings = ConnectorsSettings(
        database_url=Secret("postgresql+asyncpg://nowhere"),
        token_file=Path("none"),
        key_file=Path("none"),
        google_client_id=CLIENT.client_id,
        google_client_secret=Secret(CLIENT.secret),
        google_accounts_url=emulator.base_url,
        google_oauth2_url=emulator.base_url,
        gmail_url=emulator.base_url,
    )
    connections = FakeConnections()
    await connections.add(provider="gmail")
    connections.tokens = EmulatedTokens(emulator.google.link(ADDRESS).access_token)
    desk = InMemoryQuarantine()
    events: list[Event] = []

    async def emit(event: Event) -> None:
        events.append(event)

    async with providers(settings, now=emulator.now, sleep=sleep) as registry:
        access = Access(
            connections=connections,
            keys=connections,
            tokens=connections,
            providers=registry,
            health=FakeHealth(),
            now=emulator.now,
        )
        service = FetchService(
            access=access,
            store=InMemoryCursors(desk),
            quarantine=desk,
            notices=FakeNotices(),
            now=emulator.now,
            sleep=sleep,
        )
        request = FetchRequest(
            user_id=ANNA,
            connection_id="c-1",
            subscriber=SUBSCRIBER,
            max_messages=MAILS,
            deadline=emulator.now() + timedelta(hours=1),
        )
        await service.fetch(request, emit)
    return events
