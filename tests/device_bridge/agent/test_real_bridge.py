"""The link against the real bridge and its database: what each side promises the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from adiuva.device_bridge.v1 import device_service_pb2 as devices_pb, tool_pb2, tool_service_pb2 as tools_pb
from device_bridge.agent.enrolment import DeviceIdentity
from device_bridge.agent.identity_store import BridgeAddress, IdentityStore
from device_bridge.agent.link.domain import EndKind
from device_bridge.agent.link.link import Connected, Waiting
from tests.device_bridge.agent.link.support import Device, device
from tests.device_bridge.server.harness import Harness, harness
from tests.device_bridge.server.waiting import until_seen


@pytest.fixture
async def bridge(database_url: str, tmp_path: Path) -> AsyncIterator[Harness]:
    async with harness(database_url, tmp_path, bridge_heartbeat_seconds=5.0) as started:
        yield started


def target(bridge: Harness) -> str:
    return f"127.0.0.1:{bridge.bridge.device_server.port}"


def identity(bridge: Harness, directory: Path, code: str = "") -> DeviceIdentity:
    store = IdentityStore(directory)
    return DeviceIdentity(store, store.load_or_create(), BridgeAddress(target=target(bridge)), code)


def connections(running: Device) -> int:
    return sum(isinstance(report, Connected) for report in running.reports)


async def test_a_device_enrols_advertises_its_tools_and_answers(bridge: Harness, tmp_path: Path) -> None:
    async with device(target(bridge), identity=identity(bridge, tmp_path, await bridge.code())) as running:
        await running.until(lambda: connections(running) == 1)

        answer = await bridge.call("echo", {"text": "grüß"})
        known = await bridge.only_device()
        tools = await bridge.list_tools(known.device_id)

    assert json.loads(answer.outcome.result_json) == {"text": "grüß"}
    assert known.display_name == "Anna's laptop"
    assert list(known.root_names) == ["sample"]
    assert {tool.name for tool in tools.tools} == {"echo", "small"}


async def test_the_second_start_presents_the_credential(bridge: Harness, tmp_path: Path) -> None:
    async with device(target(bridge), identity=identity(bridge, tmp_path, await bridge.code())) as first:
        await first.until(lambda: connections(first) == 1)
        await first.finish()

    async with device(target(bridge), identity=identity(bridge, tmp_path)) as second:
        await second.until(lambda: connections(second) == 1)
        await bridge.call("echo")

    ids = {
        report.welcome.device_id for run in (first, second) for report in run.reports if isinstance(report, Connected)
    }
    assert len(ids) == 1


async def test_a_code_works_once(bridge: Harness, tmp_path: Path) -> None:
    code = await bridge.code()
    async with device(target(bridge), identity=identity(bridge, tmp_path / "one", code)) as first:
        await first.until(lambda: connections(first) == 1)
        await first.finish()
    async with device(target(bridge), identity=identity(bridge, tmp_path / "one")) as first:
        await first.until(lambda: connections(first) == 1)

    async with device(target(bridge), identity=identity(bridge, tmp_path / "two", code)) as second:
        end = await second.ended()

    assert (end.kind, end.permanent) == (EndKind.REFUSED, True)


async def test_a_call_survives_the_loss_of_its_session_and_is_run_once(bridge: Harness, tmp_path: Path) -> None:
    async with device(target(bridge), identity=identity(bridge, tmp_path, await bridge.code())) as running:
        await running.until(lambda: connections(running) == 1)
        device_id = (await bridge.only_device()).device_id
        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(
                bridge.call("slow", {"n": 1}, call_id="c", offline_policy=tool_pb2.OFFLINE_POLICY_WAIT)
            )
            await running.tools.until(lambda: bool(running.tools.started))
            await bridge.devices.DisconnectDevice(devices_pb.DisconnectDeviceRequest(device_id=device_id))
            await running.until(lambda: connections(running) == 2)
            running.tools.release("slow")

    assert json.loads(call.result().outcome.result_json) == {"n": 1}
    assert len(running.tools.started) == 1
    assert running.calls.in_flight() == ()


async def test_a_long_result_comes_through_in_pieces(bridge: Harness, tmp_path: Path) -> None:
    async with device(target(bridge), identity=identity(bridge, tmp_path, await bridge.code())) as running:
        await running.until(lambda: connections(running) == 1)

        answer = await bridge.call("big", {"bytes": 2 << 20})

    assert json.loads(answer.outcome.result_json) == {"text": "x" * (2 << 20)}


async def test_a_cancelled_call_is_stopped_on_the_device(bridge: Harness, tmp_path: Path) -> None:
    async with device(target(bridge), identity=identity(bridge, tmp_path, await bridge.code())) as running:
        await running.until(lambda: connections(running) == 1)
        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(_status(bridge, "slow", call_id="c"))
            await running.tools.until(lambda: bool(running.tools.started))

            await bridge.tools.CancelCall(tools_pb.CancelCallRequest(call_id="c"))
            await running.tools.until(lambda: running.tools.cancelled == ["c"])

    assert call.result() is grpc.StatusCode.CANCELLED


async def _status(bridge: Harness, tool: str, call_id: str) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await bridge.call(tool, call_id=call_id)
    return error.value.code()


async def test_a_device_that_says_goodbye_is_offline_without_waiting_for_its_silence(
    database_url: str, tmp_path: Path
) -> None:
    async with (
        harness(database_url, tmp_path, bridge_heartbeat_seconds=60.0) as bridge,
        device(target(bridge), identity=identity(bridge, tmp_path, await bridge.code())) as running,
    ):
        await running.until(lambda: connections(running) == 1)
        device_id = (await bridge.only_device()).device_id

        end = await running.finish()

        async def is_offline() -> bool:
            return not await bridge.is_online(device_id)

        await until_seen(is_offline)

    assert end.kind is EndKind.LEFT


async def test_a_revoked_device_stops_for_good(bridge: Harness, tmp_path: Path) -> None:
    async with device(target(bridge), identity=identity(bridge, tmp_path, await bridge.code())) as running:
        await running.until(lambda: connections(running) == 1)
        device_id = (await bridge.only_device()).device_id

        await bridge.devices.RevokeDevice(devices_pb.RevokeDeviceRequest(device_id=device_id))
        end = await running.ended()

    async with device(target(bridge), identity=identity(bridge, tmp_path)) as again:
        later = await again.ended()

    assert end.permanent
    assert later.kind is EndKind.REVOKED


async def test_a_copied_identity_takes_over_and_the_first_gives_way(bridge: Harness, tmp_path: Path) -> None:
    async with device(target(bridge), identity=identity(bridge, tmp_path, await bridge.code())) as first:
        await first.until(lambda: connections(first) == 1)

        async with device(target(bridge), identity=identity(bridge, tmp_path)) as copy:
            await copy.until(lambda: connections(copy) == 1)
            await first.until(lambda: bool(first.ends))
            answer = await bridge.call("echo", {"n": 1})

    waiting = first.reports[-1]
    assert isinstance(waiting, Waiting)
    assert waiting.delay >= 300
    assert json.loads(answer.outcome.result_json) == {"n": 1}
    assert (len(first.tools.started), len(copy.tools.started)) == (0, 1)


async def test_heartbeats_keep_an_idle_session_alive(database_url: str, tmp_path: Path) -> None:
    async with (
        harness(database_url, tmp_path, bridge_heartbeat_seconds=0.8) as bridge,
        device(target(bridge), identity=identity(bridge, tmp_path, await bridge.code())) as running,
    ):
        await running.until(lambda: connections(running) == 1)
        seen = (await bridge.only_device()).last_seen_at.ToNanoseconds()

        # Both sides would have given up after two seconds of silence.
        async def is_seen_later() -> bool:
            return (await bridge.only_device()).last_seen_at.ToNanoseconds() > seen + 2_500_000_000

        await until_seen(is_seen_later)

    assert connections(running) == 1
    assert running.ends == []
