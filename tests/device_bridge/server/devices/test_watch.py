"""Presence, on the fake store: who is told what, and who is sent away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
import pytest

from device_bridge.server.devices.domain import Manifest, Notice, NoticeKind, Presence, PresenceKind
from device_bridge.server.devices.watch import PresenceHub
from device_bridge.server.enrolment.ports import NewDevice
from device_bridge.server.errors import SlowWatcher, StoreUnavailable, WatchInterrupted
from device_bridge.server.sessions.ports import Arrival
from tests.device_bridge.server.waiting import until
from tests.fakes.bridge_store import FakeBridgeStore


class BrokenStore(FakeBridgeStore):
    """A store whose database goes away."""

    broken = False

    async def load(self, device_ids: object) -> dict[str, object]:  # type: ignore[override]  # it only fails
        raise StoreUnavailable


async def enrol(store: FakeBridgeStore, user: str) -> str:
    sha256 = f"{user}-{store.now.isoformat()}"
    await store.add_code(user, request_id=sha256, sha256=sha256, lifetime=60, max_unused=20)
    new = NewDevice(device_id=f"device-{sha256}", installation_id="i", display_name="laptop")
    device_id, _ = await store.redeem(sha256, new, credential_of=lambda _: "credential")
    return device_id


async def connect(store: FakeBridgeStore, user: str, device_id: str) -> None:
    arrival = Arrival(
        device_id=device_id,
        user_id=user,
        session_id="s",
        agent_version="",
        display_name="laptop",
        root_names=(),
        manifest=Manifest(hash="a" * 64),
    )
    await store.open_session(arrival, replica="r", lease_seconds=60)


@asynccontextmanager
async def running(store: FakeBridgeStore, **options: float) -> AsyncIterator[PresenceHub]:
    hub = PresenceHub(store, **options)  # type: ignore[arg-type]  # whatever the test asks
    hub.hears(True)
    store.listeners.append(hub.noticed)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hub.run)
        yield hub
        tasks.cancel_scope.cancel()


class Told:
    """What a watcher was told."""

    def __init__(self) -> None:
        self.events: list[Presence] = []

    async def __call__(self, event: Presence) -> None:
        self.events.append(event)

    @property
    def kinds(self) -> list[PresenceKind]:
        return [event.kind for event in self.events]


async def test_a_change_during_the_snapshot_is_not_missed() -> None:
    store = FakeBridgeStore()
    device_id = await enrol(store, "anna")
    told: list[PresenceKind] = []

    async def tell(event: Presence) -> None:
        if event.kind is PresenceKind.SNAPSHOT:
            await connect(store, "anna", device_id)
        told.append(event.kind)

    async with running(store) as hub, anyio.create_task_group() as tasks:
        tasks.start_soon(hub.watch, "anna", tell)
        await until(lambda: PresenceKind.CONNECTED in told)
        tasks.cancel_scope.cancel()

    assert told == [PresenceKind.SNAPSHOT, PresenceKind.SNAPSHOT_END, PresenceKind.CONNECTED]


async def test_silence_is_filled_with_heartbeats() -> None:
    told = Told()

    async with running(FakeBridgeStore(), heartbeat=0.01) as hub, anyio.create_task_group() as tasks:
        tasks.start_soon(hub.watch, None, told)
        await until(lambda: told.kinds.count(PresenceKind.HEARTBEAT) >= 3)
        tasks.cancel_scope.cancel()


async def test_a_watcher_that_is_too_slow_is_sent_away_even_while_it_blocks() -> None:
    store = FakeBridgeStore()
    device_id = await enrol(store, "anna")
    stuck = asyncio.Event()

    async def tell(event: Presence) -> None:
        if event.kind is PresenceKind.CONNECTED:
            stuck.set()
            await asyncio.Event().wait()

    async with running(store, max_waiting=3) as hub:
        with anyio.fail_after(10), pytest.raises(ExceptionGroup) as ended:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hub.watch, "anna", tell)
                await until(lambda: hub.watchers == 1)
                await connect(store, "anna", device_id)
                await stuck.wait()
                for _ in range(10):
                    await connect(store, "anna", device_id)

    assert ended.group_contains(SlowWatcher)
    assert hub.watchers == 0


async def test_one_slow_watcher_holds_no_other_up() -> None:
    store = FakeBridgeStore()
    device_id = await enrol(store, "anna")
    told = Told()

    async def never(event: Presence) -> None:
        if event.kind is PresenceKind.CONNECTED:
            await asyncio.Event().wait()

    async with running(store, max_waiting=5) as hub, anyio.create_task_group() as tasks:

        async def slow() -> None:
            with suppress(ExceptionGroup):
                await hub.watch("anna", never)

        tasks.start_soon(slow)
        tasks.start_soon(hub.watch, "anna", told)
        await until(lambda: hub.watchers == 2)
        for number in range(20):
            await connect(store, "anna", device_id)
            await until(lambda number=number: told.kinds.count(PresenceKind.CONNECTED) > number)  # type: ignore[misc]  # bound
        assert hub.watchers == 1
        tasks.cancel_scope.cancel()


async def test_nobody_is_told_about_the_devices_of_others() -> None:
    store = FakeBridgeStore()
    mine, theirs = await enrol(store, "anna"), await enrol(store, "ben")
    told = Told()

    async with running(store) as hub, anyio.create_task_group() as tasks:
        tasks.start_soon(hub.watch, "anna", told)
        await until(lambda: PresenceKind.SNAPSHOT_END in told.kinds)
        await connect(store, "ben", theirs)
        await connect(store, "anna", mine)
        await until(lambda: PresenceKind.CONNECTED in told.kinds)
        tasks.cancel_scope.cancel()

    assert {event.device.user_id for event in told.events if event.device} == {"anna"}


async def test_while_nothing_is_heard_a_watch_is_refused() -> None:
    hub = PresenceHub(FakeBridgeStore())

    with pytest.raises(WatchInterrupted):
        await hub.watch("anna", Told())


@pytest.mark.parametrize("trouble", ["feed", "store", "flood"])
async def test_when_something_may_have_been_missed_every_watch_begins_again(trouble: str) -> None:
    store = BrokenStore()
    told = Told()
    notice = Notice(kind=NoticeKind.CONNECTED, device_id="d", user_id="anna", epoch=1)

    async with running(store) as hub:
        with anyio.fail_after(10), pytest.raises(ExceptionGroup) as ended:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hub.watch, "anna", told)
                await until(lambda: PresenceKind.SNAPSHOT_END in told.kinds)
                if trouble == "feed":
                    hub.hears(False)
                for _ in range({"feed": 0, "store": 1, "flood": 20_001}[trouble]):
                    hub.noticed(notice)

    assert ended.group_contains(WatchInterrupted)
