"""What Microsoft's sign-in answers mean: tokens, or why there are none."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from connectors.errors import CodeRefused, ConsentRefused, OperatorFault, ProviderUnavailable, StateInvalid
from connectors.providers.microsoft.config import GRAPH_HOST
from connectors.providers.port import GrantRefused, Tokens

LoginAnswer = Mapping[str, Any]
"""What msal returns: the JSON of Microsoft's answer."""

_CODE = re.compile(r"AADSTS(\d{4,9})\b")
_LONGEST_CLAIMS = 8 * 1024
_SHORTEST_LIFE = 60
_LONGEST_LIFE = 24 * 3600

PENDING: Final = frozenset({"authorization_pending", "slow_down"})
_PASSING: Final = frozenset({"temporarily_unavailable", "server_error"})
_OURS: Final = frozenset(
    {
        "invalid_client",
        "invalid_request",
        "invalid_resource",
        "invalid_tenant",
        "unauthorized_client",
        "unsupported_grant_type",
        "unsupported_response_type",
    }
)
"""What only the operator can have got wrong: nothing of it says that a grant is dead."""
_OUR_CODES: Final = frozenset({7000215, 7000222, 7000218, 7000112, 700016, 700025, 700027, 90002})
"""The secret is wrong, expired, missing or not wanted; the application is disabled or unknown; there is no tenant."""

_ADMIN_CODES: Final = frozenset({65001, 90008, 90093, 90094, 90095, 650057})
_POLICY_CODES: Final = frozenset({50097, 50105, 53000, 53001, 53002, 53003, 53004, 530032, 530033, 530034, 530035})

_ADMIN_NEEDED = "Only an administrator of your organization can allow this access. Ask one of them, then begin again."
_POLICY_FORBIDS = (
    "A policy of your organization does not allow this sign-in. Ask its administrator, or try the other way to consent."
)
_WRONG_KIND = "An account of this kind cannot give the access that is needed. Use another account."
_SIGN_IN_AGAIN = "Microsoft wants you to sign in in a browser. Begin again there, with the redirect flow."

_REASONS: Final[Mapping[str, frozenset[int]]] = {
    "ACCESS_BLOCKED": _POLICY_CODES,
    "CONSENT_NEEDED": _ADMIN_CODES | {65004},
    "ACCOUNT_DISABLED": frozenset({50034, 50053, 50057, 51004}),
    "GRANT_EXPIRED": frozenset({70008, 70043, 700082, 700084, 50089, 50132, 50133}),
    "GRANT_REVOKED": frozenset({50173, 70000, 50078}),
    "INTERACTION_NEEDED": frozenset({50072, 50074, 50076, 50079, 50158}),
}
_DEFAULT_REASONS: Final[Mapping[str, str]] = {
    "consent_required": "CONSENT_NEEDED",
    "interaction_required": "INTERACTION_NEEDED",
    "login_required": "INTERACTION_NEEDED",
}


def codes_of(answer: LoginAnswer) -> tuple[int, ...]:
    """Return the numbers behind AADSTS, the most important one first."""
    listed = answer.get("error_codes")
    codes = [code for code in listed if type(code) is int] if isinstance(listed, list) else []
    described = answer.get("error_description")
    if isinstance(described, str):
        codes += [int(code) for code in _CODE.findall(described)]
    return tuple(dict.fromkeys(codes))


def tokens_of(answer: LoginAnswer, asked_at: datetime) -> Tokens:
    """Return the tokens of an answer to a request that was made at `asked_at`.

    Raises:
        ValueError, KeyError: It holds none.
    """
    granted = str(answer.get("scope", "")).split()
    access_token, refresh_token = answer["access_token"], answer.get("refresh_token")
    if not isinstance(access_token, str) or not access_token:
        raise ValueError("no access token")
    return Tokens(
        access_token=access_token,
        expires_at=asked_at + timedelta(seconds=seconds_of(answer["expires_in"])),
        refresh_token=refresh_token if isinstance(refresh_token, str) and refresh_token else None,
        scopes=frozenset(scope.lower().removeprefix(f"https://{GRAPH_HOST}/") for scope in granted),
    )


