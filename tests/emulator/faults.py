"""The plan of what goes wrong: which requests are refused, cut off, delayed or held, and how often."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True, eq=False)
class Fault:
    """One thing that goes wrong. Exactly one of `status`, `reset_after_bytes`, `drop`, `delay_ms`, `hold` is given.

    A request counts for a fault when `route` is found in its path, and `method` and `account` are its own or empty.
    """

    route: str
    """Regular expression, searched for in the path (no query): `/messages/[^/]+$`."""
    method: str = ""
    account: str = ""
    """Account whose bearer token the request carries; requests to token endpoints carry none."""
    skip: int = 0
    """How many such requests pass first."""
    times: int = 1
    """How many are hit after that; 0 is all of them, for ever."""
    status: int | None = None
    """Answer this, with `headers` and `body`; the provider does not see the request."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    """A str is sent as text, anything else as JSON, None as nothing."""
    reset_after_bytes: int | None = None
    """The provider does its work; the answer's head and this much of its body are sent, then the connection is reset.
    With 0 nothing is sent, not even the head: an answer that was lost."""
    drop: bool = False
    """Reset the connection before the provider does anything: a request that was lost."""
    delay_ms: int | None = None
    """Real milliseconds before the provider does its work."""
    hold: bool = False
    """Wait for `FaultPlan.release` before the provider does its work."""

    fault_id: int = field(default=0, init=False)
    seen: int = field(default=0, init=False)
    """Requests that counted for it."""
    fired: int = field(default=0, init=False)
    """Requests that were hit."""
    waiting: int = field(default=0, init=False)
    """Requests that are held at this moment."""
    released: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        kinds = [self.status is not None, self.reset_after_bytes is not None, self.drop, self.delay_ms is not None]
        if sum(kinds) + self.hold != 1:
            raise ValueError("a fault is exactly one of status, reset_after_bytes, drop, delay_ms, hold")
        re.compile(self.route)

    def strikes(self, method: str, path: str, account: str) -> bool:
        """Return whether it hits this request, and count it."""
        if (self.method and self.method != method) or (self.account and self.account != account):
            return False
        if not re.search(self.route, path):
            return False
        self.seen += 1
        if self.seen <= self.skip or (self.times and self.fired >= self.times):
            return False
        self.fired += 1
        return True


class FaultPlan:
    """The faults in the order in which they were added: the first one that hits a request decides.

    The faults after it do not see that request: it counts for none of them.
    """

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._last_id = 0
        self._changed = asyncio.Condition()

    @property
    def faults(self) -> list[Fault]:
        """The plan, used up ones included: their counts tell what happened."""
        return list(self._faults)

    def add(self, fault: Fault) -> Fault:
        """Put a fault at the end of the plan, and give it its `fault_id`."""
        self._last_id += 1
        fault.fault_id = self._last_id
        self._faults.append(fault)
        return fault

    def get(self, fault_id: int) -> Fault:
        """Return a fault of the plan.

        Raises:
            KeyError: There is none with this id.
        """
        for fault in self._faults:
            if fault.fault_id == fault_id:
                return fault
        raise KeyError(fault_id)

    def take(self, method: str, path: str, account: str) -> Fault | None:
        """Return what happens to a request that arrived, or None."""
        for fault in self._faults:
            if fault.strikes(method, path, account):
                return fault
        return None

    async def clear(self) -> None:
        """Forget the plan, and let go of whatever is held."""
        for fault in self._faults:
            await self.release(fault)
        self._faults.clear()

    async def release(self, fault: Fault) -> None:
        """Let go of the requests that `fault` holds, and of those that it would have held."""
        async with self._changed:
            fault.released = True
            self._changed.notify_all()

    async def hold(self, fault: Fault) -> None:
        """Keep a request until its fault is released."""
        async with self._changed:
            fault.waiting += 1
            self._changed.notify_all()
            try:
                await self._changed.wait_for(lambda: fault.released)
            finally:
                fault.waiting -= 1

    async def until_held(self, fault: Fault, requests: int = 1) -> None:
        """Wait until `fault` holds this many requests; the caller sets the deadline."""
        async with self._changed:
            await self._changed.wait_for(lambda: fault.waiting >= requests)
