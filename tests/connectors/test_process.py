"""The service as a process: how it starts, what it says when it cannot, and how it stops."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from adiuva.connectors.v1 import connection_service_pb2 as pb
from adiuva.connectors.v1.connection_service_pb2_grpc import ConnectionServiceStub
from adiuva_rpc.channel import bearer, connect
from tests.connectors.harness import callers

pytestmark = pytest.mark.system


@pytest.fixture
def token(tmp_path: Path) -> str:
    return callers(tmp_path)["anna"]


@pytest.fixture
def environment(tmp_path: Path, token: str, new_database: Callable[[], str]) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("ADIUVA_")},
        "ADIUVA_DATABASE_URL": new_database(),
        "ADIUVA_TOKEN_FILE": str(tmp_path / "callers.json"),
        "ADIUVA_KEY_FILE": str(tmp_path / "keys.json"),
        "ADIUVA_CONNECTORS_LISTEN": "127.0.0.1:0",
    }


@asynccontextmanager
async def process(environment: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "connectors"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        with anyio.fail_after(40):
            yield started
    finally:
        if started.returncode is None:
            started.kill()
            await started.communicate()


async def refused(environment: Mapping[str, str]) -> tuple[int | None, str]:
    """Start a service that cannot start; return its exit code and what it said beside its log."""
    async with process(environment) as started:
        out, err = await started.communicate()
        assert out == b""
        said = [line for line in err.decode().splitlines() if not line.startswith("{")]
        return started.returncode, "\n".join(said)


async def test_it_says_when_it_is_ready_and_with_which_providers(environment: dict[str, str]) -> None:
    async with process(environment | {"ADIUVA_MICROSOFT_CLIENT_ID": "m-1"}) as started:
        assert started.stdout is not None
        ready = json.loads(await started.stdout.readline())

    assert (ready["ready"], ready["providers"]) == (True, ["outlook", "teams"])
    assert ready["port"] > 0


async def test_it_stops_in_order_while_somebody_watches(environment: dict[str, str], token: str) -> None:
    async with process(environment) as started:
        assert started.stdout is not None
        port = json.loads(await started.stdout.readline())["port"]
        async with connect(f"127.0.0.1:{port}", authorization=bearer(token)) as channel:
            watch = ConnectionServiceStub(channel).WatchConnections(pb.WatchConnectionsRequest())
            await watch.read()
            started.send_signal(signal.SIGTERM)
            with anyio.fail_after(10):
                out, err = await started.communicate()

    assert (started.returncode, out) == (0, b"")
    assert all(line.startswith("{") for line in err.decode().splitlines())
    assert "Traceback" not in err.decode()


@pytest.mark.parametrize("variable", ["ADIUVA_DATABASE_URL", "ADIUVA_TOKEN_FILE", "ADIUVA_KEY_FILE"])
async def test_a_missing_setting_is_named(variable: str, environment: dict[str, str]) -> None:
    code, said = await refused(environment | {variable: ""})

    assert (code, said) == (2, f"1 setting is wrong:\n  {variable}: is required")


async def test_a_provider_elsewhere_is_named(environment: dict[str, str]) -> None:
    code, said = await refused(environment | {"ADIUVA_GRAPH_URL": "https://graph.evil.example"})

    assert code == 2
    assert "ADIUVA_GRAPH_URL: base URL of graph.microsoft.com: its host must be" in said


async def test_files_a_port_and_a_database_that_cannot_be_used_are_one_line_each(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        changes = {
            "token file": {"ADIUVA_TOKEN_FILE": str(tmp_path / "none.json")},
            "key file": {"ADIUVA_KEY_FILE": str(tmp_path / "none.json")},
            "in use": {"ADIUVA_CONNECTORS_LISTEN": f"127.0.0.1:{port}"},
            "without TLS": {"ADIUVA_CONNECTORS_LISTEN": "0.0.0.0:0"},
            "ADIUVA_DATABASE_URL": {"ADIUVA_DATABASE_URL": f"postgresql+asyncpg://u:canary@/x?host={tmp_path}"},
        }
        refusals = {words: await refused(environment | change) for words, change in changes.items()}

    for words, (code, said) in refusals.items():
        assert code == 1, said
        assert said.startswith("error: "), said
        assert len(said.splitlines()) == 1, said
        assert words in said
        assert "canary" not in said
