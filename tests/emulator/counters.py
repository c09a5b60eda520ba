"""What was asked of the emulator: every request, how many at once, and which ones came before they were allowed to."""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime

_REMEMBERED = 100_000


@dataclass(slots=True, kw_only=True)
class Call:
    """One request to a provider's path. `status` is 0 while it runs and when its connection was reset."""

    method: str
    path: str
    query: str
    """As it was sent, still percent-encoded."""
    account: str
    """Whose bearer token it carried; empty when it carried none that is known."""
    at: datetime
    """The virtual time of its arrival."""
    half: str = "google"
    """Whose path it is: `google` or `microsoft`. One address may have an account at both."""
    early: bool = False
    """It came before the time that the last 429 or 503 to this account named."""
    status: int = 0

    @property
    def keys(self) -> tuple[str, ...]:
        """What it is counted under while it runs."""
        path = f"path:{self.path}"
        return (self.account, f"{self.half}:{self.account}", path) if self.account else (path,)


@dataclass(slots=True)
class Counters:
    """The requests since the start or the last `reset`, oldest first; at most the last 100,000."""

    calls: deque[Call] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    in_flight: Counter[str] = field(default_factory=Counter)
    """Requests that run now, by account, by `<half>:<account>` and by `path:<path>`."""
    most_in_flight: Counter[str] = field(default_factory=Counter)
    """The most that ever ran at once, by the same keys: overlapping refreshes at Google are `path:/token`."""

    def begin(self, call: Call) -> None:
        """Note a request that arrived."""
        self.calls.append(call)
        for key in call.keys:
            self.in_flight[key] += 1
            self.most_in_flight[key] = max(self.most_in_flight[key], self.in_flight[key])

    def end(self, call: Call) -> None:
        """Note that it is over; its `status` has been set if it was answered."""
        for key in call.keys:
            self.in_flight[key] -= 1

    def matching(
        self, route: str = "", *, method: str = "", account: str = "", status: int | None = None
    ) -> list[Call]:
        """Return the requests whose path `route` (a regular expression) is found in; empty values match all."""
        return [
            call
            for call in self.calls
            if re.search(route, call.path)
            and method in {"", call.method}
            and account in {"", call.account}
            and status in {None, call.status}
        ]

    def count(self, route: str = "", *, method: str = "", account: str = "", status: int | None = None) -> int:
        """Return how many requests match; see `matching`."""
        return len(self.matching(route, method=method, account=account, status=status))

    @property
    def early(self) -> int:
        """How many requests came before the time that a refusal had named."""
        return sum(call.early for call in self.calls)

    def reset(self) -> None:
        """Forget the past; what runs now is still counted as running."""
        self.calls.clear()
        self.most_in_flight = Counter(self.in_flight)
