"""What passes in a session."""

from __future__ import annotations

from typing import Any

from adiuva.device_bridge.v1 import session_service_pb2 as pb
from device_bridge.agent.domain import Effect, EffectKind, Outcome, Reason, ToolCall
from device_bridge.agent.link.domain import (
    Cancel,
    EndKind,
    HeartbeatAck,
    MalformedCall,
    ResultAck,
)
from tests.device_bridge.agent.link.bench import bench, call
from tests.device_bridge.agent.link.support import (
    FixedIdentity,
    settle,
    welcome,
)


async def test_hello_comes_first_and_alone() -> None:
    async with bench() as b:
        (frame,) = b.stream.written

    hello = frame.items[0].hello
    assert (frame.seq, len(frame.items)) == (1, 1)
    assert hello.instance_id == "instance-1"
    assert hello.installation_id == "installation-1"
    assert hello.display_name == "Anna's laptop"
    assert list(hello.root_names) == ["sample"]


async def test_an_enrolled_device_names_its_tools_by_hash_and_a_new_one_sends_them() -> None:
    async with bench() as known, bench(identity=FixedIdentity("Enrolment code")) as new:
        pass

    assert known.stream.written[0].items[0].hello.tools == pb.ToolManifest(hash="0" * 64)
    assert len(new.stream.written[0].items[0].hello.tools.tools) == 2


async def test_the_tools_follow_when_the_bridge_does_not_know_the_hash() -> None:
    async with bench() as b:
        b.stream.say(welcome(need_tools=True))
        await settle()

    (manifest,) = b.items("tools_changed")
    assert [tool.name for tool in manifest.tools] == ["echo", "small"]
    assert manifest.hash == "0" * 64


async def test_the_identity_hears_of_the_welcome_before_anybody_else() -> None:
    async with bench() as b:
        b.stream.say(welcome(issued_credential="new"))
        await settle()

    assert [w.issued_credential for w in b.identity.welcomes] == ["new"]
    assert len(b.ready) == 1


async def test_a_session_is_not_used_when_its_credential_could_not_be_stored() -> None:
    identity = FixedIdentity("Enrolment code")
    identity.fault = OSError(28, "No space left on device")

    async with bench(identity=identity) as b:
        b.stream.say(welcome(issued_credential="new"), call("a"))
        end = await b.finish()

    assert end.kind is EndKind.LOST
    assert "No space left" in end.detail
    assert b.tools.started == []
    assert b.ready == []


async def test_calls_are_run_and_answered() -> None:
    async with bench() as b:
        b.stream.say(welcome())
        b.stream.say(call("a", text="hi"), MalformedCall(call_key="b", message="no tool"))
        await settle()

    done = {item.call_key: item.outcome for item in b.items("call_done")}
    assert done["a"].result_json == '{"text":"hi"}'
    assert done["b"].failure.reason == "INVALID_ARGUMENT"


async def test_everything_that_waits_goes_out_in_one_frame() -> None:
    async with bench() as b:
        b.stream.say(welcome())
        await settle()
        b.stream.writable.clear()
        b.stream.say(call("first"))
        await settle()

        b.stream.say(*(call(str(number)) for number in range(50)))
        await settle()
        b.stream.writable.set()
        await settle()

    assert [len(frame.items) for frame in b.stream.written] == [1, 1, 50]
    assert [frame.seq for frame in b.stream.written] == [1, 2, 3]


async def test_a_heartbeat_goes_out_each_interval_with_the_load_and_the_lag() -> None:
    async with bench() as b:
        b.stream.say(welcome(heartbeat_interval=20.0), call("a", "slow"))
        await settle()
        b.lag.observe(0.25)
        b.lag.observe(0.1)

        for _ in range(3):
            await b.clock.advance(20.0)
            b.stream.say(HeartbeatAck())

    beats = b.items("heartbeat")
    assert len(beats) == 3
    assert beats[0].running_calls == 1
    assert [beat.loop_lag.ToMilliseconds() for beat in beats] == [250, 0, 0]


async def test_an_acknowledged_answer_is_kept_no_longer_and_a_cancelled_call_ends() -> None:
    async with bench() as b:
        b.stream.say(welcome())
        b.stream.say(call("a"), call("b", "slow"))
        await settle()
        b.stream.say(ResultAck(("a",)), Cancel("b"))
        await settle()

        assert [entry.call_key for entry in b.calls.in_flight()] == ["b"]

    assert b.items("call_done")[-1].outcome.failure.reason == "CANCELLED"


async def test_long_results_are_chunked_and_small_ones_overtake_them() -> None:
    async with bench() as b:
        b.stream.say(welcome(chunk_bytes=1000, max_frame_bytes=64 << 10))
        await settle()
        b.stream.writable.clear()
        b.stream.say(call("first"), call("big", text="x" * 5000), call("other", text="y" * 3000))
        await settle()
        b.stream.say(call("small", text="hi"))
        await settle()
        b.stream.writable.set()
        await settle()

    order = [
        item.result_chunk.call_key or item.call_done.call_key + "!"
        for frame in b.stream.written[1:]
        for item in frame.items
    ]
    # The first two were written already when the small one came; from there on the long ones take turns.
    assert order[:3] == ["first!", "big", "small!"]
    assert order[3:] == ["other", "big"] * 4 + ["other!", "big", "big!"]
    assert all(kinds_in(frame).count("result_chunk") <= 1 for frame in b.stream.written)
    assert b.items("call_done")[-1].outcome.chunked_bytes == len('{"text":""}') + 5000


def kinds_in(frame: Any) -> list[str]:
    return [item.WhichOneof("item") for item in frame.items]


async def test_an_answer_that_is_still_on_its_way_is_not_sent_twice_at_once() -> None:
    async with bench() as b:
        b.stream.say(welcome(chunk_bytes=1000))
        await settle()
        b.stream.writable.clear()
        b.stream.say(call("big", text="x" * 5000))
        await settle()
        b.stream.say(call("big"))
        await settle()
        b.stream.writable.set()
        await settle()

    assert [chunk.offset for chunk in b.items("result_chunk")] == [0, 1000, 2000, 3000, 4000, 5000]
    assert len(b.items("call_done")) == 1


async def test_effects_that_fill_a_frame_fail_the_call_and_not_the_session() -> None:
    effect = Effect(kind=EffectKind.CREATED, entity_type="note", entity_id="1", title="x" * 40_000)

    async def chatty(tool_call: ToolCall) -> Outcome:
        return Outcome(result={}, effects=(effect,))

    async with bench(tools=chatty) as b:
        b.stream.say(welcome(max_frame_bytes=64 << 10))
        b.stream.say(call("a"))
        await settle()
        assert b.end is None

    assert b.items("call_done")[0].outcome.failure.reason == Reason.RESULT_TOO_LARGE.value
