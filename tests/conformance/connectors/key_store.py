"""What every store of wrapped keys does. A test module inherits the suite and gives it a `lab`."""

from __future__ import annotations

import asyncio
from itertools import groupby
from typing import Protocol

import pytest

from connectors.vault.domain import Owner, StoredKey, WrappedKey
from connectors.vault.ports import KeyStore

OWNERS = (
    Owner("anna", "gmail"),
    Owner("anna", "outlook"),
    Owner("Anna", "Gmail"),
    Owner("ann", "agmail"),
    Owner("annag", "mail"),
    Owner("zoë", "a/b:c d"),
    Owner("user|10", "2"),
    Owner("user|1", "02"),
)
"""Names that run together, or that differ in little."""

EVERY_BYTE = bytes(range(256))


class KeyStoreLab(Protocol):
    """A store of wrapped keys, with what else happens to connections. It holds no keys of other tests."""

    @property
    def keys(self) -> KeyStore: ...

    async def put(self, owner: Owner, wrapped: WrappedKey) -> None:
        """Make a connection with this key, or give it this one instead of its own."""
        ...

    async def stored(self, owner: Owner) -> WrappedKey | None:
        """Return the key of a connection as it is stored; None without one."""
        ...

    async def erase(self, owner: Owner) -> None:
        """Delete the key of a connection."""
        ...


async def walk(lab: KeyStoreLab, current: str, limit: int) -> list[StoredKey]:
    """Return all keys that are not under `current`, read in pages."""
    found: list[StoredKey] = []
    after: tuple[str, str] | None = None
    while True:
        page = await lab.keys.page(current, after=after, limit=limit)
        assert len(page) <= limit
        found.extend(page)
        if len(page) < limit:
            return found
        after = (page[-1].owner.user_id, page[-1].owner.connection_id)


class KeyStoreConformance:
    """The suite."""

    async def test_an_empty_store_has_nothing(self, lab: KeyStoreLab) -> None:
        assert await walk(lab, "new", 10) == []
        assert await lab.keys.counts() == {}

    @pytest.mark.parametrize("limit", range(1, len(OWNERS) + 2))
    async def test_pages_of_any_length_hold_every_key_once(self, lab: KeyStoreLab, limit: int) -> None:
        expected = {owner: WrappedKey("old", EVERY_BYTE + bytes([number])) for number, owner in enumerate(OWNERS)}
        for owner, wrapped in expected.items():
            await lab.put(owner, wrapped)

        found = await walk(lab, "new", limit)

        assert len(found) == len(OWNERS)
        assert {stored.owner: stored.wrapped for stored in found} == expected

    async def test_the_order_is_the_same_each_time_and_keeps_users_together(self, lab: KeyStoreLab) -> None:
        for owner in OWNERS:
            await lab.put(owner, WrappedKey("old", b"1"))

        found = [stored.owner for stored in await walk(lab, "new", 3)]

        users = [user for user, _owners in groupby(owner.user_id for owner in found)]
        assert len(users) == len(set(users))
        assert [stored.owner for stored in await walk(lab, "new", 100)] == found

    async def test_keys_under_the_current_one_are_left_out(self, lab: KeyStoreLab) -> None:
        for number, owner in enumerate(OWNERS):
            await lab.put(owner, WrappedKey(("old", "new", "older")[number % 3], b"1"))

        found = await walk(lab, "new", 2)

        assert {stored.owner for stored in found} == {owner for number, owner in enumerate(OWNERS) if number % 3 != 1}
        assert {stored.wrapped.key_id for stored in found} == {"old", "older"}

    async def test_a_page_goes_on_after_a_key_that_is_gone(self, lab: KeyStoreLab) -> None:
        for owner in OWNERS:
            await lab.put(owner, WrappedKey("old", b"1"))
        order = [stored.owner for stored in await walk(lab, "new", 100)]
        await lab.erase(order[2])

        page = await lab.keys.page("new", after=(order[2].user_id, order[2].connection_id), limit=100)

        assert [stored.owner for stored in page] == order[3:]

    async def test_a_key_is_replaced_by_whoever_knows_what_is_stored(self, lab: KeyStoreLab) -> None:
        owner, other = OWNERS[0], OWNERS[1]
        old, new = WrappedKey("old", EVERY_BYTE), WrappedKey("new", EVERY_BYTE[::-1])
        await lab.put(owner, old)
        await lab.put(other, old)

        assert await lab.keys.replace(owner, old, new)

        assert await lab.stored(owner) == new
        assert await lab.stored(other) == old
        assert [stored.owner for stored in await walk(lab, "new", 10)] == [other]
        assert not await lab.keys.replace(owner, old, WrappedKey("newer", b"2"))
        assert await lab.stored(owner) == new

    @pytest.mark.parametrize(
        "wrong", [WrappedKey("old", b"1"), WrappedKey("old", EVERY_BYTE + b"1"), WrappedKey("other", EVERY_BYTE)]
    )
    async def test_a_key_that_is_another_one_by_now_stays(self, lab: KeyStoreLab, wrong: WrappedKey) -> None:
        stored = WrappedKey("old", EVERY_BYTE)
        await lab.put(OWNERS[0], stored)

        assert not await lab.keys.replace(OWNERS[0], wrong, WrappedKey("new", b"2"))

        assert await lab.stored(OWNERS[0]) == stored

    async def test_an_erased_key_does_not_come_back(self, lab: KeyStoreLab) -> None:
        old = WrappedKey("old", b"1")
        await lab.put(OWNERS[0], old)
        await lab.erase(OWNERS[0])

        assert not await lab.keys.replace(OWNERS[0], old, WrappedKey("new", b"2"))
        assert not await lab.keys.replace(OWNERS[1], old, WrappedKey("new", b"2"))

        assert await lab.stored(OWNERS[0]) is None
        assert await lab.stored(OWNERS[1]) is None
        assert await walk(lab, "new", 10) == []
        assert await lab.keys.counts() == {}

    async def test_replacing_a_key_by_itself_tells_whether_it_is_still_there(self, lab: KeyStoreLab) -> None:
        stored = WrappedKey("old", b"1")
        await lab.put(OWNERS[0], stored)

        assert await lab.keys.replace(OWNERS[0], stored, stored)
        assert not await lab.keys.replace(OWNERS[0], WrappedKey("old", b"2"), WrappedKey("old", b"2"))

        assert await lab.stored(OWNERS[0]) == stored

    async def test_of_many_who_replace_a_key_at_once_one_succeeds(self, lab: KeyStoreLab) -> None:
        old = WrappedKey("old", b"1")
        await lab.put(OWNERS[0], old)
        ours = [WrappedKey("new", bytes([number])) for number in range(8)]

        replaced = await asyncio.gather(*(lab.keys.replace(OWNERS[0], old, new) for new in ours))

        assert replaced.count(True) == 1
        assert await lab.stored(OWNERS[0]) == ours[replaced.index(True)]

    async def test_the_counts_tell_what_each_key_wraps(self, lab: KeyStoreLab) -> None:
        for number, owner in enumerate(OWNERS):
            await lab.put(owner, WrappedKey("old" if number < 5 else "new", b"1"))

        assert await lab.keys.counts() == {"old": 5, "new": len(OWNERS) - 5}

        await lab.keys.replace(OWNERS[0], WrappedKey("old", b"1"), WrappedKey("new", b"2"))

        assert await lab.keys.counts() == {"old": 4, "new": len(OWNERS) - 4}
