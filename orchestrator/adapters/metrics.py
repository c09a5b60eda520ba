"""Figures for Prometheus, on a listener of their own that only this machine reaches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

from adiuva_rpc.addresses import ListenAddress
from orchestrator.runs.domain import Trigger
from orchestrator.schedules.ports import Decided

REGISTRY: Final = CollectorRegistry()

DUE: Final = Counter("adiuva_schedule_due", "Agents that were looked at because they were due.", registry=REGISTRY)
FIRED: Final = Counter("adiuva_schedule_fired", "Slots that started a run.", ["trigger"], registry=REGISTRY)
SKIPPED: Final = Counter("adiuva_schedule_skipped", "Slots that a policy dropped.", ["reason"], registry=REGISTRY)
MISSED: Final = Counter("adiuva_schedule_missed", "Slots that nothing started in time.", ["reason"], registry=REGISTRY)
LATE: Final = Histogram(
    "adiuva_schedule_late_seconds",
    "From when a slot was due to when its run was started.",
    ["trigger"],
    buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 3_600, 86_400, 604_800),
    registry=REGISTRY,
)


class PrometheusMeter:
    """Implements `schedules.ports.Meter`."""

    def decided(self, one: Decided, *, now: datetime, trigger: Trigger) -> None:
        """Count a decision that has been committed."""
        decision = one.decision
        DUE.inc()
        if decision.fire is not None:
            FIRED.labels(trigger.value).inc()
            LATE.labels(trigger.value).observe((now - decision.fire.time).total_seconds())
        if decision.skipped is not None:
            SKIPPED.labels(decision.skipped.reason).inc(decision.skipped.count)
        if decision.missed is not None:
            MISSED.labels(decision.missed.reason).inc(decision.missed.count)


@asynccontextmanager
async def metrics_listener(address: ListenAddress | None) -> AsyncIterator[int]:
    """Serve the figures at http://<address>/metrics, and give the port; 0, and nothing is served, without an address.

    Raises:
        OSError: The port is taken.
    """
    if address is None:
        yield 0
        return
    server, thread = start_http_server(address.port, address.host, registry=REGISTRY)
    try:
        yield server.server_port
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        await asyncio.to_thread(thread.join)
