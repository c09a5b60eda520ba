"""Frames on the wire and in the domain."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from hypothesis import given, strategies as st

from adiuva.device_bridge.v1 import session_service_pb2 as pb, tool_pb2
from device_bridge.server.devices.domain import EffectClass, Tool
from device_bridge.server.routing.domain import Call, Parcel
from device_bridge.server.sessions.conversion import (
    duration_to_proto,
    failed_outcome,
    frame_from_proto,
    frame_to_proto,
    seconds_from_proto,
    tool_from_proto,
    tool_to_proto,
)
from device_bridge.server.sessions.domain import (
    BridgeItem,
    CallDone,
    CallInFlight,
    Cancel,
    Closed,
    CloseReason,
    Deliver,
    Goodbye,
    Heartbeat,
    HeartbeatAck,
    Hello,
    Limits,
    OutcomeKind,
    ResultAck,
    ResultChunk,
    UnknownItem,
    Welcome,
)
from tests.device_bridge.server.sessions.examples import TERMS

tools = st.builds(
    Tool,
    name=st.text(max_size=20),
    description=st.text(max_size=50),
    toolset=st.text(max_size=10),
    effect_class=st.sampled_from(EffectClass),
    input_schema_json=st.text(max_size=50),
    default_timeout=st.integers(0, 300).map(float),
    max_result_bytes=st.integers(0, 2**40),
)


@given(tools)
def test_a_tool_survives_the_wire(tool: Tool) -> None:
    assert tool_from_proto(tool_to_proto(tool)) == tool


@given(st.floats(0, 1e6))
def test_seconds_survive_the_wire(seconds: float) -> None:
    assert abs(seconds_from_proto(duration_to_proto(seconds)) - seconds) < 1e-6


def test_an_effect_class_of_a_newer_device_is_read_with_care() -> None:
    unknown = tool_pb2.ToolDescriptor(name="x", effect_class=99)  # type: ignore[arg-type]  # from the future

    assert tool_from_proto(unknown).effect_class is EffectClass.EFFECT


def items(*each: pb.DeviceItem) -> tuple[object, ...]:
    return frame_from_proto(pb.ConnectRequest(seq=7, items=each)).items


def test_what_a_device_says_is_read() -> None:
    outcome = tool_pb2.ToolOutcome(result_json='{"ü":1}', execution_time=Duration(seconds=1))

    read = items(
        pb.DeviceItem(
            hello=pb.Hello(
                protocol_min=1,
                protocol_max=2,
                instance_id="i",
                installation_id="n",
                agent_version="0.1",
                display_name="laptop",
                root_names=["a", "b"],
                capabilities=["c"],
                tools=pb.ToolManifest(hash="h", tools=[tool_pb2.ToolDescriptor(name="t")]),
                calls=[pb.CallInFlight(call_key="k", finished=True)],
            )
        ),
        pb.DeviceItem(heartbeat=pb.Heartbeat(running_calls=2, loop_lag=Duration(nanos=500_000_000))),
        pb.DeviceItem(result_chunk=pb.ResultChunk(call_key="k", offset=3, data=b"x")),
        pb.DeviceItem(call_done=pb.CallDone(call_key="k", outcome=outcome)),
        pb.DeviceItem(goodbye=pb.Goodbye(reason="bye")),
        pb.DeviceItem(),
    )

    hello = read[0]
    assert isinstance(hello, Hello)
    assert hello.calls == (CallInFlight("k", True),)
    assert hello.root_names == ("a", "b")
    assert hello.manifest.tools[0].name == "t"
    assert read[1:] == (
        Heartbeat(2, 0.5),
        ResultChunk("k", 3, b"x"),
        CallDone("k", OutcomeKind.RESULT, 8, outcome.SerializeToString()),
        Goodbye("bye"),
        UnknownItem(),
    )


def test_each_kind_of_outcome_is_told_apart() -> None:
    def kind(**fields: object) -> tuple[OutcomeKind, int]:
        outcome = tool_pb2.ToolOutcome(**fields)  # type: ignore[arg-type]  # any of them
        (done,) = items(pb.DeviceItem(call_done=pb.CallDone(call_key="k", outcome=outcome)))
        assert isinstance(done, CallDone)
        return done.kind, done.size

    assert kind(result_json="{}") == (OutcomeKind.RESULT, 2)
    assert kind(failure=tool_pb2.ToolFailure(reason="X")) == (OutcomeKind.FAILURE, 0)
    assert kind(chunked_bytes=9) == (OutcomeKind.CHUNKED, 9)
    assert kind() == (OutcomeKind.NONE, 0)


def test_an_item_that_this_bridge_does_not_know_is_an_unknown_one() -> None:
    field_99 = b"\x9a\x06\x02hi"

    assert items(pb.DeviceItem.FromString(field_99)) == (UnknownItem(),)


def test_what_the_bridge_says_is_written() -> None:
    context = tool_pb2.RunContext(run_id="r", epoch=4)
    call = Call(
        user_id="anna",
        call_id="c",
        device_id="d",
        tool="t",
        arguments_json="{}",
        run_context=context.SerializeToString(),
    )
    said: list[BridgeItem] = [
        Welcome(terms=TERMS, resend=("a",), forget=("b",)),
        HeartbeatAck(),
        Deliver(Parcel("k", call, deadline=12.5), redelivery=True),
        Cancel("k"),
        ResultAck(("x", "y")),
        Closed(reason=CloseReason.REVOKED, retry_after=1.5, permanent=True, message="gone"),
    ]

    frame = frame_to_proto(3, said, limits=Limits(), now=10.0)

    assert frame.seq == 3
    welcome, ack, deliver, cancel, acks, closed = frame.items
    assert (welcome.welcome.epoch, list(welcome.welcome.resend_call_keys)) == (TERMS.epoch, ["a"])
    assert list(welcome.welcome.forget_call_keys) == ["b"]
    assert ack.HasField("heartbeat_ack")
    assert deliver.call.redelivery
    assert deliver.call.call.run_context == context
    assert deliver.call.call.timeout.ToMilliseconds() == 2500
    assert cancel.cancel.call_key == "k"
    assert list(acks.result_ack.call_keys) == ["x", "y"]
    assert closed.closed.reason == pb.CLOSE_REASON_REVOKED
    assert closed.closed.permanent
    assert closed.closed.retry_after.ToMilliseconds() == 1500


def test_a_call_that_is_late_still_has_some_time() -> None:
    call = Call(user_id="anna", call_id="c", device_id="d", tool="t", arguments_json="{}")

    (item,) = frame_to_proto(1, [Deliver(Parcel("k", call, deadline=1.0))], limits=Limits(), now=9.0).items

    assert item.call.call.timeout.ToMilliseconds() >= 1
    assert not item.call.call.HasField("run_context")


def test_a_failure_made_by_the_bridge_is_an_outcome() -> None:
    outcome = tool_pb2.ToolOutcome.FromString(failed_outcome("TOO_BIG", "why", retryable=True).encoded)

    assert (outcome.failure.reason, outcome.failure.message, outcome.failure.retryable) == ("TOO_BIG", "why", True)
