"""A round: what one listing found, sorted, without repeats and without what was delivered before."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from connectors.errors import WindowTooLarge
from connectors.messages.domain import FetchMode, JsonObject, Ref

FIRST_WINDOW: Final = timedelta(days=7)
"""How far back a subscriber's first fetch looks, and the first one with another filter."""
RESYNC_MARGIN: Final = timedelta(days=1)
"""How much earlier than the last listing a resync begins: providers do not show a message the moment they get it."""
REMEMBERED: Final = timedelta(days=30)
"""How long before the last listing what was delivered is remembered: far longer than any window of a resync."""
MAX_REFS: Final = 50_000
MAX_RETRIES: Final = 1_000
"""Quarantined messages that one round takes in."""
MAX_ID_CHARS: Final = 2_048

_FORMAT: Final = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DIGEST_BYTES: Final = 16
_NEVER_IN_IDS = re.compile(r"[\x00\ud800-\udfff]")
"""What neither the database nor the contract takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One listing of new messages, to be delivered oldest first."""

    round_id: str
    mode: FetchMode
    since: datetime | None
    """Where the window begins; None for INCREMENTAL."""
    listed_at: datetime
    """When the listing began."""
    refs: tuple[Ref, ...]
    """Sorted by time, then by id."""
    state: JsonObject = field(repr=False)
    """What the provider is asked with after this round."""


def sound(refs: Sequence[Ref], *, listed_at: datetime) -> list[Ref]:
    """Return the refs of a listing, each once, all with a time in UTC; those that name no message are left out.

    A message whose time is not known is taken to have come in just now: it is not to be lost for that.

    Raises:
        WindowTooLarge: there are more than a listing may have.
    """
    if len(refs) > MAX_REFS:
        raise WindowTooLarge(retry_after=None)
    found: dict[str, Ref] = {}
    for ref in refs:
        if ref.key not in found and all(map(_is_id, (ref.provider_id or "\0", ref.container, ref.version, ref.alias))):
            found[ref.key] = replace(ref, received_at=_utc(ref.received_at, listed_at))
    return list(found.values())


def in_order(refs: Iterable[Ref]) -> tuple[Ref, ...]:
    """Return the refs oldest first; the order of those of the same instant is always the same."""
    return tuple(sorted(refs, key=lambda ref: (ref.received_at, ref.provider_id, ref.version)))


def merged(refs: Iterable[Ref], more: Iterable[Ref]) -> tuple[Ref, ...]:
    """Return both in order; what is in both is taken from the first."""
    found = {ref.key: ref for ref in refs}
    for ref in more:
        found.setdefault(ref.key, ref)
    return in_order(found.values())


def key_digest(ref: Ref) -> bytes:
    """Return what a message is remembered by."""
    return _digest("key", ref.provider_id, ref.version)


def alias_digest(ref: Ref) -> bytes | None:
    """Return what a message is remembered by under its other name, if it has one.

    The time is part of it: a message that was moved keeps it, while some senders give many messages the same name.
    """
    if not ref.alias:
        return None
    return _digest("alias", ref.alias, ref.version, str(int((ref.received_at - _EPOCH).total_seconds())))


def digests(ref: Ref) -> tuple[bytes, ...]:
    """Return all that a message is remembered by."""
    alias = alias_digest(ref)
    return (key_digest(ref),) if alias is None else (key_digest(ref), alias)


def twins(refs: Sequence[Ref]) -> frozenset[bytes]:
    """Return the digests of aliases that more than one of the refs has.

    A message that was moved while it was listed may be there twice, and under one of its ids it is gone: so both stay
    in the round, and the second is passed over once the first was delivered.
    """
    repeated = {alias for alias, count in Counter(ref.alias for ref in refs if ref.alias).items() if count > 1}
    counted = Counter(alias_digest(ref) for ref in refs if ref.alias in repeated)
    return frozenset(alias for alias, count in counted.items() if alias is not None and count > 1)


def encode(made: Round) -> bytes:
    """Return the round as bytes, without what its refs carry."""
    refs = [[ref.provider_id, micros(ref.received_at), ref.container, ref.version, ref.alias] for ref in made.refs]
    since = None if made.since is None else micros(made.since)
    head = [_FORMAT, made.round_id, made.mode.value, since, micros(made.listed_at)]
    return zlib.compress(json.dumps([head, made.state, refs], separators=(",", ":")).encode(), level=1)


def decode(encoded: bytes) -> Round:
    """Return the round.

    Raises:
        ValueError: it is of another format than this version of the service writes.
    """
    head, state, refs = json.loads(zlib.decompress(encoded))
    if head[0] != _FORMAT:
        raise ValueError("a round of another format")
    _, round_id, mode, since, listed_at = head
    return Round(
        round_id=round_id,
        mode=FetchMode(mode),
        since=None if since is None else moment(since),
        listed_at=moment(listed_at),
        refs=tuple(
            Ref(provider_id=provider_id, received_at=moment(at), container=container, version=version, alias=alias)
            for provider_id, at, container, version, alias in refs
        ),
        state=state,
    )


def micros(time: datetime) -> int:
    """Return a time as microseconds since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def moment(since_1970: int) -> datetime:
    """Return the time of so many microseconds since 1970."""
    return _EPOCH + since_1970 * _MICROSECOND


def _digest(*parts: str) -> bytes:
    # Each part with its length: no two lists of parts give the same bytes.
    data = b"".join(len(raw).to_bytes(4, "big") + raw for raw in (part.encode() for part in parts))
    return hashlib.sha256(data).digest()[:_DIGEST_BYTES]


def _is_id(text: str) -> bool:
    return len(text) <= MAX_ID_CHARS and _NEVER_IN_IDS.search(text) is None


def _utc(time: object, otherwise: datetime) -> datetime:
    if not isinstance(time, datetime):
        return otherwise
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError:
        return otherwise
