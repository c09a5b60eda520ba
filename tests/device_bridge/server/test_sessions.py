"""Sessions on the real wire: how they begin, live and end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import grpc
import grpc.aio
import pytest

from adiuva.device_bridge.v1 import session_service_pb2 as pb, tool_service_pb2 as tools_pb
from tests.device_bridge.server.harness import FAST, Harness, harness
from tests.device_bridge.server.waiting import failure_of, until, until_seen
from tests.fakes.device import FakeDevice, Rejected, descriptor, echo, never


def beat() -> pb.DeviceItem:
    return pb.DeviceItem(heartbeat=pb.Heartbeat(running_calls=0))


async def test_a_device_is_welcomed_with_its_terms(bridge: Harness) -> None:
    credential = await bridge.enrol()

    async with bridge.device(credential) as device:
        welcome = device.welcome

    assert welcome.user_id == bridge.user
    assert welcome.epoch == 2
    assert welcome.protocol == 1
    assert welcome.issued_credential == ""
    assert welcome.heartbeat_interval.seconds == 20
    assert welcome.max_frame_bytes == 1 << 20
    assert welcome.chunk_bytes == 256 * 1024
    assert welcome.max_calls == 64
    assert not welcome.need_tools
    assert welcome.HasField("server_time")


async def test_the_epoch_rises_with_every_session(bridge: Harness) -> None:
    credential = await bridge.enrol()
    epochs = []

    for _ in range(3):
        async with bridge.device(credential) as device:
            epochs.append(device.welcome.epoch)

    assert epochs == [2, 3, 4]


async def test_a_heartbeat_is_answered(bridge: Harness) -> None:
    credential = await bridge.enrol()

    async with bridge.device(credential) as device:
        await device.send(beat())

        await device.until(lambda: any(item.HasField("heartbeat_ack") for item in device.received))


async def test_everything_that_waits_goes_out_in_one_frame(bridge: Harness) -> None:
    credential = await bridge.enrol()

    async with bridge.device(credential) as device:
        await device.send(*(beat() for _ in range(50)))

        await device.until(lambda: len(device.received) == 50)

    assert device.frames <= 3


async def test_a_device_that_knows_the_bridge_sends_its_tools_by_hash(bridge: Harness) -> None:
    credential = await bridge.enrol()

    async with bridge.device(credential, with_tools=False) as known:
        assert not known.welcome.need_tools
    changed = [descriptor("echo", description="It does it better now.")]
    async with bridge.device(credential, descriptors=changed, with_tools=False) as unknown:
        assert unknown.welcome.need_tools


async def test_goodbye_ends_the_session_well(bridge: Harness) -> None:
    credential = await bridge.enrol()

    async with bridge.device(credential) as device:
        await device.goodbye()

        assert await device.ended() is grpc.StatusCode.OK
    assert len(bridge.bridge.sessions) == 0


async def test_no_hello_in_time_ends_the_stream(bridge: Harness, database_url: str, tmp_path: Path) -> None:
    # Nobody may hold a stream open without saying who they are.
    async with harness(database_url, tmp_path, **FAST) as fast:
        credential = await fast.enrol()
        stub = fast.session_stub()
        stream = stub.Connect(metadata=(("authorization", f"Bearer {credential}"),))

        with anyio.fail_after(5):
            code = await stream.code()

        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: fast.bridge.admission.open_streams == 0)


@pytest.mark.parametrize(
    "items", [[], [beat()], [pb.DeviceItem()], [pb.DeviceItem(call_done=pb.CallDone(call_key="x"))]]
)
async def test_a_stream_that_does_not_begin_with_hello_is_refused(bridge: Harness, items: list[pb.DeviceItem]) -> None:
    credential = await bridge.enrol()
    stream = bridge.session_stub().Connect(metadata=(("authorization", f"Bearer {credential}"),))

    await stream.write(pb.ConnectRequest(seq=1, items=items))

    with anyio.fail_after(5):
        assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_bytes_that_are_no_frame_are_refused(bridge: Harness) -> None:
    credential = await bridge.enrol()
    raw: Any = bridge.device_channel.stream_stream("/adiuva.device_bridge.v1.DeviceSessionService/Connect")
    stream = raw(metadata=(("authorization", f"Bearer {credential}"),))

    await stream.write(b"\xff\xff\xff")

    with anyio.fail_after(5):
        assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_gap_in_the_frame_numbers_ends_the_session(bridge: Harness) -> None:
    credential = await bridge.enrol()

    async with bridge.device(credential) as device:
        await device.send(beat(), seq=5)

        assert await device.ended() is grpc.StatusCode.INVALID_ARGUMENT
        assert device.closed is not None
        assert device.closed.reason == pb.CLOSE_REASON_PROTOCOL_ERROR
        assert not device.closed.permanent


async def test_a_device_of_another_revision_is_told_so(bridge: Harness) -> None:
    credential = await bridge.enrol()

    def newer(hello: pb.Hello) -> None:
        hello.protocol_min = hello.protocol_max = 9

    with pytest.raises(Rejected) as refused:
        async with bridge.device(credential, hello=newer):
            pass

    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_silent_device_is_given_up(database_url: str, tmp_path: Path) -> None:
    async with harness(database_url, tmp_path, **FAST) as fast:
        credential = await fast.enrol()
        async with fast.device(credential) as device:
            assert await device.ended() is grpc.StatusCode.UNAVAILABLE
            assert device.closed is not None
            assert device.closed.reason == pb.CLOSE_REASON_UNRESPONSIVE


async def test_a_device_that_keeps_its_heartbeat_stays(database_url: str, tmp_path: Path) -> None:
    async with harness(database_url, tmp_path, **FAST) as fast:
        credential = await fast.enrol()
        async with fast.device(credential, heartbeat=0.1) as device:
            beats = 0.4 * 2.5 / 0.1 * 1.5
            await device.until(lambda: sum(item.HasField("heartbeat_ack") for item in device.received) > beats)
            assert device.status is None


async def test_the_newest_session_wins_at_once(bridge: Harness) -> None:
    # The laptop is back on another network while its old stream still hangs here.
    credential = await bridge.enrol()

    async with bridge.device(credential) as old, bridge.device(credential) as new:
        answer = await bridge.call("echo", {"n": 1}, device_id=new.welcome.device_id)

        assert answer.session_epoch == new.welcome.epoch
        assert await old.ended() is grpc.StatusCode.ABORTED
        assert old.closed is not None
        assert old.closed.reason == pb.CLOSE_REASON_SUPERSEDED
        assert old.calls == {}


async def test_the_end_of_a_superseded_session_does_not_touch_the_newer_one(bridge: Harness) -> None:
    # A stale clean-up must not remove the new session, here or in the database.
    credential = await bridge.enrol()

    async with bridge.device(credential) as old, bridge.device(credential) as new:
        await old.ended()
        await until(lambda: bridge.bridge.admission.open_streams == 1)
        await bridge.bridge.leases.release()
        await bridge.bridge.leases.renew()

        assert await bridge.is_online(new.welcome.device_id)
        assert new.status is None
        await bridge.call("echo", device_id=new.welcome.device_id)


async def test_an_old_session_that_hangs_holds_nobody_up(bridge: Harness) -> None:
    # half-open: the old device does not read, so it never learns that it was superseded.
    credential = await bridge.enrol()

    async with bridge.device(credential) as old:
        old.stop_reading()
        async with bridge.device(credential) as new:
            await bridge.call("echo", device_id=new.welcome.device_id, within=5)

        await until(lambda: bridge.bridge.admission.open_streams == 0)


async def test_a_device_that_vanishes_is_offline_at_once(bridge: Harness) -> None:
    # A reset stream is not online because something of it is still in memory.
    credential = await bridge.enrol()

    async with bridge.device(credential) as device:
        device_id = device.welcome.device_id
        assert await bridge.is_online(device_id)
        device.drop()

        await until(lambda: len(bridge.bridge.sessions) == 0, within=2)

    async def offline() -> bool:
        return not await bridge.is_online(device_id)

    await until_seen(offline, within=2)
    failure = await failure_of(bridge.call("echo", device_id=device_id))
    assert failure.reason == "DEVICE_OFFLINE"


async def test_a_device_finds_its_way_back_to_a_bridge_that_was_restarted(
    bridge: Harness, database_url: str, tmp_path: Path
) -> None:
    # The bridge has forgotten everything, and the device's credential is enough.
    address = {"bridge_replica_address": "the-replica"}
    async with harness(database_url, tmp_path, **address) as first:
        credential = await first.enrol()
        device = first.device(credential)
        await device.__aenter__()
        before = device.welcome
    await device.__aexit__(None, None, None)

    async with harness(database_url, tmp_path, **address) as second:
        service = tools_pb.CallToolRequest(
            call=second.tool_call("echo", user_id=before.user_id, device_id=before.device_id)
        )
        failure = await failure_of(second.service_tools.CallTool(service))
        assert failure.reason == "DEVICE_OFFLINE"
        async with second.device(credential) as device:
            assert device.welcome.epoch > before.epoch
            await second.service_tools.CallTool(service)


async def test_sessions_past_the_limit_are_told_when_to_come_back(database_url: str, tmp_path: Path) -> None:
    async with harness(database_url, tmp_path, bridge_max_sessions=1) as small:
        credential = await small.enrol()
        await until(lambda: small.bridge.admission.open_streams == 0)
        async with small.device(credential):
            with pytest.raises(Rejected) as refused:
                async with small.device(credential):
                    pass

        assert refused.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_many_devices_come_and_go_without_a_trace(bridge: Harness) -> None:
    # the small version on the wire.
    for _ in range(20):
        credential = await bridge.enrol()
        async with bridge.device(credential) as device:
            await bridge.call("echo", device_id=device.welcome.device_id)

    await until(lambda: bridge.bridge.admission.open_streams == 0)
    assert len(bridge.bridge.sessions) == 0
    assert bridge.bridge.table.devices == 0
    assert len(bridge.bridge.table) == 0


async def test_a_stopping_bridge_tells_its_devices_to_come_back(bridge: Harness) -> None:
    credential = await bridge.enrol()

    async with bridge.device(credential, tools={"echo": echo, "never": never}) as device:
        with anyio.fail_after(2):
            await bridge.bridge.drain()

        assert await device.ended() is grpc.StatusCode.UNAVAILABLE
        assert device.closed is not None
        assert device.closed.reason == pb.CLOSE_REASON_SHUTDOWN
        assert 0 < device.closed.retry_after.ToMilliseconds() <= 2000
        assert not await bridge.is_online(device.welcome.device_id)


async def test_the_device_port_offers_nothing_else(bridge: Harness) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    health = health_pb2_grpc.HealthStub(bridge.device_channel)
    reflection = reflection_pb2_grpc.ServerReflectionStub(bridge.device_channel)

    assert (await failure_of(health.Check(health_pb2.HealthCheckRequest()))).code is grpc.StatusCode.UNIMPLEMENTED
    stream = reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stream.read()
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    "authorization", ["", "Bearer adv_nobody", "Bearer " + "x" * 5000, "Basic abc", "Enrolment AAAA"]
)
async def test_a_stranger_is_refused_before_anything_is_read(bridge: Harness, authorization: str) -> None:
    metadata = (("authorization", authorization),) if authorization else ()
    stream = bridge.session_stub().Connect(metadata=metadata)

    with anyio.fail_after(5):
        assert await stream.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_service_token_opens_no_session(bridge: Harness) -> None:
    with pytest.raises(Rejected) as refused:
        async with FakeDevice(bridge.device_channel, bridge.service_token):
            pass

    assert refused.value.code is grpc.StatusCode.UNAUTHENTICATED
