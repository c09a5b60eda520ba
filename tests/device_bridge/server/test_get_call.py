"""GetCall and CancelCall on the real wire: a call that somebody else submitted."""

from __future__ import annotations

import json
from typing import Any

import anyio
import grpc

from adiuva.device_bridge.v1 import tool_pb2, tool_service_pb2 as pb
from tests.device_bridge.server.callers import Caller
from tests.device_bridge.server.harness import Harness
from tests.device_bridge.server.tools import device
from tests.device_bridge.server.waiting import failure_of, until


class TestGetCall:
    async def test_a_call_can_be_followed_from_elsewhere(self, bridge: Harness) -> None:
        credential = await bridge.enrol()
        question = pb.GetCallRequest(call_id="c")
        waiting = bridge.tool_call("echo", call_id="w", offline_policy=tool_pb2.OFFLINE_POLICY_WAIT)

        async with Caller(bridge.tools) as caller:
            waiting.device_id = (await bridge.only_device()).device_id
            await caller.submit(waiting)
            await until(lambda: len(bridge.bridge.table) == 1)
            parked = await bridge.tools.GetCall(pb.GetCallRequest(call_id="w"))
            async with device(bridge, credential, answers=False) as laptop:
                await laptop.call_arrived()
                await laptop.finish(next(iter(laptop.calls)))
                await caller.answered("w")
                await caller.submit(bridge.tool_call("echo", call_id="c"))
                request = await laptop.call_arrived(2)
                running = await bridge.tools.GetCall(question)
                await laptop.finish(request.call_key, {"ok": 1})
                await caller.answered("c")
                finished = await bridge.tools.GetCall(question)

        assert parked.state == pb.CALL_STATE_WAITING
        assert running.state == pb.CALL_STATE_RUNNING
        assert finished.state == pb.CALL_STATE_FINISHED
        assert finished.outcome.result_json == '{"ok": 1}'

    async def test_a_rejection_is_remembered_too(self, bridge: Harness) -> None:
        await failure_of(bridge.call("echo", call_id="c", device_id="nowhere"))

        told = await bridge.tools.GetCall(pb.GetCallRequest(call_id="c"))

        assert told.state == pb.CALL_STATE_REJECTED
        assert told.rejected.reason == "DEVICE_UNKNOWN"

    async def test_what_the_bridge_forgot_the_device_is_asked(self, bridge: Harness) -> None:
        credential = await bridge.enrol()
        effect = {"kind": "CREATED", "entity_type": "task", "entity_id": "t1", "title": "Call", "source": "a.md"}

        async def get_call(call: tool_pb2.ToolCall) -> dict[str, Any]:
            asked = json.loads(call.arguments_json)["call_id"]
            known: dict[str, Any] = {"known": True, "result": {"id": "t1"}, "failure": None, "effects": [effect]}
            denied = {"reason": "POLICY_DENIED", "message": "no", "retryable": False}
            failed: dict[str, Any] = {"known": True, "result": None, "failure": denied, "effects": []}
            return {"old": known, "failed": failed}.get(asked, {"known": False})

        async with device(bridge, credential, tools={"get_call": get_call}):
            old = await bridge.tools.GetCall(pb.GetCallRequest(call_id="old"))
            failed = await bridge.tools.GetCall(pb.GetCallRequest(call_id="failed"))
            unknown = await failure_of(bridge.tools.GetCall(pb.GetCallRequest(call_id="unknown")))

        assert old.state == pb.CALL_STATE_FINISHED
        assert json.loads(old.outcome.result_json) == {"id": "t1"}
        assert old.outcome.replayed
        assert old.outcome.effects[0].kind == tool_pb2.EFFECT_KIND_CREATED
        assert old.outcome.effects[0].entity_id == "t1"
        assert failed.outcome.failure.reason == "POLICY_DENIED"
        assert (unknown.code, unknown.reason) == (grpc.StatusCode.NOT_FOUND, "CALL_UNKNOWN")

    async def test_a_device_that_answers_nonsense_is_no_crash(self, bridge: Harness) -> None:
        credential = await bridge.enrol()

        async def get_call(_call: tool_pb2.ToolCall) -> dict[str, Any]:
            return {"known": True, "result": {}, "effects": [{"kind": 7}]}

        async with device(bridge, credential, tools={"get_call": get_call}):
            failure = await failure_of(bridge.tools.GetCall(pb.GetCallRequest(call_id="c")))

        assert failure.code is grpc.StatusCode.UNAVAILABLE

    async def test_while_the_device_is_offline_nobody_knows_yet(self, bridge: Harness) -> None:
        await bridge.enrol()
        await until(lambda: len(bridge.bridge.sessions) == 0)

        failure = await failure_of(bridge.tools.GetCall(pb.GetCallRequest(call_id="c")))

        assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "DEVICE_OFFLINE")

    async def test_a_user_without_devices_has_no_calls(self, bridge: Harness) -> None:
        failure = await failure_of(bridge.tools.GetCall(pb.GetCallRequest(call_id="c")))

        assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "CALL_UNKNOWN")

    async def test_the_calls_of_others_are_unknown(self, bridge: Harness) -> None:
        credential = await bridge.enrol()
        async with device(bridge, credential):
            await bridge.call("echo", call_id="c")

        question = pb.GetCallRequest(call_id="c", user_id="mallory")
        failure = await failure_of(bridge.service_tools.GetCall(question))

        assert failure.code is grpc.StatusCode.NOT_FOUND


class TestCancelCall:
    async def test_a_call_can_be_cancelled_from_elsewhere(self, bridge: Harness) -> None:
        credential = await bridge.enrol()
        cancel = pb.CancelCallRequest(call_id="c")

        async with device(bridge, credential) as laptop, Caller(bridge.tools) as caller:
            await caller.submit(bridge.tool_call("never", call_id="c"))
            await laptop.call_arrived()
            first = await bridge.tools.CancelCall(cancel)
            second = await bridge.tools.CancelCall(cancel)
            (answer,) = await caller.answered("c")

        assert first.was_running
        assert not second.was_running
        assert answer.rejected.reason == "CALL_CANCELLED"

    async def test_a_cancelled_unary_call_ends_cancelled(self, bridge: Harness) -> None:
        credential = await bridge.enrol()

        async with device(bridge, credential) as laptop, anyio.create_task_group() as tasks:

            async def cancel() -> None:
                await laptop.call_arrived()
                await bridge.tools.CancelCall(pb.CancelCallRequest(call_id="c"))

            tasks.start_soon(cancel)
            failure = await failure_of(bridge.call("never", call_id="c"))

        assert failure.code is grpc.StatusCode.CANCELLED
