"""When the device comes back, and when not."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from device_bridge.agent.link.domain import CloseReason, EndKind, SessionEnd
from device_bridge.agent.link.reconnect import (
    BASE_SECONDS,
    CAP_SECONDS,
    RETRY_AFTER_CAP_SECONDS,
    STABLE_SECONDS,
    SUPERSEDED_SECONDS,
    ReconnectPolicy,
    Retry,
    Stop,
)
from tests.device_bridge.agent.link.support import MostRandom, seeded

LOST = SessionEnd(kind=EndKind.LOST)


def delay(decision: Retry | Stop) -> float:
    assert isinstance(decision, Retry)
    return decision.delay


def lost_after(seconds: float) -> SessionEnd:
    return SessionEnd(kind=EndKind.LOST, ready_seconds=seconds)


def test_the_ceiling_doubles_up_to_a_minute() -> None:
    policy = ReconnectPolicy(MostRandom())

    assert [delay(policy.after(LOST)) for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@given(st.integers(min_value=0, max_value=2**32), st.integers(min_value=1, max_value=3000))
def test_the_delay_is_full_jitter_however_often_it_failed(seed: int, failures: int) -> None:
    policy = ReconnectPolicy(seeded(seed))

    delays = [delay(policy.after(LOST)) for _ in range(failures)]

    assert all(0 <= value <= min(CAP_SECONDS, BASE_SECONDS * 2 ** min(n, 20)) for n, value in enumerate(delays, 1))


def test_two_devices_do_not_come_back_in_lockstep() -> None:
    first, second = (ReconnectPolicy(seeded(seed)) for seed in (1, 2))

    assert [delay(first.after(LOST)) for _ in range(5)] != [delay(second.after(LOST)) for _ in range(5)]


def test_fifty_lost_sessions_do_not_tire_it_when_each_was_stable() -> None:
    policy = ReconnectPolicy(MostRandom())

    delays = [delay(policy.after(lost_after(STABLE_SECONDS))) for _ in range(50)]

    assert delays == [1] * 50


def test_a_session_that_hardly_stood_does_not_clear_the_record() -> None:
    policy = ReconnectPolicy(MostRandom())

    delays = [delay(policy.after(lost_after(STABLE_SECONDS - 1))) for _ in range(4)]

    assert delays == [1, 2, 4, 8]


def test_what_the_bridge_asks_for_comes_on_top_of_the_jitter() -> None:
    policy = ReconnectPolicy(MostRandom())

    assert delay(policy.after(SessionEnd(kind=EndKind.CLOSED, retry_after=30.0))) == 31.0


def test_a_wrong_retry_delay_does_not_put_the_device_out_of_use() -> None:
    policy = ReconnectPolicy(MostRandom())

    assert delay(policy.after(SessionEnd(kind=EndKind.CLOSED, retry_after=1e12))) == RETRY_AFTER_CAP_SECONDS + 1
    assert delay(policy.after(SessionEnd(kind=EndKind.CLOSED, retry_after=-5.0))) == 2.0


def test_a_new_channel_is_made_after_each_three_attempts_without_welcome() -> None:
    policy = ReconnectPolicy(seeded(1))

    renewals = [decision.new_channel for _ in range(7) if isinstance(decision := policy.after(LOST), Retry)]

    assert renewals == [False, False, True, False, False, True, False]


def test_a_welcome_clears_the_suspicion_against_the_channel() -> None:
    policy = ReconnectPolicy(seeded(1))
    ends = [LOST, LOST, lost_after(1.0), LOST, LOST]

    assert not any(decision.new_channel for end in ends if isinstance(decision := policy.after(end), Retry))


@pytest.mark.parametrize(
    "end",
    [
        SessionEnd(kind=EndKind.SUPERSEDED),
        SessionEnd(kind=EndKind.CLOSED, close_reason=CloseReason.SUPERSEDED, ready_seconds=1.0),
    ],
    ids=["by status", "by item"],
)
def test_a_device_does_not_fight_another_process_for_its_session(end: SessionEnd) -> None:
    least, most = SUPERSEDED_SECONDS
    policy = ReconnectPolicy(seeded(3))

    assert all(least <= delay(policy.after(end)) <= most for _ in range(20))


@pytest.mark.parametrize(
    "end",
    [
        SessionEnd(kind=EndKind.LEFT),
        SessionEnd(kind=EndKind.REVOKED),
        SessionEnd(kind=EndKind.CLOSED, close_reason=CloseReason.REVOKED, permanent=True),
        SessionEnd(kind=EndKind.REFUSED, permanent=True),
    ],
    ids=lambda end: end.kind.name,
)
def test_it_stops_only_on_its_own_goodbye_or_a_permanent_end(end: SessionEnd) -> None:
    assert ReconnectPolicy(seeded(1)).after(end) == Stop(end)


@pytest.mark.parametrize("kind", set(EndKind) - {EndKind.LEFT, EndKind.REVOKED}, ids=lambda kind: kind.name)
def test_every_other_end_is_followed_by_another_session(kind: EndKind) -> None:
    assert isinstance(ReconnectPolicy(seeded(1)).after(SessionEnd(kind=kind)), Retry)
