"""DeviceService on the real wire: lists, revocation, disconnection."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from adiuva.device_bridge.v1 import device_service_pb2 as pb, session_service_pb2
from tests.device_bridge.server.harness import Harness, harness
from tests.device_bridge.server.waiting import failure_of, until_seen
from tests.fakes.device import FakeDevice, Rejected, descriptor


async def enrolled(bridge: Harness) -> str:
    """Enrol a device and return its id."""
    async with FakeDevice(bridge.device_channel, code=await bridge.code()) as device:
        return device.welcome.device_id


class TestLists:
    async def test_a_device_is_shown_as_it_told_about_itself(self, bridge: Harness) -> None:
        async with FakeDevice(bridge.device_channel, code=await bridge.code(), root_names=["work"]) as laptop:
            device = await bridge.only_device()

        assert device.device_id == laptop.welcome.device_id
        assert device.user_id == bridge.user
        assert device.display_name == "Anna's laptop"
        assert device.online
        assert device.session_epoch == 1
        assert device.agent_version == "0.1.0"
        assert list(device.root_names) == ["work"]
        assert device.tools_hash == laptop.manifest.hash
        assert device.HasField("enrolled_at")
        assert device.HasField("connected_at")
        assert device.HasField("last_seen_at")
        assert not device.HasField("revoked_at")

    async def test_devices_come_in_pages_newest_first(self, bridge: Harness) -> None:
        made = [await enrolled(bridge) for _ in range(3)]

        first = await bridge.devices.ListDevices(pb.ListDevicesRequest(page_size=2))
        rest = await bridge.devices.ListDevices(pb.ListDevicesRequest(page_size=2, page_token=first.next_page_token))

        assert [device.device_id for device in (*first.devices, *rest.devices)] == made[::-1]
        assert rest.next_page_token == ""

    async def test_a_page_token_belongs_to_its_query(self, bridge: Harness) -> None:
        for _ in range(2):
            await enrolled(bridge)
        token = (await bridge.devices.ListDevices(pb.ListDevicesRequest(page_size=1))).next_page_token

        other_filter = pb.ListDevicesRequest(page_size=1, page_token=token, include_revoked=True)
        other_user = pb.ListDevicesRequest(page_size=1, page_token=token)
        metadata = (("adiuva-user", "somebody-else"),)
        failures = [
            await failure_of(bridge.devices.ListDevices(other_filter)),
            await failure_of(bridge.service_devices.ListDevices(other_user, metadata=metadata)),
            await failure_of(bridge.devices.ListDevices(pb.ListDevicesRequest(page_token="nonsense"))),
            await failure_of(bridge.devices.ListDevices(pb.ListDevicesRequest(page_token="x" * 2000))),
        ]

        assert {failure.code for failure in failures} == {grpc.StatusCode.INVALID_ARGUMENT}

    async def test_a_negative_page_size_is_refused(self, bridge: Harness) -> None:
        failure = await failure_of(bridge.devices.ListDevices(pb.ListDevicesRequest(page_size=-1)))

        assert failure.code is grpc.StatusCode.INVALID_ARGUMENT

    @pytest.mark.parametrize("device_id", ["", "nowhere", "a\0b", "x" * 10_000, "../etc", "' OR 1=1 --"])
    async def test_what_is_no_device_of_the_user_is_not_found(self, bridge: Harness, device_id: str) -> None:
        failures = [
            await failure_of(bridge.devices.GetDevice(pb.GetDeviceRequest(device_id=device_id))),
            await failure_of(bridge.devices.ListTools(pb.ListToolsRequest(device_id=device_id))),
            await failure_of(bridge.devices.RevokeDevice(pb.RevokeDeviceRequest(device_id=device_id))),
            await failure_of(bridge.devices.DisconnectDevice(pb.DisconnectDeviceRequest(device_id=device_id))),
        ]

        assert {(failure.code, failure.reason) for failure in failures} == {
            (grpc.StatusCode.NOT_FOUND, "DEVICE_UNKNOWN")
        }

    async def test_another_users_device_is_not_found(self, bridge: Harness) -> None:
        device_id = await enrolled(bridge)
        mallory = (("adiuva-user", "mallory"),)

        failures = [
            await failure_of(
                bridge.service_devices.GetDevice(pb.GetDeviceRequest(device_id=device_id), metadata=mallory)
            ),
            await failure_of(
                bridge.service_devices.RevokeDevice(pb.RevokeDeviceRequest(device_id=device_id), metadata=mallory)
            ),
        ]

        assert {failure.reason for failure in failures} == {"DEVICE_UNKNOWN"}
        assert not (await bridge.only_device()).HasField("revoked_at")

    async def test_changed_tools_are_shown(self, bridge: Harness) -> None:
        async with FakeDevice(bridge.device_channel, code=await bridge.code()) as laptop:
            changed = session_service_pb2.ToolManifest(hash="b" * 64, tools=[descriptor("new")])
            await laptop.send(session_service_pb2.DeviceItem(tools_changed=changed))

            async def shown() -> bool:
                return [tool.name for tool in (await bridge.list_tools(laptop.welcome.device_id)).tools] == ["new"]

            await until_seen(shown)


class TestRevoke:
    async def test_a_revoked_device_is_cut_off_for_ever(self, bridge: Harness) -> None:
        credential = await bridge.enrol()

        async with bridge.device(credential) as laptop:
            request = pb.RevokeDeviceRequest(device_id=laptop.welcome.device_id, reason="stolen")
            revoked = await bridge.devices.RevokeDevice(request)
            again = await bridge.devices.RevokeDevice(request)
            assert await laptop.ended() is grpc.StatusCode.PERMISSION_DENIED
        with pytest.raises(Rejected) as refused:
            async with bridge.device(credential):
                pass

        assert revoked.device.HasField("revoked_at")
        assert revoked.device.revoked_at == again.device.revoked_at
        assert not revoked.device.online
        assert laptop.closed is not None
        assert laptop.closed.permanent
        assert laptop.closed.reason == session_service_pb2.CLOSE_REASON_REVOKED
        assert refused.value.code is grpc.StatusCode.PERMISSION_DENIED

    async def test_a_session_on_another_replica_is_cut_off_too(
        self, bridge: Harness, database_url: str, tmp_path: Path
    ) -> None:
        credential = await bridge.enrol()

        async with harness(database_url, tmp_path) as other, other.device(credential) as laptop:
            request = pb.RevokeDeviceRequest(device_id=laptop.welcome.device_id)
            await bridge.devices.RevokeDevice(request)

            assert await laptop.ended() is grpc.StatusCode.PERMISSION_DENIED

    async def test_a_takeover_on_another_replica_ends_the_older_session(
        self, bridge: Harness, database_url: str, tmp_path: Path
    ) -> None:
        credential = await bridge.enrol()

        async with (
            harness(database_url, tmp_path) as other,
            bridge.device(credential) as old,
            other.device(credential) as new,
        ):
            assert await old.ended() is grpc.StatusCode.ABORTED
            await bridge.bridge.leases.release()

            assert await bridge.is_online(new.welcome.device_id)


class TestDisconnect:
    async def test_a_device_is_sent_away_and_may_come_back(self, bridge: Harness) -> None:
        credential = await bridge.enrol()

        async with bridge.device(credential) as laptop:
            request = pb.DisconnectDeviceRequest(device_id=laptop.welcome.device_id)
            told = await bridge.devices.DisconnectDevice(request)
            await laptop.ended()
        async with bridge.device(credential):
            pass

        assert told.was_online
        assert laptop.closed is not None
        assert laptop.closed.reason == session_service_pb2.CLOSE_REASON_DISCONNECTED
        assert not laptop.closed.permanent

    async def test_a_device_that_is_offline_stays_so(self, bridge: Harness) -> None:
        device_id = await enrolled(bridge)

        async def offline() -> bool:
            return not await bridge.is_online(device_id)

        await until_seen(offline)
        told = await bridge.devices.DisconnectDevice(pb.DisconnectDeviceRequest(device_id=device_id))

        assert not told.was_online

    async def test_a_session_on_another_replica_is_sent_away_too(
        self, bridge: Harness, database_url: str, tmp_path: Path
    ) -> None:
        credential = await bridge.enrol()

        async with harness(database_url, tmp_path) as other, other.device(credential) as laptop:
            request = pb.DisconnectDeviceRequest(device_id=laptop.welcome.device_id)
            told = await bridge.devices.DisconnectDevice(request)
            await laptop.ended()

        assert told.was_online
