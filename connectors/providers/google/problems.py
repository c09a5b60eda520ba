"""What the errors of Google's APIs mean."""

from __future__ import annotations

from collections.abc import Iterator

from connectors.errors import ConnectionBlocked, NeedsReauth, OperatorFault
from connectors.messages.domain import JsonObject
from connectors.providers.http import Answer, Wait

_THROTTLED = frozenset({"ratelimitexceeded", "userratelimitexceeded", "quotaexceeded", "dailylimitexceeded"})
_SCOPE_MISSING = frozenset({"insufficientpermissions", "accesstokenscopeinsufficient"})
_OUR_PROJECT = frozenset({"accessnotconfigured", "servicedisabled", "billingdisabled"})
_BLOCKED = frozenset({"domainpolicy", "delegationdenied", "failedprecondition", "accountdisabled"})


class GoogleNotFound(Exception):
    """What was asked for is not there (any more). Only the caller knows what that means."""


class GoogleTooLarge(Exception):
    """What was asked for is there, but is longer than may be read. Only the caller knows what that means."""


def google_problem(answer: Answer) -> Exception | Wait | None:
    """Return what an error of a Google API means, as a `Problem` of `ProviderHttp`.

    Besides our own errors it makes `get_json` raise GoogleNotFound (404) and GoogleTooLarge.
    """
    if answer.too_large:
        return GoogleTooLarge()
    if answer.status == 404:
        return GoogleNotFound()
    reasons = reasons_of(answer)
    if reasons & _THROTTLED:
        return Wait()
    return _refused(reasons) if answer.status in {400, 403} else None


def reasons_of(answer: Answer) -> frozenset[str]:
    """Return the codes of an error, of its old form (`errors`) and its new one (`details`), as `ratelimitexceeded`."""
    return frozenset(reason.lower().replace("_", "") for reason in _reasons(answer.json() or {}))


def _refused(reasons: frozenset[str]) -> Exception | None:
    if reasons & _SCOPE_MISSING:
        return NeedsReauth("The grant does not reach as far as is needed. Reauthorize the connection.")
    if reasons & _OUR_PROJECT:
        return OperatorFault("Google refused this service's project. The operator has to check that its API is on.")
    # Among them are accounts without Gmail, which is a failed precondition of every call.
    return ConnectionBlocked() if reasons & _BLOCKED else None


def _reasons(body: JsonObject) -> Iterator[str]:
    error = body.get("error")
    if not isinstance(error, dict):
        return
    for name in ("errors", "details"):
        entries = error.get(name)
        for entry in entries if isinstance(entries, list) else []:
            reason = entry.get("reason") if isinstance(entry, dict) else None
            if isinstance(reason, str):
                yield reason
