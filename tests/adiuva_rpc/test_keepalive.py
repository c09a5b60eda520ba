"""Half-open peers are noticed by the transport, and ordinary idle ones are left alone. Takes about a minute each."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import anyio
import grpc
import grpc.aio
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from adiuva_rpc.channel import bearer, connect
from adiuva_rpc.server import RpcServer
from tests.adiuva_rpc.probe import ANNA, SERVICE, Probe, decode, encode, failure, probe_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
LONG = pytest.mark.skipif(os.environ.get("ADIUVA_FAULTS") != "full", reason="waits for minutes: `make faults` runs it")

HELLO = StringValue(value="hello")
SERVER = """
import asyncio
from tests.adiuva_rpc.probe import Probe, probe_server

async def main():
    async with probe_server(Probe()) as server:
        print(server.port, flush=True)
        await asyncio.sleep(300)

asyncio.run(main())
"""
CLIENT = """
import asyncio
from google.protobuf.wrappers_pb2 import StringValue
from adiuva_rpc.channel import bearer, connect
from tests.adiuva_rpc.probe import ANNA, SERVICE, decode, encode

async def main():
    async with connect(f"127.0.0.1:{input()}", authorization=bearer(ANNA)) as channel:
        call = channel.stream_stream(f"/{SERVICE}/Talk", encode, decode)()
        await call.write(StringValue(value="hello"))
        await call.read()
        await asyncio.sleep(300)

asyncio.run(main())
"""


@pytest.fixture
def other_process(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", request.param], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("other_process", [SERVER], indirect=True)
async def test_a_frozen_server_is_noticed_within_forty_seconds(other_process: subprocess.Popen[str]) -> None:
    assert other_process.stdout is not None
    port = next(int(line) for line in other_process.stdout if line.strip().isdigit())
    async with connect(f"127.0.0.1:{port}", authorization=bearer(ANNA)) as channel:
        call: Any = channel.stream_stream(f"/{SERVICE}/Talk", encode, decode)()
        await call.write(HELLO)
        await call.read()
        other_process.send_signal(signal.SIGSTOP)

        with anyio.fail_after(40):
            found = await failure(call.read())

    assert found.code is grpc.StatusCode.UNAVAILABLE


@LONG
@pytest.mark.parametrize("other_process", [CLIENT], indirect=True)
async def test_a_frozen_client_is_noticed_within_forty_seconds(
    other_process: subprocess.Popen[str], probe: Probe
) -> None:
    assert other_process.stdin is not None
    async with probe_server(probe) as server:
        other_process.stdin.write(f"{server.port}\n")
        other_process.stdin.flush()
        await probe.until_started(seconds=20)
        other_process.send_signal(signal.SIGSTOP)

        await probe.until_idle(seconds=40)


@LONG
async def test_an_idle_stream_is_not_told_to_calm_down(server: RpcServer, channel: grpc.aio.Channel) -> None:
    call: Any = channel.stream_stream(f"/{SERVICE}/Talk", encode, decode)()
    await call.write(HELLO)
    await call.read()

    # Pings go out every 20 s; three that a server finds too frequent would end the connection well before this.
    await asyncio.sleep(85)

    await call.write(HELLO)
    assert (await call.read()).value == "hello"
    call.cancel()
