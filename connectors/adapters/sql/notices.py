"""What the replicas tell each other: NOTIFY in the transaction that makes it true, LISTEN on its own connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import asyncpg
import structlog
from sqlalchemy import select, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from connectors.adapters.sql.engine import transaction
from connectors.adapters.sql.tables import connections
from connectors.connections.domain import Notice, NoticeKind

CHANNEL = "connectors"
CONNECT_SECONDS = 5.0
RECONNECT_SECONDS = 0.5
PING_SECONDS = 20.0
"""How often the connection is tried: a lost one must not look like a quiet one."""

_NOTIFY = text("SELECT pg_notify(:channel, payload) FROM unnest(CAST(:payloads AS text[])) AS payload")

_log = structlog.get_logger(__name__)


async def notify(connection: AsyncConnection, notices: Sequence[Notice]) -> None:
    """Tell the replicas, when the connection's transaction commits."""
    if notices:
        payloads = [_payload(notice) for notice in notices]
        await connection.execute(_NOTIFY, {"channel": CHANNEL, "payloads": payloads})


def notice_of(payload: str) -> Notice | None:
    """Return the notice in a payload, or None for one of a newer replica that this one cannot read."""
    try:
        kind, connection_id, user_id, provider, created_at = json.loads(payload)
        return Notice(
            kind=NoticeKind(kind),
            connection_id=str(connection_id),
            user_id=str(user_id),
            provider=str(provider),
            created_at=None if created_at is None else datetime.fromisoformat(created_at),
        )
    except (ValueError, TypeError):
        return None


class SqlNotices:
    """Implements `connections.ports.Notices`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def resynced(self, connection_id: str) -> None:
        """Tell that a window was read again; see the port."""
        query = select(connections.c.user_id).where(connections.c.connection_id == connection_id)
        async with transaction(self._engine) as connection:
            user_id = (await connection.execute(query)).scalar_one_or_none()
            if user_id is not None:
                notice = Notice(kind=NoticeKind.RESYNCED, connection_id=connection_id, user_id=user_id)
                await notify(connection, [notice])


class SqlNoticeFeed:
    """Implements `connections.ports.NoticeFeed`.

    Args:
        database_url: `postgresql+asyncpg://…`.
    """

    def __init__(self, database_url: str) -> None:
        # asyncpg takes the same URL without the driver's name.
        self._dsn = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)

    async def run(self, on_notice: Callable[[Notice], None], on_state: Callable[[bool], None]) -> None:
        """Listen until cancelled; see the port."""
        while True:
            try:
                await self._listen(on_notice, on_state)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                _log.warning("feed of changes lost", error=type(error).__name__)
            on_state(False)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen(self, on_notice: Callable[[Notice], None], on_state: Callable[[bool], None]) -> None:
        def heard(_connection: Any, _pid: int, _channel: str, payload: object) -> None:
            if notice := notice_of(str(payload)):
                on_notice(notice)

        connection = await asyncpg.connect(self._dsn, timeout=CONNECT_SECONDS, command_timeout=CONNECT_SECONDS)
        try:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _connection: lost.set())
            await connection.add_listener(CHANNEL, heard)
            on_state(True)
            while not lost.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(PING_SECONDS):
                        await lost.wait()
                        return
                await connection.execute("SELECT 1")
        finally:
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                await connection.close(timeout=2.0)


def _payload(notice: Notice) -> str:
    created_at = None if notice.created_at is None else notice.created_at.isoformat()
    return json.dumps([notice.kind.value, notice.connection_id, notice.user_id, notice.provider, created_at])
