"""Wrapped keys in memory: `vault.ports.KeyStore`, passes the same conformance suite as the real one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

from adiuva_rpc.errors import Unavailable
from connectors.vault.domain import Owner, StoredKey, WrappedKey


class InMemoryKeyStore:
    """Keys by their owners. Others get their turn before each step, as while a database answers."""

    def __init__(self) -> None:
        self._keys: dict[Owner, WrappedKey] = {}
        self.replacements: int | None = None
        """Set it, and after so many replacements the database is away."""

    @property
    def keys(self) -> InMemoryKeyStore:
        return self

    async def put(self, owner: Owner, wrapped: WrappedKey) -> None:
        """Store a key, whatever was stored."""
        self._keys[owner] = wrapped

    async def stored(self, owner: Owner) -> WrappedKey | None:
        """Return the key of a connection."""
        return self._keys.get(owner)

    async def erase(self, owner: Owner) -> None:
        """Forget the key of a connection."""
        self._keys.pop(owner, None)

    async def page(self, current: str, *, after: tuple[str, str] | None, limit: int) -> Sequence[StoredKey]:
        """Return keys that are not under `current`; see the port."""
        await asyncio.sleep(0)
        found = sorted(
            owner
            for owner, wrapped in self._keys.items()
            if wrapped.key_id != current and (after is None or (owner.user_id, owner.connection_id) > after)
        )
        return [StoredKey(owner, self._keys[owner]) for owner in found[:limit]]

    async def replace(self, owner: Owner, old: WrappedKey, new: WrappedKey) -> bool:
        """Store `new` if `old` is stored; see the port."""
        await asyncio.sleep(0)
        if self.replacements is not None:
            if self.replacements == 0:
                raise Unavailable("The database cannot be reached.")
            self.replacements -= 1
        if self._keys.get(owner) != old:
            return False
        self._keys[owner] = new
        return True

    async def counts(self) -> Mapping[str, int]:
        """Return how many keys each key wraps; see the port."""
        await asyncio.sleep(0)
        return dict(Counter(wrapped.key_id for wrapped in self._keys.values()))
