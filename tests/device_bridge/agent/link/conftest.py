"""What every test of the link gets."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
async def one_event_loop(anyio_backend: str) -> str:
    """Keep one event loop for all tests: grpc reports the end of a cancelled call late, and to the loop it began on."""
    return anyio_backend
