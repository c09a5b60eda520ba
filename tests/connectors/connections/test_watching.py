"""Watching connections, on the fake store: who is told what, and who is sent away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import pytest

from connectors.connections.domain import ConnectionState, Event, EventKind, Notice, NoticeKind
from connectors.connections.errors import ConnectorsStopping, SlowWatcher, WatchInterrupted
from connectors.connections.watching import MAX_WAITING_NOTICES, ConnectionHub
from connectors.errors import StoreUnavailable
from tests.connectors.connections.lab import USER, Lab, until
from tests.fakes.connection_store import InMemoryConnections


@asynccontextmanager
async def running(lab: Lab, store: InMemoryConnections, **options: Any) -> AsyncIterator[ConnectionHub]:
    hub = ConnectionHub(store, now=lab.clock, **options)
    hub.hears(True)
    store.listeners.append(hub.noticed)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hub.run)
        yield hub
        tasks.cancel_scope.cancel()


class Told:
    """What a watcher was told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def kinds(self) -> list[EventKind]:
        return [event.kind for event in self.events]

    def last(self) -> Event:
        return self.events[-1]

    async def began(self) -> None:
        """Wait for the end of the snapshot."""
        await until(lambda: EventKind.SNAPSHOT_END in self.kinds)


async def test_a_watch_begins_with_every_connection_as_it_stands(lab: Lab, store: InMemoryConnections) -> None:
    alive, ended = await lab.link(), await lab.link("ended@example.org")
    throttled = await lab.link("throttled@example.org")
    await lab.health.throttled(throttled.connection_id, lab.clock() + timedelta(minutes=1))
    await lab.disconnecting.disconnect(USER, ended.connection_id, actor=USER)
    lab.clock.advance(timedelta(minutes=1))
    told = Told()

    async with running(lab, store) as hub, anyio.create_task_group() as tasks:
        tasks.start_soon(hub.watch, USER, told)
        await told.began()
        tasks.cancel_scope.cancel()

    shown = {event.connection.connection_id: event.connection.state for event in told.events if event.connection}
    assert shown == {
        alive.connection_id: ConnectionState.ACTIVE,
        throttled.connection_id: ConnectionState.ACTIVE,
    }


async def test_then_it_tells_each_change(lab: Lab, store: InMemoryConnections) -> None:
    told = Told()

    async def state(wanted: ConnectionState) -> None:
        await until(lambda: told.events[-1].connection is not None and told.events[-1].connection.state is wanted)

    async with running(lab, store) as hub, anyio.create_task_group() as tasks:
        tasks.start_soon(hub.watch, USER, told)
        await told.began()
        connection = await lab.link()
        await state(ConnectionState.ACTIVE)
        await lab.health.throttled(connection.connection_id, lab.clock() + timedelta(hours=1))
        await state(ConnectionState.THROTTLED)
        await store.resynced(connection.connection_id)
        await until(lambda: told.last().kind is EventKind.RESYNCED)
        await lab.disconnecting.disconnect(USER, connection.connection_id, actor=USER)
        await state(ConnectionState.DISCONNECTED)
        tasks.cancel_scope.cancel()

    assert set(told.kinds) == {EventKind.SNAPSHOT_END, EventKind.CHANGED, EventKind.RESYNCED}


async def test_a_connection_that_was_never_completed_is_told_as_ended(lab: Lab, store: InMemoryConnections) -> None:
    told = Told()

    async with running(lab, store) as hub, anyio.create_task_group() as tasks:
        tasks.start_soon(hub.watch, None, told)
        begun = await lab.begin()
        await told.began()
        lab.clock.advance(timedelta(hours=1))
        await lab.upkeep.sweep()
        await until(lambda: told.last().connection is not None and told.last().kind is EventKind.CHANGED)
        tasks.cancel_scope.cancel()

    gone = told.last().connection
    assert gone is not None
    assert (gone.connection_id, gone.user_id, gone.provider) == (begun.connection_id, USER, "gmail")
    assert (gone.state, gone.reason) == (ConnectionState.DISCONNECTED, "AUTHORIZATION_ENDED")


async def test_a_lease_that_is_free_again_is_no_event(lab: Lab, store: InMemoryConnections) -> None:
    connection = await lab.link()
    told = Told()

    async with running(lab, store) as hub, anyio.create_task_group() as tasks:
        tasks.start_soon(hub.watch, USER, told)
        await told.began()
        await store.take_lease(connection.connection_id, grant_version=1, owner="o", seconds=60)
        await store.release_lease(connection.connection_id, owner="o")
        await store.resynced(connection.connection_id)
        await until(lambda: told.last().kind is EventKind.RESYNCED)
        tasks.cancel_scope.cancel()

    assert EventKind.CHANGED not in told.kinds


