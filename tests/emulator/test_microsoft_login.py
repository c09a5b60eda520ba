from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx2
import jwt
import pytest

from tests.emulator.client import ControlClient, control_client
from tests.emulator.core import Emulator
from tests.emulator.microsoft.flows import REDIRECT, asked, redeem, refresh, sent_back
from tests.emulator.microsoft.login_errors import Death
from tests.emulator.microsoft.people import CLIENT, CONSUMERS, CONTOSO, PUBLIC_CLIENT
from tests.emulator.oauth import Consent, RefreshMode
from tests.emulator.running import running

MIA = "mia@contoso.example"
LEO = "leo@contoso.example"
ANN = "ann@outlook.example"


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with running() as emulator:
        for address, personal in ((MIA, False), (LEO, False), (ANN, True)):
            emulator.microsoft.add_account(address, personal=personal)
        yield emulator


@pytest.fixture
async def http(emulator: Emulator) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=emulator.base_url, trust_env=False) as http:
        yield http


@pytest.fixture
async def control(emulator: Emulator) -> AsyncIterator[ControlClient]:
    async with control_client(emulator.base_url) as control:
        yield control


async def test_a_code_becomes_tokens_and_an_id_token_that_the_published_key_verifies(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    back = await sent_back(http)
    keys = (await http.get("/organizations/discovery/v2.0/keys")).json()

    status, tokens = await redeem(http, back["code"])

    claims = jwt.decode(
        tokens["id_token"],
        key=jwt.PyJWK(keys["keys"][0]).key,
        algorithms=["RS256"],
        audience=CLIENT.client_id,
        issuer=f"https://login.microsoftonline.com/{CONTOSO}/v2.0",
        options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
    )
    assert (status, back["state"], tokens["expires_in"]) == (200, "s1", 3599)
    assert tokens["scope"].split() == ["openid", "profile", "User.Read", "Mail.Read"]
    assert (claims["nonce"], claims["preferred_username"], claims["tid"]) == ("n1", MIA, CONTOSO)
    assert claims["oid"] == emulator.microsoft.login.accounts[MIA].object_id
    assert claims["exp"] - claims["iat"] == 3600
    assert {back["code"], tokens["access_token"], tokens["refresh_token"]} <= emulator.secrets


async def test_the_configuration_names_the_real_hosts_and_refuses_unknown_tenants(http: httpx2.AsyncClient) -> None:
    common = (await http.get("/common/v2.0/.well-known/openid-configuration")).json()
    consumers = (await http.get("/consumers/v2.0/.well-known/openid-configuration")).json()
    unknown = await http.get("/e1e1e1e1-0000-0000-0000-000000000000/v2.0/.well-known/openid-configuration")

    assert common["issuer"] == "https://login.microsoftonline.com/{tenantid}/v2.0"
    assert consumers["issuer"] == f"https://login.microsoftonline.com/{CONSUMERS}/v2.0"
    assert common["token_endpoint"] == "https://login.microsoftonline.com/common/oauth2/v2.0/token"
    assert (unknown.status_code, unknown.json()["error_codes"]) == (400, [90002])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"client_id": "unknown"}, "AADSTS700016"),
        ({"redirect_uri": "http://localhost:5123/other"}, "AADSTS50011"),
        ({"redirect_uri": "https://evil.example/callback"}, "AADSTS50011"),
        ({"redirect_uri": None}, "AADSTS900144"),
        ({"login_hint": ANN}, "AADSTS50020"),
    ],
)
async def test_nobody_is_sent_to_an_application_that_is_not_the_registered_one(
    http: httpx2.AsyncClient, changes: dict[str, str | None], code: str
) -> None:
    answer = await http.get("/organizations/oauth2/v2.0/authorize", params=asked(**changes))

    assert answer.status_code == 400
    assert code in answer.text


@pytest.mark.parametrize(
    ("changes", "error", "code"),
    [
        ({"response_type": "token"}, "unsupported_response_type", 700054),
        ({"code_challenge": None}, "invalid_request", 9002325),
        ({"code_challenge_method": None}, "invalid_request", 9002325),
        ({"code_challenge_method": "plain"}, "invalid_request", 90023),
        ({"code_challenge": "short"}, "invalid_request", 501491),
        ({"scope": "Mail.Everything"}, "invalid_scope", 70011),
        ({"scope": None}, "invalid_request", 900144),
        ({"prompt": "nothing"}, "invalid_request", 90023),
        ({"surprise": "1"}, "invalid_request", 90023),
        ({"prompt": "none"}, "login_required", 50058),
    ],
)
async def test_a_request_that_is_not_right_is_told_to_the_application(
    http: httpx2.AsyncClient, changes: dict[str, str | None], error: str, code: int
) -> None:
    back = await sent_back(http, **changes)

    assert (back["error"], back["state"]) == (error, "s1")
    assert back["error_description"].startswith(f"AADSTS{code}: ")


