"""What becomes of an agent that is looked at: the policies, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.agents.domain import CatchUp, CloudConnector, LocalDirectory, OnOffline, Overlap, Schedule
from orchestrator.runs.domain import RunState
from orchestrator.schedules import decisions
from orchestrator.schedules.decisions import (
    COALESCED,
    DEVICE_OFFLINE,
    MAX_COUNTED,
    PAST_GRACE,
    RETRY,
    RUN_UNDER_WAY,
    RUN_WAITING,
    UNDECIDED,
    Candidate,
    Decision,
    Lost,
    bound_device,
    decide,
    decide_or_postpone,
    failures_after,
    pauses,
)
from tests.orchestrator.schedules.oracle import utc

HOURLY = Schedule(cron="0 * * * *")
NINE, TEN, ELEVEN = (utc(f"2026-01-01T{hour}:00") for hour in ("09", "10", "11"))
QUEUED, RUNNING = ("q", RunState.QUEUED), ("r", RunState.RUNNING)


def candidate(schedule: Schedule | None = HOURLY, *, last: datetime | None = NINE, **fields: object) -> Candidate:
    usual = Candidate(agent_id="a", user_id="ada", device_id="", schedule=schedule, served_until=last)
    return replace(usual, **fields)  # type: ignore[arg-type] # the callers name fields of Candidate


def test_a_slot_that_has_come_starts_a_run_and_the_next_one_is_waited_for() -> None:
    decision = decide(candidate(), now=TEN, online=True)

    assert decision.fire is not None
    assert decision == Decision(next_due_at=ELEVEN, fire=decision.fire, served_until=TEN)
    assert decision.fire.slot == TEN


def test_before_its_slot_an_agent_only_waits() -> None:
    assert decide(candidate(), now=TEN - timedelta(seconds=1), online=True) == Decision(next_due_at=TEN)


def test_an_agent_without_a_schedule_is_not_looked_at_again() -> None:
    assert decide(candidate(None), now=TEN, online=True) == Decision(next_due_at=None)


@pytest.mark.parametrize(
    "broken",
    [
        candidate(Schedule(cron="61 * * * *")),
        candidate(replace(HOURLY, time_zone="Mars/Base")),
        candidate(None, schedule_problem="what is stored cannot be read"),
    ],
)
def test_an_invalid_schedule_says_why_and_is_not_looked_at_again(broken: Candidate) -> None:
    decision = decide(broken, now=TEN, online=True)

    assert decision == Decision(next_due_at=None, invalid=decision.invalid)
    assert decision.invalid


def test_nothing_is_decided_while_nobody_knows_what_is_connected() -> None:
    assert decide(candidate(), now=TEN, online=None) == Decision(next_due_at=TEN + RETRY)


def test_without_a_device_a_slot_waits_and_is_not_lost() -> None:
    assert decide(candidate(), now=TEN, online=False) == Decision(next_due_at=None, waits_for_device=True)


def test_without_a_device_a_slot_is_skipped_when_the_schedule_says_so() -> None:
    decision = decide(candidate(replace(HOURLY, on_offline=OnOffline.SKIP)), now=TEN, online=False)

    skipped = Lost(count=1, reason=DEVICE_OFFLINE, slot=TEN)
    assert decision == Decision(next_due_at=ELEVEN, skipped=skipped, served_until=TEN)


@pytest.mark.parametrize(
    ("overlap", "under_way", "reason", "cancels"),
    [
        (Overlap.SKIP, [], "", ()),
        (Overlap.SKIP, [RUNNING], RUN_UNDER_WAY, ()),
        (Overlap.SKIP, [QUEUED], RUN_UNDER_WAY, ()),
        (Overlap.QUEUE_ONE, [], "", ()),
        (Overlap.QUEUE_ONE, [RUNNING], "", ()),
        (Overlap.QUEUE_ONE, [RUNNING, QUEUED], RUN_WAITING, ()),
        (Overlap.QUEUE_ONE, [QUEUED], RUN_WAITING, ()),
        (Overlap.CANCEL_OTHER, [], "", ()),
        (Overlap.CANCEL_OTHER, [RUNNING], "", ("r",)),
        (Overlap.CANCEL_OTHER, [RUNNING, QUEUED], "", ("r", "q")),
    ],
)
def test_a_slot_that_comes_during_a_run(
    overlap: Overlap, under_way: Sequence[tuple[str, RunState]], reason: str, cancels: tuple[str, ...]
) -> None:
    found = decide(candidate(replace(HOURLY, overlap=overlap), under_way=tuple(under_way)), now=TEN, online=True)

    assert (found.fire is None) == bool(reason)
    assert (found.skipped.reason if found.skipped else "") == reason
    assert found.cancel == cancels
    assert (found.served_until, found.next_due_at) == (TEN, ELEVEN)


def test_a_seven_day_absence_is_one_run_and_the_other_slots_are_counted() -> None:
    daily = Schedule(cron="0 9 * * *")
    last = utc("2026-01-01T09:00")

    found = decide(candidate(daily, last=last), now=utc("2026-01-08T12:00"), online=True)

    assert found.fire is not None
    assert found.fire.slot == utc("2026-01-08T09:00")
    assert found.missed == Lost(count=6, reason=COALESCED, slot=utc("2026-01-07T09:00"))
    assert found.next_due_at == utc("2026-01-09T09:00")


def test_without_catch_up_an_absence_is_no_run_once_the_grace_is_over() -> None:
    schedule = replace(HOURLY, catch_up=CatchUp.NONE, grace=timedelta(minutes=10))

    late = decide(candidate(schedule), now=ELEVEN + timedelta(minutes=11), online=True)
    in_time = decide(candidate(schedule), now=ELEVEN + timedelta(minutes=9), online=True)

    assert late == Decision(
        next_due_at=ELEVEN + timedelta(hours=1),
        missed=Lost(count=2, reason=PAST_GRACE, slot=ELEVEN),
        served_until=ELEVEN,
    )
    assert in_time.fire is not None
    assert in_time.missed == Lost(count=1, reason=PAST_GRACE, slot=TEN)


def test_the_slots_of_a_very_long_absence_are_counted_up_to_a_limit() -> None:
    found = decide(candidate(Schedule(cron="* * * * *")), now=NINE + timedelta(days=30), online=True)

    assert found.missed == Lost(
        count=MAX_COUNTED, reason=COALESCED, slot=NINE + timedelta(days=30) - timedelta(minutes=1)
    )


def test_an_agent_that_has_never_run_starts_its_newest_slot_and_has_missed_none() -> None:
    found = decide(candidate(last=None), now=TEN + timedelta(minutes=30), online=True)

    assert found.fire is not None
    assert (found.fire.slot, found.missed) == (TEN, None)


def test_slots_that_passed_since_an_agent_was_created_are_missed_also_when_it_has_never_run() -> None:
    found = decide(candidate(last=None, created_at=NINE - timedelta(minutes=1)), now=ELEVEN, online=True)

    assert found.missed == Lost(count=2, reason=COALESCED, slot=TEN)


def test_a_user_with_too_many_waiting_runs_is_looked_at_again_soon_and_loses_nothing() -> None:
    assert decide(candidate(room=0), now=TEN, online=True) == Decision(next_due_at=TEN + RETRY)


def test_a_clock_that_was_set_back_fires_no_slot_again() -> None:
    back = TEN - timedelta(hours=20)

    assert decide(candidate(last=TEN), now=back, online=True) == Decision(next_due_at=ELEVEN)


def test_after_the_end_of_its_schedule_an_agent_is_not_looked_at_again() -> None:
    ended = replace(HOURLY, end_time=ELEVEN)

    found = decide(candidate(ended), now=TEN, online=True)

    assert found.fire is not None
    assert found.next_due_at is None


def test_what_cannot_be_decided_is_postponed_and_raises_nothing() -> None:
    strange = candidate(last=datetime(2026, 1, 1))  # noqa: DTZ001 - a time without a zone is nothing to compare with

    assert decide_or_postpone(strange, now=TEN, online=True) == Decision(next_due_at=TEN + UNDECIDED)
    assert decide_or_postpone(candidate(), now=TEN, online=True).fire is not None


@pytest.mark.parametrize(
    ("source", "device"),
    [
        (LocalDirectory(directory_paths=("a",)), ""),
        (LocalDirectory(directory_paths=("a",), device_id="laptop"), "laptop"),
        (CloudConnector(connection_id="c"), ""),
    ],
)
def test_a_local_agent_may_be_bound_to_a_device(source: object, device: str) -> None:
    assert bound_device(source) == device


@pytest.mark.parametrize(
    ("before", "state", "after"),
    [
        (2, RunState.FAILED, 3),
        (2, RunState.CANCELLED, 2),
        (2, RunState.SUCCEEDED, 0),
        (2, RunState.PARTIAL, 0),
    ],
)
def test_failures_in_a_row(before: int, state: RunState, after: int) -> None:
    assert failures_after(before, state) == after


@pytest.mark.parametrize(("limit", "failures", "paused"), [(0, 99, False), (3, 2, False), (3, 3, True), (3, 4, True)])
def test_an_agent_is_paused_after_its_limit_of_failures(limit: int, failures: int, paused: bool) -> None:
    assert pauses(replace(HOURLY, pause_after_failures=limit), failures) == paused
    assert not pauses(None, failures)


def test_every_reason_is_told_in_the_contract() -> None:
    contract = (Path(__file__).parents[3] / "protos/adiuva/orchestrator/v1/agent.proto").read_text(encoding="utf-8")

    for name in ("COALESCED", "PAST_GRACE", "RUN_UNDER_WAY", "RUN_WAITING", "DEVICE_OFFLINE"):
        assert getattr(decisions, name) == name
        assert f"{name} (" in contract
