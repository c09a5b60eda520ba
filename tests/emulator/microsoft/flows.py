"""What a browser and an application do to get tokens, step by step, good by default and wrong on request."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2

from tests.emulator.microsoft.people import CLIENT, PUBLIC_CLIENT
from tests.emulator.oauth import s256

VERIFIER = "v" * 43
REDIRECT = "http://localhost:5123/callback"
_SCOPES = "openid profile offline_access User.Read Mail.Read"


def asked(**changes: str | None) -> dict[str, str]:
    """Return the parameters of a good authorization request, with changes; None takes one away."""
    good: dict[str, str | None] = {
        "client_id": CLIENT.client_id,
        "redirect_uri": REDIRECT,
        "response_type": "code",
        "scope": _SCOPES,
        "state": "s1",
        "nonce": "n1",
        "code_challenge": s256(VERIFIER),
        "code_challenge_method": "S256",
        "login_hint": "mia@contoso.example",
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


async def sent_back(http: httpx2.AsyncClient, at: str = "organizations", /, **changes: str | None) -> dict[str, str]:
    """Ask for consent and return the parameters with which the browser is sent back."""
    answer = await http.get(f"/{at}/oauth2/v2.0/authorize", params=asked(**changes))
    location = answer.headers.get("Location", "")
    if answer.status_code != 302 or not location.startswith(f"{REDIRECT}?"):
        raise AssertionError(f"{answer.status_code} {answer.text}")
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


async def post_token(http: httpx2.AsyncClient, **form: str) -> tuple[int, dict[str, Any]]:
    """Ask the token endpoint as the confidential client, unless the form says otherwise."""
    whole = {"client_id": CLIENT.client_id, "client_secret": CLIENT.secret, **form}
    answer = await http.post(
        "/organizations/oauth2/v2.0/token", data={name: value for name, value in whole.items() if value}
    )
    body: dict[str, Any] = answer.json()
    return answer.status_code, body


async def redeem(http: httpx2.AsyncClient, code: str, **changes: str) -> tuple[int, dict[str, Any]]:
    """Trade a code for tokens."""
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT, "code_verifier": VERIFIER}
    return await post_token(http, **(form | changes))


async def refresh(http: httpx2.AsyncClient, token: str | None, **changes: str) -> tuple[int, dict[str, Any]]:
    """Trade a refresh token for tokens."""
    return await post_token(http, **({"grant_type": "refresh_token", "refresh_token": token or ""} | changes))


async def begin_device(http: httpx2.AsyncClient, **changes: str) -> dict[str, Any]:
    """Ask for a device code as the public client."""
    form = {"client_id": PUBLIC_CLIENT.client_id, "scope": _SCOPES} | changes
    answer = await http.post("/organizations/oauth2/v2.0/devicecode", data=form)
    body: dict[str, Any] = answer.json()
    return body


async def poll(http: httpx2.AsyncClient, device_code: str) -> tuple[int, dict[str, Any]]:
    """Ask whether the person has decided."""
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": device_code}
    return await post_token(http, client_id=PUBLIC_CLIENT.client_id, client_secret="", **form)
