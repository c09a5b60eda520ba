"""Whose consent it was: the id token that came with the tokens, checked. msal only decodes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import jwt

from connectors.errors import CodeRefused
from connectors.messages.domain import JsonObject
from connectors.providers.port import Account

CONSUMERS: Final = "9188040d-6c67-4c5b-b112-36a304b66dad"
"""The tenant in which all personal accounts are."""

_SKEW = timedelta(minutes=5)
_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_MOST_ADDRESS = 320


class KeyUnknown(Exception):
    """The token names a key that is not among those that are known."""


def checked_claims(
    token: str, *, keys: JsonObject, client_id: str, issuer: str, tenant: str, now: datetime
) -> JsonObject:
    """Return the claims of an id token whose signature, issuer, audience and times are right.

    Args:
        token: As it came.
        keys: The JSON Web Key Set that Microsoft publishes.
        client_id: Whom it must be for.
        issuer: As Microsoft publishes it; may hold `{tenantid}`, for which the token's own tenant stands.
        tenant: Whose accounts may sign in: see `MicrosoftConfig.tenant`.
        now: With a time zone.

    Raises:
        KeyUnknown: See there.
        CodeRefused: Something is not right.
    """
    try:
        named = jwt.get_unverified_header(token).get("kid")
        if not named:
            raise _wrong()
        key = next((key for key in jwt.PyJWKSet.from_dict(keys).keys if key.key_id == named), None)
        if key is None:
            raise KeyUnknown
        claims: JsonObject = jwt.decode(
            token,
            key=key,
            algorithms=["RS256"],
            audience=client_id,
            options={
                "require": ["aud", "exp", "iss", "sub"],
                # By our clock, below.
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
    except jwt.PyJWTError:
        raise _wrong() from None
    _check_times(claims, now)
    _check_issuer(claims, issuer=issuer, tenant=tenant)
    return claims


def account_of(claims: Mapping[str, Any]) -> Account:
    """Return the account that checked claims are about.

    Its id is the object's and the tenant's, which every application sees alike; without them the subject, which only
    this application sees.
    """
    object_id, tenant, subject = (claims.get(name) for name in ("oid", "tid", "sub"))
    found = f"{object_id}.{tenant}" if object_id and tenant else str(subject)
    if not all(_ID.fullmatch(part) for part in found.split(".", 1)):
        raise _wrong()
    named = (claims.get(name) for name in ("preferred_username", "email", "upn"))
    address = next((name for name in named if isinstance(name, str) and name), "")
    return Account(account_id=found, address=address[:_MOST_ADDRESS])


def is_same_object(account_id: str, graph_id: str) -> bool:
    """Return whether an id of `account_of` is of the user whom Graph calls `graph_id`.

    Graph calls a personal account by 16 digits, which are the end of its object id.
    """
    object_id = account_id.partition(".")[0]
    if "." not in account_id or not graph_id:
        return False
    known, given = object_id.replace("-", "").lower(), graph_id.replace("-", "").lower()
    return known == given or (len(given) == 16 and known == given.rjust(32, "0"))


def _check_times(claims: JsonObject, now: datetime) -> None:
    begins, ends = _number(claims.get("nbf", 0)), _number(claims.get("exp"))
    if not begins - _SKEW.total_seconds() <= now.timestamp() <= ends + _SKEW.total_seconds():
        raise _wrong()


def _check_issuer(claims: JsonObject, *, issuer: str, tenant: str) -> None:
    of = claims.get("tid")
    if "{tenantid}" in issuer:
        if not isinstance(of, str) or not re.fullmatch(r"[0-9A-Fa-f-]{36}", of):
            raise _wrong()
        issuer = issuer.replace("{tenantid}", of)
    if claims.get("iss") != issuer or (tenant == "organizations" and of == CONSUMERS):
        raise _wrong()


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong()
    return value


def _wrong() -> CodeRefused:
    return CodeRefused("Microsoft's statement about who signed in is not right. Begin a new authorization.")
