"""Tokens and commits: sealed, small, forward only, and repeatable."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from adiuva_rpc.errors import NotFound
from connectors.connections.domain import ConnectionState
from connectors.errors import CursorInvalid, Disconnected, StaleFetch
from connectors.messages.cursors import Outcome, Place, open_place, seal_place
from connectors.messages.domain import MessageFilter
from connectors.messages.events import Checkpoint
from connectors.vault.domain import Owner
from connectors.vault.sealing import Box, new_key
from connectors.vault.vault import ConnectionKey
from tests.connectors.messages.lab import Lab

KEY = ConnectionKey(Owner("anna", "c-1"), "key-1", Box(new_key()))
PLACE = Place(
    subscriber="7b0e5b1c-3f0e-4a53-9f0c-1d2f3a4b5c6d",
    filter_hash="0" * 32,
    round_id="1" * 32,
    epoch=12,
    start=100,
    position=300,
    outcomes=bytes([Outcome.DELIVERED] * 200),
)


@pytest.fixture
async def lab() -> Lab:
    return await Lab.linked()


@given(
    subscriber=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=128),
    epoch=st.integers(1, 2**62),
    start=st.integers(0, 50_000),
    outcomes=st.binary(max_size=500),
)
def test_a_place_survives_its_token(subscriber: str, epoch: int, start: int, outcomes: bytes) -> None:
    place = replace(
        PLACE, subscriber=subscriber, epoch=epoch, start=start, position=start + len(outcomes), outcomes=outcomes
    )

    assert open_place(KEY, seal_place(KEY, place)) == place


def test_a_token_is_small_and_says_nothing() -> None:
    token = seal_place(KEY, PLACE)

    assert len(token) < 350
    assert PLACE.subscriber not in base64.urlsafe_b64decode(token + "==").decode("latin-1")
    assert token != seal_place(KEY, PLACE)


def test_the_token_of_the_worst_fetch_is_bounded() -> None:
    outcomes = bytes(hashlib.shake_256(b"any").digest(50_000)).translate(bytes(byte % 3 for byte in range(256)))
    token = seal_place(KEY, replace(PLACE, start=0, position=50_000, outcomes=outcomes))

    assert open_place(KEY, token).outcomes == outcomes


@given(st.data())
@settings(max_examples=200)
def test_a_changed_token_is_none(data: st.DataObject) -> None:
    token = seal_place(KEY, PLACE)
    where = data.draw(st.integers(0, len(token) - 1))
    how = data.draw(st.sampled_from(["cut", "flip", "drop", "add", "letter"]))
    sealed = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    place = where % len(sealed)
    sealed[place] ^= 1 << data.draw(st.integers(0, 7))
    changed = {
        "cut": token[:where],
        "flip": base64.urlsafe_b64encode(bytes(sealed)).decode().rstrip("="),
        "drop": token[:where] + token[where + 1 :],
        "add": token[:where] + "A" + token[where:],
        "letter": token[:where] + "é" + token[where + 1 :],
    }[how]

    with pytest.raises(CursorInvalid):
        open_place(KEY, changed)


@pytest.mark.parametrize("text", ["", "A", "====", "a" * 40_000, "\0", "AQ", "AQAA", "💌"])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(CursorInvalid):
        open_place(KEY, text)


def test_what_was_sealed_for_something_else_is_no_token() -> None:
    sealed = KEY.seal("refresh_token", 1, b"[]")

    with pytest.raises(CursorInvalid):
        open_place(KEY, base64.urlsafe_b64encode(b"\1" + sealed).decode())


def test_the_token_of_another_connection_is_none() -> None:
    other = ConnectionKey(Owner("anna", "c-2"), "key-1", Box(new_key()))

    with pytest.raises(CursorInvalid):
        open_place(other, seal_place(KEY, PLACE))


async def test_a_cursor_moves_forward_only(lab: Lab) -> None:
    ids = lab.mails(45)
    fetched = await lab.fetch()
    first, second = [event.cursor_token for event in fetched.of(Checkpoint)][:2]

    await lab.commit(second)
    await lab.commit(first)

    assert (await lab.fetch()).keys == ids[40:]


async def test_the_same_commit_many_times_at_once_is_one(lab: Lab) -> None:
    lab.mails(45)
    fetched = await lab.fetch()
    tokens = [event.cursor_token for event in fetched.of(Checkpoint)]

    await asyncio.gather(*(lab.commit(token) for token in tokens * 5))

    assert (await lab.fetch()).keys == []
    assert lab.store.remembered(lab.name) == 45


async def test_a_commit_after_the_end_of_its_round_is_still_good(lab: Lab) -> None:
    lab.mails(25)
    fetched = await lab.fetch()
    early = fetched.of(Checkpoint)[0].cursor_token
    await lab.commit(fetched.token)

    await lab.commit(early)
    await lab.commit(fetched.token)

    assert (await lab.fetch()).keys == []


async def test_a_commit_of_a_round_that_was_given_up_is_stale(lab: Lab) -> None:
    lab.mails(3)
    old = await lab.fetch()
    await lab.fetch(filter=MessageFilter(containers=("inbox",)))

    with pytest.raises(StaleFetch):
        await lab.commit(old.token)


async def test_a_commit_is_for_the_user_of_the_connection_only(lab: Lab) -> None:
    lab.mails(1)
    token = (await lab.fetch()).token

    with pytest.raises(NotFound):
        await lab.commit(token, user_id="berta")
    with pytest.raises(NotFound):
        await lab.commit(token, connection_id="c-9")


async def test_a_commit_to_a_connection_that_was_ended_says_so(lab: Lab) -> None:
    lab.mails(1)
    token = (await lab.fetch()).token
    lab.connections.disconnect("c-1")

    with pytest.raises(Disconnected):
        await lab.commit(token)


async def test_a_commit_needs_no_working_grant(lab: Lab) -> None:
    lab.mails(1)
    token = (await lab.fetch()).token
    lab.connections.change("c-1", state=ConnectionState.NEEDS_REAUTH)

    await lab.commit(token)

    lab.connections.change("c-1", state=ConnectionState.ACTIVE)
    assert (await lab.fetch()).keys == []


async def test_a_token_whose_cursor_is_gone_is_refused(lab: Lab) -> None:
    lab.mails(1)
    token = (await lab.fetch()).token
    lab.store._cursors.clear()

    with pytest.raises(CursorInvalid):
        await lab.commit(token)
    assert isinstance((await lab.fetch(cursor_token=token)).error, CursorInvalid)


async def test_a_commit_that_is_overtaken_at_the_last_moment_is_stale(lab: Lab) -> None:
    lab.mails(1)
    token = (await lab.fetch()).token
    advance = lab.store.advance

    async def overtaken(*args: object, **kwargs: object) -> bool:
        lab.store.advance = advance  # type: ignore[method-assign]  # the store's own again
        await lab.fetch()
        return await advance(*args, **kwargs)  # type: ignore[arg-type]  # passed on as they came

    lab.store.advance = overtaken  # type: ignore[method-assign]  # somebody else is at the cursor in between

    with pytest.raises(StaleFetch):
        await lab.commit(token)
