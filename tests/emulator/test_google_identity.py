from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from tests.emulator.client import control_client
from tests.emulator.core import Emulator, Fault
from tests.emulator.google.state import CLIENT
from tests.emulator.google.tables import MODIFY, READONLY
from tests.emulator.oauth import Client, Consent, RefreshMode, s256
from tests.emulator.running import running

EMAIL = "me@example.com"
OTHER = "other@example.com"
REDIRECT = "http://127.0.0.1:49152/callback"
VERIFIER = "a-verifier-of-at-least-forty-three-characters-0123"
ASKED: Mapping[str, str] = {
    "client_id": CLIENT.client_id,
    "redirect_uri": REDIRECT,
    "response_type": "code",
    "scope": READONLY,
    "code_challenge": s256(VERIFIER),
    "code_challenge_method": "S256",
    "state": "of-this-flow",
    "access_type": "offline",
    "prompt": "consent",
    "login_hint": EMAIL,
}


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with running() as emulator:
        for email in (EMAIL, OTHER):
            emulator.google.add_account(email)
        yield emulator


@pytest.fixture
async def http(emulator: Emulator) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=emulator.base_url, trust_env=False) as http:
        yield http


async def authorized(http: httpx2.AsyncClient, **changed: str | None) -> dict[str, str]:
    asked = {name: value for name, value in {**ASKED, **changed}.items() if value is not None}
    answer = await http.get("/o/oauth2/v2/auth", params=asked)
    assert answer.status_code == 302, answer.text
    assert answer.headers["Location"].startswith(asked["redirect_uri"])
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


async def token(http: httpx2.AsyncClient, **form: str) -> httpx2.Response:
    return await http.post("/token", data={"client_id": CLIENT.client_id, "client_secret": CLIENT.secret, **form})


async def redeemed(http: httpx2.AsyncClient, code: str, **changed: str) -> httpx2.Response:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT, "code_verifier": VERIFIER}
    return await token(http, **{**form, **changed})


async def refreshed(http: httpx2.AsyncClient, refresh_token: str, **changed: str) -> httpx2.Response:
    return await token(http, **{"grant_type": "refresh_token", "refresh_token": refresh_token, **changed})


async def linked(http: httpx2.AsyncClient, **changed: str | None) -> dict[str, Any]:
    answer = await redeemed(http, (await authorized(http, **changed))["code"])
    reply: dict[str, Any] = answer.json()
    return reply


def error(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


async def works(http: httpx2.AsyncClient, access_token: str) -> bool:
    headers = {"Authorization": f"Bearer {access_token}"}
    return (await http.get("/gmail/v1/users/me/profile", headers=headers)).status_code == 200


async def test_consent_leads_to_tokens(http: httpx2.AsyncClient) -> None:
    back = await authorized(http)
    reply = (await redeemed(http, back["code"])).json()

    assert (back["state"], back["scope"]) == ("of-this-flow", READONLY)
    assert (reply["token_type"], reply["expires_in"], reply["scope"]) == ("Bearer", 3599, READONLY)
    assert await works(http, reply["access_token"])
    assert "refresh_token" in reply


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"redirect_uri": "http://127.0.0.1.evil.test/callback"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "https://127.0.0.1/callback"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "http://me@127.0.0.1/callback"}, "redirect_uri_mismatch"),
        ({"client_id": "nobody"}, "invalid_client"),
        ({"response_type": "token"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": "https://www.googleapis.com/auth/drive"}, "invalid_scope"),
        ({"access_type": "always"}, "invalid_request"),
        ({"prompt": "none consent"}, "invalid_request"),
        ({"nonsense": "1"}, "invalid_request"),
    ],
)
async def test_a_wrong_request_is_shown_an_error_page(
    http: httpx2.AsyncClient, changed: dict[str, str | None], said: str
) -> None:
    asked = {name: value for name, value in {**ASKED, **changed}.items() if value is not None}

    answer = await http.get("/o/oauth2/v2/auth", params=asked)

    assert answer.status_code == 400
    assert said in answer.text
    assert "Location" not in answer.headers


async def test_the_person_may_refuse_take_scopes_away_or_be_somebody_else(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    both = f"{READONLY} {MODIFY}"

    emulator.google.consent = Consent(approve=False)
    refused = await authorized(http)
    emulator.google.consent = Consent(without_scopes=(MODIFY,))
    fewer = await linked(http, scope=both)
    emulator.google.consent = Consent(account=OTHER)
    other = await linked(http)

    assert refused == {"state": "of-this-flow", "error": "access_denied"}
    assert fewer["scope"] == READONLY
    grant = emulator.google.grants.bearer(other["access_token"])
    assert grant is not None
    assert grant.account == OTHER


async def test_without_a_hint_whoever_is_signed_in_consents(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    emulator.google.signed_in = OTHER

    reply = await linked(http, login_hint=None)

    grant = emulator.google.grants.bearer(reply["access_token"])
    assert grant is not None
    assert grant.account == OTHER


async def test_only_the_first_consent_and_a_repeated_screen_give_a_refresh_token(http: httpx2.AsyncClient) -> None:
    online = await linked(http, access_type=None)
    first = await linked(http, prompt=None)
    second = await linked(http, prompt=None)
    asked_again = await linked(http)

    assert ["refresh_token" in reply for reply in (online, first, second, asked_again)] == [False, True, False, True]


async def test_granted_scopes_are_included_when_asked_for(http: httpx2.AsyncClient) -> None:
    await linked(http, scope=MODIFY)

    reply = await linked(http, include_granted_scopes="true")

    assert set(reply["scope"].split()) == {READONLY, MODIFY}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"code_verifier": "another-verifier"}, (400, "invalid_grant")),
        ({"redirect_uri": "http://127.0.0.1:49153/callback"}, (400, "redirect_uri_mismatch")),
        ({"client_secret": "wrong"}, (401, "invalid_client")),
        ({"client_id": "nobody"}, (401, "invalid_client")),
        ({"code": "4/unknown"}, (400, "invalid_grant")),
        ({"grant_type": "password"}, (400, "unsupported_grant_type")),
        ({"extra": "1"}, (400, "invalid_request")),
    ],
)
async def test_a_code_is_checked(http: httpx2.AsyncClient, changed: dict[str, str], said: tuple[int, str]) -> None:
    code = (await authorized(http))["code"]

    assert error(await redeemed(http, **{"code": code, **changed})) == said


