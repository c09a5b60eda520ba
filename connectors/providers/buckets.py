"""How many units there are in a time: handed out in order, never too many."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

Now = Callable[[], datetime]
"""Tells the time, in UTC."""
Sleep = Callable[[float], Awaitable[None]]
"""Waits so many seconds."""

_NOTHING = timedelta(0)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SLICES = 60


@dataclass(frozen=True, slots=True)
class Rate:
    """At most so many units in every window of this length, wherever it begins.

    It is the provider's window that counts, and requests do not all take equally long to get there. So units come
    back a little later than that: by 5 % of the length, 1 s at most.
    """

    units: int
    per: timedelta

    def __post_init__(self) -> None:
        if self.units < 1 or self.per <= _NOTHING:
            raise ValueError("a rate needs at least one unit and some time")

    @property
    def lasts(self) -> timedelta:
        """How long units stay taken."""
        return self.per + min(self.per / 20, timedelta(seconds=1))

    @classmethod
    def per_minute(cls, units: int) -> Rate:
        """Return so many units in every minute."""
        return cls(units, timedelta(minutes=1))

    @classmethod
    def per_second(cls, units: int) -> Rate:
        """Return so many units in every second."""
        return cls(units, timedelta(seconds=1))


class TokenBucket:
    """Hands out units, never more than its rates allow. Who comes first is served first.

    It starts full, and may be emptied at once; a second rate over a shorter time makes it smoother. Nothing is taken
    by a caller who is cancelled while waiting. What it remembers does not grow with the number of requests.
    """

    def __init__(self, rates: Iterable[Rate], *, now: Now, sleep: Sleep) -> None:
        self._windows = tuple(_Window(rate) for rate in rates)
        self._now = now
        self._sleep = sleep
        self.turn = asyncio.Lock()
        """Held by the first in line; `wait_for` and `take` are for its holder."""

    async def acquire(self, units: int) -> None:
        """Take units, after waiting until they are there.

        Raises:
            ValueError: There never are so many.
        """
        async with self.turn:
            while (wait := self.wait_for(units)) > _NOTHING:
                await self._sleep(wait.total_seconds())
            self.take(units)

    def wait_for(self, units: int) -> timedelta:
        """Return how long it takes until so many units are there.

        Raises:
            ValueError: There never are so many.
        """
        now = self._now()
        return max((window.wait_for(units, now) for window in self._windows), default=_NOTHING)

    def take(self, units: int) -> None:
        """Take units that are there."""
        now = self._now()
        for window in self._windows:
            window.take(units, now)

    @property
    def is_full(self) -> bool:
        """Whether nothing that was taken counts any more."""
        now = self._now()
        return all(window.is_empty(now) for window in self._windows)


@dataclass(slots=True)
class _Slice:
    """What was taken in a sixtieth of a window."""

    number: int
    last_at: datetime
    units: int


class _Window:
    """What was taken under one rate in the last while."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._lasts = rate.lasts
        self._width = max(rate.per / _SLICES, timedelta.resolution)
        self._slices: deque[_Slice] = deque()

    def wait_for(self, units: int, now: datetime) -> timedelta:
        if units > self._rate.units:
            raise ValueError(f"{units} units are never there at once, only {self._rate.units}")
        self._forget(now)
        missing = sum(one.units for one in self._slices) + units - self._rate.units
        wait = _NOTHING
        for one in self._slices:
            if missing <= 0:
                break
            missing -= one.units
            wait = one.last_at + self._lasts - now
        return wait

    def take(self, units: int, now: datetime) -> None:
        self._forget(now)
        number = (now - _EPOCH) // self._width
        if self._slices and self._slices[-1].number == number:
            # The whole slice counts from its last request on: late by a sixtieth at most, and never early.
            self._slices[-1].last_at = now
            self._slices[-1].units += units
        else:
            self._slices.append(_Slice(number, now, units))

    def is_empty(self, now: datetime) -> bool:
        self._forget(now)
        return not self._slices

    def _forget(self, now: datetime) -> None:
        # A clock that was put back must not make anybody wait for hours.
        for one in self._slices:
            one.last_at = min(one.last_at, now)
        while self._slices and self._slices[0].last_at + self._lasts <= now:
            self._slices.popleft()
