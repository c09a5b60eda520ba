"""Why messages could not be fetched, in sentences that a user can act on."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.runs.domain import ConnectionFault, ConnectorsUnavailable

NEEDS_REAUTH = "NEEDS_REAUTH"
CONNECTION_BLOCKED = "CONNECTION_BLOCKED"
DECRYPT_FAILED = "DECRYPT_FAILED"
CONNECTION_PENDING = "CONNECTION_PENDING"
DISCONNECTED = "DISCONNECTED"
CONNECTION_NOT_FOUND = "CONNECTION_NOT_FOUND"
PROVIDER_UNAVAILABLE = "PROVIDER_UNAVAILABLE"
PROVIDER_UNKNOWN = "PROVIDER_UNKNOWN"
THROTTLED = "THROTTLED"
WINDOW_TOO_LARGE = "WINDOW_TOO_LARGE"
FILTER_UNSUPPORTED = "FILTER_UNSUPPORTED"
FILTER_INVALID = "FILTER_INVALID"
OPERATOR_FAULT = "OPERATOR_FAULT"
STALE_FETCH = "STALE_FETCH"

SENTENCES: Mapping[str, str] = {
    NEEDS_REAUTH: "The provider does not accept the access to this account any more. Reauthorize the connection, then "
    "run the agent again; nothing that came in meanwhile is lost.",
    CONNECTION_BLOCKED: "The provider, or the administrator of the account, forbids this access. Ask the administrator "
    "of the account to allow it.",
    DECRYPT_FAILED: "The stored access to this account cannot be decrypted. The operator has to bring back its key; "
    "reauthorizing the connection works, too.",
    CONNECTION_PENDING: "The account is not linked yet. Finish linking it in the browser, then run the agent again.",
    DISCONNECTED: "The connection was ended. Link the account anew, and choose the new connection in the agent.",
    CONNECTION_NOT_FOUND: "There is no such connection. Link the account, and choose its connection in the agent.",
    PROVIDER_UNAVAILABLE: "The mail or chat provider does not answer. Nothing is lost: the next run tries again.",
    PROVIDER_UNKNOWN: "This provider is not set up here. The operator has to configure it.",
    THROTTLED: "The provider asks to slow down for longer than a run waits. Try again {when}.",
    WINDOW_TOO_LARGE: "There are too many messages for one look. Narrow the agent's filter.",
    FILTER_UNSUPPORTED: "This provider cannot filter messages in this way{where}. Change the agent's filter.",
    FILTER_INVALID: "The agent's filter is not well formed{where}. Change it.",
    OPERATOR_FAULT: "The provider refused this service itself. The operator has to check the client id and secret of "
    "the connectors service.",
    STALE_FETCH: "Another fetch under this agent's id took over. Run the agent again.",
}
"""By reason. All of them are reasons of the connectors service but CONNECTION_NOT_FOUND, which is its NOT_FOUND."""


def connection_fault(reason: str, *, where: str = "", retry_after: float | None = None) -> ConnectionFault:
    """Return the fault that tells a user of a reason.

    Args:
        reason: Of `SENTENCES`; any other means that the connectors service does not work as it should.
        where: What the service says of the field that it refused.
        retry_after: Seconds that the provider asks to wait, if it said so.
    """
    sentence = SENTENCES.get(reason)
    if sentence is None:
        sentence = (
            f"The connectors service could not fetch messages ({reason or 'no reason given'}). "
            "The operator has to look at its log."
        )
        return ConnectionFault(ConnectorsUnavailable.reason, sentence)
    return ConnectionFault(reason, sentence.format(when=_when(retry_after), where=f" ({where})" if where else ""))


def _when(seconds: float | None) -> str:
    if seconds is None:
        return "later"
    minutes = max(1, round(seconds / 60))
    if minutes < 90:
        return f"in {minutes} {'minute' if minutes == 1 else 'minutes'}"
    return f"in {round(minutes / 60)} hours"
