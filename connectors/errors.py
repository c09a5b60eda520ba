"""What can go wrong with a connection or a fetch, each with the reason that a program acts on."""

from __future__ import annotations

from adiuva_rpc.errors import (
    Aborted,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)


class StoreUnavailable(Unavailable):
    """The database of the connectors does not answer. Try again shortly."""

    reason = "STORE_UNAVAILABLE"


class ProviderUnknown(NotFound):
    """There is no such provider here, or the operator has not set it up."""

    reason = "PROVIDER_UNKNOWN"

    def __init__(self, provider: str = "") -> None:
        super().__init__("provider", "There is no such provider here, or the operator has not set it up.")
        self.provider = provider


class FlowUnsupported(FailedPrecondition):
    """The provider has no such way to consent. Use the redirect flow."""

    reason = "FLOW_UNSUPPORTED"


class StateInvalid(FailedPrecondition):
    """This authorization is unknown, used, expired or somebody else's. Begin a new one."""

    reason = "STATE_INVALID"


class ConsentRefused(FailedPrecondition):
    """The consent was refused at the provider. Begin again and allow the access that is asked for."""

    reason = "CONSENT_REFUSED"


class ScopeMissing(FailedPrecondition):
    """Less access was granted than is needed to read messages. Begin again and leave every box ticked."""

    reason = "SCOPE_MISSING"


class AccountMismatch(FailedPrecondition):
    """That is another account than the connection's. Choose the same account, or link the other one anew."""

    reason = "ACCOUNT_MISMATCH"


class CodeRefused(FailedPrecondition):
    """The provider did not take the authorization code. Begin a new authorization."""

    reason = "CODE_REFUSED"


class NeedsReauth(FailedPrecondition):
    """The provider does not accept the grant any more. Reauthorize the connection."""

    reason = "NEEDS_REAUTH"


class ConnectionBlocked(FailedPrecondition):
    """The provider or its administrator forbids this access. Ask the administrator of the account."""

    reason = "CONNECTION_BLOCKED"


class DecryptFailed(FailedPrecondition):
    """The stored grant cannot be decrypted. The operator brings back its key, or the user reauthorizes."""

    reason = "DECRYPT_FAILED"


class ConnectionPending(FailedPrecondition):
    """The account is not linked yet: complete its authorization first."""

    reason = "CONNECTION_PENDING"


class Disconnected(FailedPrecondition):
    """The connection was ended. Link the account anew."""

    reason = "DISCONNECTED"


class OperatorFault(Internal):
    """The provider refused this service itself. The operator has to check its client id and secret."""

    reason = "OPERATOR_FAULT"


class ProviderUnavailable(Unavailable):
    """The provider does not answer. Try again later."""

    reason = "PROVIDER_UNAVAILABLE"


class Throttled(ResourceExhausted):
    """The provider asked to wait longer than this call may. `retry_after` tells how long."""

    reason = "THROTTLED"


class FilterUnsupported(InvalidArgument):
    """The provider cannot express a field of the filter."""

    reason = "FILTER_UNSUPPORTED"


class FilterInvalid(InvalidArgument):
    """A field of the filter is not well formed."""

    reason = "FILTER_INVALID"


class CursorInvalid(InvalidArgument):
    """The cursor is not one of this connection, subscriber and filter."""

    reason = "CURSOR_INVALID"

    def __init__(self, description: str = "not a cursor of this connection, subscriber and filter") -> None:
        super().__init__("cursor_token", description)


class StaleFetch(Aborted):
    """A newer fetch of this subscriber has begun; this one can commit nothing any more."""

    reason = "STALE_FETCH"


class TooManySubscribers(FailedPrecondition):
    """Too many subscribers read this connection already. One that is not used any more makes room in half a year."""

    reason = "TOO_MANY_SUBSCRIBERS"


class WindowTooLarge(ResourceExhausted):
    """There are too many messages in the window. Narrow the filter, or begin later."""

    reason = "WINDOW_TOO_LARGE"


class AttachmentGone(NotFound):
    """The message has no such attachment any more."""

    reason = "ATTACHMENT_GONE"

    def __init__(self) -> None:
        super().__init__("attachment")


class AttachmentTooLarge(ResourceExhausted):
    """The attachment is larger than what can be fetched."""

    reason = "ATTACHMENT_TOO_LARGE"
