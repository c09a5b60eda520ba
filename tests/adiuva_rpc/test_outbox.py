"""The outbox: lanes, frames, bounds, and nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, strategies as st

from adiuva_rpc.outbox import (
    CONTROL_RESERVE,
    ItemTooLarge,
    Lane,
    Outbox,
    OutboxClosed,
    OutboxFull,
    Pump,
    WriteBlocked,
)

FRAME = 100


def frame(outbox: Outbox[str]) -> list[str]:
    """Drain a frame that does not have to be waited for."""
    drain = outbox.drain()
    try:
        drain.send(None)
    except StopIteration as done:
        return list(done.value)
    drain.close()
    return pytest.fail("the outbox waits")


def chunks(name: str, count: int, size: int = 10) -> Iterator[tuple[str, int]]:
    for number in range(count):
        yield f"{name}{number}", size


class TestFrames:
    def test_everything_that_waits_goes_out_in_one_frame_control_first(self) -> None:
        outbox: Outbox[str] = Outbox(frame_bytes=FRAME)
        outbox.put("call 1", 10)
        outbox.put("heartbeat", 1, Lane.CONTROL)
        outbox.put("call 2", 10)
        outbox.put_bulk("file", chunks("chunk ", 2))

        assert frame(outbox) == ["heartbeat", "call 1", "call 2", "chunk 0"]
        assert frame(outbox) == ["chunk 1"]

    def test_a_frame_holds_no_more_than_its_bytes(self) -> None:
        outbox: Outbox[str] = Outbox(frame_bytes=FRAME)
        for number in range(5):
            outbox.put(f"call {number}", 40)

        assert [frame(outbox) for _ in range(3)] == [["call 0", "call 1"], ["call 2", "call 3"], ["call 4"]]

    def test_a_call_does_not_overtake_a_larger_one(self) -> None:
        outbox: Outbox[str] = Outbox(frame_bytes=FRAME)
        outbox.put("first", 60)
        outbox.put("large", 60)
        outbox.put("small", 1)

        assert [frame(outbox), frame(outbox)] == [["first"], ["large", "small"]]

    def test_transfers_take_turns_one_chunk_a_frame(self) -> None:
        outbox: Outbox[str] = Outbox(frame_bytes=FRAME)
        outbox.put_bulk("a", chunks("a", 3))
        outbox.put_bulk("b", chunks("b", 1))
        outbox.put_bulk("c", chunks("c", 2))

        assert [frame(outbox)[0] for _ in range(6)] == ["a0", "b0", "c0", "a1", "c1", "a2"]

    def test_chunks_are_made_only_when_they_are_sent(self) -> None:
        made: list[int] = []

        def lazily() -> Iterator[tuple[str, int]]:
            for number in range(1000):
                made.append(number)
                yield str(number), 10

        outbox: Outbox[str] = Outbox(frame_bytes=FRAME)
        outbox.put_bulk("big", lazily())
        assert made == []

        frame(outbox)
        frame(outbox)

        assert made == [0, 1]

    def test_calls_that_fill_every_frame_do_not_starve_a_transfer(self) -> None:
        outbox: Outbox[str] = Outbox(frame_bytes=FRAME)
        outbox.put_bulk("file", chunks("chunk ", 3, size=30))
        sent: list[list[str]] = []
        for _ in range(6):
            for number in range(4):
                outbox.put(f"call {number}", 25)
            sent.append(frame(outbox))

        assert [item for each in sent for item in each if item.startswith("chunk")] == ["chunk 0", "chunk 1", "chunk 2"]

    def test_a_transfer_without_chunks_sends_nothing(self) -> None:
        outbox: Outbox[str] = Outbox(frame_bytes=FRAME)
        outbox.put_bulk("empty", iter([]))
        outbox.put_bulk("a", chunks("a", 1))

        assert frame(outbox) == ["a0"]

    def test_a_cancelled_transfer_sends_no_more(self) -> None:
        outbox: Outbox[str] = Outbox(frame_bytes=FRAME)
        outbox.put_bulk("a", chunks("a", 5))
        outbox.put_bulk("b", chunks("b", 1))
        assert frame(outbox) == ["a0"]

        assert outbox.cancel_bulk("a") is True
        assert outbox.cancel_bulk("a") is False

        outbox.put("call", 1)
        assert [frame(outbox), outbox.waiting_items] == [["call", "b0"], 0]

    def test_an_error_in_a_transfer_ends_that_transfer_only(self) -> None:
        def broken() -> Iterator[tuple[str, int]]:
            yield "ok", 10
            raise OSError("the file vanished")

        outbox: Outbox[str] = Outbox(frame_bytes=FRAME)
        outbox.put_bulk("broken", broken())
        assert frame(outbox) == ["ok"]

        with pytest.raises(OSError, match="vanished"):
            frame(outbox)
        outbox.put("call", 1)
        assert frame(outbox) == ["call"]


class TestBounds:
    def test_an_item_larger_than_a_frame_is_refused(self) -> None:
        outbox: Outbox[str] = Outbox(frame_bytes=FRAME)

        outbox.put("fits", FRAME)
        with pytest.raises(ItemTooLarge):
            outbox.put("too large", FRAME + 1)
        assert outbox.waiting_items == 1

    def test_a_chunk_larger_than_a_frame_ends_its_transfer(self) -> None:
        outbox: Outbox[str] = Outbox(frame_bytes=FRAME)
        outbox.put_bulk("wrong", iter([("too large", FRAME + 1), ("never", 1)]))

        with pytest.raises(ItemTooLarge):
            frame(outbox)
        assert outbox.cancel_bulk("wrong") is False

    def test_a_full_outbox_refuses_calls_by_number_and_by_bytes(self) -> None:
        by_number: Outbox[str] = Outbox(max_items=2, frame_bytes=FRAME)
        by_bytes: Outbox[str] = Outbox(max_bytes=50, frame_bytes=FRAME)
        for outbox in (by_number, by_bytes):
            outbox.put("one", 20)
            outbox.put("two", 20)

            with pytest.raises(OutboxFull) as caught:
                outbox.put("three", 20)

            assert caught.value.retry_after == 1.0
            assert frame(outbox) == ["one", "two"]
            outbox.put("three", 20)

    def test_control_still_fits_into_an_outbox_full_of_calls_but_not_without_end(self) -> None:
        outbox: Outbox[str] = Outbox(max_items=1, max_bytes=10, frame_bytes=10_000)
        outbox.put("call", 10)

        for _ in range(CONTROL_RESERVE):
            outbox.put("cancel", 1, Lane.CONTROL)

        with pytest.raises(OutboxFull):
            outbox.put("cancel", 1, Lane.CONTROL)

    def test_only_so_many_transfers_at_a_time(self) -> None:
        outbox: Outbox[str] = Outbox(max_transfers=1, frame_bytes=FRAME)
        outbox.put_bulk("a", chunks("a", 1))

        with pytest.raises(OutboxFull):
            outbox.put_bulk("b", chunks("b", 1))

    def test_a_transfer_is_put_once(self) -> None:
        outbox: Outbox[str] = Outbox(frame_bytes=FRAME)
        outbox.put_bulk("a", chunks("a", 1))

        with pytest.raises(ValueError, match="under way"):
            outbox.put_bulk("a", chunks("a", 1))


class TestWaitingAndClosing:
    async def test_a_drain_waits_for_the_first_item(self) -> None:
        outbox: Outbox[str] = Outbox()
        async with asyncio.TaskGroup() as tasks:
            drain = tasks.create_task(outbox.drain())
            await anyio.lowlevel.checkpoint()
            assert not drain.done()
            outbox.put("call", 1)

        assert drain.result() == ["call"]

    async def test_a_drain_that_is_cancelled_has_taken_nothing(self) -> None:
        outbox: Outbox[str] = Outbox()
        with anyio.move_on_after(0.01):
            await outbox.drain()

        outbox.put("call", 1)

        assert await outbox.drain() == ["call"]

    async def test_what_waits_at_the_close_still_goes_out(self) -> None:
        outbox: Outbox[str] = Outbox()
        outbox.put("call", 1)
        outbox.put_bulk("a", chunks("a", 2))
        outbox.close()

        assert await outbox.drain() == ["call", "a0"]
        assert await outbox.drain() == ["a1"]
        for _ in range(2):
            with pytest.raises(OutboxClosed):
                await outbox.drain()

    async def test_nothing_is_taken_after_the_close(self) -> None:
        outbox: Outbox[str] = Outbox()
        outbox.close()

        with pytest.raises(OutboxClosed):
            outbox.put("late", 1)
        with pytest.raises(OutboxClosed):
            outbox.put_bulk("late", chunks("a", 1))

    async def test_a_close_wakes_the_writer(self) -> None:
        outbox: Outbox[str] = Outbox()
        with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(outbox.drain())
                await anyio.lowlevel.checkpoint()
                outbox.close()

        assert caught.group_contains(OutboxClosed)


class TestThePump:
    async def test_frames_are_written_one_at_a_time_until_the_close(self) -> None:
        outbox: Outbox[str] = Outbox()
        written: list[list[str]] = []
        blocked: list[bool] = []

        async def write(items: tuple[str, ...]) -> None:
            blocked.append(pump.blocked_since is not None)
            if not written:
                outbox.put("meanwhile 1", 1)
                outbox.put("meanwhile 2", 1)
                outbox.close()
            await anyio.lowlevel.checkpoint()
            written.append(list(items))

        pump: Pump[str, tuple[str, ...]] = Pump(outbox, write, tuple)
        outbox.put("first", 1)
        with anyio.fail_after(5):
            await pump.run()

        assert written == [["first"], ["meanwhile 1", "meanwhile 2"]]
        assert blocked == [True, True]
        assert pump.blocked_since is None

    async def test_an_error_of_the_write_comes_out(self) -> None:
        async def write(_items: list[str]) -> None:
            raise ConnectionError("gone")

        outbox: Outbox[str] = Outbox()
        outbox.put("call", 1)

        with pytest.raises(ConnectionError):
            await Pump(outbox, write, list).run()

    async def test_a_write_that_blocks_is_noticed(self) -> None:
        async def write(_items: list[str]) -> None:
            await anyio.sleep_forever()

        outbox: Outbox[str] = Outbox()
        pump: Pump[str, list[str]] = Pump(outbox, write, list)
        with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(pump.run())
                tasks.create_task(pump.watch(0.05))
                outbox.put("call", 1)

        assert caught.group_contains(WriteBlocked)

    async def test_an_idle_outbox_is_not_a_blocked_one(self) -> None:
        async def write(_items: list[str]) -> None:
            return

        pump: Pump[str, list[str]] = Pump(Outbox(), write, list)
        with anyio.move_on_after(0.1) as scope:
            await pump.watch(0.01)

        assert scope.cancelled_caught


@dataclass
class Model:
    """What must come out, in a simple-minded way."""

    control: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    transfers: dict[int, list[str]] = field(default_factory=dict)


sizes = st.integers(0, FRAME + 5)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(Lane), sizes),
        st.tuples(st.just("bulk"), st.integers(0, 3), st.lists(st.integers(0, FRAME), max_size=4)),
        st.tuples(st.just("cancel"), st.integers(0, 3), st.none()),
        st.tuples(st.just("drain"), st.none(), st.none()),
    ),
    max_size=60,
)


@given(operations)
async def test_nothing_is_lost_or_sent_twice_and_every_lane_keeps_its_order(steps: list[tuple[str, Any, Any]]) -> None:
    outbox: Outbox[tuple[str, int]] = Outbox(max_items=10, max_bytes=500, frame_bytes=FRAME, max_transfers=2)
    model = Model()
    for number, step in enumerate(steps):
        apply(outbox, model, number, step)

    outbox.close()
    while drain_into(outbox, model):
        pass
    assert (model.control, model.calls, [key for key, left in model.transfers.items() if left]) == ([], [], [])
    assert (outbox.waiting_items, outbox.waiting_bytes) == (0, 0)


def apply(outbox: Outbox[tuple[str, int]], model: Model, number: int, step: tuple[str, Any, Any]) -> None:
    match step:
        case ("put", lane, size):
            name = f"{lane.value} {number}"
            try:
                outbox.put((name, size), size, lane)
            except ItemTooLarge:
                assert size > FRAME
            except OutboxFull:
                assert outbox.waiting_items >= 10 or outbox.waiting_bytes + size > 500
            else:
                (model.control if lane is Lane.CONTROL else model.calls).append(name)
        case ("bulk", key, parts):
            names = [f"bulk {key} {number} {index}" for index in range(len(parts))]
            try:
                outbox.put_bulk(key, iter([((name, size), size) for name, size in zip(names, parts, strict=True)]))
            except (OutboxFull, ValueError):
                return
            model.transfers[key] = names
        case ("cancel", key, _):
            outbox.cancel_bulk(key)
            model.transfers.pop(key, None)
        case _:
            drain_into(outbox, model)


def drain_into(outbox: Outbox[tuple[str, int]], model: Model) -> bool:
    """Drain a frame, check it against the model, and take it out of the model; False when nothing came."""
    drain = outbox.drain()
    try:
        drain.send(None)
    except StopIteration as done:
        items: list[tuple[str, int]] = done.value
    except OutboxClosed:
        return False
    else:
        drain.close()
        assert not (model.control)
        assert not (model.calls)
        assert not (any(model.transfers.values()))
        return False
    assert items
    assert sum(size for _, size in items) <= FRAME
    names = [name for name, _ in items]
    bulk = [name for name in names if name.startswith("bulk")]
    assert len(bulk) <= 1
    for name in bulk:
        assert model.transfers[int(name.split()[1])].pop(0) == name
    for lane, waiting in (("control", model.control), ("call", model.calls)):
        sent = [name for name in names if name.startswith(lane)]
        assert sent == waiting[: len(sent)]
        del waiting[: len(sent)]
    return True
