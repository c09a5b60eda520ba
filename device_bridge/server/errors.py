"""What goes wrong in the bridge, as leaves of the tree of `adiuva_rpc.errors`.

An error that rejects a call says in its metadata how far the call got: {"delivery": "NOT_DELIVERED"} or
{"delivery": "DELIVERED_UNKNOWN"}. The same error is the status of CallTool and the CallRejected item of Execute.
"""

from __future__ import annotations

from adiuva_rpc.errors import (
    Aborted,
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    TryAgain,
    Unauthenticated,
    Unavailable,
)


class DeviceUnknown(NotFound):
    """The user has no such device."""

    reason = "DEVICE_UNKNOWN"

    def __init__(self) -> None:
        super().__init__("device", "The user has no such device. Correct device_id, or enrol the device.")


class DeviceOffline(Unavailable):
    """The device is not connected. Nothing was run; try again when it is back."""

    reason = "DEVICE_OFFLINE"


class DeviceLost(Unavailable):
    """The device's session ended while the call was under way. Repeat the call with the same call_id."""

    reason = "DEVICE_LOST"


class CallTimeout(DeadlineExceeded):
    """The device gave no answer within the call's timeout. Repeat the call with the same call_id."""

    reason = "CALL_TIMEOUT"


class CallCancelled(TryAgain):
    """The call was cancelled."""

    reason = "CALL_CANCELLED"


class TooManyCalls(ResourceExhausted):
    """The device has too many calls waiting. Try again after the delay."""

    reason = "TOO_MANY_CALLS"


class ResultTooLong(ResourceExhausted):
    """The result is too long for one message. Ask for less, or use Execute, which sends it in pieces."""

    reason = "RESULT_TOO_LARGE"


class CallIdReused(AlreadyExists):
    """A call with this call_id and other arguments is under way. Give each call its own id."""

    reason = "CALL_ID_REUSED"


class CallUnknown(NotFound):
    """Nobody knows such a call."""

    reason = "CALL_UNKNOWN"

    def __init__(self) -> None:
        super().__init__(
            "call", "Nobody knows this call: it never reached the device or it only read. Submit it again."
        )


class CallBroken(Unavailable):
    """The device's answer to the call was malformed. Repeat the call with the same call_id."""

    reason = "INTERNAL"


class BridgeStopping(Unavailable):
    """The bridge stops. Open a new stream and submit the open calls again."""

    reason = "BRIDGE_STOPPING"


class SlowWatcher(Unavailable):
    """The watcher was too slow to keep up. Watch again: the new snapshot is the repair."""

    reason = "SLOW_WATCHER"


class WatchInterrupted(Unavailable):
    """The bridge lost sight of presence changes for a moment. Watch again: the new snapshot is the repair."""

    reason = "WATCH_INTERRUPTED"


class StoreUnavailable(Unavailable):
    """The bridge's database cannot be reached. Try again."""

    reason = "STORE_UNAVAILABLE"


class PageTokenInvalid(InvalidArgument):
    """The page_token belongs to another query."""

    reason = "PAGE_TOKEN_INVALID"

    def __init__(self) -> None:
        super().__init__("page_token", "it belongs to another query or is damaged; start again without it")


class CodeShownOnce(AlreadyExists):
    """A code was already made for this request_id and is shown once only. Ask with a new request_id."""

    reason = "CODE_SHOWN_ONCE"


class TooManyCodes(ResourceExhausted):
    """The user has too many unused enrolment codes. Use one, or wait until they expire."""

    reason = "TOO_MANY_CODES"


class CodeRefused(Unauthenticated):
    """The enrolment code is unknown, used or expired. Make a new one."""

    reason = "ENROLMENT_CODE_REFUSED"


class DeviceRevoked(PermissionDenied):
    """The device was revoked. Enrol it again."""

    reason = "DEVICE_REVOKED"


class HelloMissing(DeadlineExceeded):
    """No Hello came within the time for it."""

    reason = "HELLO_MISSING"


class FrameMalformed(InvalidArgument):
    """The device broke the rules of the session."""

    reason = "FRAME_MALFORMED"

    def __init__(self, description: str) -> None:
        super().__init__("", description)


class ProtocolUnsupported(FailedPrecondition):
    """The device and the bridge have no protocol revision in common. Update the older one."""

    reason = "PROTOCOL_UNSUPPORTED"


class SessionSuperseded(Aborted):
    """A newer session of the same device has taken over."""

    reason = "SESSION_SUPERSEDED"


class SessionRetired(Unavailable):
    """The bridge ended the session. Connect again."""

    reason = "SESSION_RETIRED"


class TooManySessions(ResourceExhausted):
    """The bridge has no room for another session. Connect again after the delay."""

    reason = "TOO_MANY_SESSIONS"
