"""The bridge as a process: how it starts, what it says when it cannot, and how it stops."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import grpc
import grpc.aio
import pytest

from adiuva.device_bridge.v1 import device_service_pb2, device_service_pb2_grpc, tool_service_pb2, tool_service_pb2_grpc
from adiuva_rpc.channel import bearer, connect
from adiuva_rpc.status import from_rpc_error
from adiuva_rpc.tls import Authority, channel_credentials
from adiuva_rpc.tokens import new_token
from tests.device_bridge.server.harness import Harness, harness
from tests.device_bridge.server.waiting import until, until_seen
from tests.fakes.device import FakeDevice, echo

USER = "anna"

pytestmark = pytest.mark.system


@dataclass(slots=True)
class Process:
    """A bridge that runs."""

    process: asyncio.subprocess.Process
    device_port: int
    internal_port: int

    async def stopped(self) -> tuple[int, float]:
        """Ask it to stop; return its exit code and how long it took in seconds."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        with anyio.fail_after(15):
            code = await self.process.wait()
        return code, time.monotonic() - began


@pytest.fixture
def token(tmp_path: Path) -> str:
    token, sha256 = new_token()
    file = tmp_path / "tokens.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps([{"name": USER, "role": "user", "user_id": USER, "sha256": sha256}]))
    return token


@pytest.fixture
def environment(tmp_path: Path, token: str, new_database: Callable[[], str]) -> dict[str, str]:
    return {
        **os.environ,
        "ADIUVA_DATABASE_URL": new_database(),
        "ADIUVA_TOKEN_FILE": str(tmp_path / "tokens.json"),
        "ADIUVA_BRIDGE_DEVICE_LISTEN": "127.0.0.1:0",
        "ADIUVA_BRIDGE_INTERNAL_LISTEN": "127.0.0.1:0",
    }


