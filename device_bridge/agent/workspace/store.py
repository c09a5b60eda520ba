"""The workspace of a running device agent: one writer, one reader, a clock and a source of ids."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from device_bridge.agent.workspace.connection import connect_reader, connect_tools, create_database
from device_bridge.agent.workspace.worker import Worker

T = TypeVar("T")


class Workspace:
    """Access to `workspace.db` for the tools. Made by `open_workspace`."""

    def __init__(
        self, *, writer: Worker, reader: Worker, clock: Callable[[], datetime], new_id: Callable[[], str]
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self.new_id = new_id

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do a job in a writing transaction; its answer comes after the commit. See `Worker.run`."""
        return await self._writer.run(work)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do a job on one consistent view that holds everything committed so far. See `Worker.run`."""
        return await self._reader.run(work)

    def now(self) -> str:
        """Return the time as it is stored."""
        return stored_time(self._clock())

    def ago(self, age: timedelta) -> str:
        """Return a time in the past as it is stored: stored times compare as text."""
        return stored_time(self._clock() - age)


def stored_time(moment: datetime) -> str:
    """Return a moment as ISO 8601 in UTC with microseconds, ending in Z."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def utc_now() -> datetime:
    """Return the time by the system's clock."""
    return datetime.now(UTC)


def random_id() -> str:
    """Return a new row id: a random UUID."""
    return str(uuid.uuid4())


@asynccontextmanager
async def open_workspace(
    directory: Path, *, clock: Callable[[], datetime] = utc_now, new_id: Callable[[], str] = random_id
) -> AsyncIterator[Workspace]:
    """Open the workspace in a device's data directory, making or upgrading it as needed, and close it at the end.

    Raises:
        WorkspaceError: It cannot be used; the message says why.
    """
    path = await asyncio.to_thread(create_database, directory)
    writer = Worker(partial(connect_tools, path), name="workspace-writer", transaction="IMMEDIATE")
    reader = Worker(partial(connect_reader, path), name="workspace-reader", transaction="DEFERRED")
    writer.start()
    reader.start()
    try:
        yield Workspace(writer=writer, reader=reader, clock=clock, new_id=new_id)
    finally:
        await reader.stop()
        await writer.stop()
