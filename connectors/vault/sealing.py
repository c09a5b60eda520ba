"""Authenticated encryption: AES-256-GCM with a random nonce, a format version and bound associated data.

Sealed bytes are `format (1) | nonce (12) | ciphertext | tag (16)`: 29 more than the plaintext. Random nonces are safe
for 2**32 messages of one key (NIST SP 800-38D, 8.3); no key here comes near.
"""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
FORMAT = b"\x01"
"""Of sealed bytes: AES-256-GCM as above. Another algorithm gets another number."""

_NONCE_BYTES = 12
_TAG_BYTES = 16
_START = len(FORMAT) + _NONCE_BYTES


class NotOpened(Exception):
    """The bytes do not open with this key and these associated data. It says nothing else, on purpose."""


def bound(*parts: bytes) -> bytes:
    """Return associated data of these parts, each after its length: no two lists of parts give the same bytes."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def new_key() -> bytes:
    """Return 256 random bits."""
    return AESGCM.generate_key(bit_length=KEY_BYTES * 8)


class Box:
    """Seals and opens with one key. The key's bytes are kept by the library only; nothing shows them.

    Raises:
        ValueError: The key is not 32 bytes.
    """

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError("a key has 32 bytes")
        self._cipher = AESGCM(key)

    def seal(self, plaintext: bytes, associated: bytes) -> bytes:
        """Encrypt, and bind the result to the associated data."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return FORMAT + nonce + self._cipher.encrypt(nonce, plaintext, associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """Decrypt.

        Raises:
            NotOpened: Not one byte of it may be used.
        """
        if len(sealed) < _START + _TAG_BYTES or not sealed.startswith(FORMAT):
            raise NotOpened
        try:
            return self._cipher.decrypt(sealed[len(FORMAT) : _START], sealed[_START:], associated)
        except InvalidTag:
            raise NotOpened from None
