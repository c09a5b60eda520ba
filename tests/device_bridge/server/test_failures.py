"""What goes wrong on the way, on the real wire: lost devices, peers that do not read, results that are too large."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import grpc
import grpc.aio

from adiuva.device_bridge.v1 import session_service_pb2 as session_pb, tool_pb2, tool_service_pb2 as pb
from tests.device_bridge.server.callers import Caller
from tests.device_bridge.server.harness import Harness, harness
from tests.device_bridge.server.tools import MIB, device, sized
from tests.device_bridge.server.waiting import failure_of, until
from tests.fakes.device import echo, never

WAIT = tool_pb2.OFFLINE_POLICY_WAIT


def has(caller: Caller, number: int) -> bool:
    return len(caller.answers) >= number


def patient(bridge: Harness, call_id: str, **fields: Any) -> tool_pb2.ToolCall:
    return bridge.tool_call("echo", {"id": call_id}, call_id=call_id, offline_policy=WAIT, **fields)


async def test_a_device_that_dies_in_mid_call_fails_all_its_calls_at_once(bridge: Harness) -> None:
    credential = await bridge.enrol()
    call_ids = [f"c-{number}" for number in range(50)]

    async with device(bridge, credential, answers=False) as laptop, Caller(bridge.tools) as caller:
        await caller.submit(*(bridge.tool_call("never", call_id=call_id) for call_id in call_ids))
        await laptop.call_arrived(50)
        laptop.drop()
        answers = await caller.answered(*call_ids, within=1)

    assert {answer.rejected.reason for answer in answers} == {"DEVICE_LOST"}
    assert {answer.rejected.delivery for answer in answers} == {tool_pb2.DELIVERY_DELIVERED_UNKNOWN}
    assert len(bridge.bridge.table) == 0
    assert bridge.bridge.table.devices == 0


async def test_calls_that_still_waited_for_the_device_were_not_delivered(database_url: str, tmp_path: Path) -> None:
    async with harness(database_url, tmp_path, bridge_calls_per_device=1) as bridge:
        credential = await bridge.enrol()
        async with device(bridge, credential, answers=False) as laptop, Caller(bridge.tools) as caller:
            await caller.submit(*(bridge.tool_call("never", call_id=name) for name in ("sent", "waiting")))
            await laptop.call_arrived()
            laptop.drop()
            sent, waiting = await caller.answered("sent", "waiting", within=1)

    assert sent.rejected.delivery == tool_pb2.DELIVERY_DELIVERED_UNKNOWN
    assert waiting.rejected.delivery == tool_pb2.DELIVERY_NOT_DELIVERED


async def test_goodbye_in_mid_call_fails_the_call_at_once(bridge: Harness) -> None:
    credential = await bridge.enrol()

    async with device(bridge, credential, answers=False) as laptop, Caller(bridge.tools) as caller:
        await caller.submit(bridge.tool_call("never", call_id="c"))
        await laptop.call_arrived()
        await laptop.goodbye()
        (answer,) = await caller.answered("c", within=1)

    assert answer.rejected.reason == "DEVICE_LOST"


async def test_a_device_that_does_not_read_is_given_up_and_its_queue_stays_bounded(
    database_url: str, tmp_path: Path
) -> None:
    # No caller waits on its socket, and what does not fit is refused, not dropped.
    settings = {"bridge_calls_per_device": 32, "bridge_write_blocked_seconds": 2.0}
    async with harness(database_url, tmp_path, **settings) as bridge:
        credential = await bridge.enrol()
        async with device(bridge, credential, answers=False) as laptop, Caller(bridge.tools) as caller:
            laptop.stop_reading()
            call_ids = [f"c-{number}" for number in range(200)]
            for call_id in call_ids:
                await caller.submit(bridge.tool_call("echo", {"text": "x" * 250_000}, call_id=call_id))
            answers = await caller.answered(*call_ids, within=20)

            reasons = {answer.rejected.reason for answer in answers}
            # On a busy machine the last ones come when the device has been given up already.
            assert reasons - {"DEVICE_OFFLINE"} == {"TOO_MANY_CALLS", "DEVICE_LOST"}
            for answer in answers:
                if answer.rejected.reason == "TOO_MANY_CALLS":
                    assert answer.rejected.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
                    assert answer.rejected.retry_after.seconds == 1
            await until(lambda: bridge.bridge.admission.open_streams == 0)

        assert len(bridge.bridge.table) == 0


async def test_calls_past_the_queue_are_refused_with_a_delay(database_url: str, tmp_path: Path) -> None:
    async with harness(database_url, tmp_path, bridge_calls_per_device=2) as bridge:
        credential = await bridge.enrol()
        call_ids = [f"c-{number}" for number in range(12)]
        async with device(bridge, credential, answers=False) as laptop, Caller(bridge.tools) as caller:
            await caller.submit(*(bridge.tool_call("never", call_id=call_id) for call_id in call_ids))
            await caller.until(lambda: len(caller.answers) == 2)

            assert set(caller.answers) == set(call_ids[10:])
            assert laptop.welcome.max_calls == 2
            assert len(laptop.calls) <= 2


async def test_an_answer_may_come_at_once(bridge: Harness) -> None:
    # The waiter is there before the call is.
    credential = await bridge.enrol()
    call_ids = [f"c-{number}" for number in range(300)]

    async with device(bridge, credential), Caller(bridge.tools) as caller:
        for start in range(0, 300, 60):
            await caller.submit(
                *(bridge.tool_call("echo", {"id": one}, call_id=one) for one in call_ids[start : start + 60])
            )
            await caller.answered(*call_ids[start : start + 60])

    assert all(json.loads(caller.answers[one].finished.outcome.result_json) == {"id": one} for one in call_ids)


async def test_calls_cancelled_at_any_stage_leave_nothing_behind(bridge: Harness) -> None:
    credential = await bridge.enrol()
    rng = random.Random(7)  # noqa: S311 - the same every time

    async with device(bridge, credential) as laptop:

        async def once(number: int) -> None:
            call = bridge.tools.CallTool(
                pb.CallToolRequest(call=bridge.tool_call(rng.choice(["echo", "never", "half"]), call_id=f"c-{number}"))
            )
            await asyncio.sleep(rng.choice([0, 0, 0.001, 0.005, 0.02]))
            call.cancel()

        for start in range(0, 400, 40):
            await asyncio.gather(*map(once, range(start, start + 40)))

        await until(lambda: len(bridge.bridge.table) == 0)
        await laptop.until(lambda: not laptop.running)
        live = bridge.bridge.sessions.get(laptop.welcome.device_id)
        assert live is not None
        await until(lambda: live.room == 64)
        assert bridge.bridge.budget.used == 0
        assert (await bridge.call("echo", {"n": 1})).outcome.result_json == '{"n": 1}'


async def test_many_failing_calls_leave_nothing_behind(bridge: Harness) -> None:
    before = len(asyncio.all_tasks())

    async with Caller(bridge.tools) as caller:
        for start in range(0, 1000, 100):
            call_ids = [f"c-{number}" for number in range(start, start + 100)]
            await caller.submit(*(bridge.tool_call("echo", call_id=one, device_id="nowhere") for one in call_ids))
            await caller.answered(*call_ids)

    await until(lambda: len(asyncio.all_tasks()) <= before + 1)
    assert len(bridge.bridge.table) == 0
    assert bridge.bridge.table.devices == 0


async def test_a_caller_that_does_not_read_a_long_result_holds_nobody_up(bridge: Harness) -> None:
    credential = await bridge.enrol()
    tools = {"echo": echo, "huge": sized(30 * MIB)}

    async with (
        device(bridge, credential, tools=tools),
        Caller(bridge.tools) as slow,
        Caller(bridge.tools) as quick,
    ):
        slow.stop_reading()
        await slow.submit(bridge.tool_call("huge", call_id="huge"))
        for number in range(30):
            await quick.submit(bridge.tool_call("echo", call_id=f"c-{number}"))
            await quick.answered(f"c-{number}", within=2)

        slow.read_again()
        (answer,) = await slow.answered("huge")

    assert answer.finished.outcome.chunked_bytes == len(slow.chunks["huge"]) > 30 * MIB
    assert bridge.bridge.budget.used == 0


async def test_a_caller_that_never_reads_is_given_up(database_url: str, tmp_path: Path) -> None:
    async with harness(database_url, tmp_path, bridge_write_blocked_seconds=0.5) as bridge:
        credential = await bridge.enrol()
        tools = {"huge": sized(30 * MIB)}
        async with device(bridge, credential, tools=tools), Caller(bridge.tools) as slow:
            slow.stop_reading()
            await slow.submit(bridge.tool_call("huge", call_id="huge"))
            await until(lambda: bridge.bridge.budget.used > 0)
            await until(lambda: bridge.bridge.budget.used == 0)
            slow.read_again()

            assert await slow.ended() is grpc.StatusCode.UNAVAILABLE


async def test_a_result_over_the_limit_fails_its_call_only(database_url: str, tmp_path: Path) -> None:
    tools = {"echo": echo, "five": sized(5 * MIB), "never": never}
    async with harness(database_url, tmp_path, bridge_max_result_bytes=MIB) as bridge:
        credential = await bridge.enrol(tools=tools)
        async with device(bridge, credential, tools=tools) as laptop, Caller(bridge.tools) as caller:
            await caller.submit(bridge.tool_call("never", call_id="other"), bridge.tool_call("five", call_id="five"))
            (five,) = await caller.answered("five")
            await caller.submit(bridge.tool_call("echo", call_id="after"))
            (after,) = await caller.answered("after")

            assert laptop.status is None
        assert five.finished.outcome.failure.reason == "RESULT_TOO_LARGE"
        assert not five.finished.outcome.failure.retryable
        assert after.HasField("finished")
        assert bridge.bridge.budget.used == 0


async def test_a_message_over_the_frame_limit_ends_the_session_and_its_calls_hear_of_it(bridge: Harness) -> None:
    # A device that does not cut its results breaks its own session, and only that.
    credential = await bridge.enrol()

    async with device(bridge, credential, answers=False) as laptop, Caller(bridge.tools) as caller:
        await caller.submit(bridge.tool_call("echo", call_id="c"))
        request = await laptop.call_arrived()
        with contextlib.suppress(grpc.aio.AioRpcError):
            await laptop.finish(request.call_key, {"text": "x" * (2 * MIB)})
        (answer,) = await caller.answered("c", within=5)
        assert answer.rejected.reason == "DEVICE_LOST"
    async with device(bridge, credential):
        await bridge.call("echo")


async def test_pieces_out_of_order_fail_their_call_only(bridge: Harness) -> None:
    credential = await bridge.enrol()

    async with device(bridge, credential, answers=False) as laptop, Caller(bridge.tools) as caller:
        await caller.submit(bridge.tool_call("echo", call_id="bad"), bridge.tool_call("echo", call_id="good"))
        bad, good = await laptop.call_arrived(1), await laptop.call_arrived(2)
        piece = session_pb.ResultChunk(call_key=bad.call_key, offset=7, data=b"x")
        await laptop.send(session_pb.DeviceItem(result_chunk=piece))
        await laptop.finish(good.call_key)
        broken, fine = await caller.answered("bad", "good")

        assert laptop.status is None
    assert (broken.rejected.code, broken.rejected.reason) == (grpc.StatusCode.UNAVAILABLE.value[0], "INTERNAL")
    assert fine.HasField("finished")


async def test_a_patient_call_waits_for_its_device(bridge: Harness) -> None:
    credential = await bridge.enrol()
    await until(lambda: len(bridge.bridge.sessions) == 0)

    async with Caller(bridge.tools) as caller:
        await caller.submit(patient(bridge, "c"))
        await until(lambda: bridge.bridge.table.devices == 1)
        async with device(bridge, credential):
            (answer,) = await caller.answered("c")

    assert answer.finished.outcome.result_json == '{"id": "c"}'


async def test_a_patient_call_whose_device_never_comes_ends_at_its_timeout(bridge: Harness) -> None:
    await bridge.enrol()
    await until(lambda: len(bridge.bridge.sessions) == 0)

    failure = await failure_of(bridge.call("echo", timeout=0.3, offline_policy=WAIT))

    assert failure.reason == "CALL_TIMEOUT"
    assert failure.metadata["delivery"] == "NOT_DELIVERED"


async def test_a_call_that_the_device_lost_is_delivered_again(bridge: Harness) -> None:
    # Work that was not acknowledged is not lost with its stream.
    credential = await bridge.enrol()

    async with Caller(bridge.tools) as caller:
        async with device(bridge, credential, answers=False) as first:
            await caller.submit(patient(bridge, "c"))
            before = await first.call_arrived()
            first.drop()
            await until(lambda: len(bridge.bridge.sessions) == 0)
        async with device(bridge, credential, answers=False) as second:
            after = await second.call_arrived()
            await second.finish(after.call_key, {"done": 1})
            (answer,) = await caller.answered("c")

    assert (after.call_key, after.call.call_id) == (before.call_key, before.call.call_id)
    assert after.redelivery
    assert answer.finished.session_epoch == second.welcome.epoch


async def test_an_answer_that_was_lost_with_its_stream_is_sent_again_and_not_the_call(bridge: Harness) -> None:
    credential = await bridge.enrol()

    async with Caller(bridge.tools) as caller:
        async with device(bridge, credential, answers=False) as first:
            await caller.submit(patient(bridge, "finished"), patient(bridge, "running"))
            finished, running = await first.call_arrived(1), await first.call_arrived(2)
            first.drop()
            await until(lambda: len(bridge.bridge.sessions) == 0)
        known = [
            session_pb.CallInFlight(call_key=finished.call_key, finished=True),
            session_pb.CallInFlight(call_key=running.call_key),
            session_pb.CallInFlight(call_key="of-yesterday", finished=True),
        ]
        async with device(bridge, credential, answers=False, calls=known) as second:
            assert list(second.welcome.resend_call_keys) == [finished.call_key]
            assert list(second.welcome.forget_call_keys) == ["of-yesterday"]
            await second.finish(finished.call_key, {"n": 1})
            await second.finish(running.call_key, {"n": 2})
            answers = await caller.answered("finished", "running")

            assert second.calls == {}
    assert [answer.finished.outcome.result_json for answer in answers] == ['{"n": 1}', '{"n": 2}']


async def test_an_impatient_call_is_forgotten_when_the_device_is_back(bridge: Harness) -> None:
    credential = await bridge.enrol()

    async with Caller(bridge.tools) as caller:
        async with device(bridge, credential, answers=False) as first:
            await caller.submit(bridge.tool_call("never", call_id="c"))
            request = await first.call_arrived()
            first.drop()
            await caller.answered("c", within=1)
        known = [session_pb.CallInFlight(call_key=request.call_key)]
        async with device(bridge, credential, calls=known) as second:
            assert list(second.welcome.forget_call_keys) == [request.call_key]


async def test_a_takeover_in_mid_call_loses_and_doubles_nothing(bridge: Harness) -> None:
    # Two streams of one device for a moment, one answer for each call.
    credential = await bridge.enrol()
    call_ids = [f"c-{number}" for number in range(20)]

    async with Caller(bridge.tools) as caller, device(bridge, credential, answers=False) as old:
        await caller.submit(*(bridge.tool_call("echo", {"id": one}, call_id=one) for one in call_ids))
        await old.call_arrived(20)
        keys = {request.call.call_id: request.call_key for request in old.calls.values()}
        known = [session_pb.CallInFlight(call_key=keys[one], finished=one in call_ids[:5]) for one in call_ids[:10]]
        async with device(bridge, credential, answers=False, calls=known) as new:
            await new.call_arrived(10)
            # The old stream is dead for the bridge: what still comes from it counts for nothing.
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await old.finish(keys["c-0"], {"from": "old"})
            for one in call_ids:
                await new.finish(keys[one], {"from": "new"})
            answers = await caller.answered(*call_ids)

    assert {request.call.call_id for request in new.calls.values()} == set(call_ids[10:])
    assert all(request.redelivery for request in new.calls.values())
    assert {answer.finished.outcome.result_json for answer in answers} == {'{"from": "new"}'}
    assert {answer.finished.session_epoch for answer in answers} == {new.welcome.epoch}


async def test_through_many_broken_streams_each_call_is_answered_once(bridge: Harness) -> None:
    # The device's ledger is played by a dictionary.
    credential = await bridge.enrol()
    call_ids = [f"c-{number}" for number in range(40)]
    ledger: dict[str, int] = {}

    async def effect(call: tool_pb2.ToolCall) -> dict[str, Any]:
        ledger[call.call_id] = ledger.get(call.call_id) or len(ledger) + 1
        await asyncio.sleep(0.002)
        return {"n": ledger[call.call_id]}

    async with Caller(bridge.tools) as caller:
        await caller.submit(*(patient(bridge, one) for one in call_ids))
        with anyio.fail_after(30):
            while len(caller.answers) < len(call_ids):
                async with device(bridge, credential, tools={"echo": effect}) as laptop:
                    enough = len(caller.answers) + 5
                    await caller.until(partial(has, caller, min(enough, 40)))
                    laptop.drop()

    told = {one: json.loads(caller.answers[one].finished.outcome.result_json)["n"] for one in call_ids}
    assert told == ledger
    assert len(set(ledger.values())) == 40
