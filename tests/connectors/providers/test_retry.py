"""When a request is made again: what providers ask for, and what we choose ourselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random

import pytest
from hypothesis import given, strategies as st

from connectors.errors import ProviderUnavailable, Throttled
from connectors.providers.retry import Failure, Retries, RetryPolicy, Wait, failure_of, parse_retry_after
from tests.connectors.providers.support import NOON, LeastJitter, ManualClock, MostJitter

POLICY = RetryPolicy()


def asked(header: str | None = None, body: bytes = b"", *, now: datetime = NOON) -> float | None:
    wait = parse_retry_after({} if header is None else {"Retry-After": header}, body, now=now)
    return None if wait is None else wait.total_seconds()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30),
        (" 30 ", 30),
        ("1.5", 1.5),
        ("0", 0),
        (format_datetime(NOON + timedelta(seconds=90), usegmt=True), 90),
        ("Monday, 02-Nov-26 12:01:00 GMT", 60),
        ("Mon Nov  2 12:00:10 2026", 10),
        ("Mon, 02 Nov 2026 13:00:05 +0100", 5),
        (format_datetime(NOON - timedelta(hours=1), usegmt=True), 0),
    ],
)
def test_a_header_is_read_as_seconds_or_as_a_date(header: str, seconds: float) -> None:
    assert asked(header) == seconds


@pytest.mark.parametrize(
    "header", ["", "soon", "-5", "1e3", "nan", "inf", "٣", "30s", "Mon, 99 Nov 2026 12:00:00 GMT", "1,2", "\x00"]
)
def test_a_header_that_makes_no_sense_says_nothing(header: str) -> None:
    assert asked(header) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("User-rate limit exceeded.  Retry after 2026-11-02T12:00:30.500Z", 30.5),
        ("RETRY AFTER 2026-11-02T12:01:00Z and not before", 60),
        ("retry after 2026-11-02T14:00:05+02:00", 5),
        ("Retry after 2026-11-02T12:00:00.123456789Z", 0.123456),
        ("Retry after 2026-11-01T00:00:00Z", 0),
    ],
)
def test_a_time_in_the_text_is_read(text: str, seconds: float) -> None:
    assert asked(body=text.encode()) == seconds


@pytest.mark.parametrize("text", ["Retry after a while", "Retry after 2026-13-45T12:00:00Z", "Retry after 2026-11-02"])
def test_a_text_that_names_no_time_says_nothing(text: str) -> None:
    assert asked(body=text.encode()) is None


def test_what_is_said_twice_counts_as_the_longer() -> None:
    assert asked("1", b"Retry after 2026-11-02T12:00:30Z") == 30
    assert asked("45", b"Retry after 2026-11-02T12:00:30Z") == 45


def test_a_time_far_behind_the_beginning_of_a_body_is_not_looked_for() -> None:
    assert asked(body=b" " * 2**20 + b"Retry after 2026-11-02T12:00:30Z") is None


@given(st.text(max_size=60), st.binary(max_size=200))
def test_nothing_that_an_answer_says_raises(header: str, body: bytes) -> None:
    wait = parse_retry_after({"Retry-After": header}, b"Retry after " + body, now=NOON)

    assert wait is None or wait >= timedelta(0)


@pytest.mark.parametrize("header", ["99999999", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_an_absurd_wish_is_capped(header: str) -> None:
    failure = failure_of(429, {"Retry-After": header}, b"", now=NOON, policy=POLICY)

    assert failure == Failure(cause="HTTP_429", asked=timedelta(hours=24), is_throttle=True)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_some_statuses_are_tried_again(status: int) -> None:
    failure = failure_of(status, {}, b"", now=NOON, policy=POLICY)

    assert failure == Failure(cause=f"HTTP_{status}", is_throttle=status == 429)


@pytest.mark.parametrize("status", [301, 302, 400, 403, 404, 410])
def test_others_are_tried_again_only_when_they_are_throttles(status: int) -> None:
    assert failure_of(status, {}, b"", now=NOON, policy=POLICY) is None

    failure = failure_of(status, {}, b"", now=NOON, policy=POLICY, verdict=Wait(timedelta(seconds=7)))
    assert failure == Failure(cause=f"HTTP_{status}", asked=timedelta(seconds=7), is_throttle=True)


@given(st.integers(1, 10_000), st.integers())
def test_a_wait_of_our_own_is_bounded(failed: int, seed: int) -> None:
    wait = POLICY.backoff(failed, rng=Random(seed))  # noqa: S311 - jitter

    assert timedelta(0) <= wait <= min(POLICY.most, POLICY.first * 2 ** min(failed, 16))


def retries(clock: ManualClock, *, seconds: float = 3600, rng: Random | None = None) -> Retries:
    deadline = clock.now() + timedelta(seconds=seconds)
    return Retries(POLICY, now=clock.now, deadline=deadline, rng=rng or MostJitter())


def test_our_waits_double() -> None:
    tries = retries(ManualClock())

    waits = [tries.after_failure(Failure(cause="HTTP_500")).total_seconds() for _ in range(4)]

    assert waits == [1, 2, 4, 8]


@pytest.mark.parametrize(("asked_seconds", "waited"), [(0.3, 1), (1, 1), (25, 25)])
def test_the_longer_of_both_waits_counts(asked_seconds: float, waited: float) -> None:
    failure = Failure(cause="HTTP_429", asked=timedelta(seconds=asked_seconds), is_throttle=True)

    assert retries(ManualClock()).after_failure(failure) == timedelta(seconds=waited)


def test_the_fifth_failure_is_the_last() -> None:
    tries = retries(ManualClock(), rng=LeastJitter())
    for _ in range(4):
        tries.after_failure(Failure(cause="TIMEOUT"))

    with pytest.raises(ProviderUnavailable) as caught:
        tries.after_failure(Failure(cause="TIMEOUT"))

    assert caught.value.metadata == {"cause": "TIMEOUT"}


def test_the_fifth_refusal_is_a_throttle_that_says_how_long() -> None:
    tries = retries(ManualClock())
    for _ in range(4):
        tries.after_failure(Failure(cause="HTTP_429", is_throttle=True))

    with pytest.raises(Throttled) as caught:
        tries.after_failure(Failure(cause="HTTP_429", is_throttle=True))

    assert caught.value.retry_after == 16


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    clock = ManualClock()
    wish = Failure(cause="HTTP_503", asked=timedelta(seconds=61))

    with pytest.raises(Throttled) as caught:
        retries(clock, seconds=60).after_failure(wish)

    assert caught.value.retry_after == 61
    assert clock.slept == []


def test_a_wait_that_ends_at_the_deadline_is_begun() -> None:
    wish = Failure(cause="HTTP_503", asked=timedelta(seconds=60))

    assert retries(ManualClock(), seconds=60).after_failure(wish) == timedelta(seconds=60)


def test_our_own_wait_beyond_the_deadline_means_that_there_is_no_answer() -> None:
    with pytest.raises(ProviderUnavailable):
        retries(ManualClock(), seconds=0.5).after_failure(Failure(cause="UNREACHABLE"))


def test_a_clock_of_another_zone_makes_no_difference() -> None:
    now = NOON.astimezone(UTC)

    assert asked(format_datetime(NOON + timedelta(seconds=5), usegmt=True), now=now) == 5
