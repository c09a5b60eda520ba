"""What the device agent says to the person in front of it: how sessions end, and what to do about it."""

from __future__ import annotations

from device_bridge.agent.enrolment import USING_CODE
from device_bridge.agent.link.domain import CloseReason, EndKind, SessionEnd

ENROL = "Get a code with `adiuva devices enrol` and start with --code CODE."

_REASONS = (
    ("CERTIFICATE_VERIFY_FAILED", "its certificate was not accepted; check --ca"),
    ("Hostname Verification Check failed", "its certificate is for another name"),
    ("Connection refused", "nobody listens there"),
    ("DNS resolution failed", "its name cannot be resolved"),
    ("Name or service not known", "its name cannot be resolved"),
    ("No route to host", "there is no way to it"),
    ("Network is unreachable", "there is no network"),
    ("wrong version number", "it does not speak TLS, or only TLS"),
)

_KINDS = {
    EndKind.REFUSED: f"the bridge does not know this device any more. {ENROL}",
    EndKind.INCOMPATIBLE: "the bridge speaks another revision of the protocol: update the older of the two",
    EndKind.SUPERSEDED: "another process uses this device's identity (was its data directory copied?); giving way",
    EndKind.NO_WELCOME: "the bridge at {target} does not answer",
    EndKind.SILENT: "the bridge went silent",
    EndKind.STALLED: "the bridge stopped reading",
    EndKind.VIOLATION: "the bridge broke the protocol: {detail}",
}

_CLOSED = {
    CloseReason.SUPERSEDED: _KINDS[EndKind.SUPERSEDED],
    CloseReason.SHUTDOWN: "the bridge stops",
    CloseReason.DISCONNECTED: "the bridge disconnected this device on request",
    CloseReason.OVERLOADED: "the bridge has no room just now",
}


def why_waiting(end: SessionEnd, target: str) -> str:
    """Return a sentence, without a full stop, for the end of a session that is followed by another."""
    if end.close_reason is not None:
        return _CLOSED.get(end.close_reason, f"the bridge closed the session: {end.detail}")
    if end.detail == USING_CODE:
        return USING_CODE
    if end.kind in _KINDS:
        return _KINDS[end.kind].format(target=target, detail=end.detail)
    if end.ready_seconds is not None:
        return "the connection to the bridge was lost"
    known = next((text for mark, text in _REASONS if mark in end.detail), "")
    reason = known or end.detail.partition(":")[0] or "no reason given"
    return f"cannot reach the bridge at {target} ({reason})"


def why_stopped(end: SessionEnd) -> str:
    """Return what to tell a person when no further session is opened."""
    if end.kind is EndKind.REFUSED:
        return (
            "the enrolment code was not accepted: it is unknown, used or expired. "
            "Make a new one with `adiuva devices enrol` and start again with --code CODE."
        )
    if end.kind is EndKind.REVOKED or end.close_reason is CloseReason.REVOKED:
        return f"this device was revoked. To use it again, enrol it anew. {ENROL}"
    return f"the bridge will not take this device back: {end.detail}"
