"""What every store of the bridge must do. Collected once for the fake and once for PostgreSQL."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

import pytest

from device_bridge.server.devices.domain import Device, EffectClass, Manifest, Notice, NoticeKind, Tool
from device_bridge.server.devices.ports import DeviceCursor, DeviceStore
from device_bridge.server.enrolment.ports import EnrolmentStore, NewDevice
from device_bridge.server.errors import CodeRefused, CodeShownOnce, DeviceRevoked, DeviceUnknown, TooManyCodes
from device_bridge.server.routing.ports import DeviceDirectory
from device_bridge.server.sessions.ports import Arrival, Opening, SessionStore

HASH_A, HASH_B = "a" * 64, "b" * 64
TOOLS = Manifest(
    hash=HASH_A,
    tools=(
        Tool(name="read", description="Reads, \u00fc.", toolset="filesystem", effect_class=EffectClass.READ_ONLY),
        Tool(name="write", input_schema_json='{"type":"object"}', default_timeout=1.5, max_result_bytes=10),
    ),
)
REPLICA = "replica-1"


class Stores(DeviceStore, DeviceDirectory, Protocol):
    """Devices and who owns them."""


@dataclass(slots=True)
class Kit:
    """A store under test and what a test does with it over and over."""

    sessions: SessionStore
    devices: Stores
    enrolment: EnrolmentStore
    expire_leases: Callable[[], Awaitable[None]]
    """Makes every lease look overdue."""
    expire_codes: Callable[[], Awaitable[None]]
    """Makes every code look expired."""
    notices: Callable[[], Awaitable[list[Notice]]]
    """What the replicas were told about `user` since the last time."""
    user: str = field(default_factory=lambda: f"user-{uuid.uuid4().hex[:8]}")
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def code(self, user: str | None = None, *, lifetime: float = 60.0, request_id: str = "") -> str:
        """Make a code and return its hash."""
        sha256 = uuid.uuid4().hex * 2
        await self.enrolment.add_code(
            user or self.user,
            request_id=request_id or uuid.uuid4().hex,
            sha256=sha256,
            lifetime=lifetime,
            max_unused=20,
        )
        return sha256

    async def redeem(self, code: str, *, installation: str = "i-1", device_id: str = "") -> str:
        """Redeem a code and return the device's id. The credential's hash is `credential of <number>`."""
        new = NewDevice(
            device_id=device_id or uuid.uuid4().hex, installation_id=installation, display_name="Anna's laptop"
        )
        made, _user = await self.enrolment.redeem(
            code, new, credential_of=lambda _device_id: f"credential-{next(self._numbers)}"
        )
        return made

    async def enrol(self, user: str | None = None) -> str:
        """Make a device of a user."""
        return await self.redeem(await self.code(user))

    async def open(
        self, device_id: str, *, manifest: Manifest = TOOLS, replica: str = REPLICA, user: str | None = None
    ) -> Opening:
        """Begin a session."""
        arrival = Arrival(
            device_id=device_id,
            user_id=user or self.user,
            session_id=uuid.uuid4().hex,
            agent_version="0.2.0",
            display_name="Anna's new name",
            root_names=("sample", "mail"),
            manifest=manifest,
        )
        return await self.sessions.open_session(arrival, replica=replica, lease_seconds=60.0)

    async def renew(self, epochs: dict[str, int]) -> set[str]:
        """Renew leases."""
        return await self.sessions.renew(epochs, replica=REPLICA, lease_seconds=60.0)

    async def device(self, device_id: str) -> Device:
        """Return a device of the user."""
        return await self.devices.get(self.user, device_id)

    async def kinds(self) -> list[NoticeKind]:
        """Return the kinds of what the replicas were told since the last time."""
        return [notice.kind for notice in await self.notices()]


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


class EnrolmentStoreConformance:
    async def test_a_code_leads_to_a_device_of_its_user(self, kit: Kit) -> None:
        code = await kit.code()
        assert await kit.enrolment.code_is_good(code)

        device_id = await kit.redeem(code)

        device = await kit.device(device_id)
        assert device.display_name == "Anna's laptop"
        assert device.connected_at is None
        assert not device.online

    async def test_a_code_is_made_once_for_a_request(self, kit: Kit) -> None:
        await kit.code(request_id="r-1")

        with pytest.raises(CodeShownOnce):
            await kit.code(request_id="r-1")

        assert await kit.enrolment.code_is_good(await kit.code(f"{kit.user}-other", request_id="r-1"))

    async def test_a_user_has_only_so_many_unused_codes(self, kit: Kit) -> None:
        codes = [await kit.code() for _ in range(20)]

        with pytest.raises(TooManyCodes):
            await kit.code()

        await kit.redeem(codes[0])
        await kit.code()

    async def test_codes_made_at_the_same_time_are_counted_too(self, kit: Kit) -> None:
        made = await asyncio.gather(*(kit.code() for _ in range(25)), return_exceptions=True)

        assert sum(isinstance(each, TooManyCodes) for each in made) == 5

    async def test_an_unknown_code_leads_nowhere(self, kit: Kit) -> None:
        assert not await kit.enrolment.code_is_good("0" * 64)
        with pytest.raises(CodeRefused):
            await kit.redeem("0" * 64)

    async def test_an_expired_code_leads_nowhere(self, kit: Kit) -> None:
        code = await kit.code()
        await kit.expire_codes()

        assert not await kit.enrolment.code_is_good(code)
        with pytest.raises(CodeRefused):
            await kit.redeem(code)

    async def test_a_lost_welcome_can_be_repeated_by_the_same_installation(self, kit: Kit) -> None:
        code = await kit.code()
        first = await kit.redeem(code)
        before = await kit.enrolment.credential(first)

        second = await kit.redeem(code)

        after = await kit.enrolment.credential(first)
        assert second == first
        assert before is not None
        assert after is not None
        assert before.sha256 != after.sha256
        assert not await kit.enrolment.mark_used(first, before.sha256)

    async def test_another_installation_cannot_use_the_code_too(self, kit: Kit) -> None:
        code = await kit.code()
        await kit.redeem(code)

        with pytest.raises(CodeRefused):
            await kit.redeem(code, installation="i-2")

    async def test_the_first_use_of_the_credential_kills_the_code(self, kit: Kit) -> None:
        code = await kit.code()
        device_id = await kit.redeem(code)
        credential = await kit.enrolment.credential(device_id)
        assert credential is not None
        assert not credential.used

        assert await kit.enrolment.mark_used(device_id, credential.sha256)
        assert await kit.enrolment.mark_used(device_id, credential.sha256)

        used = await kit.enrolment.credential(device_id)
        assert used is not None
        assert used.used
        assert not await kit.enrolment.code_is_good(code)
        with pytest.raises(CodeRefused):
            await kit.redeem(code)

    async def test_two_installations_at_the_same_time_make_one_device(self, kit: Kit) -> None:
        code = await kit.code()

        made = await asyncio.gather(
            *(kit.redeem(code, installation=f"i-{number}") for number in range(4)), return_exceptions=True
        )

        assert sum(isinstance(each, str) for each in made) == 1
        assert sum(isinstance(each, CodeRefused) for each in made) == 3

    async def test_the_code_of_a_revoked_device_is_dead(self, kit: Kit) -> None:
        code = await kit.code()
        device_id = await kit.redeem(code)
        await kit.devices.revoke(kit.user, device_id, reason="lost")

        assert not await kit.enrolment.code_is_good(code)
        with pytest.raises(CodeRefused):
            await kit.redeem(code)
        credential = await kit.enrolment.credential(device_id)
        assert credential is not None
        assert credential.revoked

    async def test_a_device_that_does_not_exist_has_no_credential(self, kit: Kit) -> None:
        assert await kit.enrolment.credential("nowhere") is None
        assert not await kit.enrolment.mark_used("nowhere", "credential-1")
