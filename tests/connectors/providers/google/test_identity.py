"""Consent at Google, against the emulator."""

from __future__ import annotations

import json
import logging
import traceback
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from connectors.errors import CodeRefused, ConsentRefused, FlowUnsupported, OperatorFault, ProviderUnavailable
from connectors.providers.google.config import GMAIL_READONLY
from connectors.providers.google.identity import GoogleIdentity
from connectors.providers.port import Account, Flow
from tests.connectors.providers.google.consenting import EMAIL, begin, consent, linked, refresh_token_of
from tests.emulator.core import Emulator, Fault
from tests.emulator.google.errors import error_body
from tests.emulator.google.state import CLIENT
from tests.emulator.oauth import Consent


async def test_a_consent_gives_tokens_and_tells_whose_account_it_is(
    emulator: Emulator, identity: GoogleIdentity
) -> None:
    granted = await linked(identity)

    assert granted.account == Account(account_id=EMAIL.lower(), address=EMAIL)
    assert granted.tokens.scopes == {GMAIL_READONLY} == identity.required_scopes
    assert granted.tokens.expires_at == emulator.now() + timedelta(seconds=3599)
    assert emulator.google.grants.bearer(granted.tokens.access_token) is not None
    assert granted.tokens.refresh_token


async def test_the_address_asks_for_reading_only_offline_with_pkce(identity: GoogleIdentity) -> None:
    begun = await begin(identity)
    query = {name: values[0] for name, values in parse_qs(urlsplit(begun.url).query).items()}

    assert (query["scope"], query["access_type"], query["prompt"]) == (GMAIL_READONLY, "offline", "consent")
    assert (query["code_challenge_method"], query["state"], query["login_hint"]) == ("S256", "of-this-flow", EMAIL)
    assert json.loads(begun.secret)["verifier"] not in begun.url
    assert CLIENT.secret not in begun.url


async def test_every_consent_has_a_verifier_of_its_own(identity: GoogleIdentity) -> None:
    verifiers = {json.loads((await begin(identity)).secret)["verifier"] for _ in range(3)}

    assert len(verifiers) == 3
    assert all(len(verifier) >= 43 for verifier in verifiers)


async def test_nothing_that_is_passed_around_shows_a_secret(identity: GoogleIdentity) -> None:
    begun = await begin(identity)
    granted = await identity.complete_redirect(begun.secret, await consent(begun.url))

    shown = repr((begun, granted, identity._config))
    for secret in (begun.url, json.loads(begun.secret)["verifier"], granted.tokens.access_token, CLIENT.secret):
        assert secret not in shown


async def test_a_wrong_verifier_is_refused(identity: GoogleIdentity) -> None:
    begun, other = await begin(identity), await begin(identity)

    with pytest.raises(CodeRefused):
        await identity.complete_redirect(other.secret, await consent(begun.url))


async def test_a_code_works_once(identity: GoogleIdentity) -> None:
    begun = await begin(identity)
    answer = await consent(begun.url)
    await identity.complete_redirect(begun.secret, answer)

    with pytest.raises(CodeRefused):
        await identity.complete_redirect(begun.secret, answer)


async def test_a_code_that_is_too_old_is_refused(emulator: Emulator, identity: GoogleIdentity) -> None:
    begun = await begin(identity)
    answer = await consent(begun.url)
    emulator.clock.advance(timedelta(minutes=11))

    with pytest.raises(CodeRefused):
        await identity.complete_redirect(begun.secret, answer)


async def test_fewer_scopes_are_told_as_they_were_granted(emulator: Emulator, identity: GoogleIdentity) -> None:
    body = {"access_token": "ya29.x", "refresh_token": "1//x", "expires_in": 3599, "scope": "openid", "extra": [1]}
    emulator.faults.add(Fault(route="/token", status=200, body=body))

    granted = await linked(identity)

    assert granted.tokens.scopes == {"openid"}
    assert granted.account == Account(account_id="", address="")
    assert emulator.counters.count("/profile") == 0


