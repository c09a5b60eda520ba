"""CallTool on the real wire: one call, its answer or its status."""

from __future__ import annotations

import json
import uuid
from typing import Any

import grpc
import pytest

from adiuva.device_bridge.v1 import tool_pb2, tool_service_pb2 as pb
from tests.device_bridge.server.harness import Harness
from tests.device_bridge.server.tools import MIB, device
from tests.device_bridge.server.waiting import failure_of, until
from tests.fakes.device import FakeDevice, descriptor


class TestCallTool:
    async def test_the_call_reaches_the_device_as_it_was_asked(self, bridge: Harness) -> None:
        credential = await bridge.enrol()
        context = tool_pb2.RunContext(run_id="run-1", epoch=3, phase="processing", group="g")

        async with device(bridge, credential) as laptop:
            answer = await bridge.call("echo", {"n": 1}, call_id="call-1", run_context=context, timeout=7.0)
            (request,) = laptop.calls.values()

        assert answer.call_id == "call-1"
        assert answer.device_id == laptop.welcome.device_id
        assert answer.session_epoch == laptop.welcome.epoch
        assert json.loads(answer.outcome.result_json) == {"n": 1}
        assert request.call.call_id == "call-1"
        assert request.call.user_id == bridge.user
        assert request.call.device_id == laptop.welcome.device_id
        assert request.call.run_context == context
        assert not request.redelivery
        assert 5.0 < request.call.timeout.ToMilliseconds() / 1000 <= 7.0

    async def test_a_call_without_an_id_gets_one(self, bridge: Harness) -> None:
        credential = await bridge.enrol()

        async with device(bridge, credential):
            answer = await bridge.call("echo")

        assert str(uuid.UUID(answer.call_id)) == answer.call_id

    async def test_a_tool_that_fails_is_an_answer(self, bridge: Harness) -> None:
        credential = await bridge.enrol()

        async with device(bridge, credential):
            answer = await bridge.call("fails")
            unknown = await bridge.call("invented")

        assert answer.outcome.failure.reason == "PATH_DENIED"
        assert unknown.outcome.failure.reason == "UNKNOWN_TOOL"

    async def test_a_result_in_pieces_comes_in_one(self, bridge: Harness) -> None:
        credential = await bridge.enrol()

        async with device(bridge, credential):
            answer = await bridge.call("two")

        assert len(json.loads(answer.outcome.result_json)["text"]) == 2 * MIB
        assert answer.outcome.WhichOneof("outcome") == "result_json"
        assert bridge.bridge.budget.used == 0

    async def test_a_result_too_long_for_one_message_is_refused(self, bridge: Harness) -> None:
        credential = await bridge.enrol()

        async with device(bridge, credential):
            failure = await failure_of(bridge.call("five"))

        assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESULT_TOO_LARGE")
        assert failure.metadata["delivery"] == "COMPLETED"

    async def test_an_unknown_device_is_not_found_at_once(self, bridge: Harness) -> None:
        failure = await failure_of(bridge.call("echo", device_id="nowhere", within=1))
        nobody = await failure_of(bridge.call("echo", within=1))

        assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "DEVICE_UNKNOWN")
        assert (nobody.code, nobody.reason) == (grpc.StatusCode.NOT_FOUND, "DEVICE_UNKNOWN")
        assert failure.metadata["delivery"] == "NOT_DELIVERED"

    async def test_an_offline_device_is_unavailable_at_once(self, bridge: Harness) -> None:
        async with FakeDevice(bridge.device_channel, code=await bridge.code()) as laptop:
            device_id = laptop.welcome.device_id

        failure = await failure_of(bridge.call("echo", device_id=device_id, within=1))

        assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "DEVICE_OFFLINE")
        assert failure.metadata["delivery"] == "NOT_DELIVERED"

    async def test_another_users_device_is_as_unknown_as_one_that_does_not_exist(self, bridge: Harness) -> None:
        credential = await bridge.enrol()

        async with device(bridge, credential) as laptop:
            call = bridge.tool_call("echo", user_id="mallory", device_id=laptop.welcome.device_id)
            live = await failure_of(bridge.service_tools.CallTool(pb.CallToolRequest(call=call)))
        await until(lambda: len(bridge.bridge.sessions) == 0)
        offline = await failure_of(bridge.service_tools.CallTool(pb.CallToolRequest(call=call)))

        assert live.reason == offline.reason == "DEVICE_UNKNOWN"
        assert live.message == offline.message

    async def test_an_empty_device_id_means_the_device_that_connected_last(self, bridge: Harness) -> None:
        first, second = await bridge.enrol(), await bridge.enrol()

        async with device(bridge, second), device(bridge, first) as last:
            answer = await bridge.call("echo")

        assert answer.device_id == last.welcome.device_id

    async def test_a_user_cannot_act_for_another_one(self, bridge: Harness) -> None:
        failure = await failure_of(bridge.call("echo", user_id="somebody-else"))

        assert failure.code is grpc.StatusCode.PERMISSION_DENIED

    async def test_a_service_must_name_the_user(self, bridge: Harness) -> None:
        call = pb.CallToolRequest(call=bridge.tool_call("echo"))

        assert (await failure_of(bridge.service_tools.CallTool(call))).reason == "USER_REQUIRED"

    async def test_a_service_may_name_the_user_in_the_metadata(self, bridge: Harness) -> None:
        credential = await bridge.enrol()

        async with device(bridge, credential):
            call = pb.CallToolRequest(call=bridge.tool_call("echo"))
            answer = await bridge.service_tools.CallTool(call, metadata=(("adiuva-user", bridge.user),))

        assert answer.outcome.result_json == "{}"

    @pytest.mark.parametrize(
        ("field", "fields"),
        [
            ("call.arguments_json", {"arguments_json": "[]"}),
            ("call.arguments_json", {"arguments_json": '{"a": NaN}'}),
            ("call.tool", {"tool": ""}),
            ("call_id", {"call_id": "a b"}),
            ("call.offline_policy", {"offline_policy": 99}),
        ],
    )
    async def test_a_wrong_field_is_named(self, bridge: Harness, field: str, fields: dict[str, Any]) -> None:
        call = tool_pb2.ToolCall(**{"tool": "echo", **fields})

        failure = await failure_of(bridge.tools.CallTool(pb.CallToolRequest(call=call)))

        assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
        assert failure.message.startswith(field)

    async def test_a_call_must_be_there(self, bridge: Harness) -> None:
        assert (await failure_of(bridge.tools.CallTool(pb.CallToolRequest()))).reason == "INVALID_ARGUMENT"

    async def test_a_tool_that_takes_too_long_ends_at_the_timeout(self, bridge: Harness) -> None:
        credential = await bridge.enrol()

        async with device(bridge, credential) as laptop:
            failure = await failure_of(bridge.call("never", timeout=0.3))
            await laptop.until(lambda: len(laptop.cancelled) == 1)

        assert (failure.code, failure.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "CALL_TIMEOUT")
        assert failure.metadata["delivery"] == "DELIVERED_UNKNOWN"

    async def test_a_caller_that_hangs_up_cancels_its_call(self, bridge: Harness) -> None:
        credential = await bridge.enrol()

        async with device(bridge, credential) as laptop:
            call = bridge.tools.CallTool(pb.CallToolRequest(call=bridge.tool_call("never")))
            await laptop.call_arrived()
            call.cancel()
            await laptop.until(lambda: len(laptop.cancelled) == 1)

        assert len(bridge.bridge.table) == 0


async def test_every_tool_is_listed_as_the_device_told_it(bridge: Harness) -> None:
    listed = [descriptor("b", max_result_bytes=10), descriptor("a", effect_class=tool_pb2.EFFECT_CLASS_EFFECT)]

    async with FakeDevice(bridge.device_channel, code=await bridge.code(), descriptors=listed) as laptop:
        told = await bridge.list_tools(laptop.welcome.device_id)

    assert list(told.tools) == [listed[1], listed[0]]
    assert told.hash == laptop.manifest.hash
