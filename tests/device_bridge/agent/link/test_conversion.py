"""Between the wire and the link's own words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from adiuva.device_bridge.v1 import session_service_pb2 as pb, tool_pb2
from device_bridge.agent.domain import Effect, EffectClass, EffectKind, Failure, Reason, RunContext
from device_bridge.agent.link import conversion
from device_bridge.agent.link.domain import (
    Answer,
    Call,
    Cancel,
    Closed,
    CloseReason,
    Frame,
    HeartbeatAck,
    InFlight,
    MalformedCall,
    ProtocolViolation,
    ResultAck,
)
from device_bridge.agent.tools.arguments import MAX_ARGUMENTS_BYTES
from tests.device_bridge.agent.link.support import INTRODUCTION
from tests.fakes.bridge import call_item, seconds

TEXT = st.text(max_size=30)
EFFECTS = st.builds(Effect, kind=st.sampled_from(EffectKind), entity_type=TEXT, entity_id=TEXT, title=TEXT, source=TEXT)


def read(*items: pb.BridgeItem) -> tuple[Any, ...]:
    return conversion.frame_from_proto(pb.ConnectResponse(seq=1, items=items)).items


def call_with(arguments_json: str) -> Call | MalformedCall:
    item = pb.CallRequest(call_key="k", call=tool_pb2.ToolCall(call_id="c", tool="t", arguments_json=arguments_json))
    return conversion.call_from_proto(item)


def test_every_item_of_the_contract_is_read() -> None:
    known = {field.name for field in pb.BridgeItem.DESCRIPTOR.fields}

    assert known == set(conversion._READERS)


def test_every_close_reason_of_the_contract_has_a_name() -> None:
    numbers = {value.number for value in pb.CloseReason.DESCRIPTOR.values if value.number}

    assert set(conversion.CLOSE_REASONS) == numbers
    assert set(conversion.CLOSE_REASONS.values()) | {CloseReason.UNKNOWN} == set(CloseReason)


def test_every_effect_and_effect_class_has_its_number() -> None:
    assert set(conversion.EFFECT_KINDS) == set(EffectKind)
    assert set(conversion.EFFECT_CLASSES) == set(EffectClass)


def test_an_item_of_a_newer_bridge_is_left_out() -> None:
    newer = pb.BridgeItem.FromString(b"\xfa\x01\x03abc")  # field 31, which this contract does not have

    assert read(pb.BridgeItem(), newer, pb.BridgeItem(heartbeat_ack=pb.HeartbeatAck())) == (HeartbeatAck(),)


def test_an_unknown_close_reason_of_a_newer_bridge_is_an_answer() -> None:
    (closed,) = read(pb.BridgeItem(closed=pb.Closed(reason=99, message="new")))  # type: ignore[arg-type]  # not ours

    assert closed == Closed(reason=CloseReason.UNKNOWN, message="new")


def test_a_frame_keeps_its_number_and_the_order_of_its_items() -> None:
    message = pb.ConnectResponse(
        seq=7,
        items=[
            pb.BridgeItem(cancel=pb.CallCancel(call_key="a")),
            pb.BridgeItem(result_ack=pb.ResultAck(call_keys=["b", "c"])),
        ],
    )

    assert conversion.frame_from_proto(message) == Frame(7, (Cancel("a"), ResultAck(("b", "c"))))


def test_a_call_is_read_whole() -> None:
    context = tool_pb2.RunContext(
        run_id="run", epoch=3, agent_id="server-side", client_agent_id="stable", agent_name="Notes", trigger="api",
        phase="processing", group="acme",
    )  # fmt: skip

    (call,) = read(call_item("k", "create_task", {"title": "x"}, timeout=2.5, run_context=context))

    assert call.call_key == "k"
    assert call.timeout == 2.5
    assert call.tool_call.call_id == "id-k"
    assert call.tool_call.tool == "create_task"
    assert call.tool_call.arguments == {"title": "x"}
    assert call.tool_call.context == RunContext(
        run_id="run", epoch=3, agent_key="stable", agent_name="Notes", trigger="api", phase="processing", group="acme"
    )


def test_the_servers_agent_id_is_the_key_when_the_client_has_none() -> None:
    context = tool_pb2.RunContext(run_id="run", agent_id="server-side")

    (call,) = read(call_item("k", "echo", run_context=context))

    assert call.tool_call.context.agent_key == "server-side"


def test_a_call_outside_any_run_has_no_context_and_leaves_the_timeout_to_the_tool() -> None:
    (call,) = read(call_item("k", "echo"))

    assert call.tool_call.context is None
    assert call.timeout is None


def test_empty_arguments_are_an_empty_object() -> None:
    call = call_with("")

    assert isinstance(call, Call)
    assert call.tool_call.arguments == {}


@pytest.mark.parametrize(
    "arguments",
    [
        "[1]",
        "null",
        "{",
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": 1, "a": 2}',
        '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"a": ' + "9" * 10_000 + "}",
        '{"a": "' + "x" * MAX_ARGUMENTS_BYTES + '"}',
    ],
    ids=["array", "null", "cut", "nan", "infinity", "repeated key", "deep", "endless integer", "long"],
)
def test_arguments_that_are_no_object_fail_the_call_alone(arguments: str) -> None:
    call = call_with(arguments)

    assert isinstance(call, MalformedCall)
    assert arguments[:20] not in call.message


@pytest.mark.parametrize(
    "call",
    [
        tool_pb2.ToolCall(tool="t"),
        tool_pb2.ToolCall(call_id="c"),
        tool_pb2.ToolCall(call_id="c", tool="t", run_context=tool_pb2.RunContext(epoch=1)),
    ],
    ids=["no call_id", "no tool", "no run_id"],
)
def test_a_call_that_lacks_something_fails_alone(call: tool_pb2.ToolCall) -> None:
    assert isinstance(conversion.call_from_proto(pb.CallRequest(call_key="k", call=call)), MalformedCall)


@pytest.mark.parametrize(
    "item",
    [
        pb.BridgeItem(call=pb.CallRequest(call=tool_pb2.ToolCall(call_id="c", tool="t"))),
        pb.BridgeItem(cancel=pb.CallCancel()),
        pb.BridgeItem(cancel=pb.CallCancel(call_key="k" * 1000)),
    ],
    ids=["call without key", "cancel without key", "endless key"],
)
def test_an_item_that_names_no_call_breaks_the_protocol(item: pb.BridgeItem) -> None:
    with pytest.raises(ProtocolViolation):
        read(item)


@given(
    frame_bytes=st.integers(min_value=-(2**31), max_value=2**31 - 1),
    chunk_bytes=st.integers(min_value=-(2**31), max_value=2**31 - 1),
    max_calls=st.integers(min_value=-(2**31), max_value=2**31 - 1),
)
def test_whatever_limits_a_bridge_sets_a_chunk_fits_a_frame(frame_bytes: int, chunk_bytes: int, max_calls: int) -> None:
    message = pb.Welcome(max_frame_bytes=frame_bytes, chunk_bytes=chunk_bytes, max_calls=max_calls)

    welcome = conversion.welcome_from_proto(message)

    chunk = pb.ResultChunk(call_key="k" * conversion.MAX_CALL_KEY, offset=2**40, data=b"x" * welcome.chunk_bytes)
    size = conversion.size_in_frame(pb.DeviceItem(result_chunk=chunk))
    assert welcome.chunk_bytes > 0
    assert size + conversion.FRAME_OVERHEAD <= welcome.max_frame_bytes <= conversion.MOST_FRAME_BYTES
    assert welcome.heartbeat_interval > 0
    assert welcome.max_calls >= 0


@given(st.binary(max_size=2000), st.integers(min_value=1, max_value=300))
def test_a_chunked_result_is_whole_and_in_order(body: bytes, chunk_bytes: int) -> None:
    items = list(conversion.chunked_items(Answer(call_key="k", body=body), chunk_bytes))

    chunks, done = [item.result_chunk for item in items[:-1]], items[-1].call_done
    assert b"".join(chunk.data for chunk in chunks) == body
    assert [chunk.offset for chunk in chunks] == list(range(0, len(body), chunk_bytes))
    assert all(0 < len(chunk.data) <= chunk_bytes for chunk in chunks)
    assert done.outcome.chunked_bytes == len(body)


@given(
    effects=st.lists(EFFECTS, max_size=3),
    failure=st.none() | st.builds(Failure, reason=st.sampled_from(Reason), message=TEXT, retryable=st.booleans()),
    replayed=st.booleans(),
    execution=st.floats(min_value=0, max_value=1000),
)
def test_an_answer_survives_the_wire(
    effects: list[Effect], failure: Failure | None, replayed: bool, execution: float
) -> None:
    answer = Answer(
        call_key="k", body=b"" if failure else b'{"a":1}', failure=failure, effects=tuple(effects), replayed=replayed,
        execution_seconds=execution,
    )  # fmt: skip

    done = pb.DeviceItem.FromString(conversion.done_item(answer).SerializeToString()).call_done

    outcome = done.outcome
    assert done.call_key == "k"
    assert outcome.WhichOneof("outcome") == ("failure" if failure else "result_json")
    assert [(e.entity_type, e.entity_id, e.title, e.source) for e in outcome.effects] == [
        (e.entity_type, e.entity_id, e.title, e.source) for e in effects
    ]
    assert [e.kind for e in outcome.effects] == [conversion.EFFECT_KINDS[e.kind] for e in effects]
    assert outcome.replayed == replayed
    assert abs(outcome.execution_time.ToNanoseconds() / 1e9 - execution) < 1e-6
    if failure:
        assert (outcome.failure.reason, outcome.failure.message) == (failure.reason.value, failure.message)
        assert outcome.failure.retryable == failure.retryable


def test_a_title_with_bytes_that_are_no_text_does_not_break_the_answer() -> None:
    effect = Effect(kind=EffectKind.CREATED, entity_type="note", entity_id="1", title="caf\udce9", source="s/\udce9")

    done = conversion.done_item(Answer(call_key="k", effects=(effect,))).call_done

    assert done.outcome.effects[0].title == "caf?"


def test_hello_tells_tools_roots_and_calls() -> None:
    item = conversion.hello_item(
        instance_id="i",
        installation_id="j",
        agent_version="1",
        display_name="laptop",
        tools=conversion.manifest_to_proto(INTRODUCTION.tools_hash, INTRODUCTION.tools),
        root_names=["sample"],
        calls=[InFlight(call_key="k", finished=True)],
    )

    hello = item.hello
    assert (hello.protocol_min, hello.protocol_max) == (1, 1)
    assert [tool.name for tool in hello.tools.tools] == ["echo", "small"]
    assert hello.tools.tools[1].effect_class == tool_pb2.EFFECT_CLASS_EFFECT
    assert json.loads(hello.tools.tools[0].input_schema_json)["additionalProperties"] is False
    assert hello.tools.tools[1].max_result_bytes == 100
    assert list(hello.root_names) == ["sample"]
    assert [(call.call_key, call.finished) for call in hello.calls] == [("k", True)]


def test_times_on_the_wire_are_seconds() -> None:
    message = pb.Welcome(heartbeat_interval=seconds(2.5))

    assert conversion.welcome_from_proto(message).heartbeat_interval == 2.5
    assert conversion.heartbeat_item(running_calls=2, loop_lag=0.25).heartbeat.loop_lag.ToMilliseconds() == 250
