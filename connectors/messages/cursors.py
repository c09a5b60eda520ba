"""Where a subscriber is: the sealed tokens that tell it, and the commits that move it.

A cursor moves only within the round under way, and only forward: what a commit passes is remembered as delivered, and
with the last message of a round its state becomes what the provider is asked with the next time. All of a step is one
transaction, so a crash before it replays and a crash after it repeats nothing.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import zlib
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, unique
from typing import Final

from adiuva_rpc.failpoints import failpoint
from connectors.errors import CursorInvalid, StaleFetch
from connectors.messages.access import Access
from connectors.messages.domain import JsonObject
from connectors.messages.ports import Advance, CursorName, CursorStore, Ended, Now, StoredCursor
from connectors.messages.rounds import REMEMBERED, Round, decode, digests, encode, key_digest
from connectors.vault.domain import Undecryptable
from connectors.vault.vault import ConnectionKey

MAX_TOKEN_CHARS: Final = 32_768
"""Longer than any token: one whose whole round of 50,000 messages was in part left out has 9,000."""

_FORMAT: Final = 1
_FIELD: Final = "cursor_token"


@unique
class Outcome(IntEnum):
    """What became of a message that a fetch has passed."""

    DELIVERED = 0
    UNREADABLE = 1
    GONE = 2
    """Vanished, or left out: it is not remembered, as it may come back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place in a round, as a token holds it. The key that seals it binds it to the connection."""

    subscriber: str
    filter_hash: str
    round_id: str
    epoch: int
    """Of the fetch that made it."""
    start: int
    """Where that fetch began in the round."""
    position: int
    outcomes: bytes
    """An `Outcome` for each message from `start` to `position`."""


def seal_place(key: ConnectionKey, place: Place) -> str:
    """Return the token of a place: some 300 characters."""
    head = [place.subscriber, place.filter_hash, place.round_id, place.epoch, place.start, place.position]
    plain = json.dumps(head, separators=(",", ":")).encode() + b"\0" + zlib.compress(place.outcomes)
    sealed = bytes([_FORMAT]) + key.seal(_FIELD, _FORMAT, plain)
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def open_place(key: ConnectionKey, token: str) -> Place:
    """Return the place of a token.

    Raises:
        CursorInvalid: it is none of this connection's.
    """
    if len(token) > MAX_TOKEN_CHARS:
        raise CursorInvalid
    try:
        sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise CursorInvalid from None
    if sealed[:1] != bytes([_FORMAT]):
        raise CursorInvalid
    try:
        head, _, outcomes = key.open(_FIELD, _FORMAT, sealed[1:]).partition(b"\0")
    except Undecryptable:
        raise CursorInvalid from None
    subscriber, filter_hash, round_id, epoch, start, position = json.loads(head)
    return Place(
        subscriber=subscriber,
        filter_hash=filter_hash,
        round_id=round_id,
        epoch=epoch,
        start=start,
        position=position,
        outcomes=zlib.decompress(outcomes),
    )


async def seal_round(key: ConnectionKey, subscriber: str, made: Round) -> bytes:
    """Return the round as it is stored. A large one takes a moment, and so a thread."""
    return await asyncio.to_thread(lambda: key.seal(_round_field(subscriber, made.round_id), _FORMAT, encode(made)))


async def open_round(key: ConnectionKey, name: CursorName, cursor: StoredCursor) -> Round:
    """Return the round under way.

    Raises:
        Undecryptable: it was sealed under another key of the connection.
        ValueError: there is none, or it is of another version of this service.
    """
    sealed, field = cursor.round, _round_field(name.subscriber, cursor.round_id)
    if sealed is None:
        raise ValueError("no round is under way")
    return await asyncio.to_thread(lambda: decode(key.open(field, _FORMAT, sealed)))


def seal_state(key: ConnectionKey, subscriber: str, state: JsonObject) -> bytes:
    """Return what the provider is asked with the next time, as it is stored."""
    return key.seal(f"cursor_state:{subscriber}", _FORMAT, json.dumps(state, separators=(",", ":")).encode())


def open_state(key: ConnectionKey, subscriber: str, sealed: bytes) -> JsonObject:
    """Return what the provider is asked with.

    Raises:
        Undecryptable: it was sealed under another key of the connection.
    """
    state: JsonObject = json.loads(key.open(f"cursor_state:{subscriber}", _FORMAT, sealed))
    return state


def ended(key: ConnectionKey, subscriber: str, made: Round) -> Ended:
    """Return what a cursor becomes when the round is over."""
    return Ended(
        state=seal_state(key, subscriber, made.state),
        listed_at=made.listed_at,
        forget_before=made.listed_at - REMEMBERED,
    )


class Cursors:
    """Moves cursors.

    Args:
        store: Of the cursors.
        access: To the connections, for their keys.
        now: The present time.
    """

    def __init__(self, *, store: CursorStore, access: Access, now: Now) -> None:
        self._store = store
        self._access = access
        self._now = now

    async def commit(self, user_id: str, connection_id: str, token: str) -> None:
        """Move a cursor to the place of a token. What is passed already stays so.

        Raises:
            NotFound: the user has no such connection.
            Disconnected, DecryptFailed: its key is not to be had.
            CursorInvalid: the token is not one of this connection, or its cursor is gone.
            StaleFetch: a newer fetch has begun, and this would still move the cursor.
        """
        key = await self._access.key(user_id, connection_id)
        place = open_place(key, token)
        name = CursorName(connection_id=connection_id, subscriber=place.subscriber)
        cursor = await self._store.read(name)
        if cursor is None:
            raise CursorInvalid
        if is_passed(cursor, place):
            return
        if place.epoch != cursor.epoch or place.round_id != cursor.round_id:
            raise StaleFetch
        failpoint("connectors.before_commit")
        moved = await advance(self._store, key, name, cursor, place, now=self._now())
        failpoint("connectors.after_commit")
        if not moved:
            await self._explain(name, place)

    async def _explain(self, name: CursorName, place: Place) -> None:
        """Somebody else was at the cursor at the same time: perhaps with the same commit."""
        cursor = await self._store.read(name)
        if cursor is None or not is_passed(cursor, place):
            raise StaleFetch


def is_passed(cursor: StoredCursor, place: Place) -> bool:
    """Return whether the cursor is at this place of its round, or after it."""
    return cursor.round_id == place.round_id and (cursor.round is None or cursor.position >= place.position)


async def advance(
    store: CursorStore, key: ConnectionKey, name: CursorName, cursor: StoredCursor, place: Place, *, now: datetime
) -> bool:
    """Move a cursor forward within its round; return whether it was not there yet, and still of the same fetch.

    Raises:
        CursorInvalid: the round cannot be opened any more.
    """
    try:
        made = await open_round(key, name, cursor)
    except (Undecryptable, ValueError):
        raise CursorInvalid from None
    seen: list[tuple[bytes, datetime]] = []
    unseen: list[bytes] = []
    cleared: list[tuple[str, str]] = []
    for index in range(max(cursor.position, place.start), place.position):
        ref, outcome = made.refs[index], place.outcomes[index - place.start]
        if outcome == Outcome.DELIVERED:
            seen.extend((digest, ref.received_at) for digest in digests(ref))
        elif outcome == Outcome.UNREADABLE:
            # Not by its alias: under another id, after it was moved, it is worth another try.
            seen.append((key_digest(ref), ref.received_at))
        else:
            unseen.append(key_digest(ref))
        if outcome != Outcome.UNREADABLE:
            cleared.append((ref.provider_id, ref.version))
    step = Advance(
        epoch=cursor.epoch,
        round_id=cursor.round_id,
        position=place.position,
        seen=seen,
        unseen=unseen,
        cleared=cleared,
        ended=ended(key, name.subscriber, made) if place.position == len(made.refs) else None,
    )
    return await store.advance(name, step, now=now)


def _round_field(subscriber: str, round_id: str) -> str:
    return f"round:{subscriber}:{round_id}"
