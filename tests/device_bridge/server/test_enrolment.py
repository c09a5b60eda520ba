"""Enrolment on the real wire: codes, credentials, lost Welcomes."""

from __future__ import annotations

import uuid

import grpc
import pytest

from adiuva.device_bridge.v1 import device_service_pb2 as pb
from tests.device_bridge.server.harness import Harness
from tests.device_bridge.server.waiting import failure_of
from tests.fakes.device import FakeDevice, Rejected


class TestEnrolment:
    async def test_a_code_makes_a_device_with_a_credential(self, bridge: Harness) -> None:
        async with FakeDevice(bridge.device_channel, code=await bridge.code()) as first:
            credential = first.issued_credential
        async with bridge.device(credential) as later:
            assert later.welcome.device_id == first.welcome.device_id
            assert later.issued_credential == ""

        assert credential.startswith("adv_device_")

    async def test_a_code_may_be_typed_in_any_way(self, bridge: Harness) -> None:
        code = await bridge.code()

        async with FakeDevice(bridge.device_channel, code=code.lower().replace("-", "")) as device:
            assert device.welcome.user_id == bridge.user

    async def test_a_lost_welcome_does_not_brick_the_device(self, bridge: Harness) -> None:
        code = await bridge.code()

        async with FakeDevice(bridge.device_channel, code=code) as lost:
            lost.drop()
        async with FakeDevice(bridge.device_channel, code=code) as again:
            pass
        async with bridge.device(again.issued_credential) as device:
            assert device.welcome.device_id == lost.welcome.device_id
        for dead in (
            FakeDevice(bridge.device_channel, code=code),
            FakeDevice(bridge.device_channel, lost.issued_credential),
        ):
            with pytest.raises(Rejected) as refused:
                async with dead:
                    pass
            assert refused.value.code is grpc.StatusCode.UNAUTHENTICATED

    async def test_another_installation_cannot_use_the_code_too(self, bridge: Harness) -> None:
        code = await bridge.code()
        async with FakeDevice(bridge.device_channel, code=code, installation_id="mine"):
            pass

        with pytest.raises(Rejected) as refused:
            async with FakeDevice(bridge.device_channel, code=code, installation_id="theirs"):
                pass

        assert refused.value.code is grpc.StatusCode.UNAUTHENTICATED

    async def test_a_code_is_shown_once(self, bridge: Harness) -> None:
        request = pb.CreateEnrolmentCodeRequest(request_id=str(uuid.uuid4()))
        made = await bridge.devices.CreateEnrolmentCode(request)

        repeated = await failure_of(bridge.devices.CreateEnrolmentCode(request))

        assert len(made.code.replace("-", "")) == 26
        assert made.HasField("expires_at")
        assert repeated.code is grpc.StatusCode.ALREADY_EXISTS

    @pytest.mark.parametrize("seconds", [-1, 0, 59, 86_401])
    async def test_a_lifetime_out_of_range_is_refused(self, bridge: Harness, seconds: int) -> None:
        request = pb.CreateEnrolmentCodeRequest(request_id=str(uuid.uuid4()))
        request.lifetime.FromSeconds(seconds)

        failure = await failure_of(bridge.devices.CreateEnrolmentCode(request))

        assert failure.code is grpc.StatusCode.INVALID_ARGUMENT

    @pytest.mark.parametrize("request_id", ["", "a b", "x" * 129, "a\0"])
    async def test_a_request_without_a_proper_id_is_refused(self, bridge: Harness, request_id: str) -> None:
        request = pb.CreateEnrolmentCodeRequest(request_id=request_id)

        assert (await failure_of(bridge.devices.CreateEnrolmentCode(request))).reason == "INVALID_ARGUMENT"

    async def test_a_user_has_only_so_many_unused_codes(self, bridge: Harness) -> None:
        for _ in range(20):
            await bridge.code()

        request = pb.CreateEnrolmentCodeRequest(request_id=str(uuid.uuid4()))
        failure = await failure_of(bridge.devices.CreateEnrolmentCode(request))

        assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CODES")
        assert failure.retry_after is not None
