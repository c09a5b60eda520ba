"""How the Microsoft identity platform says no: the AADSTS codes, their OAuth errors, and the shape of an answer."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from aiohttp import web

from tests.emulator.microsoft.people import guid


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One of the platform's errors."""

    code: int
    error: str
    text: str
    """May hold one `{}` for what was wrong."""
    suberror: str = ""
    claims: str = ""
    status: int = 400


_MFA = json.dumps(
    {"access_token": {"capolids": {"essential": True, "values": ["6b1a6d1c-3b7e-4c5f-9a0e-2d3c4b5a6978"]}}}
)

MISSING_PARAMETER = Problem(
    code=900144, error="invalid_request", text="The request body must contain the following parameter: '{}'."
)
BAD_PARAMETER = Problem(code=90023, error="invalid_request", text="Invalid STS request: {}.")
UNKNOWN_TENANT = Problem(
    code=90002, error="invalid_tenant", text="Tenant '{}' not found. Check to make sure you have the correct tenant ID."
)
UNKNOWN_CLIENT = Problem(
    code=700016,
    error="unauthorized_client",
    text="Application with identifier '{}' was not found in the directory.",
)
BAD_REDIRECT = Problem(
    code=50011,
    error="invalid_request",
    text="The redirect URI '{}' specified in the request does not match the redirect URIs of the application.",
)
BAD_RESPONSE_TYPE = Problem(
    code=700054, error="unsupported_response_type", text="response_type '{}' is not enabled for the application."
)
BAD_SCOPE = Problem(
    code=70011,
    error="invalid_scope",
    text="The provided value for the input parameter 'scope' is not valid. The scope '{}' is not valid.",
)
MISSING_CHALLENGE = Problem(
    code=9002325,
    error="invalid_request",
    text="Proof Key for Code Exchange is required for cross-origin authorization code redemption.",
)
BAD_CHALLENGE = Problem(code=501491, error="invalid_request", text="Invalid size of Code_Challenge parameter.")
NOT_SIGNED_IN = Problem(
    code=50058, error="login_required", text="A silent sign-in request was sent but no user is signed in."
)
DECLINED = Problem(code=65004, error="access_denied", text="User declined to consent to access the app.")
ADMIN_NEEDED = Problem(
    code=90094, error="consent_required", text="The grant requires permissions that only an administrator can give."
)
WRONG_TENANT = Problem(
    code=50020, error="invalid_request", text="User account '{}' does not exist in this tenant and cannot access it."
)
SECRET_MISSING = Problem(
    code=7000218,
    error="invalid_client",
    text="The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
    status=401,
)
SECRET_WRONG = Problem(
    code=7000215,
    error="invalid_client",
    text="Invalid client secret provided. Ensure the secret being sent in the request is the client secret value.",
    status=401,
)
SECRET_EXPIRED = Problem(
    code=7000222, error="invalid_client", text="The provided client secret keys for app '{}' are expired.", status=401
)
SECRET_UNWANTED = Problem(
    code=700025,
    error="invalid_client",
    text="Client is public so neither 'client_assertion' nor 'client_secret' should be presented.",
    status=401,
)
BAD_GRANT_TYPE = Problem(
    code=70003, error="unsupported_grant_type", text="The app requested an unsupported grant type '{}'."
)
BAD_GRANT = Problem(
    code=70000, error="invalid_grant", text="The provided value for the input parameter '{}' is not valid."
)
CODE_USED = Problem(
    code=54005,
    error="invalid_grant",
    text="OAuth2 Authorization code was already redeemed, please retry with a new one.",
)
CODE_EXPIRED = Problem(
    code=70008, error="invalid_grant", text="The provided authorization code or refresh token has expired."
)
CODE_REDIRECT = Problem(
    code=500112,
    error="invalid_grant",
    text="The reply address does not match the reply address provided when requesting Authorization code.",
)
CODE_VERIFIER = Problem(
    code=501481,
    error="invalid_grant",
    text="The Code_Verifier does not match the code_challenge supplied in the authorization request.",
)
REFRESH_EXPIRED = Problem(
    code=700082,
    error="invalid_grant",
    text="The refresh token has expired due to inactivity. The token was inactive for 90.00:00:00.",
)
REVOKED = Problem(
    code=50173,
    error="invalid_grant",
    text="The provided grant has expired due to it being revoked, a fresh auth token is needed.",
    suberror="bad_token",
)
DISABLED = Problem(code=50057, error="invalid_grant", text="The user account is disabled.")
CONSENT_MISSING = Problem(
    code=65001,
    error="invalid_grant",
    text="The user or administrator has not consented to use the application.",
    suberror="consent_required",
)
CONSENT_REQUIRED = Problem(
    code=65001, error="consent_required", text="The user or administrator has not consented to use the application."
)
INTERACTION_REQUIRED = Problem(
    code=50076,
    error="interaction_required",
    text="Due to a configuration change made by your administrator, you must use multi-factor authentication.",
    suberror="basic_action",
    claims=_MFA,
)
BLOCKED = Problem(
    code=53003,
    error="invalid_grant",
    text="Access has been blocked by Conditional Access policies.",
    suberror="message_only",
)
PENDING = Problem(
    code=70016,
    error="authorization_pending",
    text="OAuth 2.0 device flow error. Authorization is pending. Continue polling.",
)
DEVICE_DECLINED = Problem(
    code=70020, error="authorization_declined", text="The user declined the device authorization."
)
DEVICE_EXPIRED = Problem(code=70019, error="expired_token", text="Verification code expired.")
DEVICE_UNKNOWN = Problem(code=70018, error="bad_verification_code", text="Bad verification code.")


