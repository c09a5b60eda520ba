"""Gmail's quota: units per user and minute, and the three ways in which it says when to come back."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from tests.emulator.door import rfc3339
from tests.emulator.google.errors import GmailError

_MINUTE = timedelta(minutes=1)


class Tells(StrEnum):
    """Where a refusal names the time to come back."""

    HEADER = "header"
    """`Retry-After` in seconds."""
    TEXT = "text"
    """Only in the message: `Retry after 2026-11-02T09:00:30.000Z`."""
    NOWHERE = "nowhere"


def default_units() -> dict[str, int]:
    """Return the units of each method for projects made since May 2026."""
    return {
        "gmail.users.getProfile": 1,
        "gmail.users.labels.get": 1,
        "gmail.users.labels.list": 1,
        "gmail.users.messages.list": 5,
        "gmail.users.messages.get": 20,
        "gmail.users.messages.attachments.get": 20,
        "gmail.users.history.list": 2,
    }


@dataclass(kw_only=True)
class Quota:
    """What one user may spend in any minute, and what was spent. Refused calls cost nothing."""

    units_per_minute: int = 6000
    units: dict[str, int] = field(default_factory=default_units)
    most_at_once: int = 0
    """Requests of one user that may run at the same time; 0 is any number."""
    status: int = 429
    """What a refusal is: 429, or 403 as Gmail also does."""
    tells: Tells = Tells.HEADER
    refused: int = 0
    """How many calls were refused so far."""
    _spent: dict[str, deque[tuple[datetime, int]]] = field(default_factory=dict)

    def spent(self, user: str, now: datetime) -> int:
        """Return the units that the user spent in the last minute."""
        spent = self._spent.setdefault(user, deque())
        while spent and spent[0][0] <= now - _MINUTE:
            spent.popleft()
        return sum(units for _, units in spent)

    def charge(self, user: str, method: str, now: datetime, *, at_once: int) -> None:
        """Let a call pass, and take its units.

        Args:
            user: Whose quota it is.
            method: The id of the method in the discovery document.
            now: The virtual time.
            at_once: How many of the user's requests run now, this one included.

        Raises:
            GmailError: It is over the quota.
        """
        units = self.units[method]
        if self.most_at_once and at_once > self.most_at_once:
            self.refused += 1
            raise GmailError(429, "rateLimitExceeded", "Too many concurrent requests for user.")
        if self.spent(user, now) + units > self.units_per_minute:
            self.refused += 1
            raise self._refusal(self._free_at(user, units, now), now)
        self._spent[user].append((now, units))

    def _free_at(self, user: str, units: int, now: datetime) -> datetime:
        """Return when enough of what was spent will be a minute old."""
        missing = self.spent(user, now) + units - self.units_per_minute
        for at, freed in self._spent[user]:
            missing -= freed
            if missing <= 0:
                return at + _MINUTE
        return now + _MINUTE

    def _refusal(self, until: datetime, now: datetime) -> GmailError:
        text = "User-rate limit exceeded."
        headers = {}
        if self.tells is Tells.TEXT:
            text += f"  Retry after {rfc3339(until)}"
        if self.tells is Tells.HEADER:
            headers["Retry-After"] = str(math.ceil((until - now).total_seconds()))
        domain = "usageLimits" if self.status == 403 else "global"
        return GmailError(self.status, "rateLimitExceeded", text, domain=domain, headers=headers)
