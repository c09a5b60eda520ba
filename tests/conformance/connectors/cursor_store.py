"""What every store of cursors does. A test module inherits the suite and gives it a `shelf`."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from adiuva_rpc.errors import NotFound
from connectors.admin.ports import QuarantineDesk
from connectors.errors import TooManySubscribers
from connectors.messages.domain import Ref
from connectors.messages.limits import IDLE_SUBSCRIBER, MAX_SUBSCRIBERS
from connectors.messages.ports import (
    Advance,
    CursorName,
    CursorStore,
    Ended,
    NewRound,
    Quarantine,
    StoredCursor,
    Trouble,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
FILTER = "f" * 32
numbers = itertools.count(1)


@dataclass
class Shelf:
    """Stores to test, and a way to make a connection that they know."""

    cursors: CursorStore
    quarantine: Quarantine
    desk: QuarantineDesk
    link: Callable[[str, str], Awaitable[None]]
    """Makes a connection of this id and user."""
    linked: list[str] = field(default_factory=list)

    async def name(self, user_id: str = "anna") -> CursorName:
        """The name of a cursor of a new connection."""
        connection_id = f"c-{next(numbers)}"
        await self.link(connection_id, user_id)
        return CursorName(connection_id=connection_id, subscriber="agent-1")

    async def begin(self, name: CursorName) -> StoredCursor:
        return await self.cursors.begin(name, filter_hash=FILTER, now=NOW)

    async def with_round(self, name: CursorName, round_id: str = "r-1") -> int:
        """Begin a fetch with a round, and return its epoch."""
        epoch = (await self.begin(name)).epoch
        assert await self.cursors.store_round(name, epoch, new_round(round_id), now=NOW)
        return epoch

    async def stored(self, name: CursorName) -> StoredCursor:
        cursor = await self.cursors.read(name)
        assert cursor is not None
        return cursor

    async def put(self, name: CursorName, provider_id: str = "m-1", *, now: datetime = NOW, version: str = "") -> None:
        ref = Ref(provider_id=provider_id, version=version, container="inbox", received_at=now, alias="<a>", carried=1)
        trouble = Trouble(user_id="anna", ref=ref, reason="MESSAGE_UNREADABLE", message="The charset is unknown.")
        await self.quarantine.put(name, trouble, now=now)

    async def ids(self, name: CursorName) -> list[str]:
        page = await self.desk.page(user_id=None, connection_id=name.connection_id, limit=100, after=None)
        return [one.quarantine_id for one in page]


def new_round(round_id: str = "r-1", *, filter_hash: str = FILTER) -> NewRound:
    return NewRound(round_id=round_id, sealed=b"sealed " + round_id.encode(), filter_hash=filter_hash)


def ended(state: bytes = b"state", *, listed_at: datetime = NOW) -> Ended:
    return Ended(state=state, listed_at=listed_at, forget_before=listed_at - timedelta(days=30))


def step(epoch: int, start: int, position: int, *, over: Ended | None = None, round_id: str = "r-1") -> Advance:
    seen = [(f"digest {number}".encode(), NOW) for number in range(start, position)]
    return Advance(epoch=epoch, round_id=round_id, position=position, seen=seen, unseen=[], cleared=[], ended=over)


class CursorStoreConformance:
    async def test_a_cursor_that_nobody_began_is_none(self, shelf: Shelf) -> None:
        assert await shelf.cursors.read(await shelf.name()) is None

    async def test_each_fetch_has_an_epoch_of_its_own(self, shelf: Shelf) -> None:
        name = await shelf.name()

        first = await shelf.begin(name)
        others = await asyncio.gather(*(shelf.begin(name) for _ in range(9)))

        assert first == StoredCursor(
            epoch=1, filter_hash=FILTER, state=None, listed_at=None, round_id="", round=None, position=0
        )
        assert sorted(cursor.epoch for cursor in others) == list(range(2, 11))

    async def test_subscribers_do_not_meet(self, shelf: Shelf) -> None:
        name = await shelf.name()
        await shelf.with_round(name)
        other = CursorName(connection_id=name.connection_id, subscriber="agent-2")

        assert (await shelf.begin(other)).round is None
        assert await shelf.cursors.advance(name, step(1, 0, 2), now=NOW)
        assert await shelf.cursors.seen(other, [b"digest 0"]) == set()

    async def test_a_connection_has_so_many_subscribers_until_some_are_not_used_any_more(self, shelf: Shelf) -> None:
        name = await shelf.name()
        for number in range(MAX_SUBSCRIBERS - 1):
            await shelf.begin(replace(name, subscriber=f"old-{number}"))
        await shelf.begin(name)

        with pytest.raises(TooManySubscribers):
            await shelf.begin(replace(name, subscriber="one too many"))
        assert (await shelf.begin(name)).epoch == 2
        later = NOW + IDLE_SUBSCRIBER + timedelta(days=1)
        await shelf.cursors.begin(name, filter_hash=FILTER, now=later)
        await shelf.cursors.begin(replace(name, subscriber="a new one"), filter_hash=FILTER, now=later)

        assert await shelf.cursors.read(replace(name, subscriber="old-0")) is None
        assert (await shelf.stored(name)).epoch == 3

    async def test_a_connection_that_does_not_exist_has_no_cursor(self, shelf: Shelf) -> None:
        nowhere = CursorName(connection_id="nowhere", subscriber="agent-1")

        with pytest.raises(NotFound):
            await shelf.begin(nowhere)

    async def test_beginning_with_another_filter_changes_nothing_yet(self, shelf: Shelf) -> None:
        name = await shelf.name()
        await shelf.with_round(name)

        begun = await shelf.cursors.begin(name, filter_hash="other", now=NOW)

        assert (begun.epoch, begun.filter_hash, begun.round) == (2, FILTER, b"sealed r-1")

    async def test_a_round_takes_the_place_of_the_last_one(self, shelf: Shelf) -> None:
        name = await shelf.name()
        epoch = await shelf.with_round(name)
        await shelf.cursors.advance(name, step(epoch, 0, 3), now=NOW)

        assert await shelf.cursors.store_round(name, epoch, new_round("r-2"), now=NOW)

        stored = await shelf.stored(name)
        assert (stored.round_id, stored.round, stored.position) == ("r-2", b"sealed r-2", 0)

    async def test_a_round_of_the_same_filter_keeps_the_state(self, shelf: Shelf) -> None:
        name = await shelf.name()
        epoch = await shelf.with_round(name)
        await shelf.cursors.advance(name, step(epoch, 0, 3, over=ended()), now=NOW)

        await shelf.cursors.store_round(name, epoch, new_round("r-2"), now=NOW)

        assert (await shelf.stored(name)).state == b"state"
        assert (await shelf.stored(name)).listed_at == NOW

    async def test_a_round_of_another_filter_drops_the_state(self, shelf: Shelf) -> None:
        name = await shelf.name()
        epoch = await shelf.with_round(name)
        await shelf.cursors.advance(name, step(epoch, 0, 3, over=ended()), now=NOW)

        await shelf.cursors.store_round(name, epoch, new_round("r-2", filter_hash="other"), now=NOW)

        stored = await shelf.stored(name)
        assert (stored.state, stored.listed_at, stored.filter_hash) == (None, None, "other")

    async def test_an_older_fetch_can_change_nothing(self, shelf: Shelf) -> None:
        name = await shelf.name()
        old = await shelf.with_round(name)
        await shelf.begin(name)

        assert not await shelf.cursors.store_round(name, old, new_round("r-2"), now=NOW)
        assert not await shelf.cursors.settle(name, old, "r-2", ended(), filter_hash=FILTER, now=NOW)
        assert not await shelf.cursors.advance(name, step(old, 0, 2), now=NOW)
        assert not await shelf.cursors.rewind(name, old, "r-1", 0, now=NOW)

        stored = await shelf.stored(name)
        assert (stored.round_id, stored.position, stored.state) == ("r-1", 0, None)
        assert await shelf.cursors.seen(name, [b"digest 0"]) == set()

    async def test_a_cursor_that_is_gone_cannot_be_changed(self, shelf: Shelf) -> None:
        name = await shelf.name()

        assert not await shelf.cursors.store_round(name, 1, new_round(), now=NOW)
        assert not await shelf.cursors.settle(name, 1, "r-1", ended(), filter_hash=FILTER, now=NOW)
        assert not await shelf.cursors.advance(name, step(1, 0, 2), now=NOW)
        assert not await shelf.cursors.rewind(name, 1, "r-1", 0, now=NOW)

    async def test_a_step_remembers_what_it_passed(self, shelf: Shelf) -> None:
        name = await shelf.name()
        epoch = await shelf.with_round(name)

        assert await shelf.cursors.advance(name, step(epoch, 0, 2), now=NOW)

        assert (await shelf.stored(name)).position == 2
        wanted = [f"digest {number}".encode() for number in range(3)]
        assert await shelf.cursors.seen(name, wanted) == {b"digest 0", b"digest 1"}

    async def test_a_step_forgets_what_did_not_come(self, shelf: Shelf) -> None:
        name = await shelf.name()
        epoch = await shelf.with_round(name)
        await shelf.cursors.advance(name, step(epoch, 0, 2), now=NOW)
        gone = [b"digest 0", b"never seen"]
        forgetting = Advance(epoch=epoch, round_id="r-1", position=3, seen=[], unseen=gone, cleared=[], ended=None)

        assert await shelf.cursors.advance(name, forgetting, now=NOW)

        assert await shelf.cursors.seen(name, [b"digest 0", b"digest 1"]) == {b"digest 1"}

    async def test_a_step_back_or_of_another_round_does_nothing(self, shelf: Shelf) -> None:
        name = await shelf.name()
        epoch = await shelf.with_round(name)
        await shelf.cursors.advance(name, step(epoch, 0, 3), now=NOW)

        assert not await shelf.cursors.advance(name, step(epoch, 0, 2), now=NOW)
        assert not await shelf.cursors.advance(name, step(epoch, 0, 3), now=NOW)
        assert not await shelf.cursors.advance(name, step(epoch, 3, 5, round_id="r-2"), now=NOW)

        assert (await shelf.stored(name)).position == 3

    async def test_a_step_may_pass_what_another_has_passed_meanwhile(self, shelf: Shelf) -> None:
        name = await shelf.name()
        epoch = await shelf.with_round(name)
        await shelf.cursors.advance(name, step(epoch, 0, 2), now=NOW)

        assert await shelf.cursors.advance(name, step(epoch, 0, 4), now=NOW)

        assert (await shelf.stored(name)).position == 4

    async def test_of_many_equal_steps_one_is_made(self, shelf: Shelf) -> None:
        name = await shelf.name()
        epoch = await shelf.with_round(name)

        moved = await asyncio.gather(*(shelf.cursors.advance(name, step(epoch, 0, 2), now=NOW) for _ in range(6)))

        assert sum(moved) == 1

    async def test_the_last_step_ends_the_round(self, shelf: Shelf) -> None:
        name = await shelf.name()
        epoch = await shelf.with_round(name)

        assert await shelf.cursors.advance(name, step(epoch, 0, 2, over=ended()), now=NOW)

        stored = await shelf.stored(name)
        assert (stored.state, stored.listed_at, stored.round, stored.round_id) == (b"state", NOW, None, "r-1")
        assert not await shelf.cursors.advance(name, step(epoch, 2, 3), now=NOW)
        assert not await shelf.cursors.rewind(name, epoch, "r-1", 0, now=NOW)

    async def test_the_end_of_a_round_forgets_what_is_old(self, shelf: Shelf) -> None:
        name = await shelf.name()
        epoch = await shelf.with_round(name)
        old, young = NOW - timedelta(days=31), NOW - timedelta(days=29)
        seen = [(b"old", old), (b"young", young), (b"young", young)]
        first = Advance(epoch=epoch, round_id="r-1", position=2, seen=seen, unseen=[], cleared=[], ended=None)

        await shelf.cursors.advance(name, first, now=NOW)
        assert await shelf.cursors.seen(name, [b"old", b"young"]) == {b"old", b"young"}
        await shelf.cursors.advance(name, step(epoch, 2, 3, over=ended()), now=NOW)

        assert await shelf.cursors.seen(name, [b"old", b"young"]) == {b"young"}

    async def test_a_round_with_nothing_to_deliver_moves_the_state(self, shelf: Shelf) -> None:
        name = await shelf.name()
        epoch = await shelf.with_round(name)

        assert await shelf.cursors.settle(name, epoch, "r-2", ended(b"later"), filter_hash="other", now=NOW)

        stored = await shelf.stored(name)
        assert stored == StoredCursor(
            epoch=epoch,
            filter_hash="other",
            state=b"later",
            listed_at=NOW,
            round_id="r-2",
            round=None,
            position=0,
        )

    async def test_a_rewind_goes_back_only(self, shelf: Shelf) -> None:
        name = await shelf.name()
        epoch = await shelf.with_round(name)
        await shelf.cursors.advance(name, step(epoch, 0, 5), now=NOW)

        assert not await shelf.cursors.rewind(name, epoch, "r-1", 6, now=NOW)
        assert not await shelf.cursors.rewind(name, epoch, "r-2", 3, now=NOW)
        assert await shelf.cursors.rewind(name, epoch, "r-1", 3, now=NOW)

        assert (await shelf.stored(name)).position == 3

    async def test_many_digests_are_looked_up_at_once(self, shelf: Shelf) -> None:
        name = await shelf.name()
        epoch = await shelf.with_round(name)
        known = [(number.to_bytes(16, "big"), NOW) for number in range(3_000)]
        many = Advance(epoch=epoch, round_id="r-1", position=1, seen=known, unseen=[], cleared=[], ended=None)
        await shelf.cursors.advance(name, many, now=NOW)

        found = await shelf.cursors.seen(name, [number.to_bytes(16, "big") for number in range(25_000)])

        assert found == {digest for digest, _ in known}
        assert await shelf.cursors.seen(name, []) == set()