class Death(StrEnum):
    """Why a refresh is refused, by a switch. The access tokens that are out live on."""

    REVOKED = "revoked"
    EXPIRED = "expired"
    DISABLED = "disabled"
    CONSENT_MISSING = "consent-missing"
    CONSENT_REQUIRED = "consent-required"
    INTERACTION_REQUIRED = "interaction-required"
    """Comes with `claims`."""
    BLOCKED = "blocked"


DEATHS = {
    Death.REVOKED: REVOKED,
    Death.EXPIRED: REFRESH_EXPIRED,
    Death.DISABLED: DISABLED,
    Death.CONSENT_MISSING: CONSENT_MISSING,
    Death.CONSENT_REQUIRED: CONSENT_REQUIRED,
    Death.INTERACTION_REQUIRED: INTERACTION_REQUIRED,
    Death.BLOCKED: BLOCKED,
}


class LoginError(Exception):
    """A request to the login endpoints is refused."""

    def __init__(self, problem: Problem, what: str = "") -> None:
        super().__init__(problem.text.format(what))
        self.problem = problem

    def description(self, now: datetime, trace: int) -> str:
        """Return the text as the platform writes it, with its trace at the end."""
        trace_id, correlation_id = _ids(trace)
        return (
            f"AADSTS{self.problem.code}: {self} Trace ID: {trace_id} "
            f"Correlation ID: {correlation_id} Timestamp: {now:%Y-%m-%d %H:%M:%SZ}"
        )

    def answer(self, now: datetime, trace: int) -> web.Response:
        """Return it as the answer of an endpoint that speaks JSON.

        Args:
            now: The virtual time.
            trace: Any number; its ids are made from it.
        """
        return web.json_response(
            self.body(now, trace),
            status=self.problem.status,
            headers={"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"},
        )

    def body(self, now: datetime, trace: int) -> dict[str, Any]:
        """Return the JSON of `answer`, also for a `Fault` of a test's own."""
        trace_id, correlation_id = _ids(trace)
        optional = {"suberror": self.problem.suberror, "claims": self.problem.claims}
        return {
            "error": self.problem.error,
            "error_description": self.description(now, trace),
            "error_codes": [self.problem.code],
            "timestamp": f"{now:%Y-%m-%d %H:%M:%SZ}",
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": f"https://login.microsoftonline.com/error?code={self.problem.code}",
            **{name: value for name, value in optional.items() if value},
        }

    def page(self, now: datetime, trace: int) -> web.Response:
        """Return it as the page that a person sees when nothing may be sent to the application."""
        return web.Response(
            status=self.problem.status,
            text=f"<!DOCTYPE html><title>Sign in</title><p>{html.escape(self.description(now, trace))}</p>",
            content_type="text/html",
        )


def _ids(trace: int) -> tuple[str, str]:
    return guid(f"trace:{trace}"), guid(f"correlation:{trace}")
