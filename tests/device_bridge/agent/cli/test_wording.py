"""What a person is told when a session ends."""

from __future__ import annotations

import pytest

from device_bridge.agent.cli.wording import why_stopped, why_waiting
from device_bridge.agent.enrolment import USING_CODE
from device_bridge.agent.link.domain import CloseReason, EndKind, SessionEnd

TARGET = "bridge.example:7003"
REFUSED_CONNECTION = "UNAVAILABLE: failed to connect to all addresses; connect: Connection refused (111)"
BAD_CERTIFICATE = "UNAVAILABLE: ssl handshake failed: CERTIFICATE_VERIFY_FAILED: self-signed certificate"


LOST, CLOSED = EndKind.LOST, EndKind.CLOSED


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (SessionEnd(kind=LOST, detail=REFUSED_CONNECTION), f"reach the bridge at {TARGET} (nobody listens there)"),
        (SessionEnd(kind=LOST, detail=BAD_CERTIFICATE), "its certificate was not accepted; check --ca"),
        (SessionEnd(kind=LOST, detail="INTERNAL: strange"), "(INTERNAL)"),
        (SessionEnd(kind=LOST), "(no reason given)"),
        (SessionEnd(kind=LOST, detail=REFUSED_CONNECTION, ready_seconds=1.0), "the connection to the bridge was lost"),
        (SessionEnd(kind=EndKind.REFUSED), "adiuva devices enrol"),
        (SessionEnd(kind=EndKind.REFUSED, detail=USING_CODE), USING_CODE),
        (SessionEnd(kind=EndKind.NO_WELCOME), f"{TARGET} does not answer"),
        (SessionEnd(kind=EndKind.VIOLATION, detail="frame 3 came"), "frame 3 came"),
        (SessionEnd(kind=EndKind.SUPERSEDED), "another process uses this device's identity"),
        (SessionEnd(kind=CLOSED, close_reason=CloseReason.SUPERSEDED), "another process uses this device's identity"),
        (SessionEnd(kind=CLOSED, close_reason=CloseReason.UNKNOWN, detail="moved"), "closed the session: moved"),
    ],
)
def test_the_end_of_a_session_is_told_in_words_that_help(end: SessionEnd, told: str) -> None:
    assert told in why_waiting(end, TARGET)


@pytest.mark.parametrize("kind", EndKind, ids=lambda kind: kind.name)
def test_every_end_has_words(kind: EndKind) -> None:
    assert why_waiting(SessionEnd(kind=kind, detail="x"), TARGET)
    assert why_stopped(SessionEnd(kind=kind, detail="x"))


@pytest.mark.parametrize("reason", CloseReason, ids=lambda reason: reason.name)
def test_every_reason_of_a_close_has_words(reason: CloseReason) -> None:
    assert why_waiting(SessionEnd(kind=EndKind.CLOSED, close_reason=reason, detail="x"), TARGET)


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (SessionEnd(kind=EndKind.REFUSED), "unknown, used or expired"),
        (SessionEnd(kind=EndKind.REVOKED), "this device was revoked"),
        (SessionEnd(kind=EndKind.CLOSED, close_reason=CloseReason.REVOKED), "this device was revoked"),
        (SessionEnd(kind=EndKind.CLOSED, detail="gone for good"), "gone for good"),
    ],
)
def test_an_end_for_good_is_told_with_what_to_do(end: SessionEnd, told: str) -> None:
    assert told in why_stopped(end)