@pytest.mark.parametrize("consenting", [Consent(approve=False), Consent(without_scopes=(GMAIL_READONLY,))])
async def test_a_consent_that_is_refused_is_told(
    emulator: Emulator, identity: GoogleIdentity, consenting: Consent
) -> None:
    emulator.google.consent = consenting

    with pytest.raises(ConsentRefused):
        await linked(identity)

    assert emulator.counters.count("/token") == 0


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"code": "4/x", "iss": "https://login.microsoftonline.com"}, CodeRefused),
        ({"code": "4/x", "iss": ""}, CodeRefused),
        ({"code": "4/x", "iss": "https://accounts.google.com.evil.example"}, CodeRefused),
        ({"error": "access_denied", "iss": "https://evil.example"}, CodeRefused),
        ({}, CodeRefused),
        ({"code": ""}, CodeRefused),
        ({"error": "admin_policy_enforced"}, ConsentRefused),
        ({"error": "invalid_client"}, ConsentRefused),
        ({"error": "<b>\x1b[31m\n"}, ConsentRefused),
        ({"error": "temporarily_unavailable"}, ProviderUnavailable),
    ],
)
async def test_an_answer_that_brings_no_code_of_googles_is_not_traded(
    emulator: Emulator, identity: GoogleIdentity, answer: dict[str, str], error: type[Exception]
) -> None:
    begun = await begin(identity)

    with pytest.raises(error):
        await identity.complete_redirect(begun.secret, {**answer, "error_description": "<script>\x1b[31m\n"})

    assert emulator.counters.count("/token") == 0


async def test_an_answer_that_names_google_as_its_issuer_is_taken(identity: GoogleIdentity) -> None:
    begun = await begin(identity)
    answer = {**await consent(begun.url), "iss": "https://accounts.google.com"}

    assert (await identity.complete_redirect(begun.secret, answer)).account.address == EMAIL


async def test_a_consent_without_lasting_access_is_refused(emulator: Emulator, identity: GoogleIdentity) -> None:
    body = {"access_token": "ya29.x", "expires_in": 3599, "scope": GMAIL_READONLY}
    emulator.faults.add(Fault(route="/token", status=200, body=body))

    with pytest.raises(CodeRefused, match="lasting"):
        await linked(identity)


@pytest.mark.parametrize(
    ("status", "reason", "error"),
    [
        (401, "authError", CodeRefused),
        (403, "domainPolicy", ConsentRefused),
        (400, "failedPrecondition", ConsentRefused),
        (403, "insufficientPermissions", ConsentRefused),
        (403, "accessNotConfigured", OperatorFault),
        (404, "notFound", ProviderUnavailable),
    ],
)
async def test_an_account_that_cannot_be_looked_up_is_not_linked(
    emulator: Emulator, identity: GoogleIdentity, status: int, reason: str, error: type[Exception]
) -> None:
    emulator.faults.add(Fault(route="/profile", status=status, body=error_body(status, reason, "no")))

    with pytest.raises(error):
        await linked(identity)


async def test_a_profile_that_names_nobody_is_no_answer(emulator: Emulator, identity: GoogleIdentity) -> None:
    emulator.faults.add(Fault(route="/profile", status=200, body={"emailAddress": 7}))

    with pytest.raises(ProviderUnavailable):
        await linked(identity)


async def test_there_is_no_device_flow(identity: GoogleIdentity) -> None:
    assert identity.flows == {Flow.REDIRECT}
    with pytest.raises(FlowUnsupported):
        await identity.begin_device()
    with pytest.raises(FlowUnsupported):
        await identity.poll_device(b"")


async def test_no_secret_and_no_word_of_googles_is_in_any_log_or_error(
    emulator: Emulator, identity: GoogleIdentity, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    words = "<b>canary</b>\x1b[31m\r\n"
    token = await refresh_token_of(identity)
    await identity.refresh(token, scopes=identity.required_scopes)
    texts: list[str] = []
    for status in (400, 401, 403, 503):
        for error in ("invalid_grant", "invalid_client", "server_error", "canary"):
            body = {"error": error, "error_description": words, "error_uri": words}
            await emulator.faults.clear()
            emulator.faults.add(Fault(route="/token|/revoke", status=status, body=body, times=0))
            begun = await begin(identity)
            for doing in (
                identity.refresh(token, scopes=identity.required_scopes),
                identity.revoke(token),
                identity.complete_redirect(begun.secret, await consent(begun.url)),
                identity.complete_redirect(begun.secret, {"error": error, "error_description": words}),
            ):
                try:
                    await doing
                except Exception as caught:  # noqa: BLE001 - all that there are
                    texts += ["".join(traceback.format_exception(caught)), repr(caught.__context__)]

    everything = "".join([*texts, caplog.text])
    assert len(texts) > 60
    for secret in (*emulator.secrets, CLIENT.secret, "canary", EMAIL):
        assert secret not in everything
