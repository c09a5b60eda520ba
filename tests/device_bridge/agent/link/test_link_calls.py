"""Calls on the real wire, through cuts and reconnects."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import anyio
import grpc

from device_bridge.agent.domain import Outcome, ToolCall
from device_bridge.agent.link.domain import EndKind
from device_bridge.agent.link.session import Timing
from tests.device_bridge.agent.link.support import (
    bridge_and_device,
    seeded,
)
from tests.fakes.bridge import call_item

PATIENCE = 10.0


async def test_a_hundred_calls_are_answered_each_with_its_own_answer() -> None:
    async with bridge_and_device() as (bridge, _device):
        session = await bridge.next_session()
        await session.welcome(max_calls=100)

        await session.say(*(call_item(str(number), "echo", {"number": number}) for number in range(100)))
        answers = [await session.expect_done(str(number)) for number in range(100)]

    assert [json.loads(answer.outcome.result_json)["number"] for answer in answers] == list(range(100))
    assert len(session.frames) < 20


async def test_a_call_runs_on_through_a_reconnect_and_is_answered_once() -> None:
    async with bridge_and_device() as (bridge, running):
        first = await bridge.next_session()
        await first.welcome()
        await first.call("a", "slow")
        await running.tools.until(lambda: bool(running.tools.started))
        await first.end(grpc.StatusCode.UNAVAILABLE)

        second = await bridge.next_session()
        await second.welcome(epoch=2)
        running.tools.release("slow")
        done = await second.expect_done("a")
        await second.acknowledge("a")
        await second.call("b", "echo")
        await second.expect_done("b")

    assert [(call.call_key, call.finished) for call in second.hello.calls] == [("a", False)]
    assert done.outcome.WhichOneof("outcome") == "result_json"
    assert len(second.done("a")) == 1
    assert len(running.tools.started) == 2
    assert running.tools.cancelled == []


async def test_a_call_that_ended_while_nobody_listened_is_answered_when_asked_for() -> None:
    async with bridge_and_device() as (bridge, running):
        first = await bridge.next_session()
        await first.welcome()
        await first.call("a", "slow")
        await running.tools.until(lambda: bool(running.tools.started))
        await bridge.stop()
        running.tools.release("slow")
        with anyio.fail_after(PATIENCE):
            await running.calls.idle.wait()
        await bridge.start()

        second = await bridge.next_session()
        await second.welcome(resend_call_keys=["a"])
        await second.expect_done("a")
        await second.call("b", "echo")
        await second.expect_done("b")

    assert [call.call_key for call in second.hello.calls] == ["a"]
    assert len(second.done("a")) == 1
    assert [call.tool for call in running.tools.started] == ["slow", "echo"]


async def test_a_redelivered_call_that_has_ended_is_answered_from_memory() -> None:
    async with bridge_and_device() as (bridge, running):
        first = await bridge.next_session()
        await first.welcome()
        await first.call("a", "echo", {"n": 1})
        await first.expect_done("a")
        await first.end(grpc.StatusCode.UNAVAILABLE)

        second = await bridge.next_session()
        await second.welcome()
        await second.call("a", "echo", {"n": 1}, redelivery=True)
        await second.expect_done("a")

    assert len(running.tools.started) == 1


async def test_the_calls_that_nobody_waits_for_are_forgotten() -> None:
    async with bridge_and_device() as (bridge, running):
        first = await bridge.next_session()
        await first.welcome()
        await first.call("a", "slow")
        await running.tools.until(lambda: bool(running.tools.started))
        await first.end(grpc.StatusCode.UNAVAILABLE)

        second = await bridge.next_session()
        await second.welcome(forget_call_keys=["a"])
        await running.tools.until(lambda: running.tools.cancelled == ["id-a"])
        await second.call("b", "echo")
        await second.expect_done("b")

    assert second.done("a") == []


async def test_every_result_is_delivered_once_through_twenty_cuts() -> None:
    """The bridge's side of the rule is played here: it asks again for what it has no answer to."""
    wanted = [str(number) for number in range(60)]
    answered: dict[str, int] = {}
    async with bridge_and_device() as (bridge, _device):
        rng = seeded(7)
        for _ in range(20):
            session = await bridge.next_session()
            named = {call.call_key: call.finished for call in session.hello.calls}
            await session.welcome(
                resend_call_keys=[key for key, finished in named.items() if finished and key not in answered],
                forget_call_keys=[key for key in named if key in answered],
            )
            missing = [key for key in wanted if key not in answered and key not in named]
            batch = missing[: rng.randrange(1, 10)]
            await session.say(*(call_item(key, "echo", {"n": key}, redelivery=True) for key in batch))
            if batch and rng.random() < 0.7:
                await session.expect_done(batch[0])
            await session.end(grpc.StatusCode.UNAVAILABLE)
            for item in session.items:
                if key := item.call_done.call_key:
                    answered[key] = answered.get(key, 0) + 1
        last = await bridge.next_session()
        known = {call.call_key for call in last.hello.calls}
        await last.welcome(
            resend_call_keys=[key for key in known if key not in answered],
            forget_call_keys=[key for key in known if key in answered],
        )
        await last.say(*(call_item(key, "echo") for key in wanted if key not in answered and key not in known))
        for key in wanted:
            if key not in answered:
                await last.expect_done(key)
        for item in last.items:
            if key := item.call_done.call_key:
                answered[key] = answered.get(key, 0) + 1

    assert set(answered) == set(wanted)
    assert set(answered.values()) == {1}


