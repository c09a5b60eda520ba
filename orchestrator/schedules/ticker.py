"""The ticker: starts what is due, sleeps until the next slot, and never polls faster than there is something to do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from adiuva_rpc.errors import Unavailable
from orchestrator.runs.domain import Trigger
from orchestrator.schedules.decisions import Candidate, Decision, decide_or_postpone
from orchestrator.schedules.ports import Alarm, Clock, Meter, Schedules
from orchestrator.schedules.presence import Presence

AGENTS_AT_A_TIME: Final = 100
LONGEST_SLEEP: Final = timedelta(seconds=60)
SHORTEST_SLEEP: Final = timedelta(milliseconds=100)
"""When what is due is in another replica's hands."""
AFTER_FAULT: Final = timedelta(seconds=5)

_log = structlog.get_logger(__name__)


class Ticker:
    """Starts the runs of slots whose time has come. Any number of them may run on one database."""

    def __init__(self, *, schedules: Schedules, presence: Presence, clock: Clock, alarm: Alarm, meter: Meter) -> None:
        self._schedules = schedules
        self._presence = presence
        self._clock = clock
        self._alarm = alarm
        self._meter = meter

    async def run(self) -> None:
        """Start what is due, for ever."""
        while True:
            # Without knowing what is connected, every decision could be the wrong one.
            await self._presence.known()
            try:
                until = await self.tick()
            except Unavailable as error:
                _log.warning("ticker_delayed", reason=error.reason)
                until = self._clock() + AFTER_FAULT
            await self._alarm.wait(until)

    async def tick(self) -> datetime:
        """Start everything that is due, and return when to look again.

        Raises:
            Unavailable: The database cannot be used now.
        """
        more = True
        while more:
            now = self._clock()
            claim = await self._schedules.claim_due(now, self._decision(now), limit=AGENTS_AT_A_TIME)
            for one in claim.decided:
                self._meter.decided(one, now=now, trigger=Trigger.SCHEDULE)
            more = bool(claim.more_after)
        now = self._clock()
        following = await self._schedules.next_due() or now + LONGEST_SLEEP
        return min(max(following, now + SHORTEST_SLEEP), now + LONGEST_SLEEP)

    def _decision(self, now: datetime) -> Callable[[Candidate], Decision]:
        def of(candidate: Candidate) -> Decision:
            online = self._presence.online(candidate.user_id, candidate.device_id)
            decision = decide_or_postpone(candidate, now=now, online=online)
            if decision.invalid:
                # It is not looked at again until it is changed, so this is said once.
                _log.warning("schedule_invalid", agent_id=candidate.agent_id, problem=decision.invalid)
            return decision

        return of
