"""Key-encryption keys in memory: `vault.ports.KeyProvider`, passes the same conformance suite as the real ones."""

from __future__ import annotations

import asyncio

from connectors.vault.domain import DATA_KEY, KeyMissing, KeyProviderUnavailable, Undecryptable, WrappedKey
from connectors.vault.sealing import Box, NotOpened, bound, new_key


class InMemoryKeys:
    """A key management service that can be away."""

    def __init__(self) -> None:
        self._boxes: dict[str, Box] = {}
        self._made = 0
        self._current = ""
        self.lost = False
        """Set it, and every call fails as it does when the service is away."""
        self._add()

    @property
    def keys(self) -> InMemoryKeys:
        return self

    async def add(self) -> str:
        """Make a key, the current one from now on, and return its id."""
        return self._add()

    async def forget(self, key_id: str) -> None:
        """Remove a key, though it may be needed."""
        del self._boxes[key_id]

    async def current_key_id(self) -> str:
        """Return the current key's id; see the port."""
        await self._answer()
        return self._current

    async def wrap(self, dek: bytes, context: bytes) -> WrappedKey:
        """Encrypt a data key; see the port."""
        await self._answer()
        return WrappedKey(self._current, self._boxes[self._current].seal(dek, bound(self._current.encode(), context)))

    async def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        """Return a data key; see the port."""
        await self._answer()
        box = self._boxes.get(wrapped.key_id)
        if box is None:
            raise KeyMissing(wrapped.key_id)
        try:
            return box.open(wrapped.blob, bound(wrapped.key_id.encode(), context))
        except NotOpened:
            raise Undecryptable(wrapped.key_id, DATA_KEY) from None

    def _add(self) -> str:
        self._made += 1
        self._current = f"key-{self._made}"
        self._boxes[self._current] = Box(new_key())
        return self._current

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.lost:
            raise KeyProviderUnavailable
