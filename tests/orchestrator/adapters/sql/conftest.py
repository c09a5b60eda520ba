"""A migrated database and the adapters on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from orchestrator.adapters.migrations import upgrade
from orchestrator.adapters.sql.engine import engine


@pytest.fixture(scope="module")
def migrated_url(new_database: Callable[[], str]) -> str:
    url = new_database()
    upgrade(url)
    return url


@pytest.fixture
async def pool(migrated_url: str) -> AsyncIterator[AsyncEngine]:
    async with engine(migrated_url) as pool:
        yield pool