async def test_a_long_result_arrives_whole_and_small_ones_do_not_wait_for_it() -> None:
    size = 24 << 20
    async with bridge_and_device() as (bridge, _device):
        session = await bridge.next_session()
        await session.welcome()

        await session.call("big", "echo", {"text": "x" * 200_000}, timeout=30)
        await session.expect_done("big")
        assert session.done("big")[0].outcome.WhichOneof("outcome") == "result_json"

    async with bridge_and_device(run_tool=_long(size)) as (bridge, _device):
        session = await bridge.next_session()
        await session.welcome()
        await session.call("big", "echo")
        await session.expect(lambda item: item.result_chunk.call_key == "big")
        await session.call("small", "small")
        await session.expect_done("small")
        position = len(session.items)
        done = await session.expect_done("big")

    assert done.outcome.chunked_bytes == size + len('{"text":""}')
    assert json.loads(session.chunks("big")) == {"text": "x" * size}
    assert position < len(session.items)
    assert all(frame.count("result_chunk") <= 1 for frame in session.frames)


def _long(size: int) -> Callable[[ToolCall], Awaitable[Outcome]]:
    async def run_tool(call: ToolCall) -> Outcome:
        return Outcome(result={} if call.tool == "small" else {"text": "x" * size})

    return run_tool


async def test_a_cancelled_call_answers_cancelled() -> None:
    async with bridge_and_device() as (bridge, running):
        session = await bridge.next_session()
        await session.welcome()
        await session.call("a", "slow")
        await running.tools.until(lambda: bool(running.tools.started))

        await session.cancel("a")
        done = await session.expect_done("a")

    assert done.outcome.failure.reason == "CANCELLED"
    assert running.tools.cancelled == ["id-a"]


async def test_a_call_past_its_deadline_answers_timeout() -> None:
    async with bridge_and_device() as (bridge, _device):
        session = await bridge.next_session()
        await session.welcome()

        await session.call("a", "slow", timeout=0.01)
        done = await session.expect_done("a")

    assert done.outcome.failure.reason == "TIMEOUT"


async def test_a_bridge_that_does_not_read_is_left_after_the_write_was_blocked() -> None:
    async with bridge_and_device(run_tool=_long(8 << 20), timing=Timing(write_blocked=0.1)) as (bridge, running):
        session = await bridge.next_session()
        await session.welcome()
        session.stop_reading()
        await session.say(*(call_item(str(number), "echo") for number in range(4)))

        again = await bridge.next_session()
        await running.until(lambda: bool(running.ends))
        session.resume_reading()

    assert running.ends[0].kind is EndKind.STALLED
    assert {call.call_key for call in again.hello.calls} == {"0", "1", "2", "3"}


async def test_stopping_finishes_the_call_under_way_and_says_goodbye() -> None:
    async with bridge_and_device() as (bridge, running):
        session = await bridge.next_session()
        await session.welcome()
        await session.call("a", "slow")
        await running.tools.until(lambda: bool(running.tools.started))

        running.stop.set()
        running.tools.release("slow")
        end = await running.ended()
        await session.expect_kind("goodbye")

    assert end.kind is EndKind.LEFT
    assert [kind for frame in session.frames for kind in frame] == ["hello", "call_done", "goodbye"]
