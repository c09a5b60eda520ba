"""A rotation as the operator asks for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from connectors.admin import rotating
from connectors.admin.domain import KeptBack, KeyUse
from connectors.admin.rotating import KeyRotation
from connectors.connections.domain import AuditAction, AuditEvent
from connectors.vault.domain import KeyProviderUnavailable, Owner
from connectors.vault.vault import Vault
from tests.fakes.key_provider import InMemoryKeys
from tests.fakes.key_store import InMemoryKeyStore

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Trail:
    """Writes down what is audited."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    async def add(self, event: AuditEvent) -> None:
        self.events.append(event)

    async def page(self, *, user_id: str | None, connection_id: str, limit: int, before: str) -> list[AuditEvent]:
        return []


class Room:
    """Grants under a key, and the operator's rotation."""

    def __init__(self) -> None:
        self.keys = InMemoryKeys()
        self.vault = Vault(self.keys)
        self.store = InMemoryKeyStore()
        self.trail = Trail()
        self.time = NOW
        self.rotation = KeyRotation(store=self.store, vault=self.vault, audit=self.trail, now=self.now)

    def now(self) -> datetime:
        """Each look at the clock takes a second."""
        self.time += timedelta(seconds=1)
        return self.time

    async def link(self, count: int, *, start: int = 0) -> None:
        for number in range(start, start + count):
            owner = Owner("anna", f"c-{number:03d}")
            await self.store.put(owner, await self.vault.new_key(owner))


@pytest.fixture
def room() -> Room:
    return Room()


async def test_every_grant_comes_under_the_newest_key(room: Room) -> None:
    await room.link(5)
    await room.keys.add()

    rotated = await room.rotation.rotate(actor="operator", until=NOW + timedelta(hours=1))

    assert (rotated.rewrapped, rotated.failures) == (5, ())
    assert rotated.keys == (KeyUse(key_id="key-2", grants=5, current=True),)
    (event,) = room.trail.events
    assert (event.action, event.actor, event.reason) == (AuditAction.KEYS_ROTATED, "operator", "")


async def test_a_grant_whose_key_is_missing_stays_and_is_told(room: Room) -> None:
    await room.link(2)
    await room.keys.add()
    await room.link(1, start=2)
    await room.keys.forget("key-1")
    await room.keys.add()

    rotated = await room.rotation.rotate(actor="operator", until=NOW + timedelta(hours=1))

    assert rotated.rewrapped == 1
    assert rotated.failures == tuple(
        KeptBack(connection_id=f"c-00{number}", reason="KEY_MISSING", key_id="key-1") for number in range(2)
    )
    assert rotated.keys == (
        KeyUse(key_id="key-1", grants=2, current=False),
        KeyUse(key_id="key-3", grants=1, current=True),
    )
    assert room.trail.events[0].reason == "KEY_MISSING"


async def test_a_call_ends_in_time_and_the_next_goes_on(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotating, "STEP", 10)
    await room.link(35)
    await room.keys.add()

    first = await room.rotation.rotate(actor="operator", until=NOW + timedelta(seconds=2))
    second = await room.rotation.rotate(actor="operator", until=NOW + timedelta(hours=1))

    assert (first.rewrapped, second.rewrapped) == (20, 15)
    assert [key.grants for key in first.keys] == [15, 20]


async def test_many_failures_are_told_up_to_a_hundred(room: Room) -> None:
    await room.link(120)
    await room.keys.add()
    await room.keys.forget("key-1")

    rotated = await room.rotation.rotate(actor="operator", until=NOW + timedelta(hours=1))

    assert len(rotated.failures) == 100
    assert rotated.keys[0].grants == 120


async def test_nothing_to_rotate_is_told_as_such(room: Room) -> None:
    rotated = await room.rotation.rotate(actor="operator", until=NOW)

    assert (rotated.rewrapped, rotated.keys) == (0, (KeyUse(key_id="key-1", grants=0, current=True),))


async def test_a_key_provider_that_is_away_ends_it(room: Room) -> None:
    await room.link(1)
    await room.keys.add()
    room.keys.lost = True

    with pytest.raises(KeyProviderUnavailable):
        await room.rotation.rotate(actor="operator", until=NOW + timedelta(hours=1))
