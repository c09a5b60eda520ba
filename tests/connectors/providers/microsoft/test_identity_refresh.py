"""Grants that stay alive, and grants that do not."""

from __future__ import annotations

import json
import logging
from datetime import timedelta

import pytest

from connectors.errors import OperatorFault, ProviderUnavailable, Throttled
from connectors.providers.port import Granted, GrantRefused, Tokens
from tests.connectors.providers.microsoft.lab import LEO, MIA, LoginLab, browse, login_lab
from tests.emulator.core import Fault
from tests.emulator.microsoft.login_errors import Death
from tests.emulator.microsoft.people import CLIENT, PUBLIC_CLIENT
from tests.emulator.oauth import Client, RefreshMode


async def refreshed(lab: LoginLab, granted: Granted, tokens: Tokens | None = None) -> Tokens:
    token = (tokens or granted.tokens).refresh_token or granted.tokens.refresh_token
    assert token
    return await lab.identity.refresh(token, scopes=granted.tokens.scopes)


async def refusal(lab: LoginLab, granted: Granted) -> GrantRefused:
    with pytest.raises(GrantRefused) as refused:
        await refreshed(lab, granted)
    return refused.value


@pytest.mark.parametrize("client", [CLIENT, PUBLIC_CLIENT], ids=["confidential", "public"])
async def test_a_refresh_gives_a_new_access_token_and_the_refresh_token_to_keep(client: Client) -> None:
    async with login_lab(client=client) as lab:
        granted = await lab.link()
        lab.emulator.clock.advance(timedelta(hours=2))
        tokens = await refreshed(lab, granted)
        now = lab.time.now()

    assert tokens.access_token != granted.tokens.access_token
    assert tokens.refresh_token not in {None, granted.tokens.refresh_token}
    assert tokens.expires_at == now + timedelta(seconds=3599)
    assert tokens.scopes >= {"user.read", "mail.read"}


async def test_no_new_refresh_token_means_that_the_old_one_goes_on() -> None:
    async with login_lab() as lab:
        lab.emulator.microsoft.login.grants.mode = RefreshMode.NONE
        granted = await lab.link()
        tokens = await refreshed(lab, granted)

    assert tokens.refresh_token is None


async def test_a_refresh_asks_for_what_was_granted_and_not_for_more() -> None:
    async with login_lab() as lab:
        granted = await lab.link()
        assert granted.tokens.refresh_token
        tokens = await lab.identity.refresh(granted.tokens.refresh_token, scopes=frozenset({"user.read"}))

    assert "mail.read" not in tokens.scopes


async def test_a_grant_that_is_refreshed_every_week_lives_longer_than_any_of_its_tokens() -> None:
    async with login_lab() as lab:
        granted = await lab.link()
        tokens = granted.tokens
        for _ in range(14):
            lab.emulator.clock.advance(timedelta(days=7))
            tokens = await refreshed(lab, granted, tokens)
        first = await refusal(lab, granted)

    assert tokens.access_token
    assert first.reason == "GRANT_EXPIRED"


async def test_strict_rotation_is_followed() -> None:
    async with login_lab() as lab:
        lab.emulator.microsoft.login.grants.mode = RefreshMode.STRICT
        granted = await lab.link()
        tokens = granted.tokens
        for _ in range(3):
            tokens = await refreshed(lab, granted, tokens)

    assert tokens.refresh_token != granted.tokens.refresh_token


async def test_a_new_token_that_was_never_saved_does_not_matter_while_the_old_one_lives() -> None:
    async with login_lab() as lab:
        granted = await lab.link()
        await refreshed(lab, granted)
        tokens = await refreshed(lab, granted)

    assert tokens.access_token


async def test_a_token_that_a_sibling_has_used_already_is_refused_once_and_not_tried_again() -> None:
    async with login_lab() as lab:
        lab.emulator.microsoft.login.grants.mode = RefreshMode.STRICT
        granted = await lab.link()
        await refreshed(lab, granted)
        before = lab.posts()
        refused = await refusal(lab, granted)

    assert refused.reason == "GRANT_REVOKED"
    assert lab.posts() == before + 1


async def test_one_refresh_is_one_request() -> None:
    async with login_lab() as lab:
        granted = await lab.link()
        before = lab.posts()
        await refreshed(lab, granted)

    assert lab.posts() == before + 1