def seconds_of(told: object) -> int:
    """Return how long something lives, at least a minute and at most a day.

    Raises:
        ValueError: It is no number.
    """
    return max(_SHORTEST_LIFE, min(_LONGEST_LIFE, int(str(told))))


def refused_request(answer: LoginAnswer) -> Exception:
    """Return what it means that no device code is given: ProviderUnavailable or OperatorFault; no user was asked."""
    return _not_about_the_grant(answer) or OperatorFault(metadata=_metadata(answer))


def refused_grant(answer: LoginAnswer) -> Exception:
    """Return what a refused refresh means: OperatorFault, ProviderUnavailable or GrantRefused."""
    fault = _not_about_the_grant(answer)
    if fault is not None:
        return fault
    if _error_of(answer) not in {"invalid_grant", *_DEFAULT_REASONS}:
        # Neither a grant that is dead for sure, nor anything that passes: ending the grant would be the worse mistake.
        return OperatorFault(
            "Microsoft refuses to renew grants. The operator has to check the application there.",
            metadata=_metadata(answer),
        )
    return GrantRefused(_reason(answer), claims=_claims(answer))


def refused_consent(answer: LoginAnswer) -> Exception:
    """Return what a refused sign-in means, in the browser, for a code or for a device code.

    OperatorFault, ProviderUnavailable, ConsentRefused, StateInvalid (a device code that has expired) or CodeRefused.
    """
    fault = _not_about_the_grant(answer)
    if fault is not None:
        return fault
    metadata, error, codes = _metadata(answer), _error_of(answer), set(codes_of(answer))
    if error == "expired_token":
        return StateInvalid(metadata=metadata)
    if codes & _POLICY_CODES:
        return ConsentRefused(_POLICY_FORBIDS, metadata=metadata)
    if error == "consent_required" or codes & _ADMIN_CODES:
        return ConsentRefused(_ADMIN_NEEDED, metadata=metadata)
    if error == "invalid_scope":
        return ConsentRefused(_WRONG_KIND, metadata=metadata)
    if error in _DEFAULT_REASONS:
        return ConsentRefused(_SIGN_IN_AGAIN, metadata=metadata)
    if error in {"access_denied", "authorization_declined"}:
        return ConsentRefused(metadata=metadata)
    return CodeRefused(metadata=metadata)


def _not_about_the_grant(answer: LoginAnswer) -> Exception | None:
    if _error_of(answer) in _OURS or set(codes_of(answer)) & _OUR_CODES:
        return OperatorFault(metadata=_metadata(answer))
    if _error_of(answer) in _PASSING:
        return ProviderUnavailable(metadata=_metadata(answer))
    return None


def _reason(answer: LoginAnswer) -> str:
    codes = codes_of(answer)
    if answer.get("suberror") == "consent_required":
        return "CONSENT_NEEDED"
    for code in codes:
        for reason, known in _REASONS.items():
            if code in known:
                return reason
    return _DEFAULT_REASONS.get(_error_of(answer), "GRANT_REFUSED")


def _claims(answer: LoginAnswer) -> str:
    """Return the claims that the next consent has to ask for, if they are what they must be."""
    claims = answer.get("claims")
    text = json.dumps(claims) if isinstance(claims, dict) else claims
    if not isinstance(text, str) or len(text) > _LONGEST_CLAIMS:
        return ""
    return text if are_claims(text) else ""


def are_claims(text: str) -> bool:
    """Return whether a text is a claims request: a JSON object."""
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _error_of(answer: LoginAnswer) -> str:
    error = answer.get("error")
    return error if isinstance(error, str) else ""


def _metadata(answer: LoginAnswer) -> dict[str, str]:
    codes = codes_of(answer)
    return {"provider_code": f"AADSTS{codes[0]}"} if codes else {}
