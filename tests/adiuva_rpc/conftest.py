"""A running server of the kit, and a channel to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import grpc.aio
import pytest
from structlog.contextvars import clear_contextvars

from adiuva_rpc.channel import bearer, connect
from adiuva_rpc.server import RpcServer
from tests.adiuva_rpc.probe import ANNA, Probe, probe_server


@pytest.fixture(autouse=True)
def fresh_log_context() -> Iterator[None]:
    """Let no test see what another one bound to its log lines."""
    yield
    clear_contextvars()


@pytest.fixture
def probe() -> Probe:
    return Probe()


@pytest.fixture
async def server(probe: Probe) -> AsyncIterator[RpcServer]:
    """Serves the probe. After each test a good call must still succeed, and no handler may be left."""
    async with probe_server(probe) as server:
        yield server
        async with connect(f"127.0.0.1:{server.port}", authorization=bearer(ANNA)) as channel:
            assert await probe.echo(channel)("still there") == "still there"
        await probe.until_idle()


@pytest.fixture
async def channel(server: RpcServer) -> AsyncIterator[grpc.aio.Channel]:
    async with connect(f"127.0.0.1:{server.port}", authorization=bearer(ANNA)) as channel:
        yield channel
