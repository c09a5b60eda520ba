"""The connection pool of the connectors, and what a database that cannot be reached looks like to everybody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from connectors.errors import StoreUnavailable

POOL_SIZE = 8
STATEMENT_SECONDS = 5.0
CONNECT_SECONDS = 5.0

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def pool(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Give a pool of connections, and close it at the end.

    Args:
        database_url: `postgresql+asyncpg://…`.
    """
    engine = create_async_engine(
        database_url,
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=STATEMENT_SECONDS,
        pool_pre_ping=True,
        # What a statement is about, such as an account's address, stays out of errors and logs.
        hide_parameters=True,
        connect_args={
            "timeout": CONNECT_SECONDS,
            "command_timeout": STATEMENT_SECONDS,
            "server_settings": {"application_name": "adiuva connectors"},
        },
    )
    try:
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a transaction; it is committed at the end of the block and rolled back on an error.

    Raises:
        StoreUnavailable: The database cannot be reached, is too slow, or shuts down.
    """
    try:
        async with engine.begin() as connection:
            yield connection
    except (exc.DBAPIError, exc.TimeoutError, OSError, TimeoutError) as error:
        if isinstance(error, exc.DBAPIError) and isinstance(error, exc.IntegrityError | exc.ProgrammingError):
            raise
        sqlstate = getattr(getattr(error, "orig", None), "sqlstate", None)
        _log.warning("database unavailable", error=type(error).__name__, sqlstate=sqlstate)
        raise StoreUnavailable from error
