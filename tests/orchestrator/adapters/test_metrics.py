"""The figures of schedules, as Prometheus reads them."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from datetime import timedelta

import pytest

from adiuva_rpc.addresses import ListenAddress
from orchestrator.adapters.metrics import REGISTRY, PrometheusMeter, metrics_listener
from orchestrator.agents.domain import OnOffline, Schedule
from orchestrator.runs.domain import Trigger
from orchestrator.schedules.decisions import COALESCED, DEVICE_OFFLINE, Candidate, decide
from orchestrator.schedules.ports import Decided
from tests.conformance.orchestrator.schedules import DAY, NOON

DAILY = Schedule(cron="0 12 * * *", on_offline=OnOffline.SKIP)
CANDIDATE = Candidate(agent_id="a", user_id="ada", device_id="", schedule=DAILY, served_until=NOON)
NOW = NOON + 3 * DAY + timedelta(seconds=2)


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_decision_is_counted_by_what_came_of_it() -> None:
    started = {"trigger": Trigger.DEVICE_CONNECTED.value}
    names: list[tuple[str, dict[str, str]]] = [
        ("adiuva_schedule_due_total", {}),
        ("adiuva_schedule_fired_total", started),
        ("adiuva_schedule_late_seconds_sum", started),
        ("adiuva_schedule_skipped_total", {"reason": DEVICE_OFFLINE}),
        ("adiuva_schedule_missed_total", {"reason": COALESCED}),
    ]
    before = [figure(name, **labels) for name, labels in names]

    for online in (True, False):
        decision = decide(CANDIDATE, now=NOW, online=online)
        one = Decided(candidate=CANDIDATE, decision=decision)
        PrometheusMeter().decided(one, now=NOW, trigger=Trigger.DEVICE_CONNECTED)

    after = [figure(name, **labels) for name, labels in names]
    assert [new - old for new, old in zip(after, before, strict=True)] == [2, 1, 2, 1, 4]


async def test_the_figures_are_served_on_loopback_while_the_listener_is_open() -> None:
    async with metrics_listener(ListenAddress("127.0.0.1", 0)) as port:
        url = f"http://127.0.0.1:{port}/metrics"
        text = await asyncio.to_thread(read, url)

    assert "adiuva_schedule_due_total" in text
    with pytest.raises(urllib.error.URLError):
        await asyncio.to_thread(read, url)


async def test_without_an_address_nothing_is_served() -> None:
    async with metrics_listener(None) as port:
        assert port == 0


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own listener
        content: bytes = answer.read()
        return content.decode()
