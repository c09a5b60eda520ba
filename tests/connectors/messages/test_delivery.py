"""How messages are read ahead, in which order they come, and what stops when a caller leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from connectors.errors import ProviderUnavailable
from connectors.messages.domain import Message
from connectors.messages.events import Event
from tests.connectors.messages.lab import Lab, Stopped, leaving_after
from tests.fakes.provider import ManualClock


@pytest.fixture
async def lab() -> Lab:
    return await Lab.linked(concurrency=4)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - what changes has no event to wait for
            await asyncio.sleep(0)


async def idle() -> None:
    """Let everybody else do what there is to do without waiting for anything."""
    for _ in range(500):
        await asyncio.sleep(0)


async def test_no_more_is_read_at_a_time_than_the_provider_allows(lab: Lab) -> None:
    ids = lab.mails(60)

    fetched = await lab.fetch()

    assert fetched.keys == ids
    assert lab.fake.most_running == 4


async def test_messages_come_in_order_however_they_are_answered(lab: Lab) -> None:
    ids = lab.mails(8)
    gates = [lab.fake.hold(provider_id) for provider_id in ids]
    got: list[str] = []

    async def take(event: Event) -> None:
        if isinstance(event, Message):
            got.append(event.key)

    with anyio.fail_after(10):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(lab.fetches.fetch(lab.request(), take))
            await until(lambda: lab.fake.running == 4)
            for gate in reversed(gates):
                gate.set()
                await idle()
                if gate is not gates[0]:
                    assert got == []

    assert got == ids


async def test_a_caller_without_room_stops_the_reading(lab: Lab) -> None:
    lab.mails(100)
    room = asyncio.Event()
    taken = 0

    async def take(event: Event) -> None:
        nonlocal taken
        if isinstance(event, Message):
            taken += 1
            if taken == 3:
                await room.wait()

    with anyio.fail_after(10):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(lab.fetches.fetch(lab.request(), take))
            await until(lambda: taken == 3 and lab.fake.running == 0)
            await idle()
            begun = len(lab.fake.begun)
            room.set()

    assert begun <= 3 + 2 * 4
    assert taken == 100


async def test_a_slow_message_holds_up_only_so_many(lab: Lab) -> None:
    lab.mails(100)
    gate = lab.fake.hold("m0000")

    with anyio.fail_after(10):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(lab.fetch())
            await until(lambda: len(lab.fake.begun) == 2 * 4)
            await idle()
            begun = len(lab.fake.begun)
            gate.set()

    assert begun == 2 * 4


async def test_nothing_is_begun_behind_a_message_that_failed(lab: Lab) -> None:
    lab.mails(100)
    gate = lab.fake.hold("m0000")
    lab.fake.scripts["m0003"].append(ProviderUnavailable())

    with anyio.fail_after(10):
        async with asyncio.TaskGroup() as tasks:
            fetch = tasks.create_task(lab.fetch())
            await until(lambda: lab.fake.running == 1)
            await idle()
            gate.set()

    assert fetch.result().keys == ["m0000", "m0001", "m0002"]
    assert len(lab.fake.begun) <= 8


async def test_leaving_ends_every_request(lab: Lab) -> None:
    ids = lab.mails(20)
    for provider_id in ids[5:]:
        lab.fake.hold(provider_id)

    with pytest.raises(Stopped):
        await lab.fetch(leaving_after(5))

    assert lab.fake.running == 0
    assert set(lab.fake.cancelled) <= set(ids[5:])
    assert lab.fake.cancelled


async def test_a_cancelled_fetch_ends_every_request_and_no_refresh(lab: Lab) -> None:
    refreshed = asyncio.Event()
    go_on = asyncio.Event()

    class Refreshing:
        """As the keeper's sources: what has begun is shielded."""

        def __init__(self, tasks: asyncio.TaskGroup) -> None:
            self._tasks = tasks
            self._flight: asyncio.Task[str] | None = None

        async def token(self) -> str:
            if self._flight is None:
                self._flight = self._tasks.create_task(self._refresh())
            return await asyncio.shield(self._flight)

        async def replace(self, refused: str) -> str:
            return await self.token()

        async def _refresh(self) -> str:
            await go_on.wait()
            refreshed.set()
            return "new"

    lab.mails(3)
    with anyio.fail_after(10):
        async with asyncio.TaskGroup() as tasks:
            lab.connections.tokens = Refreshing(tasks)
            fetch = tasks.create_task(lab.fetch())
            await until(lambda: len(lab.fake.queries) == 1)
            fetch.cancel()
            await until(fetch.done)
            assert fetch.cancelled()
            go_on.set()

    assert refreshed.is_set()


async def test_a_provider_that_allows_nothing_at_a_time_still_reads() -> None:
    lab = await Lab.linked(concurrency=0)
    ids = lab.mails(3)

    assert (await lab.fetch()).keys == ids
    assert lab.fake.most_running == 1


async def test_an_error_of_the_stream_is_raised_as_it_is(lab: Lab) -> None:
    lab.mails(3)

    for kind in (object, Message):
        with pytest.raises(Stopped):
            await lab.fetch(leaving_after(1, kind))


async def test_a_thousand_messages_are_read_together() -> None:
    """A hundred milliseconds each: twenty at a time take a twentieth, and a bit."""
    clock = ManualClock()
    lab = await Lab.linked(clock=clock, concurrency=20)
    ids = lab.mails(1_000)
    laps = 0

    read: Callable[..., Awaitable[Any]] = lab.fake.read
    waiting: list[asyncio.Event] = []

    async def slow(*args: Any, **kwargs: Any) -> Any:
        event = asyncio.Event()
        waiting.append(event)
        await event.wait()
        return await read(*args, **kwargs)

    lab.fake.read = slow  # type: ignore[method-assign]  # the fake's own reading, after a wait that the test ends
    with anyio.fail_after(30):
        async with asyncio.TaskGroup() as tasks:
            fetch = tasks.create_task(lab.fetch(max_messages=1_000))
            while not fetch.done():
                for _ in range(12):
                    await asyncio.sleep(0)
                if waiting:
                    laps += 1
                for event in waiting:
                    event.set()
                waiting.clear()

    assert fetch.result().keys == ids
    assert laps <= 100
