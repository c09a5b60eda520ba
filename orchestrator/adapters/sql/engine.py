"""The connection pool of the orchestrator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from orchestrator.adapters.sql.tables import SCHEMA

POOL_SIZE = 10
STATEMENT_TIMEOUT_MS = 30_000


@asynccontextmanager
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Give a pool of connections whose search path is the orchestrator's schema, and close it at the end.

    Args:
        database_url: `postgresql+asyncpg://…`.
    """
    pool = create_async_engine(
        database_url,
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=30,
        pool_pre_ping=True,
        # The text of a database error must not hold what was being written: instructions, file text.
        hide_parameters=True,
        connect_args={
            "timeout": 10,
            "command_timeout": STATEMENT_TIMEOUT_MS / 1000,
            "server_settings": {"search_path": SCHEMA, "statement_timeout": str(STATEMENT_TIMEOUT_MS)},
        },
    )
    try:
        yield pool
    finally:
        await pool.dispose()
