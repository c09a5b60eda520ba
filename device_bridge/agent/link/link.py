"""Keeps one session with the bridge for as long as the agent runs: opens it, holds it, comes back after it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import structlog

from device_bridge.agent.link.calls import Calls
from device_bridge.agent.link.domain import EndKind, SessionEnd, Welcome
from device_bridge.agent.link.lag import LoopLag
from device_bridge.agent.link.ports import Clock, Dialler, Identity, MonotonicClock
from device_bridge.agent.link.reconnect import ReconnectPolicy, Stop
from device_bridge.agent.link.session import Introduction, Session, Timing

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Connected:
    """A session stands."""

    welcome: Welcome


@dataclass(frozen=True, slots=True)
class Waiting:
    """A session ended, and the next attempt comes after `delay` seconds."""

    end: SessionEnd
    delay: float


Report = Callable[[Connected | Waiting], None]
"""Told what the link does, for people. Must not block or raise."""


def _unreported(_event: Connected | Waiting) -> None:
    """Nobody asked."""


class Link:
    """The device's connection to the bridge, across all its sessions."""

    def __init__(
        self,
        dialler: Dialler,
        *,
        calls: Calls,
        identity: Identity,
        introduction: Introduction,
        rng: Random,
        clock: Clock | None = None,
        lag: LoopLag | None = None,
        timing: Timing | None = None,
        report: Report = _unreported,
    ) -> None:
        self._dialler = dialler
        self._calls = calls
        self._identity = identity
        self._introduction = introduction
        self._policy = ReconnectPolicy(rng)
        self._clock = clock or MonotonicClock()
        self._lag = lag or LoopLag()
        self._timing = timing or Timing()
        self._report = report

    async def run(self, stop: asyncio.Event) -> SessionEnd:
        """Hold sessions until `stop` is set, or until the bridge says that coming back is pointless.

        Returns:
            How the last session ended: LEFT after `stop`, else the reason why no further one was opened.
        """
        while not stop.is_set():
            end = await self._session(stop)
            if end.kind in {EndKind.REFUSED, EndKind.REVOKED}:
                end = self._identity.refused(end)
            decision = self._policy.after(end)
            if isinstance(decision, Stop):
                return decision.end
            log.info("session_ended", kind=end.kind.name, detail=end.detail, retry_in=round(decision.delay, 2))
            self._report(Waiting(end, decision.delay))
            if decision.new_channel:
                await self._dialler.renew()
            await self._clock.wait(stop, decision.delay)
        return SessionEnd(kind=EndKind.LEFT)

    async def _session(self, stop: asyncio.Event) -> SessionEnd:
        session = Session(
            self._dialler.open(self._identity.authorization()),
            calls=self._calls,
            identity=self._identity,
            introduction=self._introduction,
            clock=self._clock,
            lag=self._lag,
            timing=self._timing,
            on_ready=lambda welcome: self._report(Connected(welcome)),
        )
        return await session.run(stop)
