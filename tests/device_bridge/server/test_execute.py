"""Execute on the real wire: many calls on one stream."""

from __future__ import annotations

import asyncio
import json

import anyio
import grpc
import pytest

from adiuva.device_bridge.v1 import tool_pb2, tool_service_pb2 as pb
from tests.device_bridge.server.callers import Caller
from tests.device_bridge.server.harness import Harness
from tests.device_bridge.server.tools import MIB, device
from tests.device_bridge.server.waiting import failure_of, until
from tests.fakes.device import FakeDevice


class TestExecute:
    async def test_answers_come_as_they_are_ready(self, bridge: Harness) -> None:
        credential = await bridge.enrol()

        async with device(bridge, credential), Caller(bridge.tools) as caller:
            await caller.submit(bridge.tool_call("never", call_id="slow"), bridge.tool_call("echo", call_id="fast"))
            (fast,) = await caller.answered("fast")

        assert fast.user_id == bridge.user
        assert fast.finished.outcome.result_json == "{}"
        assert "slow" not in caller.answers

    async def test_a_hundred_callers_with_one_call_id_each_get_their_own_answer(self, bridge: Harness) -> None:
        # Answers of two users must never be swapped.
        users = [f"{bridge.user}-{number}" for number in range(20)]
        async with anyio.create_task_group() as tasks:
            stop = anyio.Event()
            devices: dict[str, str] = {}

            async def live(user: str) -> None:
                code = await bridge.code_for(user)
                async with bridge.own_channel() as channel, FakeDevice(channel, code=code) as laptop:
                    devices[user] = laptop.welcome.device_id
                    await stop.wait()

            for user in users:
                tasks.start_soon(live, user)
            await until(lambda: len(devices) == len(users))

            async def ask(user: str) -> tuple[str, str]:
                call = bridge.tool_call("echo", {"user": user}, call_id="same", user_id=user, device_id=devices[user])
                answer = await bridge.service_tools.CallTool(pb.CallToolRequest(call=call))
                return user, json.loads(answer.outcome.result_json)["user"]

            for _ in range(5):
                answers = await asyncio.gather(*map(ask, users))
                assert all(user == told for user, told in answers)
            stop.set()

    async def test_a_repeated_call_joins_and_one_with_other_arguments_is_refused(self, bridge: Harness) -> None:
        credential = await bridge.enrol()

        async with device(bridge, credential, answers=False) as laptop, Caller(bridge.tools) as caller:
            await caller.submit(bridge.tool_call("echo", {"a": 1}, call_id="c"))
            request = await laptop.call_arrived()
            other = await failure_of(bridge.call("echo", {"a": 2}, call_id="c"))
            async with Caller(bridge.tools) as joined:
                await joined.submit(bridge.tool_call("echo", {"a": 1}, call_id="c"))
                await until(lambda: len(bridge.bridge.table._by_id[bridge.user, "c"].waiters) == 2)
                await laptop.finish(request.call_key, {"done": True})
                answers = [*await caller.answered("c"), *await joined.answered("c")]

        assert (other.code, other.reason) == (grpc.StatusCode.ALREADY_EXISTS, "CALL_ID_REUSED")
        assert [answer.finished.outcome.result_json for answer in answers] == ['{"done": true}'] * 2
        assert len(laptop.calls) == 1

    async def test_a_long_result_comes_in_pieces_before_its_end(self, bridge: Harness) -> None:
        credential = await bridge.enrol()

        async with device(bridge, credential), Caller(bridge.tools) as caller:
            await caller.submit(bridge.tool_call("five", call_id="five"), bridge.tool_call("half", call_id="half"))
            five, half = await caller.answered("five", "half")

        assert five.finished.outcome.chunked_bytes == len(caller.chunks["five"])
        assert half.finished.outcome.chunked_bytes == len(caller.chunks["half"])
        assert len(json.loads(caller.chunks["five"])["text"]) == 5 * MIB
        assert bridge.bridge.budget.used == 0

    async def test_a_result_that_the_device_did_not_cut_is_cut_by_the_bridge(self, bridge: Harness) -> None:
        credential = await bridge.enrol()

        async with device(bridge, credential, answers=False) as laptop, Caller(bridge.tools) as caller:
            await caller.submit(bridge.tool_call("echo", call_id="c"))
            request = await laptop.call_arrived()
            await laptop.finish(request.call_key, {"text": "x" * 900_000})
            (answer,) = await caller.answered("c")

        assert answer.finished.outcome.chunked_bytes == len(caller.chunks["c"])

    async def test_a_frame_of_calls_is_answered_in_few_frames(self, bridge: Harness) -> None:
        credential = await bridge.enrol()
        calls = [bridge.tool_call("echo", call_id=f"c-{number}") for number in range(60)]

        async with device(bridge, credential, answers=False) as laptop, Caller(bridge.tools) as caller:
            await caller.submit(*calls)
            await laptop.call_arrived(60)
            frames_to_device = laptop.frames
            await laptop.finish_all()
            await caller.answered(*(call.call_id for call in calls))

        assert frames_to_device <= 5
        assert caller.frames <= 5

    async def test_after_half_close_the_calls_still_finish(self, bridge: Harness) -> None:
        credential = await bridge.enrol()

        async with device(bridge, credential, answers=False) as laptop, Caller(bridge.tools) as caller:
            await caller.submit(bridge.tool_call("echo", call_id="c"))
            request = await laptop.call_arrived()
            await caller.done_writing()
            await laptop.finish(request.call_key)

            assert await caller.ended() is grpc.StatusCode.OK

        assert caller.answers["c"].finished.outcome.result_json == "{}"

    async def test_a_stream_without_calls_ends_when_its_caller_ends_it(self, bridge: Harness) -> None:
        async with Caller(bridge.tools) as caller:
            await caller.done_writing()

            assert await caller.ended() is grpc.StatusCode.OK

    async def test_a_broken_stream_cancels_its_calls(self, bridge: Harness) -> None:
        credential = await bridge.enrol()

        async with device(bridge, credential) as laptop, Caller(bridge.tools) as caller:
            await caller.submit(bridge.tool_call("never", call_id="c"))
            await laptop.call_arrived()
            caller.drop()
            await laptop.until(lambda: len(laptop.cancelled) == 1)

        assert len(bridge.bridge.table) == 0

    async def test_a_call_can_be_cancelled_on_its_stream(self, bridge: Harness) -> None:
        credential = await bridge.enrol()

        async with device(bridge, credential) as laptop, Caller(bridge.tools) as caller:
            await caller.submit(bridge.tool_call("never", call_id="c"))
            await laptop.call_arrived()
            await caller.cancel("c")
            (answer,) = await caller.answered("c")
            await laptop.until(lambda: len(laptop.cancelled) == 1)

        assert answer.rejected.reason == "CALL_CANCELLED"
        assert answer.rejected.code == grpc.StatusCode.CANCELLED.value[0]
        assert answer.rejected.delivery == tool_pb2.DELIVERY_DELIVERED_UNKNOWN

    async def test_a_stream_cannot_cancel_the_calls_of_another(self, bridge: Harness) -> None:
        credential = await bridge.enrol()

        async with device(bridge, credential) as laptop, Caller(bridge.tools) as mine, Caller(bridge.tools) as other:
            await mine.submit(bridge.tool_call("never", call_id="c"))
            await laptop.call_arrived()
            await other.cancel("c")
            await other.submit(bridge.tool_call("echo", call_id="later"))
            await other.answered("later")

            assert mine.answers == {}

    async def test_a_wrong_call_is_rejected_and_the_stream_goes_on(self, bridge: Harness) -> None:
        credential = await bridge.enrol()

        async with device(bridge, credential), Caller(bridge.tools) as caller:
            await caller.submit(
                bridge.tool_call("echo", call_id="other-user", user_id="mallory"),
                tool_pb2.ToolCall(call_id="bad", tool="echo", arguments_json="[]"),
                bridge.tool_call("echo", call_id="good"),
            )
            denied, bad, good = await caller.answered("other-user", "bad", "good")

        assert denied.rejected.code == grpc.StatusCode.PERMISSION_DENIED.value[0]
        assert bad.rejected.reason == "INVALID_ARGUMENT"
        assert bad.rejected.delivery == tool_pb2.DELIVERY_NOT_DELIVERED
        assert good.HasField("finished")

    @pytest.mark.parametrize("frame", [pb.ExecuteRequest(items=[pb.CallerItem()])])
    async def test_a_malformed_frame_ends_the_stream(self, bridge: Harness, frame: pb.ExecuteRequest) -> None:
        async with Caller(bridge.tools) as caller:
            await caller.write(frame)

            assert await caller.ended() is grpc.StatusCode.INVALID_ARGUMENT

    async def test_a_service_carries_calls_of_many_users_on_one_stream(self, bridge: Harness) -> None:
        users = [f"{bridge.user}-a", f"{bridge.user}-b"]
        codes = [await bridge.code_for(user) for user in users]

        async with (
            FakeDevice(bridge.device_channel, code=codes[0]),
            FakeDevice(bridge.device_channel, code=codes[1]),
            Caller(bridge.service_tools) as caller,
        ):
            calls = [bridge.tool_call("echo", {"u": user}, call_id=f"c-{user}", user_id=user) for user in users]
            await caller.submit(*calls)
            answers = await caller.answered(*(call.call_id for call in calls))

        assert [json.loads(answer.finished.outcome.result_json)["u"] for answer in answers] == users
        assert [answer.user_id for answer in answers] == users
