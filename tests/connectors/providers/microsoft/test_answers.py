"""What Microsoft's sign-in answers mean."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from connectors.errors import CodeRefused, ConsentRefused, OperatorFault, ProviderUnavailable, StateInvalid
from connectors.providers.microsoft.answers import codes_of, refused_consent, refused_grant, refused_request
from connectors.providers.port import GrantRefused

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["error", "error_description", "error_codes", "suberror", "claims", "x"])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"error": "invalid_grant", "error_codes": [50173]}, "GRANT_REVOKED"),
        ({"error": "invalid_grant", "error_codes": [700082]}, "GRANT_EXPIRED"),
        ({"error": "invalid_grant", "error_codes": [50057]}, "ACCOUNT_DISABLED"),
        ({"error": "invalid_grant", "error_codes": [65001], "suberror": "consent_required"}, "CONSENT_NEEDED"),
        ({"error": "invalid_grant", "error_codes": [53003]}, "ACCESS_BLOCKED"),
        ({"error": "interaction_required", "error_codes": [50076]}, "INTERACTION_NEEDED"),
        ({"error": "interaction_required"}, "INTERACTION_NEEDED"),
        ({"error": "consent_required"}, "CONSENT_NEEDED"),
        ({"error": "login_required"}, "INTERACTION_NEEDED"),
        ({"error": "invalid_grant", "error_description": "AADSTS50173: The grant was revoked."}, "GRANT_REVOKED"),
        ({"error": "invalid_grant"}, "GRANT_REFUSED"),
        ({"error": "invalid_grant", "error_codes": "no list"}, "GRANT_REFUSED"),
    ],
    ids=str,
)
def test_a_refused_refresh_says_what_the_grant_died_of(answer: dict[str, object], reason: str) -> None:
    refused = refused_grant(answer)

    assert isinstance(refused, GrantRefused)
    assert refused.reason == reason


@pytest.mark.parametrize(
    "answer",
    [
        {"error": "invalid_client"},
        {"error": "invalid_client", "error_codes": [7000215]},
        {"error": "unauthorized_client", "error_codes": [700016]},
        {"error": "invalid_grant", "error_codes": [7000222]},
        {"error": "invalid_request", "error_codes": [900144]},
        {"error": "invalid_scope"},
        {"error": "something_new"},
        {"error": None},
        {},
    ],
    ids=str,
)
def test_whatever_is_not_known_to_be_the_grants_death_is_the_operators_fault(answer: dict[str, object]) -> None:
    assert isinstance(refused_grant(answer), OperatorFault)
    assert isinstance(refused_request(answer), OperatorFault)


@pytest.mark.parametrize("error", ["temporarily_unavailable", "server_error"])
def test_what_passes_is_no_refusal(error: str) -> None:
    assert isinstance(refused_grant({"error": error}), ProviderUnavailable)
    assert isinstance(refused_consent({"error": error}), ProviderUnavailable)
    assert isinstance(refused_request({"error": error}), ProviderUnavailable)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ({"error": "access_denied"}, ConsentRefused, "allow the access"),
        ({"error": "authorization_declined"}, ConsentRefused, "allow the access"),
        ({"error": "consent_required"}, ConsentRefused, "administrator"),
        ({"error": "access_denied", "error_description": "AADSTS90094: admin"}, ConsentRefused, "administrator"),
        ({"error": "invalid_grant", "error_codes": [53003]}, ConsentRefused, "policy"),
        ({"error": "access_denied", "error_codes": [50105]}, ConsentRefused, "policy"),
        ({"error": "interaction_required", "error_codes": [50076]}, ConsentRefused, "browser"),
        ({"error": "invalid_scope"}, ConsentRefused, "account of this kind"),
        ({"error": "expired_token"}, StateInvalid, ""),
        ({"error": "bad_verification_code"}, CodeRefused, ""),
        ({"error": "invalid_grant", "error_codes": [54005]}, CodeRefused, ""),
        ({"error": "something_new"}, CodeRefused, ""),
        ({"error": "invalid_client"}, OperatorFault, ""),
    ],
    ids=str,
)
def test_a_refused_sign_in_says_whose_turn_it_is(answer: dict[str, object], kind: type[Exception], words: str) -> None:
    refused = refused_consent(answer)

    assert type(refused) is kind
    assert words in str(refused)


def test_claims_are_kept_if_they_are_what_they_must_be() -> None:
    asked = {"access_token": {"acrs": {"essential": True, "value": "c1"}}}
    base = {"error": "interaction_required"}
    kept = [
        refused_grant(base | {"claims": claims})
        for claims in (json.dumps(asked), asked, "no json", "[1]", 3, None, json.dumps({"x": "y" * 9_000}))
    ]

    claims = [one.claims for one in kept if isinstance(one, GrantRefused)]
    assert [json.loads(one) if one else "" for one in claims] == [asked, asked, "", "", "", "", ""]


def test_codes_come_from_the_list_and_from_the_text() -> None:
    answer = {"error_codes": [50076, "x", 50079], "error_description": "AADSTS50079: … AADSTS65001: …"}

    assert codes_of(answer) == (50076, 50079, 65001)


@given(st.dictionaries(NAMES, JSON))
def test_no_answer_is_too_strange_and_nothing_of_it_is_repeated(answer: dict[str, object]) -> None:
    for judge in (refused_grant, refused_consent, refused_request):
        error = judge(answer)

        assert isinstance(error, Exception)
        described = str(answer.get("error_description"))
        assert len(described) < 12 or described not in repr(error)
