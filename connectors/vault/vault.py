"""The vault: what a connection keeps is sealed with the connection's own key, and that key is wrapped.

    wrapped = await vault.new_key(owner)                          # stored beside the connection, once
    key = await vault.open_key(owner, wrapped)
    sealed = key.seal("refresh_token", 1, token)                  # stored
    token = key.open("refresh_token", 1, sealed)

Only a row's own place opens it: moved to another user, connection or field, or put back in an older version's stead,
it is refused. Deleting a wrapped key erases what it sealed. So that this is true at once, no unwrapped key is kept
here: unwrapping one takes microseconds, and a `ConnectionKey` is for the work at hand, not to be held on to.
"""

from __future__ import annotations

from typing import NoReturn

from connectors.vault.domain import DATA_KEY, Owner, Undecryptable, WrappedKey
from connectors.vault.ports import KeyProvider
from connectors.vault.sealing import FORMAT, Box, NotOpened, bound, new_key

_WRAPPING = b"adiuva connection key"
_SEALING = b"adiuva connection secret"
_MAX_VERSION = 2**63 - 1


class ConnectionKey:
    """The data key of one connection, open. It shows and stores nothing of itself.

    Attributes:
        owner: Whose it is.
        key_id: Of the key-encryption key that it came wrapped by, for errors.
    """

    __slots__ = ("_box", "key_id", "owner")

    def __init__(self, owner: Owner, key_id: str, box: Box) -> None:
        self.owner = owner
        self.key_id = key_id
        self._box = box

    def __repr__(self) -> str:
        return f"ConnectionKey({self.owner!r}, key_id={self.key_id!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an open key is not copied and not stored")

    def seal(self, field: str, version: int, plaintext: bytes) -> bytes:
        """Encrypt what goes into a field of the connection.

        Args:
            field: Its name, e.g. "refresh_token".
            version: Of the row or the value: who opens it must know it. At least 0.
            plaintext: Any length.

        Returns:
            29 bytes more than the plaintext, never the same twice.

        Raises:
            ValueError: The version is out of range.
        """
        return self._box.seal(plaintext, self._place(field, version))

    def open(self, field: str, version: int, sealed: bytes) -> bytes:
        """Decrypt what was sealed for this field in this version.

        Raises:
            Undecryptable: It was changed, or sealed for another place.
            ValueError: The version is out of range.
        """
        try:
            return self._box.open(sealed, self._place(field, version))
        except NotOpened:
            raise Undecryptable(self.key_id, field) from None

    def _place(self, field: str, version: int) -> bytes:
        if not 0 <= version <= _MAX_VERSION:
            raise ValueError("a version is between 0 and 2**63 - 1")
        return bound(_SEALING, FORMAT, *_names(self.owner), _bytes(field), version.to_bytes(8, "big"))


class Vault:
    """Makes, opens and rewraps the data keys of connections. Holds no key itself."""

    def __init__(self, keys: KeyProvider) -> None:
        self._keys = keys

    async def current_key_id(self) -> str:
        """Return the id of the key that wraps new data keys.

        Raises:
            KeyProviderUnavailable: Try again.
        """
        return await self._keys.current_key_id()

    async def new_key(self, owner: Owner) -> WrappedKey:
        """Make a data key for a connection, 256 random bits, and return it wrapped.

        Raises:
            KeyProviderUnavailable: Try again.
        """
        return await self._keys.wrap(new_key(), _context(owner))

    async def open_key(self, owner: Owner, wrapped: WrappedKey) -> ConnectionKey:
        """Unwrap the data key of a connection.

        Raises:
            KeyMissing: The key that wraps it is not there.
            Undecryptable: It was changed, or is another connection's.
            KeyProviderUnavailable: Try again.
        """
        dek = await self._keys.unwrap(wrapped, _context(owner))
        try:
            return ConnectionKey(owner, wrapped.key_id, Box(dek))
        except ValueError:
            raise Undecryptable(wrapped.key_id, DATA_KEY) from None

    async def rewrap(self, owner: Owner, wrapped: WrappedKey) -> WrappedKey | None:
        """Wrap the same data key with the current key: what it sealed stays as it is.

        Returns:
            What to store instead; None when it is under the current key already.

        Raises:
            KeyMissing: The key that wraps it is not there.
            Undecryptable: It was changed, or is another connection's.
            KeyProviderUnavailable: Try again.
        """
        if wrapped.key_id == await self._keys.current_key_id():
            return None
        context = _context(owner)
        return await self._keys.wrap(await self._keys.unwrap(wrapped, context), context)


def _context(owner: Owner) -> bytes:
    return bound(_WRAPPING, *_names(owner))


def _names(owner: Owner) -> tuple[bytes, bytes]:
    return _bytes(owner.user_id), _bytes(owner.connection_id)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
