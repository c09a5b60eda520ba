"""A provider that asks to wait: the caller hears of it at once, and the provider is not asked again before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import pytest

from connectors.connections.domain import ConnectionState
from connectors.errors import ProviderUnavailable, StoreUnavailable, Throttled
from connectors.messages.events import Checkpoint, Event, Started, Waiting
from tests.connectors.messages.lab import NOON, Fetched, Lab
from tests.fakes.provider import ManualClock, Pause


@pytest.fixture
async def lab() -> Lab:
    return await Lab.linked()


@pytest.fixture
async def patient() -> Lab:
    """A lab whose clock stands still until it is moved."""
    return await Lab.linked(clock=ManualClock(NOON, hasty=False))


@asynccontextmanager
async def fetching(lab: Lab) -> AsyncIterator[tuple[list[Event], Fetched]]:
    """Fetch beside the block; it ends when the fetch does."""
    events: list[Event] = []
    fetched = Fetched(events)

    async def take(event: Event) -> None:
        events.append(event)

    with anyio.fail_after(10):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(lab.fetches.fetch(lab.request(), take))
            yield events, fetched


async def told_of(lab: Lab, events: list[Event], *, pauses: int, sleepers: int = 1) -> list[Event]:
    """Wait until so many pauses were told and so many requests pause, and return what was told by then."""

    def there() -> bool:
        told = sum(isinstance(event, Waiting) for event in events)
        return told == pauses and len(lab.clock.slept) == sleepers

    while not there():  # noqa: ASYNC110 - a list has no event to wait for
        await asyncio.sleep(0)
    return list(events)


async def test_a_pause_before_the_listing_is_told_before_anything_else(patient: Lab) -> None:
    patient.mails(1)
    patient.fake.listing_script.append(Pause(30))

    async with fetching(patient) as (events, fetched):
        told = await told_of(patient, events, pauses=1)
        patient.clock.advance(timedelta(seconds=30))

    assert told == [Waiting(until=NOON + timedelta(seconds=30))]
    assert fetched.keys == ["m0000"]


async def test_a_pause_in_the_middle_is_told_while_it_lasts(patient: Lab) -> None:
    patient.mails(3)
    patient.fake.scripts["m0001"].append(Pause(5))

    async with fetching(patient) as (events, fetched):
        told = await told_of(patient, events, pauses=1)
        patient.clock.advance(timedelta(seconds=5))

    assert Waiting(until=NOON + timedelta(seconds=5)) in told
    assert "m0001" not in Fetched(told).keys
    assert fetched.keys == ["m0000", "m0001", "m0002"]


async def test_many_equal_wishes_are_told_once_and_a_longer_one_again(patient: Lab) -> None:
    for provider_id in patient.mails(4):
        patient.fake.scripts[provider_id].append(Pause(5))
    patient.fake.scripts["m0003"].append(Pause(60))

    async with fetching(patient) as (events, fetched):
        await told_of(patient, events, pauses=1, sleepers=4)
        patient.clock.advance(timedelta(seconds=5))
        await told_of(patient, events, pauses=2, sleepers=5)
        patient.clock.advance(timedelta(seconds=60))

    assert [wait.until - NOON for wait in fetched.waits] == [timedelta(seconds=5), timedelta(seconds=65)]
    assert len(events) == len(fetched.events)


async def test_the_connection_knows_of_the_pause_and_of_its_end(lab: Lab) -> None:
    lab.mails(2)
    lab.fake.scripts["m0001"].append(Pause(5))

    await lab.fetch()

    assert lab.health.told == ["succeeded", "throttled until 12:00:05", "succeeded"]


async def test_a_pause_that_is_too_long_ends_the_fetch_after_what_came_before(lab: Lab) -> None:
    lab.mails(3)
    lab.fake.scripts["m0002"].append(Pause(3_600))

    fetched = await lab.fetch()

    assert isinstance(fetched.error, Throttled)
    assert fetched.error.retry_after == 3_600
    assert fetched.keys == ["m0000", "m0001"]
    assert isinstance(fetched.events[-1], Checkpoint)
    assert lab.health.told[-1] == "THROTTLED"


async def test_the_provider_is_left_alone_as_long_as_it_asked_another_call(lab: Lab) -> None:
    lab.mails(1)
    until = lab.clock.now() + timedelta(seconds=90)
    lab.connections.change("c-1", state=ConnectionState.THROTTLED, next_allowed_at=until)

    fetched = await lab.fetch()

    assert fetched.keys == ["m0000"]
    assert fetched.events[0] == Waiting(until=until)
    assert isinstance(fetched.events[1], Started)
    assert lab.fake.queries[0].now == until


async def test_a_caller_that_cannot_wait_so_long_is_told_at_once(lab: Lab) -> None:
    until = lab.clock.now() + timedelta(hours=1)
    lab.connections.change("c-1", state=ConnectionState.THROTTLED, next_allowed_at=until)

    fetched = await lab.fetch()

    assert isinstance(fetched.error, Throttled)
    assert fetched.error.retry_after == 3_600
    assert (fetched.events, lab.fake.queries) == ([], [])


async def test_a_pause_that_is_over_holds_up_nobody(lab: Lab) -> None:
    until = lab.clock.now() - timedelta(seconds=1)
    lab.connections.change("c-1", state=ConnectionState.THROTTLED, next_allowed_at=until)

    assert (await lab.fetch()).waits == []


async def test_a_health_that_cannot_be_noted_hides_no_error(lab: Lab) -> None:
    class Lost:
        async def succeeded(self, connection_id: str) -> None:
            raise StoreUnavailable

        async def throttled(self, connection_id: str, until: object) -> None:
            raise StoreUnavailable

        async def failed(self, connection_id: str, fault: object) -> None:
            raise StoreUnavailable

    lab.access._health = Lost()
    lab.mails(2)
    lab.fake.scripts["m0000"].append(Pause(1))
    lab.fake.scripts["m0001"].append(ProviderUnavailable())

    fetched = await lab.fetch()

    assert fetched.keys == ["m0000"]
    assert isinstance(fetched.error, ProviderUnavailable)
