"""The keys that id tokens are signed with, and the id tokens themselves."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

KEY_ID = "emulated-key-1"


@cache
def _key(name: str) -> rsa.RSAPrivateKey:
    del name  # one key for each name, made when it is first needed
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwks() -> dict[str, Any]:
    """Return the public keys as a JSON Web Key Set."""
    numbers = _key(KEY_ID).public_key().public_numbers()
    return {
        "keys": [
            {
                "kty": "RSA",
                "use": "sig",
                "kid": KEY_ID,
                "n": _number(numbers.n),
                "e": _number(numbers.e),
                "issuer": "https://login.microsoftonline.com/{tenantid}/v2.0",
            }
        ]
    }


def signed(claims: dict[str, Any], *, forged: bool = False) -> str:
    """Return a JSON Web Token (RS256); a forged one is signed with a key that nobody published."""
    header = {"typ": "JWT", "alg": "RS256", "kid": KEY_ID}
    payload = f"{base64url_json(header)}.{base64url_json(claims)}"
    key = _key("forger" if forged else KEY_ID)
    return f"{payload}.{_base64url(key.sign(payload.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def base64url_json(value: Any) -> str:
    """Return JSON in base64url without padding."""
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _number(value: int) -> str:
    return _base64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))
