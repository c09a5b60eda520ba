"""What Google's token endpoint replies, and what its refusals mean."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from connectors.errors import OperatorFault, ProviderUnavailable
from connectors.messages.domain import JsonObject
from connectors.providers.port import GrantRefused, Tokens
from connectors.providers.retry import unavailable
from connectors.providers.wire import Answer

_LONGEST_LIFE = timedelta(days=1)
_CLIENT_FAULTS = frozenset(
    {"invalid_client", "unauthorized_client", "deleted_client", "disabled_client", "redirect_uri_mismatch"}
)
_CONSENT_FAULTS = frozenset({"invalid_scope", "interaction_required", "consent_required"})


def is_usable(answer: Answer) -> bool:
    """Return whether a reply is a JSON object, and, if it brings tokens, one that can be worked with."""
    reply = answer.json()
    if reply is None:
        return False
    return not answer.is_success or (_is_text(reply.get("access_token")) and _life_of(reply) is not None)


def tokens_of(answer: Answer, *, asked: frozenset[str], now: datetime) -> Tokens:
    """Return the tokens of a usable reply.

    Args:
        answer: A success.
        asked: The scopes that were asked for: a reply that names none grants those (RFC 6749, 5.1).
        now: When it came, in UTC.

    Raises:
        ProviderUnavailable: It is not usable.
    """
    reply = answer.json()
    life = _life_of(reply or {})
    if reply is None or life is None or not is_usable(answer):
        raise unavailable("NOT_JSON")
    scope, refresh_token = reply.get("scope"), reply.get("refresh_token")
    return Tokens(
        access_token=reply["access_token"],
        expires_at=now + life,
        refresh_token=refresh_token if _is_text(refresh_token) else None,
        scopes=frozenset(scope.lower().split()) if isinstance(scope, str) else asked,
    )


def error_of(answer: Answer) -> str:
    """Return the code of a refusal; empty when there is none. It is Google's word: compare it, never show it."""
    error = (answer.json() or {}).get("error")
    return error if isinstance(error, str) else ""


def operator_fault(answer: Answer) -> OperatorFault | None:
    """Return the error of a refusal that is this service's own, and says nothing about a grant or a code."""
    return OperatorFault() if error_of(answer) in _CLIENT_FAULTS else None


def refresh_refusal(answer: Answer) -> GrantRefused | OperatorFault | ProviderUnavailable:
    """Return what it means that a refresh was refused."""
    error = error_of(answer)
    if error in _CONSENT_FAULTS or (error == "invalid_grant" and _wants_password(answer.json() or {})):
        return GrantRefused("CONSENT_NEEDED")
    if error == "invalid_grant":
        return GrantRefused("GRANT_REVOKED")
    if error in {"access_denied", "admin_policy_enforced"}:
        return GrantRefused("ACCESS_DENIED")
    return operator_fault(answer) or unavailable(f"HTTP_{answer.status}")


def _wants_password(reply: JsonObject) -> bool:
    """Whether an administrator has set how often people must prove who they are, and it is time."""
    return reply.get("error_subtype") in {"invalid_rapt", "rapt_required"}


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _life_of(reply: JsonObject) -> timedelta | None:
    seconds = reply.get("expires_in")
    if isinstance(seconds, str) and seconds.isdecimal() and len(seconds) < 10:
        seconds = int(seconds)
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not 0 < seconds < 10**9:
        return None
    return min(timedelta(seconds=seconds), _LONGEST_LIFE)
