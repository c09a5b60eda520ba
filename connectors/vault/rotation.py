"""Moves all connections to the current key-encryption key, while the service works.

Progress is the data itself: a key that was rewrapped is not listed again, so a rotation that was stopped anywhere is
resumed by starting another one, and two of them at once share the work. Data keys and what they sealed stay as they
are; who reads a wrapped key before it is replaced can open it as long as the old key is there.

A connection that is made during the walk, by a replica that wrapped its key a moment before the new key came, is left
for the next rotation and shows in `remaining`. So a key-encryption key may be removed when a rotation leaves nothing
under it some time, longer than it takes to store a connection, after another one became the current key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from connectors.vault.domain import DecryptFailed, Owner, StoredKey
from connectors.vault.ports import KeyStore
from connectors.vault.vault import Vault

DEFAULT_BATCH = 200
MAX_FAILURES = 100
"""Failures that are told one by one; further ones are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationFailure:
    """A key that could not be rewrapped. It stays as it was."""

    owner: Owner
    key_id: str
    """Of the key that wraps it."""
    reason: str
    """UPPER_SNAKE, as of the error."""
    message: str
    """What is wrong and what to do; no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationProgress:
    """What one walk did, and what is left."""

    current: str
    """The id of the current key at the end."""
    rewrapped: int
    already_current: int
    """Listed as old, and not any more when their turn came: another rotation was faster, or the connection is gone."""
    failed: int
    failures: tuple[RotationFailure, ...]
    """The first of the failed."""
    remaining: Mapping[str, int]
    """Stored keys that are not under the current one, by the id of theirs; empty when all is done."""
    after: tuple[str, str] | None
    """Where to go on when the limit ended the walk; None when it came to the end."""


async def rotate(
    store: KeyStore,
    vault: Vault,
    *,
    batch: int = DEFAULT_BATCH,
    after: tuple[str, str] | None = None,
    limit: int | None = None,
) -> RotationProgress:
    """Rewrap every stored key that is not under the current key.

    A key that does not open is counted and left; the others go on. Cancelling it at any point loses nothing.

    Args:
        store: Of the wrapped keys.
        vault: Whose current key they are to be under.
        batch: Keys read from the store at a time.
        after: Begin after this (user_id, connection_id); None for the beginning.
        limit: Keys to look at, at most; None for all.

    Raises:
        ValueError: The batch or the limit is less than 1.
        KeyProviderUnavailable: What was rewrapped so far is stored. Start again later.
        adiuva_rpc.errors.Unavailable: The database cannot be used now; the same.
    """
    if batch < 1 or (limit is not None and limit < 1):
        raise ValueError("a batch and a limit are at least 1")
    tally = _Tally()
    looked_at = 0
    while limit is None or looked_at < limit:
        size = batch if limit is None else min(batch, limit - looked_at)
        page = await store.page(await vault.current_key_id(), after=after, limit=size)
        for stored in page:
            await _move(store, vault, stored, tally)
        looked_at += len(page)
        if len(page) < size:
            after = None
            break
        after = (page[-1].owner.user_id, page[-1].owner.connection_id)
    current = await vault.current_key_id()
    counts = await store.counts()
    return RotationProgress(
        current=current,
        rewrapped=tally.rewrapped,
        already_current=tally.already_current,
        failed=tally.failed,
        failures=tuple(tally.failures),
        remaining={key_id: count for key_id, count in counts.items() if key_id != current},
        after=after,
    )


@dataclass(slots=True)
class _Tally:
    rewrapped: int = 0
    already_current: int = 0
    failed: int = 0
    failures: list[RotationFailure] = field(default_factory=list)


async def _move(store: KeyStore, vault: Vault, stored: StoredKey, tally: _Tally) -> None:
    owner, old = stored.owner, stored.wrapped
    try:
        new = await vault.rewrap(owner, old)
    except DecryptFailed as error:
        # Replacing it by itself tells whether it is still stored: if another rotation has moved it since the page was
        # read, the old key may rightly be gone.
        if not await store.replace(owner, old, old):
            tally.already_current += 1
            return
        tally.failed += 1
        if len(tally.failures) < MAX_FAILURES:
            tally.failures.append(
                RotationFailure(owner=owner, key_id=old.key_id, reason=error.reason, message=error.message)
            )
        return
    if new is not None and await store.replace(owner, old, new):
        tally.rewrapped += 1
    else:
        tally.already_current += 1
