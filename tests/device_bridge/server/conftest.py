"""A bridge for each test, on the module's database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.device_bridge.server.harness import Harness, harness


@pytest.fixture
async def bridge(database_url: str, tmp_path: Path) -> AsyncIterator[Harness]:
    async with harness(database_url, tmp_path) as started:
        yield started
