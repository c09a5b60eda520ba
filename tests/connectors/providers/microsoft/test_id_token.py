"""Whose consent it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from connectors.errors import CodeRefused
from connectors.messages.domain import JsonObject
from connectors.providers.microsoft.id_token import CONSUMERS, KeyUnknown, account_of, checked_claims, is_same_object
from tests.emulator.microsoft.people import CONTOSO
from tests.emulator.microsoft.signing import KEY_ID, base64url_json, jwks, signed

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
CLIENT_ID = "5d1f9f44-6c3b-4c5e-9d6c-0a7b8c9d0e1f"
ISSUER = "https://login.microsoftonline.com/{tenantid}/v2.0"
OBJECT_ID = "0f5ad2ab-1111-4222-8333-9a9a9a9a9a9a"


def claims(**changes: object) -> dict[str, Any]:
    good = {
        "aud": CLIENT_ID,
        "iss": ISSUER.replace("{tenantid}", CONTOSO),
        "iat": int(NOW.timestamp()),
        "nbf": int(NOW.timestamp()),
        "exp": int((NOW + timedelta(hours=1)).timestamp()),
        "sub": "subject-1",
        "oid": OBJECT_ID,
        "tid": CONTOSO,
        "preferred_username": "mia@contoso.example",
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def check(
    token: str,
    *,
    keys: JsonObject | None = None,
    issuer: str = ISSUER,
    tenant: str = "common",
    now: datetime = NOW,
) -> JsonObject:
    return checked_claims(token, keys=keys or jwks(), client_id=CLIENT_ID, issuer=issuer, tenant=tenant, now=now)


def test_a_good_token_says_who_signed_in() -> None:
    account = account_of(check(signed(claims())))

    assert account.account_id == f"{OBJECT_ID}.{CONTOSO}"
    assert account.address == "mia@contoso.example"


@pytest.mark.parametrize("off", [timedelta(minutes=-4), timedelta(hours=1, minutes=4)], ids=str)
def test_clocks_may_differ_by_some_minutes(off: timedelta) -> None:
    assert check(signed(claims()), now=NOW + off)


@pytest.mark.parametrize("off", [timedelta(minutes=-6), timedelta(hours=1, minutes=6)], ids=str)
def test_clocks_may_not_differ_by_more(off: timedelta) -> None:
    with pytest.raises(CodeRefused):
        check(signed(claims()), now=NOW + off)


def test_a_token_without_a_signature_is_refused() -> None:
    header = base64url_json({"typ": "JWT", "alg": "none", "kid": KEY_ID})

    with pytest.raises(CodeRefused):
        check(f"{header}.{base64url_json(claims())}.")


def test_a_token_that_is_signed_with_the_public_key_as_a_secret_is_refused() -> None:
    key = jwt.PyJWK(jwks()["keys"][0]).key
    public = key.public_numbers().n.to_bytes(256, "big")
    token = jwt.encode(claims(), public, algorithm="HS256", headers={"kid": KEY_ID})

    with pytest.raises(CodeRefused):
        check(token)


def test_a_token_with_a_forged_signature_is_refused() -> None:
    with pytest.raises(CodeRefused):
        check(signed(claims(), forged=True))


@pytest.mark.parametrize("token", ["", "x", "a.b", "a.b.c", "....", "e30.e30.e30", signed(claims())[:-4]])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(CodeRefused):
        check(token)


@pytest.mark.parametrize("keys", [{"keys": [{**jwks()["keys"][0], "kid": "another"}]}], ids=["another"])
def test_a_key_that_is_not_known_may_have_come_since(keys: JsonObject) -> None:
    with pytest.raises(KeyUnknown):
        check(signed(claims()), keys=keys)


@pytest.mark.parametrize("keys", [{"no": "keys"}, {"keys": []}, {"keys": [{"kty": "what"}]}], ids=str)
def test_keys_that_cannot_be_used_verify_nothing(keys: JsonObject) -> None:
    with pytest.raises(CodeRefused):
        check(signed(claims()), keys=keys)


def test_one_tenants_issuer_is_exact() -> None:
    mine = ISSUER.replace("{tenantid}", CONTOSO)

    assert check(signed(claims()), issuer=mine, tenant=CONTOSO)
    with pytest.raises(CodeRefused):
        check(signed(claims(iss=ISSUER.replace("{tenantid}", CONSUMERS), tid=CONSUMERS)), issuer=mine, tenant=CONTOSO)


@pytest.mark.parametrize(
    ("said", "account_id", "address"),
    [
        ({"oid": None}, "subject-1", "mia@contoso.example"),
        ({"preferred_username": None, "email": "mia@example.com"}, f"{OBJECT_ID}.{CONTOSO}", "mia@example.com"),
        ({"preferred_username": 7}, f"{OBJECT_ID}.{CONTOSO}", ""),
    ],
)
def test_an_account_is_named_by_what_there_is(said: dict[str, object], account_id: str, address: str) -> None:
    account = account_of(check(signed(claims(**said))))

    assert (account.account_id, account.address) == (account_id, address)


@pytest.mark.parametrize(
    ("account_id", "graph_id", "same"),
    [
        (f"{OBJECT_ID}.{CONTOSO}", OBJECT_ID, True),
        (f"{OBJECT_ID}.{CONTOSO}", OBJECT_ID.upper(), True),
        (f"00000000-0000-0000-ab12-34567890cdef.{CONSUMERS}", "ab1234567890cdef", True),
        (f"{OBJECT_ID}.{CONTOSO}", "ab1234567890cdef", False),
        (f"{OBJECT_ID}.{CONTOSO}", "", False),
        ("subject-1", "subject-1", False),
        ("", "", False),
    ],
)
def test_graph_calls_the_same_account_by_a_part_of_its_id(account_id: str, graph_id: str, same: bool) -> None:
    assert is_same_object(account_id, graph_id) is same
