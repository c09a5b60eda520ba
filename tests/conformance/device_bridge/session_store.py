"""What every store of epochs and leases must do."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from device_bridge.server.devices.domain import Manifest, NoticeKind
from device_bridge.server.errors import DeviceRevoked, DeviceUnknown
from tests.conformance.device_bridge.kit import HASH_A, HASH_B, TOOLS, Kit


class SessionStoreConformance:
    async def test_a_session_gets_the_next_epoch_and_the_lease(self, kit: Kit) -> None:
        device_id = await kit.enrol()

        first, second = await kit.open(device_id), await kit.open(device_id)

        assert (first.epoch, second.epoch) == (1, 2)
        device = await kit.device(device_id)
        assert device.online
        assert device.session_epoch == 2
        assert device.agent_version == "0.2.0"
        assert device.display_name == "Anna's new name"
        assert device.root_names == ("sample", "mail")
        assert device.connected_at is not None
        assert device.last_seen_at is not None

    async def test_sessions_that_open_together_get_different_epochs(self, kit: Kit) -> None:
        device_id = await kit.enrol()

        openings = await asyncio.gather(*(kit.open(device_id) for _ in range(8)))

        assert sorted(opening.epoch for opening in openings) == list(range(1, 9))

    async def test_a_device_that_does_not_exist_cannot_open_one(self, kit: Kit) -> None:
        with pytest.raises(DeviceUnknown):
            await kit.open("nowhere")

    async def test_a_device_of_another_user_cannot_open_one(self, kit: Kit) -> None:
        device_id = await kit.enrol()

        with pytest.raises(DeviceUnknown):
            await kit.open(device_id, user="mallory")

    async def test_a_revoked_device_cannot_open_one(self, kit: Kit) -> None:
        device_id = await kit.enrol()
        await kit.devices.revoke(kit.user, device_id, reason="lost")

        with pytest.raises(DeviceRevoked):
            await kit.open(device_id)

    async def test_tools_are_known_by_their_hash(self, kit: Kit) -> None:
        device_id = await kit.enrol()

        assert (await kit.open(device_id, manifest=Manifest(hash=HASH_A))).known is None
        assert (await kit.open(device_id)).known == TOOLS
        assert (await kit.open(device_id, manifest=Manifest(hash=HASH_A))).known == TOOLS
        assert (await kit.open(device_id, manifest=Manifest(hash=HASH_B))).known is None

    async def test_a_hash_speaks_for_its_own_device_only(self, kit: Kit) -> None:
        await kit.open(await kit.enrol())
        other = await kit.enrol()

        assert (await kit.open(other, manifest=Manifest(hash=HASH_A))).known is None

    async def test_a_renewed_lease_lives_on(self, kit: Kit) -> None:
        device_id = await kit.enrol()
        opening = await kit.open(device_id)
        await kit.expire_leases()
        assert not (await kit.device(device_id)).online

        assert await kit.renew({device_id: opening.epoch}) == set()

        assert (await kit.device(device_id)).online

    async def test_a_lease_that_was_ended_meanwhile_comes_back_with_its_session(self, kit: Kit) -> None:
        device_id = await kit.enrol()
        opening = await kit.open(device_id)
        await kit.expire_leases()
        await kit.sessions.expire()

        assert await kit.renew({device_id: opening.epoch}) == set()

        assert (await kit.device(device_id)).online

    async def test_a_stale_session_learns_that_it_lost_and_renews_nothing(self, kit: Kit) -> None:
        device_id, other = await kit.enrol(), await kit.enrol()
        stale, current = await kit.open(device_id), await kit.open(other)
        newer = await kit.open(device_id, replica="replica-2")
        await kit.expire_leases()

        assert await kit.renew({device_id: stale.epoch, other: current.epoch}) == {device_id}

        assert not (await kit.device(device_id)).online
        assert await kit.renew({device_id: newer.epoch}) == set()

    async def test_a_revoked_device_loses_its_session(self, kit: Kit) -> None:
        device_id = await kit.enrol()
        opening = await kit.open(device_id)
        await kit.devices.revoke(kit.user, device_id, reason="lost")

        assert await kit.renew({device_id: opening.epoch}) == {device_id}
        assert not (await kit.device(device_id)).online

    async def test_renewing_nothing_is_fine(self, kit: Kit) -> None:
        assert await kit.renew({}) == set()

    async def test_a_released_lease_is_gone_at_once(self, kit: Kit) -> None:
        device_id = await kit.enrol()
        opening = await kit.open(device_id)

        await kit.sessions.release({device_id: opening.epoch})

        assert not (await kit.device(device_id)).online

    async def test_a_stale_session_releases_nothing(self, kit: Kit) -> None:
        device_id = await kit.enrol()
        stale = await kit.open(device_id)
        await kit.open(device_id)
        await kit.notices()

        await kit.sessions.release({device_id: stale.epoch})

        assert (await kit.device(device_id)).online
        assert await kit.kinds() == []

    async def test_leases_that_nobody_renews_end(self, kit: Kit) -> None:
        device_id = await kit.enrol()
        await kit.open(device_id)
        await kit.notices()
        await kit.sessions.expire()
        assert await kit.kinds() == []

        await kit.expire_leases()
        await kit.sessions.expire()

        assert await kit.kinds() == [NoticeKind.DISCONNECTED]

    async def test_a_replica_that_starts_again_holds_nothing(self, kit: Kit) -> None:
        mine, other = await kit.enrol(), await kit.enrol()
        replica = f"replica-{uuid.uuid4().hex}"
        await kit.open(mine, replica=replica)
        await kit.open(other, replica="replica-2")

        assert await kit.sessions.drop_leases_of(replica) == 1

        assert not (await kit.device(mine)).online
        assert (await kit.device(other)).online

    async def test_replicas_are_told_who_comes_and_goes(self, kit: Kit) -> None:
        device_id = await kit.enrol()
        assert await kit.kinds() == [NoticeKind.CHANGED]

        opening = await kit.open(device_id)
        await kit.sessions.save_tools(device_id, opening.epoch, TOOLS)
        await kit.sessions.release({device_id: opening.epoch})

        told = await kit.notices()
        assert [notice.kind for notice in told] == [
            NoticeKind.CONNECTED,
            NoticeKind.CHANGED,
            NoticeKind.DISCONNECTED,
        ]
        assert {(notice.device_id, notice.user_id, notice.epoch) for notice in told} == {(device_id, kit.user, 1)}

    async def test_tools_of_a_stale_session_are_not_saved(self, kit: Kit) -> None:
        device_id = await kit.enrol()
        stale = await kit.open(device_id)
        await kit.open(device_id)

        await kit.sessions.save_tools(device_id, stale.epoch, Manifest(hash=HASH_B, tools=TOOLS.tools[:1]))

        assert (await kit.devices.tools(kit.user, device_id)).hash == HASH_A
        assert (await kit.device(device_id)).tools_hash == HASH_A