async def test_a_change_during_the_snapshot_is_not_missed(lab: Lab, store: InMemoryConnections) -> None:
    connection = await lab.link()
    told: list[EventKind] = []

    async def tell(event: Event) -> None:
        if event.kind is EventKind.SNAPSHOT:
            await lab.health.throttled(connection.connection_id, lab.clock() + timedelta(hours=1))
        told.append(event.kind)

    async with running(lab, store) as hub, anyio.create_task_group() as tasks:
        tasks.start_soon(hub.watch, USER, tell)
        await until(lambda: EventKind.CHANGED in told)
        tasks.cancel_scope.cancel()

    assert told == [EventKind.SNAPSHOT, EventKind.SNAPSHOT_END, EventKind.CHANGED]


async def test_a_long_snapshot_is_read_in_pages(
    lab: Lab, store: InMemoryConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.connections.watching.SNAPSHOT_PAGE", 3)
    for number in range(7):
        await lab.link(f"user-{number}@example.org")
    told = Told()

    async with running(lab, store) as hub, anyio.create_task_group() as tasks:
        tasks.start_soon(hub.watch, USER, told)
        await told.began()
        tasks.cancel_scope.cancel()

    assert told.kinds.count(EventKind.SNAPSHOT) == 7


async def test_silence_is_filled_with_heartbeats(lab: Lab, store: InMemoryConnections) -> None:
    told = Told()

    async with running(lab, store, heartbeat=0.01) as hub, anyio.create_task_group() as tasks:
        tasks.start_soon(hub.watch, None, told)
        await until(lambda: told.kinds.count(EventKind.HEARTBEAT) >= 3)
        tasks.cancel_scope.cancel()


async def test_a_watcher_that_is_too_slow_is_sent_away_and_holds_no_other_up(
    lab: Lab, store: InMemoryConnections
) -> None:
    connection = await lab.link()
    told = Told()
    ended: list[BaseException] = []

    async def never(event: Event) -> None:
        if event.kind is EventKind.RESYNCED:
            await asyncio.Event().wait()

    async with running(lab, store, max_waiting=5) as hub, anyio.create_task_group() as tasks:

        async def slow() -> None:
            try:
                await hub.watch(USER, never)
            except ExceptionGroup as group:
                ended.append(group)

        tasks.start_soon(slow)
        tasks.start_soon(hub.watch, USER, told)
        await until(lambda: hub.watchers == 2)
        for number in range(20):
            await store.resynced(connection.connection_id)
            await until(lambda number=number: told.kinds.count(EventKind.RESYNCED) > number)  # type: ignore[misc]  # bound
        assert hub.watchers == 1
        tasks.cancel_scope.cancel()

    assert isinstance(ended[0], ExceptionGroup)
    assert ended[0].subgroup(SlowWatcher) is not None


async def test_nobody_is_told_about_the_connections_of_others(lab: Lab, store: InMemoryConnections) -> None:
    mine, theirs = await lab.link(), await lab.link("ben@example.org", user="ben")
    told, every = Told(), Told()

    async with running(lab, store) as hub, anyio.create_task_group() as tasks:
        tasks.start_soon(hub.watch, USER, told)
        tasks.start_soon(hub.watch, None, every)
        await told.began()
        await every.began()
        await store.resynced(theirs.connection_id)
        await store.resynced(mine.connection_id)
        await until(lambda: EventKind.RESYNCED in told.kinds)
        tasks.cancel_scope.cancel()

    assert {event.connection.user_id for event in told.events if event.connection} == {USER}
    assert {event.connection.user_id for event in every.events if event.connection} == {USER, "ben"}


async def test_while_nothing_is_heard_a_watch_is_refused(lab: Lab, store: InMemoryConnections) -> None:
    hub = ConnectionHub(store, now=lab.clock)

    with pytest.raises(WatchInterrupted):
        await hub.watch(USER, Told())


class Broken(InMemoryConnections):
    """A store whose database goes away."""

    trouble: Exception = StoreUnavailable()

    async def load(self, connection_ids: object) -> Any:
        raise self.trouble


@pytest.mark.parametrize("trouble", ["feed", "store", "bug", "flood", "stop"])
async def test_when_something_may_have_been_missed_every_watch_ends(lab: Lab, trouble: str) -> None:
    store, told = Broken(), Told()
    if trouble == "bug":
        store.trouble = RuntimeError("odd")
    notice = Notice(kind=NoticeKind.CHANGED, connection_id="c", user_id=USER)

    async with running(lab, store) as hub:
        with anyio.fail_after(10), pytest.raises(ExceptionGroup) as ended:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hub.watch, USER, told)
                await told.began()
                match trouble:
                    case "feed":
                        hub.hears(False)
                    case "stop":
                        hub.stop()
                    case "flood":
                        for _ in range(MAX_WAITING_NOTICES + 1):
                            hub.noticed(notice)
                    case _:
                        hub.noticed(notice)

        assert hub.watchers == 0

    assert ended.group_contains(ConnectorsStopping if trouble == "stop" else WatchInterrupted)
