"""What every test gets: the asyncio backend for `async def` tests, and a private PostgreSQL when it asks for one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from tests.postgres import database_url, new_database, postgres_socket_dir

__all__ = ["anyio_backend", "database_url", "new_database", "one_event_loop", "plain_logs", "postgres_socket_dir"]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
async def one_event_loop(anyio_backend: str) -> AsyncIterator[None]:
    """Keep one event loop for all tests: grpc.aio may deliver the last events of a call after its test is over."""
    yield  # noqa: PT022 - a fixture that returned would not keep the loop


@pytest.fixture(autouse=True)
def plain_logs() -> Iterator[None]:
    """Let no test see how another one set up the logs."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
