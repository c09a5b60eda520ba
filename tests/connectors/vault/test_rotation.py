"""Rotation: every stored key ends under the current one, while the service works, whatever happens."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from adiuva_rpc.errors import Unavailable
from connectors.vault.domain import DATA_KEY, KeyProviderUnavailable, Owner, StoredKey, WrappedKey
from connectors.vault.key_content import read
from connectors.vault.key_file import FileKeys, add_key, create_key_file, remove_key
from connectors.vault.rotation import MAX_FAILURES, RotationProgress, rotate
from connectors.vault.vault import Vault
from tests.fakes.key_provider import InMemoryKeys
from tests.fakes.key_store import InMemoryKeyStore

FIELD = "refresh_token"


@dataclass
class Bank:
    """Connections with a secret each."""

    keys: InMemoryKeys = field(default_factory=InMemoryKeys)
    store: InMemoryKeyStore = field(default_factory=InMemoryKeyStore)
    sealed: dict[Owner, bytes] = field(default_factory=dict)

    @property
    def vault(self) -> Vault:
        return Vault(self.keys)

    async def connect(self, owner: Owner) -> None:
        wrapped = await self.vault.new_key(owner)
        await self.store.put(owner, wrapped)
        self.sealed[owner] = (await self.vault.open_key(owner, wrapped)).seal(FIELD, 1, secret(owner))

    async def fill(self, count: int) -> None:
        for number in range(count):
            await self.connect(Owner(f"user-{number % 7}", f"c-{number}"))

    async def key_of(self, owner: Owner) -> WrappedKey:
        wrapped = await self.store.stored(owner)
        assert wrapped is not None
        return wrapped

    async def check(self) -> None:
        """Open every secret with what is stored now."""
        for owner, sealed in self.sealed.items():
            key = await self.vault.open_key(owner, await self.key_of(owner))
            assert key.open(FIELD, 1, sealed) == secret(owner)


def secret(owner: Owner) -> bytes:
    return f"secret of {owner.user_id}/{owner.connection_id}".encode()


@pytest.fixture
async def bank() -> Bank:
    bank = Bank()
    await bank.fill(50)
    return bank


@pytest.mark.parametrize("batch", [1, 7, 49, 50, 51, 1000])
async def test_every_key_is_rewrapped_and_the_old_one_is_not_needed_any_more(bank: Bank, batch: int) -> None:
    old = await bank.keys.current_key_id()
    new = await bank.keys.add()

    progress = await rotate(bank.store, bank.vault, batch=batch)

    assert progress == RotationProgress(
        current=new, rewrapped=50, already_current=0, failed=0, failures=(), remaining={}, after=None
    )
    await bank.keys.forget(old)
    await bank.check()


async def test_a_second_rotation_has_nothing_to_do(bank: Bank) -> None:
    await bank.keys.add()
    await rotate(bank.store, bank.vault)

    progress = await rotate(bank.store, bank.vault)

    assert (progress.rewrapped, progress.already_current, progress.failed, progress.remaining) == (0, 0, 0, {})


async def test_keys_of_several_generations_come_under_the_current_one(bank: Bank) -> None:
    generations = [await bank.keys.current_key_id()]
    for number in range(3):
        generations.append(await bank.keys.add())
        await bank.connect(Owner("zoë", f"c-{number}"))

    progress = await rotate(bank.store, bank.vault, batch=10)

    assert (progress.current, progress.rewrapped, progress.remaining) == (generations[-1], 52, {})
    for key_id in generations[:-1]:
        await bank.keys.forget(key_id)
    await bank.check()


async def test_a_key_that_is_missing_is_told_and_the_others_go_on(bank: Bank) -> None:
    lost = await bank.keys.current_key_id()
    await bank.keys.add()
    await bank.connect(Owner("bert", "c-1"))
    await bank.keys.forget(lost)
    await bank.keys.add()

    progress = await rotate(bank.store, bank.vault, batch=10)

    assert (progress.rewrapped, progress.failed, progress.remaining) == (1, 50, {lost: 50})
    assert {failure.owner for failure in progress.failures} == bank.sealed.keys() - {Owner("bert", "c-1")}
    assert {failure.reason for failure in progress.failures} == {"KEY_MISSING"}
    assert {failure.key_id for failure in progress.failures} == {lost}
    assert all(f"'{lost}' is missing" in failure.message for failure in progress.failures)


async def test_a_key_that_was_changed_or_moved_is_told_and_left_as_it_is(bank: Bank) -> None:
    owners = sorted(bank.sealed)
    moved, changed = owners[3], owners[20]
    wrapped = {moved: await bank.key_of(owners[0]), changed: replace(await bank.key_of(changed), blob=b"changed")}
    for owner, wrong in wrapped.items():
        await bank.store.put(owner, wrong)
    await bank.keys.add()

    progress = await rotate(bank.store, bank.vault, batch=10)

    assert (progress.rewrapped, progress.failed) == (48, 2)
    assert [failure.owner for failure in progress.failures] == [moved, changed]
    assert all(repr(DATA_KEY) in failure.message for failure in progress.failures)
    assert {owner: await bank.store.stored(owner) for owner in wrapped} == wrapped


async def test_only_the_first_failures_are_told_one_by_one() -> None:
    bank = Bank()
    await bank.fill(MAX_FAILURES + 5)
    lost = await bank.keys.current_key_id()
    await bank.keys.add()
    await bank.keys.forget(lost)

    progress = await rotate(bank.store, bank.vault)

    assert (progress.failed, len(progress.failures)) == (MAX_FAILURES + 5, MAX_FAILURES)


@pytest.mark.parametrize("steps", [0, 1, 6, 7, 8, 25, 49])
async def test_a_rotation_that_died_anywhere_is_resumed_by_another_one(bank: Bank, steps: int) -> None:
    old = await bank.keys.current_key_id()
    await bank.keys.add()
    bank.store.replacements = steps
    with pytest.raises(Unavailable):
        await rotate(bank.store, bank.vault, batch=7)
    bank.store.replacements = None
    await bank.check()

    progress = await rotate(bank.store, bank.vault, batch=7)

    assert (progress.rewrapped, progress.failed, progress.remaining) == (50 - steps, 0, {})
    await bank.keys.forget(old)
    await bank.check()


async def test_a_rotation_that_is_cancelled_at_any_moment_loses_nothing() -> None:
    for turns in range(40):
        bank = Bank()
        await bank.fill(5)
        await bank.keys.add()
        async with asyncio.TaskGroup() as tasks:
            rotation = tasks.create_task(rotate(bank.store, bank.vault, batch=2))
            for _ in range(turns):
                await asyncio.sleep(0)
            rotation.cancel()

        await bank.check()
        progress = await rotate(bank.store, bank.vault)
        assert (progress.failed, progress.remaining) == (0, {})
        await bank.check()


async def test_a_rotation_in_parts_goes_on_where_it_stopped_even_past_failures(bank: Bank) -> None:
    lost = await bank.keys.current_key_id()
    await bank.keys.add()
    for number in range(10):
        await bank.connect(Owner("user-9", f"c-{number}"))
    await bank.keys.forget(lost)
    await bank.keys.add()
    parts: list[RotationProgress] = []
    after: tuple[str, str] | None = None
    while not parts or after is not None:
        parts.append(await rotate(bank.store, bank.vault, batch=4, after=after, limit=9))
        after = parts[-1].after

    assert [(part.failed, part.rewrapped) for part in parts] == [(9, 0)] * 5 + [(5, 4), (0, 6)]
    assert parts[-1].remaining == {lost: 50}


@pytest.mark.parametrize(("batch", "limit"), [(0, None), (-1, None), (10, 0), (10, -5)])
async def test_batches_and_limits_of_nothing_are_refused(bank: Bank, batch: int, limit: int | None) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        await rotate(bank.store, bank.vault, batch=batch, limit=limit)


async def test_a_keeper_that_is_away_ends_the_rotation_and_fails_no_connection(bank: Bank) -> None:
    await bank.keys.add()
    bank.keys.lost = True

    with pytest.raises(KeyProviderUnavailable):
        await rotate(bank.store, bank.vault)

    bank.keys.lost = False
    await bank.check()


async def test_two_rotations_at_once_share_the_work(bank: Bank) -> None:
    old = await bank.keys.current_key_id()
    await bank.keys.add()

    both = await asyncio.gather(*(rotate(bank.store, bank.vault, batch=7) for _ in range(2)))

    assert sum(progress.rewrapped for progress in both) == 50
    assert sum(progress.failed for progress in both) == 0
    assert [progress.remaining for progress in both] == [{}, {}]
    await bank.keys.forget(old)
    await bank.check()


class Meanwhile(InMemoryKeyStore):
    """Something happens between the reading of a page and what comes of it."""

    happens: Callable[[Sequence[StoredKey]], Awaitable[None]]

    async def page(self, current: str, *, after: tuple[str, str] | None, limit: int) -> Sequence[StoredKey]:
        page = await super().page(current, after=after, limit=limit)
        await self.happens(page)
        return page


async def test_a_key_that_another_rotation_moved_meanwhile_is_no_failure() -> None:
    store = Meanwhile()
    bank = Bank(store=store)
    await bank.fill(5)
    old = await bank.keys.current_key_id()
    await bank.keys.add()

    async def another_one_is_faster(page: Sequence[StoredKey]) -> None:
        for stored in page:
            rewrapped = await bank.vault.rewrap(stored.owner, stored.wrapped)
            assert rewrapped is not None
            await store.put(stored.owner, rewrapped)
        await bank.keys.forget(old)

    store.happens = another_one_is_faster

    progress = await rotate(store, bank.vault)

    assert (progress.rewrapped, progress.already_current, progress.failed) == (0, 5, 0)
    await bank.check()


async def test_connections_that_are_erased_meanwhile_stay_erased() -> None:
    store = Meanwhile()
    bank = Bank(store=store)
    await bank.fill(10)
    await bank.keys.add()
    gone = sorted(bank.sealed)[::2]

    async def users_disconnect(_page: Sequence[StoredKey]) -> None:
        for owner in gone:
            await store.erase(owner)
            bank.sealed.pop(owner, None)

    store.happens = users_disconnect

    progress = await rotate(store, bank.vault, batch=20)

    assert (progress.rewrapped, progress.already_current, progress.failed, progress.remaining) == (5, 5, 0, {})
    assert [await store.stored(owner) for owner in gone] == [None] * len(gone)
    await bank.check()


class Traffic:
    """Users at work: they link accounts, and their secrets are opened and sealed again all the time."""

    def __init__(self, store: InMemoryKeyStore) -> None:
        self.store = store
        self.over = False
        self.opened = 0
        self.secrets: dict[Owner, tuple[int, bytes]] = {}

    async def go(self, vault: Vault, user_id: str) -> None:
        """Work for one user at one replica until it is over; in between, others get their turn."""
        owners: list[Owner] = []
        number = 0
        while not self.over:
            if number % 20 == 0:
                owners.append(Owner(user_id, f"c-{len(owners)}"))
                await self._link(vault, owners[-1])
            await self._use(vault, owners[number % len(owners)])
            number += 1

    async def check(self, vault: Vault) -> None:
        """Open every secret."""
        for owner in self.secrets:
            await self._use(vault, owner)

    async def _link(self, vault: Vault, owner: Owner) -> None:
        wrapped = await vault.new_key(owner)
        await asyncio.sleep(0)
        await self.store.put(owner, wrapped)
        self.secrets[owner] = (1, (await vault.open_key(owner, wrapped)).seal(FIELD, 1, secret(owner)))

    async def _use(self, vault: Vault, owner: Owner) -> None:
        wrapped = await self.store.stored(owner)
        assert wrapped is not None
        await asyncio.sleep(0)
        key = await vault.open_key(owner, wrapped)
        version, sealed = self.secrets[owner]
        assert key.open(FIELD, version, sealed) == secret(owner)
        self.secrets[owner] = (version + 1, key.seal(FIELD, version + 1, secret(owner)))
        self.opened += 1


async def test_while_keys_rotate_every_secret_opens_on_every_replica(tmp_path: Path) -> None:
    """Two replicas with one key file: both work and both rotate; the old keys are removed each time."""
    path = tmp_path / "keys.json"
    create_key_file(path)
    store = InMemoryKeyStore()
    traffic = Traffic(store)
    ticks = itertools.count()
    # One replica looks at the file all the time; for the other one, time stands still.
    replicas = [Vault(FileKeys(path, clock=lambda: float(next(ticks)))), Vault(FileKeys(path, clock=lambda: 0.0))]

    async def turn_keys() -> None:
        for _ in range(10):
            new = add_key(path)
            while True:
                both = await asyncio.gather(*(rotate(store, replica, batch=5) for replica in replicas))
                assert [progress.failures for progress in both] == [(), ()]
                for _turn in range(20):  # whoever holds what was read or wrapped before comes to an end
                    await asyncio.sleep(0)
                if set(await store.counts()) == {new}:
                    break
            for key_id in read(path)[0].keys.keys() - {new}:
                remove_key(path, key_id)
        traffic.over = True

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        for number in range(4):
            tasks.create_task(traffic.go(replicas[number % 2], f"user-{number}"))
        tasks.create_task(turn_keys())

    assert traffic.opened > 1000
    assert len(await store.counts()) == 1
    for replica in replicas:
        await traffic.check(replica)
