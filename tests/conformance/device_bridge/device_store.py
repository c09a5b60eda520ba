"""What every store of devices must do."""

from __future__ import annotations

import pytest

from device_bridge.server.devices.domain import NoticeKind
from device_bridge.server.devices.ports import DeviceCursor
from device_bridge.server.errors import DeviceUnknown
from tests.conformance.device_bridge.kit import TOOLS, Kit


class DeviceStoreConformance:
    async def test_a_device_of_another_user_is_as_unknown_as_none(self, kit: Kit) -> None:
        device_id = await kit.enrol()
        await kit.open(device_id)

        for read in (kit.devices.get, kit.devices.tools, kit.devices.ask_release):
            with pytest.raises(DeviceUnknown):
                await read("mallory", device_id)
        with pytest.raises(DeviceUnknown):
            await kit.devices.revoke("mallory", device_id, reason="")
        assert (await kit.device(device_id)).revoked_at is None

    async def test_devices_are_listed_newest_first_in_pages(self, kit: Kit) -> None:
        made = [await kit.enrol() for _ in range(5)]
        await kit.enrol("somebody-else")
        seen: list[str] = []
        after: DeviceCursor | None = None

        while True:
            page = await kit.devices.page(kit.user, limit=2, after=after, include_revoked=False)
            seen += [device.device_id for device in page]
            if len(page) < 2:
                break
            after = DeviceCursor(page[-1].enrolled_at, page[-1].device_id)

        assert seen == made[::-1]

    async def test_revoked_devices_are_listed_only_if_asked_for(self, kit: Kit) -> None:
        kept, revoked = await kit.enrol(), await kit.enrol()
        await kit.devices.revoke(kit.user, revoked, reason="lost")

        usual = await kit.devices.page(kit.user, limit=10, after=None, include_revoked=False)
        everything = await kit.devices.page(kit.user, limit=10, after=None, include_revoked=True)

        assert [device.device_id for device in usual] == [kept]
        assert {device.device_id for device in everything} == {kept, revoked}

    async def test_devices_of_everybody_can_be_listed(self, kit: Kit) -> None:
        mine, other = await kit.enrol(), await kit.enrol(f"{kit.user}-other")

        listed = await kit.devices.page(None, limit=1000, after=None, include_revoked=False)

        assert {mine, other} <= {device.device_id for device in listed}

    async def test_devices_are_loaded_by_id_whoever_owns_them(self, kit: Kit) -> None:
        mine, other = await kit.enrol(), await kit.enrol(f"{kit.user}-other")

        loaded = await kit.devices.load({mine, other, "nowhere"})

        assert set(loaded) == {mine, other}
        assert loaded[other].user_id == f"{kit.user}-other"
        assert await kit.devices.load(set()) == {}

    async def test_tools_are_kept_while_a_device_is_offline(self, kit: Kit) -> None:
        device_id = await kit.enrol()
        with pytest.raises(DeviceUnknown):
            await kit.devices.tools(kit.user, device_id)

        opening = await kit.open(device_id)
        await kit.sessions.release({device_id: opening.epoch})

        assert await kit.devices.tools(kit.user, device_id) == TOOLS

    async def test_a_device_is_revoked_once(self, kit: Kit) -> None:
        device_id = await kit.enrol()
        await kit.open(device_id)
        await kit.notices()

        first = await kit.devices.revoke(kit.user, device_id, reason="lost")
        second = await kit.devices.revoke(kit.user, device_id, reason="again")

        assert first.revoked_at == second.revoked_at is not None
        assert not first.online
        assert await kit.kinds() == [NoticeKind.REVOKED]

    async def test_the_end_of_a_session_can_be_asked_for(self, kit: Kit) -> None:
        device_id = await kit.enrol()
        await kit.notices()
        assert not (await kit.devices.ask_release(kit.user, device_id)).online
        assert await kit.kinds() == []

        await kit.open(device_id)
        await kit.notices()
        assert (await kit.devices.ask_release(kit.user, device_id)).online

        (notice,) = await kit.notices()
        assert (notice.kind, notice.epoch) == (NoticeKind.RELEASE, 1)

    async def test_devices_are_found_for_calls(self, kit: Kit) -> None:
        never, first, last = await kit.enrol(), await kit.enrol(), await kit.enrol()
        revoked, other = await kit.enrol(), await kit.enrol(f"{kit.user}-other")
        for device_id in (revoked, last, first, last):
            await kit.open(device_id)
        await kit.devices.revoke(kit.user, revoked, reason="lost")

        found = await kit.devices.locate(
            [
                (kit.user, first),
                (kit.user, ""),
                (kit.user, never),
                (kit.user, revoked),
                (kit.user, other),
                (kit.user, "nowhere"),
                ("nobody", ""),
                (f"{kit.user}-other", ""),
            ]
        )

        assert [each if isinstance(each, str) else type(each) for each in found] == [
            first,
            last,
            never,
            DeviceUnknown,
            DeviceUnknown,
            DeviceUnknown,
            DeviceUnknown,
            DeviceUnknown,
        ]