@asynccontextmanager
async def bridge_process(environment: Mapping[str, str]) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "device_bridge.server", env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        with anyio.fail_after(30):
            ready = json.loads(await process.stdout.readline())
        assert ready.pop("ready") is True
        yield Process(process, **ready)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def refused(environment: Mapping[str, str]) -> tuple[int, str]:
    """Start a bridge that cannot start; return its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "device_bridge.server",
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    with anyio.fail_after(30):
        _, said = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def is_stopping(channel: grpc.aio.Channel, request: tool_service_pb2.CallToolRequest) -> bool:
    try:
        await tool_service_pb2_grpc.ToolServiceStub(channel).CallTool(request, timeout=0.2)
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error).reason == "BRIDGE_STOPPING"
    return False


def code_request() -> device_service_pb2.CreateEnrolmentCodeRequest:
    return device_service_pb2.CreateEnrolmentCodeRequest(request_id="r-1")


async def test_a_bridge_with_idle_devices_stops_at_once(environment: dict[str, str], token: str) -> None:
    async with bridge_process(environment) as bridge:
        internal = f"127.0.0.1:{bridge.internal_port}"
        async with connect(internal, authorization=bearer(token)) as channel:
            devices = device_service_pb2_grpc.DeviceServiceStub(channel)
            code = (await devices.CreateEnrolmentCode(code_request())).code
            async with (
                connect(f"127.0.0.1:{bridge.device_port}") as to_devices,
                FakeDevice(to_devices, code=code) as device,
            ):
                exit_code, took = await bridge.stopped()

                assert await device.ended() is grpc.StatusCode.UNAVAILABLE
                assert device.closed is not None
    assert exit_code == 0
    assert took < 4


async def test_a_call_under_way_finishes_before_the_bridge_stops(environment: dict[str, str], token: str) -> None:
    async with bridge_process(environment) as bridge:
        internal = f"127.0.0.1:{bridge.internal_port}"
        async with connect(internal, authorization=bearer(token)) as channel, anyio.create_task_group() as tasks:
            devices = device_service_pb2_grpc.DeviceServiceStub(channel)
            code = (await devices.CreateEnrolmentCode(code_request())).code
            async with (
                connect(f"127.0.0.1:{bridge.device_port}") as to_devices,
                FakeDevice(to_devices, code=code, answers=False) as device,
            ):
                answers: list[tool_service_pb2.CallToolResponse] = []

                async def ask() -> None:
                    request = tool_service_pb2.CallToolRequest(call=Harness.tool_call("echo"))
                    answers.append(await tool_service_pb2_grpc.ToolServiceStub(channel).CallTool(request))

                tasks.start_soon(ask)
                request = await device.call_arrived()
                bridge.process.send_signal(signal.SIGTERM)
                # The bridge stops: it takes no new call, and waits for this one.
                refusal = tool_service_pb2.CallToolRequest(call=Harness.tool_call("echo"))
                await until_seen(partial(is_stopping, channel, refusal))
                assert device.closed is None
                await device.finish(request.call_key, {"done": 1})
                await device.ended()
                with anyio.fail_after(8):
                    assert await bridge.process.wait() == 0
    assert answers[0].outcome.result_json == '{"done": 1}'


async def test_a_call_that_never_ends_does_not_keep_the_bridge(environment: dict[str, str], token: str) -> None:
    async with bridge_process(environment) as bridge:
        internal = f"127.0.0.1:{bridge.internal_port}"
        async with connect(internal, authorization=bearer(token)) as channel:
            devices = device_service_pb2_grpc.DeviceServiceStub(channel)
            code = (await devices.CreateEnrolmentCode(code_request())).code
            tools = tool_service_pb2_grpc.ToolServiceStub(channel)
            async with (
                connect(f"127.0.0.1:{bridge.device_port}") as to_devices,
                FakeDevice(to_devices, code=code, answers=False) as device,
            ):
                call = tools.CallTool(tool_service_pb2.CallToolRequest(call=Harness.tool_call("echo")))
                await device.call_arrived()
                exit_code, took = await bridge.stopped()

                assert await call.code() is grpc.StatusCode.UNAVAILABLE
    assert exit_code == 0
    assert took < 8


async def test_devices_and_callers_are_served_over_tls(environment: dict[str, str], token: str, tmp_path: Path) -> None:
    authority = Authority.create(tmp_path / "ca")
    files = authority.issue(tmp_path / "bridge")
    secure = {**environment, "ADIUVA_TLS_CERT": str(files.cert), "ADIUVA_TLS_KEY": str(files.key)}
    tls = channel_credentials(authority.cert)

    async with bridge_process(secure) as bridge:
        target = f"127.0.0.1:{bridge.internal_port}"
        async with connect(target, tls=tls, authorization=bearer(token)) as channel:
            devices = device_service_pb2_grpc.DeviceServiceStub(channel)
            code = (await devices.CreateEnrolmentCode(code_request())).code
            async with (
                connect(f"127.0.0.1:{bridge.device_port}", tls=tls) as to_devices,
                FakeDevice(to_devices, code=code, tools={"echo": echo}),
            ):
                request = tool_service_pb2.CallToolRequest(call=Harness.tool_call("echo", {"n": 1}))
                answer = await tool_service_pb2_grpc.ToolServiceStub(channel).CallTool(request)
    assert answer.outcome.result_json == '{"n": 1}'


async def test_a_bridge_that_was_killed_comes_back_and_its_devices_are_offline(
    environment: dict[str, str], token: str
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    fixed = {**environment, "ADIUVA_BRIDGE_INTERNAL_LISTEN": f"127.0.0.1:{port}"}

    async with (
        bridge_process(fixed) as bridge,
        connect(f"127.0.0.1:{port}", authorization=bearer(token)) as channel,
        connect(f"127.0.0.1:{bridge.device_port}") as to_devices,
    ):
        devices = device_service_pb2_grpc.DeviceServiceStub(channel)
        code = (await devices.CreateEnrolmentCode(code_request())).code
        async with FakeDevice(to_devices, code=code) as device:
            bridge.process.kill()
            await device.ended()
    async with bridge_process(fixed), connect(f"127.0.0.1:{port}", authorization=bearer(token)) as channel:
        devices = device_service_pb2_grpc.DeviceServiceStub(channel)
        listed = await devices.ListDevices(device_service_pb2.ListDevicesRequest())

    assert [each.online for each in listed.devices] == [False]


async def test_a_port_in_use_is_said_plainly(environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        code, said = await refused({**environment, "ADIUVA_BRIDGE_DEVICE_LISTEN": address})

    assert code == 1
    assert address in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("variable", "value", "exit_code", "words"),
    [
        ("ADIUVA_DATABASE_URL", "postgresql+asyncpg://postgres@127.0.0.1:1/x", 1, "ADIUVA_DATABASE_URL"),
        ("ADIUVA_TOKEN_FILE", "/nowhere/tokens.json", 1, "/nowhere/tokens.json"),
        ("ADIUVA_BRIDGE_DEVICE_LISTEN", "0.0.0.0:0", 1, "without TLS"),
        ("ADIUVA_BRIDGE_DEVICE_LISTEN", "nonsense", 2, "ADIUVA_BRIDGE_DEVICE_LISTEN"),
        ("ADIUVA_BRIDGE_HEARTBEAT_SECONDS", "-1", 2, "ADIUVA_BRIDGE_HEARTBEAT_SECONDS"),
        ("ADIUVA_DATABASE_URL", "", 2, "ADIUVA_DATABASE_URL"),
    ],
)
async def test_what_is_wrong_is_said_plainly(
    environment: dict[str, str], variable: str, value: str, exit_code: int, words: str
) -> None:
    code, said = await refused({**environment, variable: value})

    assert code == exit_code
    assert words in said
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_frozen_device_is_noticed_by_the_transport_alone(database_url: str, tmp_path: Path) -> None:
    # SIGSTOP, with the heartbeat out of the way. Keepalive is 20 s, its answer is due within 10 s; it
    # is the ping timeout that counts, and its name is an internal one of grpc.
    async with harness(database_url, tmp_path, bridge_heartbeat_seconds=300.0) as bridge:
        credential = await bridge.enrol()
        await until(lambda: bridge.bridge.admission.open_streams == 0)
        arguments = [str(bridge.bridge.device_server.port), credential]
        device = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.device_bridge.server.frozen_device",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
        )
        assert device.stdout is not None
        try:
            with anyio.fail_after(30):
                assert await device.stdout.readline() == b"ready\n"
            device.send_signal(signal.SIGSTOP)
            began = time.monotonic()

            await until(lambda: bridge.bridge.admission.open_streams == 0, within=60)
        finally:
            device.kill()
            await device.wait()

    assert 5 < time.monotonic() - began < 45
