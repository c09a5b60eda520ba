"""What every store of codes and credentials must do."""

from __future__ import annotations

import asyncio

import pytest

from device_bridge.server.errors import CodeRefused, CodeShownOnce, TooManyCodes
from tests.conformance.device_bridge.kit import Kit


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