@pytest.mark.parametrize(
    ("death", "reason"),
    [
        (Death.REVOKED, "GRANT_REVOKED"),
        (Death.EXPIRED, "GRANT_EXPIRED"),
        (Death.DISABLED, "ACCOUNT_DISABLED"),
        (Death.CONSENT_MISSING, "CONSENT_NEEDED"),
        (Death.CONSENT_REQUIRED, "CONSENT_NEEDED"),
        (Death.INTERACTION_REQUIRED, "INTERACTION_NEEDED"),
        (Death.BLOCKED, "ACCESS_BLOCKED"),
    ],
)
async def test_a_dead_grant_says_what_it_died_of(death: Death, reason: str) -> None:
    async with login_lab() as lab:
        granted = await lab.link()
        lab.emulator.microsoft.login.refuse_refresh(MIA, death)
        refused = await refusal(lab, granted)

    assert refused.reason == reason


async def test_the_claims_of_a_refusal_are_kept_for_the_next_consent() -> None:
    async with login_lab() as lab:
        granted = await lab.link()
        lab.emulator.microsoft.login.refuse_refresh(MIA, Death.INTERACTION_REQUIRED)
        refused = await refusal(lab, granted)
        secret, url = await lab.redirect(claims=refused.claims)
        again = await lab.identity.complete_redirect(secret, await browse(url))

    assert "capolids" in json.loads(refused.claims)["access_token"]
    assert "claims=" in url
    assert again.account == granted.account


async def test_a_refusal_is_not_remembered() -> None:
    async with login_lab() as lab:
        granted = await lab.link()
        lab.emulator.microsoft.login.refuse_refresh(MIA, Death.INTERACTION_REQUIRED)
        await refusal(lab, granted)
        lab.emulator.microsoft.login.refuse_refresh(MIA, None)
        tokens = await refreshed(lab, granted)

    assert tokens.access_token


@pytest.mark.parametrize("expired", [False, True], ids=["wrong", "expired"])
async def test_a_bad_secret_says_nothing_about_the_grant(expired: bool) -> None:
    async with login_lab() as lab:
        granted = await lab.link()
        login = lab.emulator.microsoft.login
        if expired:
            login.expired_secrets.add(CLIENT.client_id)
        else:
            login.clients[CLIENT.client_id] = Client(client_id=CLIENT.client_id, secret="another")
        with pytest.raises(OperatorFault) as fault:
            await refreshed(lab, granted)
        login.expired_secrets.clear()
        login.clients[CLIENT.client_id] = CLIENT
        tokens = await refreshed(lab, granted)

    assert fault.value.metadata["provider_code"] == ("AADSTS7000222" if expired else "AADSTS7000215")
    assert tokens.access_token


async def test_three_bad_moments_and_then_a_bad_secret_never_look_like_a_dead_grant() -> None:
    async with login_lab() as lab:
        granted = await lab.link()
        lab.emulator.faults.add(Fault(route="/token$", status=503, times=3))
        lab.emulator.microsoft.login.expired_secrets.add(CLIENT.client_id)
        with pytest.raises(OperatorFault):
            await refreshed(lab, granted)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(route="/token$", status=500, times=0), ProviderUnavailable),
        (Fault(route="/token$", status=502, times=0, body="<html>"), ProviderUnavailable),
        (Fault(route="/token$", status=400, times=0, body={"error": "temporarily_unavailable"}), ProviderUnavailable),
        (Fault(route="/token$", status=200, times=0, body={"token_type": "Bearer"}), ProviderUnavailable),
        (Fault(route="/token$", status=200, times=0, body="not json"), ProviderUnavailable),
        (Fault(route="/token$", drop=True, times=0), ProviderUnavailable),
        (Fault(route="/token$", status=429, times=0), Throttled),
        (Fault(route="/token$", status=400, times=0, body={"error": "something_new"}), OperatorFault),
    ],
    ids=["500", "502", "temporary", "no token", "no json", "dropped", "429", "unknown"],
)
async def test_no_other_failure_looks_like_a_dead_grant(fault: Fault, error: type[Exception]) -> None:
    async with login_lab() as lab:
        granted = await lab.link()
        lab.emulator.faults.add(fault)
        with pytest.raises(error):
            await refreshed(lab, granted)
        await lab.emulator.faults.clear()
        tokens = await refreshed(lab, granted)

    assert tokens.access_token


