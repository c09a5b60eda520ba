"""How a session ends."""

from __future__ import annotations

import asyncio

import pytest

from device_bridge.agent.link.calls import Calls
from device_bridge.agent.link.domain import (
    Closed,
    CloseReason,
    EndKind,
    Frame,
    HeartbeatAck,
    SessionEnd,
    Welcome,
)
from device_bridge.agent.link.session import Timing
from tests.device_bridge.agent.link.bench import Bench, bench, call
from tests.device_bridge.agent.link.support import (
    FixedIdentity,
    Tools,
    settle,
    welcome,
)


async def test_a_bridge_that_never_answers_hello_is_given_up_after_ten_seconds() -> None:
    async with bench() as b:
        await b.clock.advance(9.9)
        assert b.end is None

        await b.clock.advance(0.2)

    end = await b.finish()
    assert end.kind is EndKind.NO_WELCOME
    assert end.ready_seconds is None
    assert b.stream.cancelled


async def test_a_hello_that_cannot_be_written_does_not_hold_the_handshake_up() -> None:
    async with bench() as b:
        b.stream.writable.clear()

        await b.clock.advance(10.0)

    assert (await b.finish()).kind is EndKind.NO_WELCOME


async def test_a_bridge_that_goes_silent_is_given_up_after_two_and_a_half_intervals() -> None:
    async with bench() as b:
        b.stream.say(welcome(heartbeat_interval=20.0))
        await settle()
        await b.clock.advance(30.0)
        b.stream.say(HeartbeatAck())

        await b.clock.advance(49.9)
        assert b.end is None
        await b.clock.advance(0.2)

    end = await b.finish()
    assert end.kind is EndKind.SILENT
    assert end.ready_seconds == pytest.approx(80.0)


async def test_a_laptop_that_slept_does_not_take_its_own_sleep_for_the_bridges_silence() -> None:
    async with bench() as b:
        b.stream.say(welcome(heartbeat_interval=20.0))
        await settle()

        b.clock.jump(3600.0)
        await b.clock.advance(1.0)
        assert b.end is None
        await b.clock.advance(51.0)

    assert (await b.finish()).kind is EndKind.SILENT


async def test_a_write_that_is_blocked_too_long_retires_the_session() -> None:
    async with bench(timing=Timing(write_blocked=0.02)) as b:
        b.stream.say(welcome())
        await settle()
        b.stream.writable.clear()
        b.stream.say(call("a"))

        end = await b.finish()

        assert end.kind is EndKind.STALLED
        assert [entry.call_key for entry in b.calls.in_flight()] == ["a"]


async def test_a_bridge_that_asks_for_the_same_answer_without_end_does_not_fill_the_memory() -> None:
    async with bench() as b:
        b.stream.say(welcome())
        b.stream.say(call("a", text="x" * 10_000))
        await settle()
        b.stream.writable.clear()

        for _ in range(100):
            b.stream.say(*(call("a") for _ in range(100)))
        end = await b.finish()

    assert end.kind is EndKind.STALLED


async def test_a_bridge_that_breaks_the_protocol_ends_the_session() -> None:
    async with bench() as b:
        b.stream.say_frame(Frame(1, (welcome(),)))
        b.stream.say_frame(Frame(5, ()))
        end = await b.finish()

    assert end.kind is EndKind.VIOLATION


@pytest.mark.parametrize("before", [(), (welcome(),)], ids=["before welcome", "after welcome"])
async def test_closed_ends_the_session_with_its_reason(before: tuple[Welcome, ...]) -> None:
    closed = Closed(reason=CloseReason.OVERLOADED, retry_after=7.0, message="full")

    async with bench() as b:
        b.stream.say(*before, closed)
        end = await b.finish()

    assert (end.kind, end.close_reason, end.retry_after, end.detail) == (
        EndKind.CLOSED, CloseReason.OVERLOADED, 7.0, "full",
    )  # fmt: skip


async def test_the_end_of_the_stream_ends_the_session_with_the_streams_word() -> None:
    async with bench() as b:
        b.stream.say(welcome())
        b.stream.break_off(SessionEnd(kind=EndKind.LOST, detail="UNAVAILABLE", retry_after=3.0))
        end = await b.finish()

    assert (end.kind, end.detail, end.retry_after) == (EndKind.LOST, "UNAVAILABLE", 3.0)
    assert end.ready_seconds == 0.0


async def test_stopping_finishes_the_calls_then_says_goodbye_last() -> None:
    async with bench() as b:
        b.stream.say(welcome())
        b.stream.say(call("a", "slow"))
        await settle()

        b.stop.set()
        await settle()
        b.stream.say(call("late"))
        await settle()
        b.tools.release("slow")
        await settle()
        b.stream.break_off(SessionEnd(kind=EndKind.LOST, detail="the bridge ended the stream"))
        end = await b.finish()

    assert end.kind is EndKind.LEFT
    assert b.stream.kinds() == ["hello", "call_done", "goodbye"]
    assert b.stream.half_closed
    assert [started.call_id for started in b.tools.started] == ["id-a"]


async def test_stopping_waits_three_seconds_for_a_call_and_no_longer() -> None:
    async with bench() as b:
        b.stream.say(welcome())
        b.stream.say(call("a", "slow"))
        await settle()
        b.stop.set()

        await b.clock.advance(2.9)
        assert "goodbye" not in b.stream.kinds()
        await b.clock.advance(0.2)
        assert b.stream.kinds()[-1] == "goodbye"
        await b.clock.advance(1.0)

    assert (await b.finish()).kind is EndKind.LEFT


async def test_stopping_before_welcome_ends_at_once() -> None:
    async with bench() as b:
        b.stop.set()
        end = await b.finish()

    assert end.kind is EndKind.LEFT


async def test_stopping_a_device_whose_bridge_does_not_read_is_bounded() -> None:
    async with bench() as b:
        b.stream.say(welcome())
        await settle()
        b.stream.writable.clear()
        b.stop.set()

        await b.clock.advance(4.0)

    assert (await b.finish()).kind is EndKind.LEFT


async def test_a_revocation_during_the_goodbye_is_still_heard() -> None:
    async with bench() as b:
        b.stream.say(welcome())
        b.stream.say(call("a", "slow"))
        await settle()
        b.stop.set()
        await settle()
        b.stream.say(Closed(reason=CloseReason.REVOKED, permanent=True))
        end = await b.finish()

    assert end.permanent


async def test_a_session_that_is_cancelled_as_its_stream_breaks_is_cancelled() -> None:
    async with Calls(Tools()) as calls, asyncio.TaskGroup() as tasks:
        b = Bench(calls, Tools(), FixedIdentity(), Timing())
        task = tasks.create_task(b.run())
        b.stream.say(welcome())
        await settle()

        b.stream.break_off(SessionEnd(kind=EndKind.LOST))
        await asyncio.sleep(0)  # the read has its answer, but its task has not run yet
        task.cancel()
        await settle()

        assert task.cancelled()
