"""Codes for people and credentials for devices."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from adiuva_rpc.identity import Role
from adiuva_rpc.telemetry import MASK, redact
from device_bridge.server.enrolment.authenticator import DeviceAuthenticator
from device_bridge.server.enrolment.domain import (
    code_hash,
    credential_hash,
    device_of_credential,
    new_code,
    new_credential,
    new_device_id,
)
from device_bridge.server.enrolment.enroller import CodeEnroller
from device_bridge.server.errors import CodeRefused, DeviceRevoked
from tests.fakes.bridge_store import FakeBridgeStore


def test_a_code_is_long_and_easy_to_read() -> None:
    code = new_code()

    assert re.fullmatch(r"([A-Z2-7]{5}-){5}[A-Z2-7]", code)
    assert new_code() != code


def test_a_code_is_the_same_however_it_is_typed() -> None:
    code = new_code()

    assert code_hash(code) == code_hash(code.lower()) == code_hash(code.replace("-", "")) is not None


@given(st.text())
def test_no_text_makes_the_hash_crash(text: str) -> None:
    digest = code_hash(text)

    assert digest is None or re.fullmatch("[0-9a-f]{64}", digest)


def test_a_credential_names_its_device_and_is_masked_in_logs() -> None:
    device_id = new_device_id()
    credential = new_credential(device_id)

    assert device_of_credential(credential) == device_id
    assert redact(f"token {credential} end") == f"token {MASK} end"


@pytest.mark.parametrize("text", ["", "adv_device_", "adv_device_x_y", "adv_other", new_credential("0" * 32) + "x"])
def test_what_is_no_credential_names_nobody(text: str) -> None:
    assert device_of_credential(text) is None


class TestAuthenticator:
    @pytest.fixture
    def store(self) -> FakeBridgeStore:
        return FakeBridgeStore()

    async def enrol(self, store: FakeBridgeStore, installation: str = "i") -> tuple[str, str, str]:
        enroller = CodeEnroller(store)
        code = (await enroller.make_code("anna", request_id=new_device_id(), lifetime=None)).code
        enrolled = await enroller.redeem(code, installation_id=installation, display_name="laptop")
        return code, enrolled.device_id, enrolled.credential

    async def test_a_device_is_known_by_its_credential(self, store: FakeBridgeStore) -> None:
        _, device_id, credential = await self.enrol(store)

        caller = await DeviceAuthenticator(store).authenticate("bearer", credential)

        assert caller is not None
        assert (caller.role, caller.user_id, caller.device_id) == (Role.DEVICE, "anna", device_id)

    async def test_its_first_use_kills_the_code(self, store: FakeBridgeStore) -> None:
        code, _, credential = await self.enrol(store)
        authenticator = DeviceAuthenticator(store)
        assert await authenticator.authenticate("enrolment", code) is not None

        await authenticator.authenticate("bearer", credential)

        assert await authenticator.authenticate("enrolment", code) is None

    async def test_the_secret_is_kept_as_a_hash_only(self, store: FakeBridgeStore) -> None:
        _, device_id, credential = await self.enrol(store)

        stored = await store.credential(device_id)

        assert stored is not None
        assert stored.sha256 == credential_hash(credential)
        assert credential not in repr(stored)

    async def test_the_credential_of_another_device_with_this_ones_name_is_nobodys(
        self, store: FakeBridgeStore
    ) -> None:
        _, device_id, _ = await self.enrol(store)

        assert await DeviceAuthenticator(store).authenticate("bearer", new_credential(device_id)) is None

    async def test_a_revoked_device_is_told_so(self, store: FakeBridgeStore) -> None:
        _, device_id, credential = await self.enrol(store)
        await store.revoke("anna", device_id, reason="lost")

        with pytest.raises(DeviceRevoked):
            await DeviceAuthenticator(store).authenticate("bearer", credential)

    @pytest.mark.parametrize("scheme", ["basic", "digest", ""])
    async def test_other_schemes_are_nobodys(self, store: FakeBridgeStore, scheme: str) -> None:
        _, _, credential = await self.enrol(store)

        assert await DeviceAuthenticator(store).authenticate(scheme, credential) is None

    async def test_what_cannot_be_a_code_is_refused_without_asking(self, store: FakeBridgeStore) -> None:
        with pytest.raises(CodeRefused):
            await CodeEnroller(store).redeem("nonsense", installation_id="i", display_name="laptop")

    async def test_a_code_does_not_show_in_a_repr(self, store: FakeBridgeStore) -> None:
        code = await CodeEnroller(store).make_code("anna", request_id="r", lifetime=None)

        assert code.code not in repr(code)
