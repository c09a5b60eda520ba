"""Consents in a browser."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from connectors.errors import CodeRefused, ConsentRefused, OperatorFault, ProviderUnavailable, ScopeMissing, Throttled
from connectors.providers.microsoft.identity import OUTLOOK_SCOPES
from connectors.providers.port import Flow
from tests.connectors.providers.microsoft.lab import ANN, LEO, MIA, REDIRECT, browse, login_lab, query_of
from tests.emulator.core import Fault
from tests.emulator.microsoft.people import CLIENT, CONSUMERS, CONTOSO, PUBLIC_CLIENT
from tests.emulator.oauth import Client, Consent

MFA = '{"access_token":{"acrs":{"essential":true,"value":"c1"}}}'


async def test_the_address_asks_for_a_code_with_pkce_a_nonce_and_lasting_access() -> None:
    async with login_lab() as lab:
        secret, url = await lab.redirect(state="the-callers-state")
        asked = query_of(url)

    assert url.startswith(f"{lab.emulator.base_url}/common/oauth2/v2.0/authorize?")
    assert asked["response_type"] == "code"
    assert asked["response_mode"] == "query"
    assert asked["redirect_uri"] == REDIRECT
    assert asked["state"] == "the-callers-state"
    assert asked["code_challenge_method"] == "S256"
    assert asked["login_hint"] == MIA
    assert set(asked["scope"].split()) == {"User.Read", "Mail.Read", "offline_access", "openid", "profile"}
    kept = json.loads(secret)
    assert kept["code_verifier"] not in url
    assert kept["nonce"] not in url


async def test_without_a_hint_the_user_chooses_the_account() -> None:
    async with login_lab() as lab:
        _, url = await lab.redirect(login_hint="")

    assert query_of(url)["prompt"] == "select_account"
    assert "login_hint" not in query_of(url)


async def test_two_flows_share_no_secret() -> None:
    async with login_lab() as lab:
        first, second = [json.loads((await lab.redirect())[0]) for _ in range(2)]

    assert first["code_verifier"] != second["code_verifier"]
    assert first["nonce"] != second["nonce"]


@pytest.mark.parametrize("client", [CLIENT, PUBLIC_CLIENT], ids=["confidential", "public"])
async def test_a_consent_gives_tokens_and_says_whose_they_are(client: Client) -> None:
    async with login_lab(client=client) as lab:
        granted = await lab.link()
        account = lab.emulator.microsoft.login.accounts[MIA]
        now = lab.time.now()

    assert granted.account.account_id == f"{account.object_id}.{CONTOSO}"
    assert granted.account.address == MIA
    assert granted.tokens.refresh_token
    assert granted.tokens.scopes >= {"user.read", "mail.read"}
    assert granted.tokens.expires_at == now + timedelta(seconds=3599)
    assert {granted.tokens.access_token, granted.tokens.refresh_token} <= lab.emulator.secrets


async def test_a_personal_account_is_known_by_its_object_id_too() -> None:
    async with login_lab() as lab:
        granted = await lab.link(login_hint=ANN)
        account = lab.emulator.microsoft.login.accounts[ANN]

    assert granted.account.account_id == f"{account.object_id}.{CONSUMERS}"


async def test_claims_of_a_refusal_are_asked_for() -> None:
    async with login_lab() as lab:
        _, url = await lab.redirect(claims=MFA)
        _, without = await lab.redirect(claims="not json")

    assert json.loads(query_of(url)["claims"]) == json.loads(MFA)
    assert "claims" not in query_of(without)


async def test_who_signed_in_is_what_counts_not_whom_the_hint_named() -> None:
    async with login_lab() as lab:
        lab.emulator.microsoft.login.consent = Consent(account=LEO)
        granted = await lab.link(login_hint=MIA)

    assert granted.account.address == LEO


async def test_a_refused_consent_is_told_as_one() -> None:
    async with login_lab() as lab:
        lab.emulator.microsoft.login.consent = Consent(approve=False)
        secret, url = await lab.redirect()
        back = await browse(url)
        with pytest.raises(ConsentRefused) as refused:
            await lab.identity.complete_redirect(secret, back)

    assert refused.value.metadata == {"provider_code": "AADSTS65004"}
    assert lab.posts() == 0


async def test_a_consent_that_only_an_administrator_can_give_says_so() -> None:
    async with login_lab() as lab:
        lab.emulator.microsoft.login.admin_needed = True
        secret, url = await lab.redirect()
        back = await browse(url)
        with pytest.raises(ConsentRefused, match="administrator"):
            await lab.identity.complete_redirect(secret, back)


async def test_a_consent_without_lasting_access_is_not_enough() -> None:
    async with login_lab() as lab:
        lab.emulator.microsoft.login.consent = Consent(without_scopes=("offline_access",))
        with pytest.raises(ScopeMissing, match="offline_access"):
            await lab.link()


async def test_what_was_ticked_off_is_not_among_the_scopes() -> None:
    async with login_lab() as lab:
        lab.emulator.microsoft.login.consent = Consent(without_scopes=("Mail.Read",))
        granted = await lab.link()

    assert "mail.read" not in granted.tokens.scopes
    assert not lab.identity.required_scopes <= granted.tokens.scopes


async def test_a_code_works_once() -> None:
    async with login_lab() as lab:
        secret, url = await lab.redirect()
        back = await browse(url)
        await lab.identity.complete_redirect(secret, back)
        with pytest.raises(CodeRefused):
            await lab.identity.complete_redirect(secret, back)


async def test_a_code_dies_of_old_age() -> None:
    async with login_lab() as lab:
        secret, url = await lab.redirect()
        back = await browse(url)
        lab.emulator.clock.advance(timedelta(minutes=11))
        with pytest.raises(CodeRefused):
            await lab.identity.complete_redirect(secret, back)


async def test_the_code_of_another_flow_is_refused() -> None:
    async with login_lab() as lab:
        _, url = await lab.redirect()
        other_secret, _ = await lab.redirect()
        back = await browse(url)
        with pytest.raises(CodeRefused):
            await lab.identity.complete_redirect(other_secret, back)


@pytest.mark.parametrize(
    "change",
    [
        {"state": "another"},
        {"code": ""},
        {"code": "made up"},
        {"iss": "https://accounts.google.com"},
        {"iss": "https://login.microsoftonline.com.evil.example/x/v2.0"},
    ],
    ids=str,
)
async def test_an_answer_that_was_tampered_with_is_refused(change: dict[str, str]) -> None:
    async with login_lab() as lab:
        secret, url = await lab.redirect()
        back = await browse(url)
        with pytest.raises(CodeRefused):
            await lab.identity.complete_redirect(secret, back | change)


async def test_what_else_the_browser_brings_is_not_looked_at() -> None:
    async with login_lab() as lab:
        secret, url = await lab.redirect()
        back = await browse(url) | {"client_info": "%%%", "session_state": "x", "access_token": "forged"}
        granted = await lab.identity.complete_redirect(secret, back)

    assert granted.account.address == MIA


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another application"},
        {"iss": "https://login.microsoftonline.com/other/v2.0"},
        {"iss": "https://sts.evil.example/"},
        {"tid": None},
        {"tid": CONSUMERS},
        {"exp": 1_000_000_000},
        {"exp": None},
        {"exp": "soon"},
        {"nbf": 4_000_000_000},
        {"sub": None},
        {"oid": "../../x"},
    ],
    ids=str,
)
async def test_an_id_token_that_says_something_wrong_is_refused(claims: dict[str, object]) -> None:
    async with login_lab() as lab:
        lab.emulator.microsoft.login.id_token_claims = claims
        with pytest.raises(CodeRefused):
            await lab.link()


async def test_an_id_token_that_somebody_else_signed_is_refused() -> None:
    async with login_lab() as lab:
        lab.emulator.microsoft.login.id_token_forged = True
        with pytest.raises(CodeRefused):
            await lab.link()


async def test_without_an_object_id_the_subject_names_the_account() -> None:
    async with login_lab() as lab:
        lab.emulator.microsoft.login.id_token_claims = {"oid": None, "sub": "subject-1"}
        granted = await lab.link()

    assert granted.account.account_id == "subject-1"


async def test_a_personal_account_is_no_account_of_an_organization() -> None:
    async with login_lab(tenant="organizations") as lab:
        lab.emulator.microsoft.login.id_token_claims = {
            "tid": CONSUMERS,
            "iss": f"https://login.microsoftonline.com/{CONSUMERS}/v2.0",
        }
        with pytest.raises(CodeRefused):
            await lab.link()


async def test_a_wrong_secret_is_the_operators_fault() -> None:
    async with login_lab(secret="wrong") as lab:
        with pytest.raises(OperatorFault) as fault:
            await lab.link()

    assert fault.value.metadata == {"provider_code": "AADSTS7000215"}


async def test_an_unknown_tenant_is_the_operators_fault() -> None:
    async with login_lab(tenant="e1e1e1e1-0000-0000-0000-000000000000") as lab:
        with pytest.raises(OperatorFault, match="tenant"):
            await lab.redirect()


@pytest.mark.parametrize("status", [500, 503])
async def test_a_server_that_is_down_for_a_moment_is_asked_again(status: int) -> None:
    async with login_lab() as lab:
        lab.emulator.faults.add(Fault(route="/token$", status=status, times=2))
        granted = await lab.link()

    assert granted.account.address == MIA


async def test_a_server_that_stays_down_is_unavailable() -> None:
    async with login_lab() as lab:
        lab.emulator.faults.add(Fault(route="/token$", status=503, times=0, body="<html>Service Unavailable"))
        with pytest.raises(ProviderUnavailable):
            await lab.link()


async def test_a_throttle_longer_than_the_call_tells_how_long() -> None:
    async with login_lab() as lab:
        lab.emulator.faults.add(Fault(route="/token$", status=429, times=0, headers={"Retry-After": "120"}))
        with pytest.raises(Throttled) as throttled:
            await lab.link()

    assert throttled.value.retry_after == pytest.approx(120)
    assert lab.emulator.counters.early == 0


async def test_the_metadata_is_asked_for_once_and_again_when_it_is_old() -> None:
    async with login_lab() as lab:
        for _ in range(3):
            await lab.link()
        early = lab.emulator.counters.count("openid-configuration"), lab.emulator.counters.count("/keys$")
        lab.emulator.clock.advance(timedelta(hours=13))
        await lab.link()
        late = lab.emulator.counters.count("openid-configuration"), lab.emulator.counters.count("/keys$")

    assert early == (1, 1)
    assert late == (2, 2)


async def test_many_who_begin_at_once_ask_for_the_metadata_once() -> None:
    async with login_lab() as lab:
        lab.emulator.latencies["openid-configuration"] = 20
        async with asyncio.TaskGroup() as tasks:
            for _ in range(10):
                tasks.create_task(lab.redirect())

    assert lab.emulator.counters.count("openid-configuration") == 1


@pytest.mark.parametrize("name", ["token_endpoint", "authorization_endpoint", "jwks_uri"])
async def test_published_addresses_elsewhere_are_refused(name: str) -> None:
    async with login_lab() as lab:
        good = {
            each: f"https://login.microsoftonline.com/common/{each}"
            for each in ("token_endpoint", "authorization_endpoint", "device_authorization_endpoint", "jwks_uri")
        }
        body = good | {"issuer": "https://login.microsoftonline.com/{tenantid}/v2.0", name: "https://evil.example/x"}
        lab.emulator.faults.add(Fault(route="openid-configuration", status=200, body=body))
        with pytest.raises(ProviderUnavailable) as refused:
            await lab.redirect()

    assert refused.value.metadata["cause"] == "FOREIGN_LINK"


async def test_an_answer_that_is_no_json_is_unavailable() -> None:
    async with login_lab() as lab:
        lab.emulator.faults.add(Fault(route="/token$", status=200, body="<html>sign in</html>"))
        with pytest.raises(ProviderUnavailable):
            await lab.link()


async def test_it_can_do_both_flows_and_needs_what_it_asks_for() -> None:
    async with login_lab() as lab:
        identity = lab.identity

    assert identity.flows == frozenset(Flow)
    assert identity.required_scopes == {scope.lower() for scope in OUTLOOK_SCOPES}
    assert identity.manage_url.startswith("https://")
    assert await identity.revoke("whatever") is False
