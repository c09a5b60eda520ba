"""When a call to a model is made again."""

from __future__ import annotations

import email.utils
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from random import Random

_RETRYABLE = frozenset({408, 409, 429})
_FIRST_SECONDS = 0.5
_MOST_SECONDS = 30.0


def is_retryable(status: int, headers: Mapping[str, str]) -> bool:
    """Return whether the same call may work later. The endpoint's own word, `x-should-retry`, comes first."""
    told = headers.get("x-should-retry", "").strip().lower()
    if told in {"true", "false"}:
        return told == "true"
    return status in _RETRYABLE or status >= 500


def retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return how many seconds the endpoint asks to wait, or None when it does not say, or not understandably.

    `retry-after-ms` goes before `retry-after`, which holds seconds or an HTTP date (RFC 9110, 10.2.3). What is past
    is 0.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None:
        return max(0.0, seconds)
    if value is None:
        return None
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except (ValueError, IndexError):
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())


def backoff(attempt: int, *, rng: Random) -> float:
    """Return how many seconds to wait after failed attempt number `attempt` (the first is 1).

    Full jitter, uniform in [0, min(30, 0.5 * 2**attempt)].
    Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return rng.uniform(0.0, min(_MOST_SECONDS, _FIRST_SECONDS * 2.0 ** min(attempt, 16)))


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None
