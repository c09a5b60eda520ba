"""When to come back after a session ended, and when not. A rule without I/O: randomness comes in through the door."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from device_bridge.agent.link.domain import CloseReason, EndKind, SessionEnd

BASE_SECONDS = 0.5
CAP_SECONDS = 60.0
STABLE_SECONDS = 60.0
"""A session that stood so long clears the record of failures."""
CHANNEL_FAILURES = 3
"""After so many attempts in a row without a Welcome the channel itself is suspect and is replaced."""
SUPERSEDED_SECONDS = (300.0, 600.0)
"""How long to stay away when another process holds the credential: two agents that fight are both useless."""
RETRY_AFTER_CAP_SECONDS = 900.0
"""A bridge may ask for patience, but a wrong number must not put a device out of use for days."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Open the next session after `delay` seconds, on a new channel if asked."""

    delay: float
    new_channel: bool


@dataclass(frozen=True, slots=True)
class Stop:
    """Open no further session."""

    end: SessionEnd


class ReconnectPolicy:
    """Counts failures and decides what follows the end of a session. Never gives up by itself."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._attempt = 0
        self._without_welcome = 0

    def after(self, end: SessionEnd) -> Retry | Stop:
        """Return what to do after `end`.

        The delay is full jitter: uniform between 0 and min(60 s, 0.5 s * 2**attempt), on top of what the bridge asked
        for. Only the agent's own goodbye, a revocation and a close that the bridge calls permanent stop it; a status
        of CANCELLED is the end of one stream like any other.

        Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
        """
        if end.kind in {EndKind.LEFT, EndKind.REVOKED} or end.permanent:
            return Stop(end)
        self._count(end)
        if _is_superseded(end):
            return Retry(self._rng.uniform(*SUPERSEDED_SECONDS), new_channel=False)
        # Capped before the power is taken: after a week of failures 2**attempt is no float any more.
        ceiling = min(CAP_SECONDS, BASE_SECONDS * 2.0 ** min(self._attempt, 16))
        asked = min(max(end.retry_after or 0.0, 0.0), RETRY_AFTER_CAP_SECONDS)
        suspect = self._without_welcome > 0 and self._without_welcome % CHANNEL_FAILURES == 0
        return Retry(asked + self._rng.uniform(0.0, ceiling), new_channel=suspect)

    def _count(self, end: SessionEnd) -> None:
        self._attempt += 1
        if end.ready_seconds is None:
            self._without_welcome += 1
            return
        self._without_welcome = 0
        if end.ready_seconds >= STABLE_SECONDS:
            self._attempt = 1


def _is_superseded(end: SessionEnd) -> bool:
    return end.kind is EndKind.SUPERSEDED or end.close_reason is CloseReason.SUPERSEDED
