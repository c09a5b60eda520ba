"""What the vault needs from outside: somebody who keeps the key-encryption keys, and a store of wrapped keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from connectors.vault.domain import Owner, StoredKey, WrappedKey


class KeyProvider(Protocol):
    """Keeps the key-encryption keys; they never leave it.

    It may be slow, a service on the network for one: await it outside of transactions, and give the call a deadline.
    """

    async def current_key_id(self) -> str:
        """Return the id of the key that wraps new keys. It can change at any time.

        Raises:
            KeyProviderUnavailable: Try again.
        """
        ...

    async def wrap(self, dek: bytes, context: bytes) -> WrappedKey:
        """Encrypt a data key with the current key.

        Args:
            dek: 32 bytes.
            context: What it belongs to. It is not stored: unwrapping takes the very same bytes.

        Raises:
            KeyProviderUnavailable: Try again.
        """
        ...

    async def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        """Return the data key, with whichever key wrapped it.

        Raises:
            KeyMissing: There is no key of that id.
            Undecryptable: It was changed, or wrapped in another context or by another key.
            KeyProviderUnavailable: Try again.
        """
        ...


class KeyStore(Protocol):
    """The wrapped keys of all connections. Each method is one transaction of its own.

    Raises:
        adiuva_rpc.errors.Unavailable: The database cannot be used now.
    """

    async def page(self, current: str, *, after: tuple[str, str] | None, limit: int) -> Sequence[StoredKey]:
        """Return stored keys that are not wrapped by the key `current`, ordered by (user_id, connection_id).

        The order is the store's own, e.g. that of its collation, as long as it is total and stays the same.

        Args:
            current: The id of the key-encryption key to leave out.
            after: Only those later than this (user_id, connection_id), which need not exist any more; None for all.
            limit: At most so many; fewer are returned only when there are no more.
        """
        ...

    async def replace(self, owner: Owner, old: WrappedKey, new: WrappedKey) -> bool:
        """Store `new` if exactly `old`, id and blob, is stored now.

        Returns:
            Whether it was. False when the connection has another wrapped key by now, or none.
        """
        ...

    async def counts(self) -> Mapping[str, int]:
        """Return how many stored keys each key-encryption key wraps; ids that wrap none are left out."""
        ...
