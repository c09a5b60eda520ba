"""The session's table: which items may come when."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from device_bridge.agent.domain import ToolCall
from device_bridge.agent.link.domain import (
    Call,
    Cancel,
    Closed,
    CloseReason,
    Frame,
    HeartbeatAck,
    Item,
    MalformedCall,
    ProtocolViolation,
    ResultAck,
)
from device_bridge.agent.link.protocol import EVENTS, TRANSITIONS, Event, Liveness, SessionProtocol, State
from tests.device_bridge.agent.link.support import welcome

WELCOME = welcome()
CALL = Call(call_key="k", tool_call=ToolCall(call_id="c", tool="echo", arguments={}, context=None))
MALFORMED = MalformedCall(call_key="k", message="no tool")
CANCEL = Cancel("k")
ACK = ResultAck(("k",))
BEAT = HeartbeatAck()
CLOSED = Closed(reason=CloseReason.SHUTDOWN)
ITEMS: tuple[Item, ...] = (WELCOME, CALL, MALFORMED, CANCEL, ACK, BEAT, CLOSED)


def ready() -> SessionProtocol:
    protocol = SessionProtocol()
    protocol.receive(Frame(1, (WELCOME,)))
    return protocol


def test_every_kind_of_item_is_an_event() -> None:
    assert {type(item) for item in ITEMS} == set(EVENTS)
    assert set(EVENTS.values()) | {Event.LEAVE} == set(Event)


def test_welcome_makes_the_session_ready() -> None:
    assert ready().state is State.READY


@pytest.mark.parametrize("item", [CALL, MALFORMED, CANCEL, ACK, BEAT], ids=lambda item: type(item).__name__)
def test_nothing_may_come_before_welcome(item: Item) -> None:
    with pytest.raises(ProtocolViolation, match="AWAITING_WELCOME"):
        SessionProtocol().receive(Frame(1, (item,)))


def test_a_bridge_may_close_instead_of_welcoming() -> None:
    protocol = SessionProtocol()

    assert protocol.receive(Frame(1, (CLOSED,))) == (CLOSED,)
    assert protocol.state is State.CLOSED


def test_a_second_welcome_breaks_the_protocol() -> None:
    with pytest.raises(ProtocolViolation, match="WELCOME"):
        ready().receive(Frame(2, (WELCOME,)))


@pytest.mark.parametrize("seq", [0, 1, 3])
def test_a_gap_or_a_repeat_in_the_numbers_breaks_the_protocol(seq: int) -> None:
    with pytest.raises(ProtocolViolation, match="2 was due"):
        ready().receive(Frame(seq, ()))


def test_a_frame_without_any_known_item_is_fine() -> None:
    protocol = SessionProtocol()

    assert protocol.receive(Frame(1, ())) == ()
    assert protocol.receive(Frame(2, (WELCOME,))) == (WELCOME,)


def test_calls_that_come_while_leaving_are_left_to_the_next_session() -> None:
    protocol = ready()
    protocol.leave()

    assert protocol.receive(Frame(2, (CALL, MALFORMED, CANCEL, ACK, BEAT))) == (CANCEL, ACK, BEAT)


def test_what_follows_closed_is_ignored() -> None:
    protocol = ready()

    assert protocol.receive(Frame(2, (CLOSED, CALL, WELCOME))) == (CLOSED,)
    assert protocol.receive(Frame(3, (CALL,))) == ()


@given(st.lists(st.one_of(st.sampled_from(ITEMS), st.just("leave")), max_size=40))
def test_any_order_of_items_either_follows_the_table_or_is_a_violation(steps: list[Item | str]) -> None:
    protocol = SessionProtocol()
    seq = 0
    for step in steps:
        before = protocol.state
        event = Event.LEAVE if isinstance(step, str) else EVENTS[type(step)]
        expected = TRANSITIONS.get((before, event))
        try:
            if isinstance(step, str):
                protocol.leave()
            else:
                seq += 1
                protocol.receive(Frame(seq, (step,)))
        except ProtocolViolation:
            assert expected is None
            return
        assert protocol.state is expected


def test_closed_is_terminal() -> None:
    assert all(TRANSITIONS[State.CLOSED, event] is State.CLOSED for event in Event)


def test_a_bridge_is_given_up_after_two_and_a_half_intervals_of_silence() -> None:
    liveness = Liveness(interval=20.0, last_heard=100.0)

    assert liveness.remaining(149.9) > 0
    assert liveness.remaining(150.0) <= 0

    liveness.heard(149.0)
    assert liveness.remaining(150.0) == 49.0


def test_time_in_which_nothing_could_be_heard_is_left_out() -> None:
    liveness = Liveness(interval=20.0, last_heard=100.0)

    liveness.excuse(3600.0)
    liveness.excuse(-5.0)

    assert liveness.remaining(3600.0 + 110.0) == 40.0
