"""One-time codes for people to carry, and credentials for devices to keep. Both are stored as hashes only."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import uuid

CODE_BYTES = 16
"""128 random bits: nobody finds one by trying, so nothing counts the tries."""
CODE_GROUP = 5

DEFAULT_LIFETIME = 600.0
MIN_LIFETIME = 60.0
MAX_LIFETIME = 24 * 3600.0
"""Seconds that a code lives."""
MAX_UNUSED_CODES = 20
"""Of one user at a time."""

CREDENTIAL_PREFIX = "adv_device_"
"""Begins with the prefix of all our tokens, by which logs mask them."""

_CREDENTIAL = re.compile(r"adv_device_([0-9a-f]{32})_[A-Za-z0-9_-]{43}")
_CODE = re.compile(r"[A-Z2-7]{26}")


def new_code() -> str:
    """Return a new one-time code, in groups for reading: letters and the digits 2 to 7, no 0, 1, 8 or 9."""
    text = base64.b32encode(secrets.token_bytes(CODE_BYTES)).decode().rstrip("=")
    return "-".join(text[start : start + CODE_GROUP] for start in range(0, len(text), CODE_GROUP))


def code_hash(code: str) -> str | None:
    """Return the SHA-256 of a code in hexadecimal, however it was typed; None for what cannot be a code."""
    plain = code.replace("-", "").replace("_", "").upper()
    return hashlib.sha256(plain.encode()).hexdigest() if _CODE.fullmatch(plain) else None


def new_device_id() -> str:
    """Return the id of a new device: 32 random hexadecimal digits."""
    return uuid.uuid4().hex


def new_credential(device_id: str) -> str:
    """Return a new credential of a device: it names the device, so that it is found without a search."""
    return f"{CREDENTIAL_PREFIX}{device_id}_{secrets.token_urlsafe(32)}"


def device_of_credential(credential: str) -> str | None:
    """Return the device that a credential names, or None for what cannot be one."""
    match = _CREDENTIAL.fullmatch(credential)
    return match.group(1) if match else None


def credential_hash(credential: str) -> str:
    """Return the SHA-256 of a credential in hexadecimal. It is long and random: no salt, no slow hash."""
    return hashlib.sha256(credential.encode()).hexdigest()