async def test_the_person_decides_who_signs_in_and_what_is_granted(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    login = emulator.microsoft.login
    login.consent = Consent(account=LEO, without_scopes=("Mail.Read",))
    fewer = await redeem(http, (await sent_back(http))["code"])
    login.consent = Consent(approve=False)
    declined = await sent_back(http)
    login.consent, login.admin_needed = Consent(), True
    admin = await sent_back(http)

    assert login.grants.grants_of(LEO)[0].scopes == ("openid", "profile", "offline_access", "User.Read")
    assert "Mail.Read" not in fewer[1]["scope"]
    assert (declined["error"], declined["error_subcode"]) == ("access_denied", "cancel")
    assert admin["error"] == "consent_required"


async def test_a_personal_account_signs_in_at_common_and_cannot_give_access_to_teams(http: httpx2.AsyncClient) -> None:
    mail = await sent_back(http, "common", login_hint=ANN)
    teams = await sent_back(http, "common", login_hint=ANN, scope="Chat.Read")

    assert "code" in mail
    assert teams["error"] == "invalid_scope"


async def test_without_a_hint_the_account_that_is_signed_in_is_taken(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    nobody = await sent_back(http, login_hint=None)
    emulator.microsoft.login.signed_in = LEO
    back = await sent_back(http, login_hint=None)
    silent = await sent_back(http, login_hint=None, prompt="none")
    await redeem(http, back["code"])
    later = await sent_back(http, login_hint=None, prompt="none")

    assert nobody["error"] == "login_required"
    assert silent["error"] == "consent_required"
    assert "code" in later
    assert emulator.microsoft.login.grants.grants_of(LEO)


async def test_a_code_works_once_for_its_client_address_and_verifier_and_ten_minutes(
    emulator: Emulator, http: httpx2.AsyncClient
) -> None:
    code = (await sent_back(http))["code"]

    wrong_verifier = await redeem(http, code, code_verifier="w" * 43)
    wrong_address = await redeem(http, code, redirect_uri="http://localhost:5124/callback")
    wrong_client = await redeem(http, code, client_id=PUBLIC_CLIENT.client_id, client_secret="")
    no_verifier = await redeem(http, code, code_verifier="")
    first = await redeem(http, code)
    second = await redeem(http, code)
    late = (await sent_back(http))["code"]
    emulator.clock.advance(timedelta(minutes=10))
    too_late = await redeem(http, late)

    refused = [wrong_verifier, wrong_address, wrong_client, no_verifier, second, too_late]
    assert [body["error_codes"] for _, body in refused] == [[501481], [500112], [70000], [900144], [54005], [70008]]
    assert first[0] == 200


async def test_id_tokens_can_be_made_wrong(
    emulator: Emulator, control: ControlClient, http: httpx2.AsyncClient
) -> None:
    await control.microsoft.change_id_tokens({"nonce": "other", "tid": None}, forged=True)
    keys = (await http.get("/common/discovery/v2.0/keys")).json()

    tokens = (await redeem(http, (await sent_back(http))["code"]))[1]

    unverified = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    assert unverified["nonce"] == "other"
    assert "tid" not in unverified
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(tokens["id_token"], key=jwt.PyJWK(keys["keys"][0]).key, algorithms=["RS256"])


async def test_the_control_client_moves_the_login(control: ControlClient, http: httpx2.AsyncClient) -> None:
    microsoft = control.microsoft
    _, token = await microsoft.link(MIA)
    await microsoft.set_tokens(mode=RefreshMode.NONE, access_lifetime_seconds=60)
    kept = await refresh(http, token)
    await microsoft.refuse_refresh(MIA, Death.REVOKED)
    dead = await refresh(http, token)
    await microsoft.refuse_refresh(MIA, None)
    healed = await refresh(http, token)
    await microsoft.register_client(CLIENT.client_id, "another secret", REDIRECT)
    refused = await refresh(http, token)
    await microsoft.consent(approve=False)

    assert ("refresh_token" in kept[1], kept[1]["expires_in"]) == (False, 60)
    assert (dead[0], healed[0], refused[1]["error"]) == (400, 200, "invalid_client")
    assert (await sent_back(http))["error"] == "access_denied"
    assert (await microsoft.grants(MIA))[0]["refreshes"] == 2