async def test_a_code_works_once_and_not_for_long(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    first, second = [(await authorized(http))["code"] for _ in range(2)]
    await redeemed(http, first)
    emulator.clock.advance(timedelta(minutes=10))

    assert error(await redeemed(http, first)) == (400, "invalid_grant")
    assert error(await redeemed(http, second)) == (400, "invalid_grant")


async def test_access_tokens_expire_and_refresh_tokens_last(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    old = await linked(http)
    emulator.clock.advance(timedelta(hours=1))
    assert not await works(http, old["access_token"])

    reply = (await refreshed(http, old["refresh_token"])).json()

    assert set(reply) == {"access_token", "expires_in", "scope", "token_type"}
    assert await works(http, reply["access_token"])


async def test_a_refresh_token_dies_of_half_a_year_without_use(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    refresh_token = (await linked(http))["refresh_token"]

    statuses = []
    for days in (179, 179, 180):
        emulator.clock.advance(timedelta(days=days))
        statuses.append((await refreshed(http, refresh_token)).status_code)

    assert statuses == [200, 200, 400]


async def test_rotation_that_keeps_the_old_one(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    emulator.google.grants.mode = RefreshMode.ROTATE_KEEP_OLD
    old = (await linked(http))["refresh_token"]

    new = (await refreshed(http, old)).json()["refresh_token"]

    assert new != old
    assert [(await refreshed(http, one)).status_code for one in (old, new)] == [200, 200]


async def test_strict_rotation_kills_the_grant_when_a_spent_token_comes_back(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    emulator.google.grants.mode = RefreshMode.STRICT
    old = (await linked(http))["refresh_token"]
    new = (await refreshed(http, old)).json()["refresh_token"]

    assert error(await refreshed(http, old)) == (400, "invalid_grant")
    assert error(await refreshed(http, new)) == (400, "invalid_grant")


async def test_an_answer_that_is_lost_after_rotation_has_rotated(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    emulator.google.grants.mode = RefreshMode.STRICT
    refresh_token = (await linked(http))["refresh_token"]
    emulator.faults.add(Fault(route="^/token$", reset_after_bytes=0))

    with pytest.raises(httpx2.TransportError):
        await refreshed(http, refresh_token)

    assert error(await refreshed(http, refresh_token)) == (400, "invalid_grant")


async def test_a_refresh_is_checked(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    refresh_token = (await linked(http))["refresh_token"]
    second = Client(client_id="second", secret="s2")
    emulator.google.clients[second.client_id] = second

    of_another = await refreshed(http, refresh_token, client_id="second", client_secret="s2")
    more = await refreshed(http, refresh_token, scope=MODIFY)
    emulator.google.switches.reject_clients = True
    rejected = await refreshed(http, refresh_token)

    assert error(of_another) == (401, "unauthorized_client")
    assert error(more) == (400, "invalid_scope")
    assert error(rejected) == (401, "invalid_client")


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
@pytest.mark.parametrize("in_form", [True, False])
async def test_revocation_ends_a_grant_by_either_token(http: httpx2.AsyncClient, kind: str, in_form: bool) -> None:
    reply = await linked(http)
    given = {"token": reply[kind]}

    answers = [
        await http.post("/revoke", data=given if in_form else None, params=None if in_form else given) for _ in range(2)
    ]

    assert [answer.status_code for answer in answers] == [200, 400]
    assert error(answers[1]) == (400, "invalid_token")
    assert not await works(http, reply["access_token"])
    assert error(await refreshed(http, reply["refresh_token"])) == (400, "invalid_grant")


async def test_there_is_no_device_flow_for_gmail(http: httpx2.AsyncClient) -> None:
    answer = await http.post("/device/code", data={"client_id": CLIENT.client_id, "scope": READONLY})

    assert error(answer) == (400, "invalid_scope")


async def test_the_control_client_rules_identity(emulator: Emulator, http: httpx2.AsyncClient) -> None:
    async with control_client(emulator.base_url) as control:
        access_token, refresh_token = await control.google.link(EMAIL)
        await control.google.expire_access(EMAIL)
        expired = await works(http, access_token)
        await control.google.set_tokens(mode=RefreshMode.STRICT, access_lifetime_seconds=60)
        reply = (await refreshed(http, refresh_token)).json()
        grants = await control.google.grants(EMAIL)
        await control.google.revoke(EMAIL)
        await control.google.consent(approve=False, signed_in=OTHER)
        await control.google.register_client("third", "s3", "https://app.test/callback")
        await control.google.switch(reject_clients=True)

    assert not expired
    assert (reply["expires_in"], "refresh_token" in reply) == (60, True)
    assert [(grant["alive"], grant["refreshes"]) for grant in grants] == [(True, 1)]
    assert not await works(http, reply["access_token"])
    assert "error" in await authorized(http, client_id="third", redirect_uri="https://app.test/callback")
    assert (emulator.google.signed_in, emulator.google.switches.reject_clients) == (OTHER, True)
