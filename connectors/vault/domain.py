"""Whose secrets they are, wrapped keys, and how opening them fails. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field

from adiuva_rpc.errors import Internal, Unavailable

DATA_KEY = "data_key"
"""The field that an `Undecryptable` names when it is the connection's own key that does not open."""


@dataclass(frozen=True, slots=True, order=True)
class Owner:
    """The connection that a secret belongs to. What is sealed for one owner opens for no other."""

    user_id: str
    connection_id: str


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """The data key of a connection as it is stored: worth nothing without the key that wrapped it.

    Deleting it, in every copy, erases all that was ever sealed with it.
    """

    key_id: str
    """Of the key-encryption key, as its provider names it."""
    blob: bytes = field(repr=False)
    """Opaque, only for the provider that made it; below 1 KiB."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A wrapped key and whose it is."""

    owner: Owner
    wrapped: WrappedKey


class DecryptFailed(Internal):
    """What is stored for the connection cannot be decrypted."""

    reason = "DECRYPT_FAILED"


class KeyMissing(DecryptFailed):
    """The key-encryption key is not there. Nothing is lost: with the key put back, everything opens again.

    Attributes:
        key_id: Of the key that is missing.
    """

    reason = "KEY_MISSING"

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"The key-encryption key {key_id!r} is missing. Put it back where the service reads its keys, and remove a "
            "key only after a rotation that leaves nothing under it; without it the account has to be linked again.",
            metadata={"key_id": key_id},
        )
        self.key_id = key_id


class Undecryptable(DecryptFailed):
    """The key is there and does not open it: it was changed, cut off, or put where it does not belong.

    Attributes:
        key_id: Of the key-encryption key that wraps the connection's data key.
        field: What did not open; `DATA_KEY` for the data key itself.
    """

    reason = "UNDECRYPTABLE"

    def __init__(self, key_id: str, field: str) -> None:
        super().__init__(
            f"The stored {field!r} does not open with its key, which is wrapped by {key_id!r}: it was changed, cut off "
            "or moved from another place. Restore it, or link the account again.",
            metadata={"key_id": key_id, "field": field},
        )
        self.key_id = key_id
        self.field = field


class KeyProviderUnavailable(Unavailable):
    """The service that keeps the key-encryption keys cannot be reached. Nothing was done; try again."""

    reason = "KEY_PROVIDER_UNAVAILABLE"
