"""What Google's token endpoint replies."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from adiuva_rpc.errors import AdiuvaError
from connectors.errors import OperatorFault, ProviderUnavailable
from connectors.providers.google.replies import error_of, is_usable, operator_fault, refresh_refusal, tokens_of
from connectors.providers.port import GrantRefused
from connectors.providers.wire import Answer
from tests.connectors.providers.support import NOON

ASKED = frozenset({"a", "b"})


def reply(status: int = 200, /, **body: object) -> Answer:
    return Answer(status=status, headers={}, body=json.dumps(body).encode())


def test_tokens_are_read() -> None:
    tokens = tokens_of(
        reply(access_token="at", expires_in=3599, refresh_token="rt", scope="A  b"), asked=frozenset(), now=NOON
    )

    assert (tokens.access_token, tokens.refresh_token) == ("at", "rt")
    assert (tokens.expires_at, tokens.scopes) == (NOON + timedelta(seconds=3599), ASKED)


def test_what_is_left_out_stays_as_it_was() -> None:
    tokens = tokens_of(reply(access_token="at", expires_in="60", refresh_token=""), asked=ASKED, now=NOON)

    assert (tokens.refresh_token, tokens.scopes, tokens.expires_at) == (None, ASKED, NOON + timedelta(seconds=60))


def test_no_token_is_believed_to_live_longer_than_a_day() -> None:
    tokens = tokens_of(reply(access_token="at", expires_in=10**8), asked=ASKED, now=NOON)

    assert tokens.expires_at == NOON + timedelta(days=1)


@pytest.mark.parametrize("body", [{}, {"access_token": "at"}, {"access_token": 1, "expires_in": 1}])
def test_a_reply_without_tokens_is_no_answer(body: dict[str, object]) -> None:
    answer = reply(200, **body)

    assert not is_usable(answer)
    with pytest.raises(ProviderUnavailable):
        tokens_of(answer, asked=ASKED, now=NOON)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("invalid_grant", "GRANT_REVOKED"),
        ("invalid_scope", "CONSENT_NEEDED"),
        ("interaction_required", "CONSENT_NEEDED"),
        ("access_denied", "ACCESS_DENIED"),
        ("admin_policy_enforced", "ACCESS_DENIED"),
    ],
)
def test_a_refused_grant_has_a_reason(error: str, reason: str) -> None:
    refused = refresh_refusal(reply(400, error=error))

    assert isinstance(refused, GrantRefused)
    assert refused.reason == reason


@pytest.mark.parametrize("subtype", ["invalid_rapt", "rapt_required"])
def test_who_must_prove_again_who_they_are_has_not_revoked_anything(subtype: str) -> None:
    refused = refresh_refusal(reply(400, error="invalid_grant", error_subtype=subtype))

    assert isinstance(refused, GrantRefused)
    assert refused.reason == "CONSENT_NEEDED"


@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client", "deleted_client", "redirect_uri_mismatch"])
def test_a_refused_client_is_the_operators(error: str) -> None:
    assert isinstance(operator_fault(reply(401, error=error)), OperatorFault)
    assert isinstance(refresh_refusal(reply(401, error=error)), OperatorFault)


@pytest.mark.parametrize("body", [{}, {"error": "new"}, {"error": {"code": 400}}, {"error": ["invalid_grant"]}])
def test_a_refusal_that_says_nothing_kills_no_grant(body: dict[str, object]) -> None:
    assert operator_fault(reply(400, **body)) is None
    assert isinstance(refresh_refusal(reply(400, **body)), ProviderUnavailable)


@given(st.integers(200, 599), st.binary(max_size=60) | st.just(b'{"error": "invalid_grant"}'))
def test_no_reply_makes_it_fail(status: int, body: bytes) -> None:
    answer = Answer(status=status, headers={}, body=body)

    assert isinstance(error_of(answer), str)
    assert isinstance(is_usable(answer), bool)
    assert isinstance(refresh_refusal(answer), GrantRefused | AdiuvaError)
