"""Where the fault tests keep their stacks, and what those of the connectors stand on."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.emulator.core import Clock, Emulator
from tests.emulator.running import running
from tests.system.conftest import scratch
from tests.system.connectors_service import Installation, installation

__all__ = ["emulator", "place", "scratch", "shared"]


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="adiuva-kill-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """The providers, at the real time: the connectors are processes of their own."""
    async with running(Emulator(Clock(datetime.now(UTC), ticking=True))) as served:
        yield served


@pytest.fixture
def shared(place: Path, new_database: Callable[[], str], emulator: Emulator) -> Installation:
    return installation(place / "connectors", new_database(), emulator.base_url)