@pytest.mark.parametrize("retry_after", ["120", "99999999999999999999", "Wed, 02 Dec 2099 08:00:00 GMT"])
async def test_a_long_wait_ends_the_call_at_once_and_is_told_with_a_limit(retry_after: str) -> None:
    async with login_lab() as lab:
        granted = await lab.link()
        lab.emulator.faults.add(Fault(route="/token$", status=429, times=0, headers={"Retry-After": retry_after}))
        before = lab.posts()
        with pytest.raises(Throttled) as throttled:
            await refreshed(lab, granted)

    assert lab.posts() == before + 1
    assert throttled.value.retry_after is not None
    assert 120 <= throttled.value.retry_after <= 24 * 3600


async def test_a_short_wait_is_waited_for() -> None:
    async with login_lab() as lab:
        granted = await lab.link()
        lab.emulator.faults.add(Fault(route="/token$", status=429, times=1, headers={"Retry-After": "3"}))
        tokens = await refreshed(lab, granted)

    assert tokens.access_token
    assert lab.emulator.counters.early == 0
    assert sum(lab.time.slept) >= 3


async def test_an_answer_that_is_lost_on_its_way_is_asked_for_again() -> None:
    async with login_lab() as lab:
        granted = await lab.link()
        lab.emulator.faults.add(Fault(route="/token$", reset_after_bytes=0))
        tokens = await refreshed(lab, granted)

    assert tokens.access_token in lab.emulator.secrets


@pytest.mark.parametrize("seconds", [-5, 0, 10**12], ids=str)
async def test_a_token_lives_at_least_a_minute_and_at_most_a_day(seconds: int) -> None:
    body = {"access_token": "at", "expires_in": seconds, "scope": "Mail.Read"}
    async with login_lab() as lab:
        granted = await lab.link()
        lab.emulator.faults.add(Fault(route="/token$", status=200, body=body))
        tokens = await refreshed(lab, granted)
        lives = tokens.expires_at - lab.time.now()

    assert timedelta(minutes=1) <= lives <= timedelta(days=1)


async def test_scopes_with_the_address_of_graph_are_the_same_scopes() -> None:
    body = {
        "access_token": "at",
        "expires_in": 3600,
        "scope": "https://graph.microsoft.com/Mail.Read https://graph.microsoft.com/User.Read openid",
    }
    async with login_lab() as lab:
        granted = await lab.link()
        lab.emulator.faults.add(Fault(route="/token$", status=200, body=body))
        tokens = await refreshed(lab, granted)

    assert tokens.scopes == {"mail.read", "user.read", "openid"}


async def test_users_refresh_at_the_same_time_without_getting_each_others_tokens() -> None:
    async with login_lab() as lab:
        grants = {address: await lab.link(login_hint=address) for address in (MIA, LEO)}
        for _ in range(5):
            for address, granted in grants.items():
                tokens = await refreshed(lab, granted)
                bearer = lab.emulator.microsoft.login.grants.bearer(tokens.access_token)
                assert bearer is not None
                assert bearer.account == address


async def test_no_token_or_code_is_ever_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with login_lab() as lab:
        granted = await lab.link()
        await refreshed(lab, granted)
        lab.emulator.microsoft.login.refuse_refresh(MIA, Death.REVOKED)
        await refusal(lab, granted)
        lab.emulator.faults.add(Fault(route="/token$", status=200, body=f"not json {granted.tokens.access_token}"))
        with pytest.raises(ProviderUnavailable):
            await refreshed(lab, granted)
        secret, _ = await lab.redirect()

    kept = json.loads(secret)
    unspeakable = {*lab.emulator.secrets, CLIENT.secret, kept["code_verifier"], kept["nonce"]}
    written = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert not [one for one in unspeakable if one in written]


async def test_what_holds_a_secret_does_not_show_it() -> None:
    async with login_lab() as lab:
        granted = await lab.link()
        begun = await lab.identity.begin_redirect(
            redirect_uri="http://127.0.0.1:1/callback", state="s", login_hint="", claims=""
        )
        shown = repr((granted, begun))

    assert not [one for one in lab.emulator.secrets if one in shown]
