"""When a request to a provider is made again, and when that is given up."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from random import Random

from connectors.errors import ProviderUnavailable, Throttled

_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_IN_BODY = re.compile(
    rb"retry after ([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2}))",
    re.IGNORECASE,
)
_SEARCHED_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and how long apart."""

    tries: int = 5
    """Of one request, the first one included."""
    first: timedelta = timedelta(milliseconds=500)
    """The ceiling of the first wait is twice this; it doubles from one wait to the next."""
    most: timedelta = timedelta(seconds=30)
    """The ceiling of every wait of our own choice."""
    longest_asked: timedelta = timedelta(hours=24)
    """A provider that asks for more is taken to mean this: no quota is counted over more than a day."""

    def backoff(self, failed: int, *, rng: Random) -> timedelta:
        """Return how long to wait of our own choice after that many failed tries (at least 1).

        Full jitter, uniform in [0, min(most, first * 2**failed)].
        Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
        """
        return min(self.most, self.first * (1 << min(failed, 16))) * rng.uniform(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Wait:
    """What an answer that is not a success may mean: come back later."""

    asked: timedelta | None = None
    """How long, when the answer says so in a way of its own. `Retry-After` and the usual text are read anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A try that may be made again."""

    cause: str
    """Such as HTTP_503 or TIMEOUT."""
    asked: timedelta | None = None
    """How long the provider asked to wait; None when it did not say."""
    is_throttle: bool = False
    """It was refused because of too many requests."""


def unavailable(cause: str) -> ProviderUnavailable:
    """Return the error of a provider that gives no usable answer; `cause` is an UPPER_SNAKE word of ours."""
    return ProviderUnavailable(metadata={"cause": cause})


def failure_of(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime,
    policy: RetryPolicy,
    verdict: Wait | None = None,
) -> Failure | None:
    """Return what an answer that is no success means for its request; None when to try again is no use.

    Args:
        status: 408, 429 and 5xx may be tried again; any other only with a verdict.
        headers: Of the answer.
        body: Of the answer, as far as it was read.
        now: The time, in UTC.
        policy: Bounds what the provider may ask for.
        verdict: That it is a throttle, whatever its status.
    """
    if verdict is None and status not in {408, 429} and status < 500:
        return None
    said = [parse_retry_after(headers, body, now=now), verdict.asked if verdict else None]
    asked = max((wait for wait in said if wait is not None), default=None)
    return Failure(
        cause=f"HTTP_{status}",
        asked=None if asked is None else min(asked, policy.longest_asked),
        is_throttle=status == 429 or verdict is not None,
    )


def parse_retry_after(headers: Mapping[str, str], body: bytes, *, now: datetime) -> timedelta | None:
    """Return how long an answer asks to wait, or None when it does not say so, or not understandably.

    It is said as `Retry-After` in seconds or as an HTTP date (RFC 9110, 10.2.3), or in the text of the body as
    "Retry after <RFC 3339>" (Google). When it is said twice, the longer one counts. What is past is zero.

    Args:
        headers: Of the answer; names in any case if the mapping does not mind.
        body: Of the answer; its first 64 KiB are searched.
        now: With a time zone.
    """
    said = [_from_header(headers.get("Retry-After"), now), _from_body(body, now)]
    return max((wait for wait in said if wait is not None), default=None)


class Retries:
    """The tries of one request."""

    def __init__(self, policy: RetryPolicy, *, now: Callable[[], datetime], deadline: datetime, rng: Random) -> None:
        self._policy = policy
        self._now = now
        self._deadline = deadline
        self._rng = rng
        self._failed = 0

    def after_failure(self, failure: Failure) -> timedelta:
        """Note a failed try, and return the wait before the next one: the longer of ours and the provider's.

        Raises:
            Throttled: The provider asked to wait, and that was the last try, or the wait would end past the deadline.
            ProviderUnavailable: The same, and it had not asked.
        """
        self._failed += 1
        asked = failure.asked or timedelta(0)
        wait = max(self._policy.backoff(self._failed, rng=self._rng), asked)
        if self._failed < self._policy.tries and self._now() + wait <= self._deadline:
            return wait
        if failure.is_throttle or asked:
            raise Throttled(retry_after=wait.total_seconds(), metadata={"cause": failure.cause})
        raise unavailable(failure.cause)


def _from_header(value: str | None, now: datetime) -> timedelta | None:
    if value is None:
        return None
    if _SECONDS.fullmatch(value.strip()):
        return _as_timedelta(float(value))
    try:
        moment = parsedate_to_datetime(value)
        return max(timedelta(0), moment.replace(tzinfo=moment.tzinfo or UTC) - now)
    except (ValueError, IndexError, OverflowError):
        return None


def _from_body(body: bytes, now: datetime) -> timedelta | None:
    found = _IN_BODY.search(body[:_SEARCHED_BYTES])
    if found is None:
        return None
    try:
        return max(timedelta(0), datetime.fromisoformat(found[1].decode().upper()) - now)
    except (ValueError, OverflowError):
        return None


def _as_timedelta(seconds: float) -> timedelta:
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        return timedelta.max
