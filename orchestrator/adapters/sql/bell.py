"""LISTEN and NOTIFY as a bell with topics: one connection a process, however many wait."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from typing import Any

import asyncpg
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

CHANNEL = "orchestrator_bell"
QUIET_SECONDS = 15.0
"""Who waits is woken at least this often: a ring that was lost with its connection is made up for."""
RECONNECT_SECONDS = 1.0

_log = structlog.get_logger(__name__)


async def ring(connection: AsyncConnection, topics: Iterable[str]) -> None:
    """Ring the topics when the connection's transaction commits."""
    await connection.execute(
        text("SELECT pg_notify(:channel, topic) FROM unnest(CAST(:topics AS text[])) AS topic"),
        {"channel": CHANNEL, "topics": sorted(set(topics))},
    )


class SqlBell:
    """Implements `runs.ports.Bell`. `run` must be running for rings of other processes to be heard."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url.replace("+asyncpg", "")
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    async def run(self) -> None:
        """Listen for ever; reconnects by itself."""
        while True:
            try:
                await self._listen()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                _log.warning("bell_lost", error=type(error).__name__)
            # Whatever rang while nobody listened is made up for by ringing everything.
            for events in self._waiting.values():
                for event in events:
                    event.set()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def ringing(self, topic: str) -> AsyncGenerator[None, None]:
        """Yield once at the start, then after each ring of the topic, and at least each 15 s."""
        event = asyncio.Event()
        self._waiting[topic].add(event)
        try:
            while True:
                event.clear()
                yield
                with suppress(TimeoutError):
                    async with asyncio.timeout(QUIET_SECONDS):
                        await event.wait()
        finally:
            self._waiting[topic].discard(event)
            if not self._waiting[topic]:
                del self._waiting[topic]

    async def _listen(self) -> None:
        connection = await asyncpg.connect(self._url, timeout=10)
        try:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _connection: lost.set())
            await connection.add_listener(CHANNEL, self._heard)
            for topic in list(self._waiting):
                self._ring_here(topic)
            await lost.wait()
        finally:
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                await connection.close(timeout=2)

    def _heard(self, _connection: Any, _pid: int, _channel: str, topic: object) -> None:
        self._ring_here(str(topic))

    def _ring_here(self, topic: str) -> None:
        for event in self._waiting.get(topic, ()):
            event.set()
