"""Consents: whose they are, what they are for, and everything that is tried to get another one's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.connectors.cases.lab import ACTIVE, Lab, changed, failure_of, outcome_of, parameter
from tests.connectors.harness import in_a_browser
from tests.emulator.core import Fault
from tests.emulator.oauth import Consent

PROVIDERS = pytest.mark.parametrize("provider", ["gmail", "outlook", "teams"])
GMAIL_SCOPE = "https://www.googleapis.com/auth/gmail.readonly"


# --- the state


@pytest.mark.parametrize(
    "tampered",
    [
        lambda address: changed(address, state=None),
        lambda address: changed(address, state=""),
        lambda address: changed(address, state="A" * 43),
        lambda address: changed(address, state=parameter(address, "state")[:-1]),
        lambda address: changed(address, state=parameter(address, "state").swapcase()),
        lambda address: f"{address}&state={parameter(address, 'state')}",
        lambda address: address.replace("state=", "state=x&state="),
    ],
    ids=["missing", "empty", "made up", "cut off", "in another case", "twice", "two"],
)
async def test_without_the_state_that_was_given_out_the_provider_is_not_even_asked(
    lab: Lab, tampered: Callable[[str], str]
) -> None:
    begun = await lab.begin("outlook", hint=lab.person("outlook").address)
    address = await in_a_browser(begun.authorization_url)

    failure = await failure_of(lab.complete(tampered(address)))

    assert failure.reason == "STATE_INVALID"
    assert lab.token_calls == 0
    # Whoever guesses does not use it up: the one to whom it belongs still completes it.
    assert (await lab.complete(address)).state == ACTIVE


async def test_an_answer_is_good_for_one_time(lab: Lab) -> None:
    begun = await lab.begin("gmail", hint=lab.person("gmail").address)
    address = await in_a_browser(begun.authorization_url)
    await lab.complete(address)
    calls = lab.token_calls

    failure = await failure_of(lab.complete(address, at=lab.other))

    assert failure.reason == "STATE_INVALID"
    assert lab.token_calls == calls


async def test_of_many_who_bring_the_same_answer_to_two_replicas_one_completes_it(lab: Lab) -> None:
    begun = await lab.begin("outlook", hint=lab.person("outlook").address)
    address = await in_a_browser(begun.authorization_url)

    outcomes = await asyncio.gather(
        *(outcome_of(lab.complete(address, at=(lab.service, lab.other)[number % 2])) for number in range(10))
    )

    assert sorted(outcomes) == ["OK"] + ["STATE_INVALID"] * 9
    assert lab.token_calls == 1


async def test_an_answer_that_comes_after_ten_minutes_is_refused(lab: Lab) -> None:
    begun = await lab.begin("gmail", hint=lab.person("gmail").address)
    address = await in_a_browser(begun.authorization_url)
    assert 590 < (begun.expires_at.ToDatetime() - lab.emulator.now().replace(tzinfo=None)).total_seconds() <= 600
    lab.sql("UPDATE connectors.flows SET expires_at = clock_timestamp() WHERE flow_id = %s", begun.flow_id)

    failure = await failure_of(lab.complete(address))

    assert failure.reason == "STATE_INVALID"
    assert lab.token_calls == 0


@PROVIDERS
async def test_nobody_completes_what_another_user_began(lab: Lab, provider: str) -> None:
    begun = await lab.begin(provider, user="ben", hint=lab.person(provider).address)
    address = await in_a_browser(begun.authorization_url)
    known = await lab.connections_of("anna")

    failure = await failure_of(lab.complete(address, user="anna"))

    assert failure.reason == "STATE_INVALID"
    assert lab.token_calls == 0
    assert await lab.connections_of("anna") == known
    assert (await lab.complete(address, user="ben")).user_id == "ben"


# --- what the provider says


@PROVIDERS
async def test_the_code_of_another_consent_does_not_go_with_this_ones_verifier(lab: Lab, provider: str) -> None:
    person = lab.person(provider)
    one, two = [
        await in_a_browser((await lab.begin(provider, hint=person.address)).authorization_url) for _ in range(2)
    ]

    failure = await failure_of(lab.complete(changed(one, code=parameter(two, "code"))))

    assert failure.reason == "CODE_REFUSED"
    assert lab.token_calls == 1


@PROVIDERS
async def test_every_consent_is_asked_for_with_pkce(lab: Lab, provider: str) -> None:
    begun = [await lab.begin(provider) for _ in range(2)]

    challenges = {parameter(one.authorization_url, "code_challenge") for one in begun}
    assert len(challenges) == 2
    assert all(len(challenge) == 43 for challenge in challenges)
    assert {parameter(one.authorization_url, "code_challenge_method") for one in begun} == {"S256"}
    assert {parameter(one.authorization_url, "response_type") for one in begun} == {"code"}


@PROVIDERS
@pytest.mark.parametrize("issuer", ["https://accounts.google.com", "https://login.microsoftonline.com/x/v2.0"])
async def test_an_answer_of_another_providers_server_is_not_traded_in(lab: Lab, provider: str, issuer: str) -> None:
    begun = await lab.begin(provider, hint=lab.person(provider).address)
    address = changed(await in_a_browser(begun.authorization_url), iss=issuer)
    is_theirs = ("google" in issuer) == (provider == "gmail")

    outcome = await outcome_of(lab.complete(address))

    assert outcome == ("OK" if is_theirs else "CODE_REFUSED")
    assert lab.token_calls == int(is_theirs)


async def test_a_code_of_one_provider_is_worth_nothing_at_another(lab: Lab) -> None:
    google = await in_a_browser((await lab.begin("gmail", hint=lab.person("gmail").address)).authorization_url)
    microsoft = await in_a_browser((await lab.begin("outlook", hint=lab.person("outlook").address)).authorization_url)

    failures = [
        await failure_of(lab.complete(changed(google, code=parameter(microsoft, "code")))),
        await failure_of(lab.complete(changed(microsoft, code=parameter(google, "code")))),
    ]

    assert [failure.reason for failure in failures] == ["CODE_REFUSED"] * 2


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"aud": "another application"},
        {"iss": "https://login.microsoftonline.com/another/v2.0"},
        {"exp": 1_000_000_000},
        "forged",
    ],
    ids=str,
)
@pytest.mark.parametrize("provider", ["outlook", "teams"])
async def test_a_statement_about_who_signed_in_that_is_not_right_links_nothing(
    lab: Lab, provider: str, claims: dict[str, object] | str
) -> None:
    if isinstance(claims, dict):
        lab.emulator.microsoft.login.id_token_claims = claims
    else:
        lab.emulator.microsoft.login.id_token_forged = True
    known = await lab.connections_of("anna")
    begun = await lab.begin(provider, hint=lab.person(provider).address)

    failure = await failure_of(lab.complete(await in_a_browser(begun.authorization_url)))

    assert failure.reason == "CODE_REFUSED"
    assert await lab.connections_of("anna") == known


@pytest.mark.parametrize(
    ("provider", "description"),
    [
        ("gmail", "<img src=x onerror=alert(1)>\x1b[2J\r\nSet-Cookie: a=canary"),
        ("outlook", "AADSTS65004: <b>canary</b>\x1b]0;title\x07" + "x" * 2_000),
        ("teams", "canary\u202e\u2028\x00"),
    ],
)
async def test_nothing_that_a_refusal_says_is_repeated(lab: Lab, provider: str, description: str) -> None:
    begun = await lab.begin(provider)
    address = f"http://localhost:8765/callback?state={parameter(begun.authorization_url, 'state')}"
    address = changed(address, error="access_denied", error_description=description, error_uri=description)

    failure = await failure_of(lab.complete(address))

    assert failure.reason == "CONSENT_REFUSED"
    said = failure.message + repr(failure.metadata)
    assert "canary" not in said
    assert len(failure.message) <= 256
    assert failure.message.isprintable()
    assert lab.token_calls == 0


# --- what was granted, and to whom


@PROVIDERS
async def test_a_user_who_says_no_leaves_nothing(lab: Lab, provider: str) -> None:
    lab.emulator.google.consent = lab.emulator.microsoft.login.consent = Consent(approve=False)
    known = await lab.connections_of("anna")
    begun = await lab.begin(provider, hint=lab.person(provider).address)
    pending = await lab.connections_of("anna")

    failure = await failure_of(lab.complete(await in_a_browser(begun.authorization_url)))

    assert failure.reason == "CONSENT_REFUSED"
    assert pending - known == {begun.connection_id}
    assert await lab.connections_of("anna") == known


@pytest.mark.parametrize(("provider", "scope"), [("outlook", "Mail.Read"), ("teams", "Chat.Read")])
async def test_a_consent_to_less_than_is_needed_links_nothing(lab: Lab, provider: str, scope: str) -> None:
    lab.emulator.microsoft.login.consent = Consent(without_scopes=(scope,))
    known = await lab.connections_of("anna")
    begun = await lab.begin(provider, hint=lab.person(provider).address)

    failure = await failure_of(lab.complete(await in_a_browser(begun.authorization_url)))

    assert failure.reason == "SCOPE_MISSING"
    assert await lab.connections_of("anna") == known


async def test_a_consent_for_an_hour_only_links_nothing(lab: Lab) -> None:
    lab.emulator.microsoft.login.consent = Consent(without_scopes=("offline_access",))
    begun = await lab.begin("outlook", hint=lab.person("outlook").address)

    failure = await failure_of(lab.complete(await in_a_browser(begun.authorization_url)))

    assert failure.reason == "SCOPE_MISSING"


@pytest.mark.parametrize("extra", ["", " https://www.googleapis.com/auth/calendar.readonly openid"])
async def test_a_connection_shows_what_was_granted_and_not_what_was_asked_for(lab: Lab, extra: str) -> None:
    person = lab.person("gmail")
    begun = await lab.begin("gmail", hint=person.address)
    address = await in_a_browser(begun.authorization_url)
    issued = lab.emulator.google.link(person.address)
    lab.emulator.faults.add(
        Fault(
            route="^/token$",
            status=200,
            body={
                "access_token": issued.access_token,
                "refresh_token": issued.refresh_token,
                "expires_in": 3599,
                "scope": GMAIL_SCOPE + extra,
            },
        )
    )

    linked = await lab.complete(address)

    assert list(linked.scopes) == sorted([GMAIL_SCOPE, *extra.split()])


async def test_a_consent_to_so_little_that_it_names_no_account_ends_no_grant_of_one_that_works(lab: Lab) -> None:
    """Google ends all grants of an account together: whose this one is would have to be known."""
    person = await lab.linked("gmail")
    begun = await lab.begin("gmail", hint=person.address)
    address = await in_a_browser(begun.authorization_url)
    issued = lab.emulator.google.link(person.address, scopes=("openid",))
    body = {"access_token": issued.access_token, "refresh_token": issued.refresh_token, "expires_in": 3599}
    lab.emulator.faults.add(Fault(route="^/token$", status=200, body=body | {"scope": "openid"}))

    failure = await failure_of(lab.complete(address))

    assert failure.reason == "SCOPE_MISSING"
    assert lab.emulator.counters.count("/revoke") == 0
    assert not lab.sql("SELECT 1 FROM connectors.connections WHERE connection_id = %s", begun.connection_id)
    await lab.use(person)


@PROVIDERS
async def test_with_another_account_a_connection_is_not_consented_to_again(lab: Lab, provider: str) -> None:
    mine, other = await lab.linked(provider), lab.person(provider)
    before = await lab.connection(mine)
    begun = await lab.begin_again(mine)
    lab.emulator.google.consent = lab.emulator.microsoft.login.consent = Consent(account=other.address)

    failure = await failure_of(lab.complete(await in_a_browser(begun.authorization_url)))

    assert failure.reason == "ACCOUNT_MISMATCH"
    assert await lab.connection(mine) == before
    assert lab.grant(mine).alive
    await lab.use(mine)
    if provider == "gmail":
        assert not lab.grant(other).alive, "a grant that nobody keeps is ended where it was given"


@PROVIDERS
async def test_after_a_new_consent_the_connection_and_its_cursors_are_the_same(lab: Lab, provider: str) -> None:
    person = await lab.linked(provider)
    subjects = []
    if provider != "teams":
        subjects = lab.many(person, 3)
        assert (await lab.consume(person)).subjects == subjects
    lab.grants(provider).revoke(person.address)
    assert await outcome_of(lab.use(person)) == "NEEDS_REAUTH"

    again = await lab.reauthorize(person)

    assert (again.connection_id, again.state) == (person.connection_id, ACTIVE)
    assert (await lab.fetch(person)).completed.delivered == 0
    assert await lab.audited(person) == ["BEGUN", "AUTHORIZED", "REFRESH_REFUSED", "BEGUN", "REAUTHORIZED"]


async def test_an_account_that_is_linked_twice_is_one_connection(lab: Lab) -> None:
    person = await lab.linked("gmail")

    again = await lab.service.link("gmail", person.address)

    assert again.connection_id == person.connection_id
    assert lab.grant(person).alive
