"""What the errors of Google's APIs mean."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from connectors.errors import ConnectionBlocked, NeedsReauth, OperatorFault
from connectors.providers.google.problems import GoogleNotFound, GoogleTooLarge, google_problem, reasons_of
from connectors.providers.http import Answer, Wait
from tests.emulator.google.errors import error_body


def answer(status: int, body: object) -> Answer:
    return Answer(status=status, headers={}, body=json.dumps(body).encode())


def newer(status: int, reason: str) -> dict[str, object]:
    detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}
    return {"error": {"code": status, "message": "no", "status": "PERMISSION_DENIED", "details": [detail]}}


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (403, "rateLimitExceeded"),
        (403, "userRateLimitExceeded"),
        (429, "rateLimitExceeded"),
        (403, "dailyLimitExceeded"),
        (403, "quotaExceeded"),
        (403, "RATE_LIMIT_EXCEEDED"),
    ],
)
def test_a_quota_is_waited_for_whatever_its_status(status: int, reason: str) -> None:
    assert google_problem(answer(status, error_body(status, reason, "no"))) == Wait()


@pytest.mark.parametrize(
    ("status", "reason", "meaning"),
    [
        (403, "insufficientPermissions", NeedsReauth),
        (403, "domainPolicy", ConnectionBlocked),
        (403, "delegationDenied", ConnectionBlocked),
        (400, "failedPrecondition", ConnectionBlocked),
        (403, "accessNotConfigured", OperatorFault),
        (404, "notFound", GoogleNotFound),
    ],
)
def test_a_refusal_says_who_must_act(status: int, reason: str, meaning: type[Exception]) -> None:
    assert isinstance(google_problem(answer(status, error_body(status, reason, "no"))), meaning)


@pytest.mark.parametrize(
    ("reason", "meaning"), [("ACCESS_TOKEN_SCOPE_INSUFFICIENT", NeedsReauth), ("SERVICE_DISABLED", OperatorFault)]
)
def test_the_newer_form_of_an_error_is_read_too(reason: str, meaning: type[Exception]) -> None:
    assert isinstance(google_problem(answer(403, newer(403, reason))), meaning)


@pytest.mark.parametrize(
    ("status", "reason"),
    [(400, "badRequest"), (403, "forbidden"), (429, "unknown"), (500, "backendError"), (503, "backendError")],
)
def test_the_rest_is_as_usual(status: int, reason: str) -> None:
    assert google_problem(answer(status, error_body(status, reason, "no"))) is None


def test_a_body_that_is_too_large_is_told() -> None:
    assert isinstance(google_problem(Answer(status=200, headers={}, too_large=True)), GoogleTooLarge)


def test_what_google_writes_is_in_no_message() -> None:
    for status, reason in [(403, "insufficientPermissions"), (403, "accessNotConfigured"), (404, "notFound")]:
        problem = google_problem(answer(status, error_body(status, reason, "<b>\x1b[31mcanary\n")))

        assert "canary" not in repr(problem)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["error", "errors", "details", "reason"]), inner),
)


@given(st.integers(400, 599), JSON)
def test_no_body_makes_it_fail(status: int, body: object) -> None:
    assert isinstance(reasons_of(answer(status, body)), frozenset)
    google_problem(answer(status, body))
