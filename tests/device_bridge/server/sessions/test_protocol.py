"""The session as a conversation: what the device says, and what the bridge does about it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from device_bridge.server.devices.domain import Manifest
from device_bridge.server.errors import (
    FrameMalformed,
    HelloMissing,
    ProtocolUnsupported,
    SessionRetired,
    SessionSuperseded,
)
from device_bridge.server.routing.domain import ByteBudget, Outcome, Parcel
from device_bridge.server.sessions.domain import (
    CallDone,
    CallInFlight,
    Cancel,
    Closed,
    CloseReason,
    Deliver,
    Goodbye,
    Heartbeat,
    HeartbeatAck,
    Limits,
    OutcomeKind,
    ResultAck,
    ResultChunk,
    ToolsChanged,
    UnknownItem,
    Welcome,
)
from device_bridge.server.sessions.inflight import WITHDRAWN_KEEPS_SLOT, Fault
from device_bridge.server.sessions.protocol import (
    TRANSITIONS,
    Action,
    Answered,
    Beat,
    Broken,
    End,
    Greet,
    Happening,
    Learn,
    LocalProtocolError,
    RoomMade,
    Send,
    SessionProtocol,
    SessionState,
)
from tests.device_bridge.server.sessions.examples import TERMS, chunked, done, failed, frame, hello, parcel, tools

LIMITS = Limits(max_calls=2, max_result_bytes=100, chunk_bytes=10)


class Session:
    """A session under test, with a clock that moves by hand."""

    def __init__(self, budget: int = 1000) -> None:
        self.now = 100.0
        self.budget = ByteBudget(budget)
        self.protocol = SessionProtocol(LIMITS, self.budget, now=self.now)
        self.seq = 0

    def says(self, *items: object) -> list[Action]:
        self.seq += 1
        return self.protocol.receive(frame(self.seq, *items), self.now)  # type: ignore[arg-type]  # any item

    def admitted(self, wanted: Mapping[str, Parcel] | None = None, known: Manifest | None = None) -> list[Action]:
        return self.protocol.admitted(TERMS, known=known, wanted=wanted or {}, now=self.now)

    def sent(self, key: str, tool: str = "echo") -> Parcel:
        """Deliver a call and write it."""
        each = parcel(key, tool=tool)
        assert self.protocol.deliver(each) == [Send(Deliver(each))]
        each.written = True
        return each


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def ready(session: Session) -> Session:
    session.says(hello())
    session.admitted()
    return session


def error_of(actions: list[Action]) -> object:
    """The error with which the session ends."""
    ends = [action for action in actions if isinstance(action, End)]
    assert len(ends) == 1
    return ends[0].error


def test_a_hello_is_greeted_and_then_welcomed(session: Session) -> None:
    said = hello()

    assert session.says(said) == [Greet(said)]
    assert session.admitted() == [Send(Welcome(terms=TERMS, resend=(), forget=()))]
    assert session.protocol.state is SessionState.READY


def test_what_a_device_says_right_after_hello_counts_after_welcome(session: Session) -> None:
    beat = Heartbeat(0, 0.0)

    assert session.says(hello(), beat) == [Greet(hello())]
    assert session.says(beat) == []

    assert session.admitted()[1:] == [Beat(beat), Send(HeartbeatAck()), Beat(beat), Send(HeartbeatAck())]


@pytest.mark.parametrize("first", [(), (Heartbeat(0, 0.0),), (UnknownItem(), hello()), (done("k"),)])
def test_a_first_frame_without_hello_in_front_ends_the_session(session: Session, first: tuple[object, ...]) -> None:
    actions = session.says(*first)

    assert isinstance(error_of(actions), FrameMalformed)
    assert session.protocol.state is SessionState.CLOSED


def test_a_second_hello_ends_the_session(ready: Session) -> None:
    actions = ready.says(hello())

    assert isinstance(actions[0], Send)
    assert isinstance(actions[0].item, Closed)
    assert actions[0].item.reason is CloseReason.PROTOCOL_ERROR
    assert isinstance(error_of(actions), FrameMalformed)


@pytest.mark.parametrize("seq", [0, 1, 3, 2**63])
def test_a_gap_in_the_frame_numbers_ends_the_session(ready: Session, seq: int) -> None:
    actions = ready.protocol.receive(frame(seq), ready.now)

    assert isinstance(error_of(actions), FrameMalformed)
    assert ready.protocol.state is SessionState.CLOSING


@pytest.mark.parametrize(("low", "high"), [(2, 3), (0, 0), (2, 1)])
def test_a_device_without_our_revision_is_refused(session: Session, low: int, high: int) -> None:
    actions = session.says(hello(protocol_min=low, protocol_max=high))

    assert isinstance(error_of(actions), ProtocolUnsupported)


def test_no_hello_in_time_ends_the_stream(session: Session) -> None:
    assert session.protocol.deadline == session.now + LIMITS.hello_within
    assert session.protocol.tick(session.now + LIMITS.hello_within - 0.1) == []

    assert isinstance(error_of(session.protocol.tick(session.now + LIMITS.hello_within)), HelloMissing)


def test_a_silent_device_is_given_up_after_two_and_a_half_heartbeats(ready: Session) -> None:
    assert ready.protocol.deadline == ready.now + 50.0
    assert ready.protocol.tick(ready.now + 49.9) == []

    actions = ready.protocol.tick(ready.now + 50.0)

    assert actions[0] == Send(Closed(reason=CloseReason.UNRESPONSIVE, message=actions[-1].error.message))  # type: ignore[union-attr]  # an End
    assert isinstance(error_of(actions), SessionRetired)


def test_any_frame_counts_as_a_sign_of_life(ready: Session) -> None:
    ready.now += 49.0
    ready.says()

    assert ready.protocol.tick(ready.now + 49.0) == []


def test_a_heartbeat_is_answered(ready: Session) -> None:
    beat = Heartbeat(3, 0.2)

    assert ready.says(beat) == [Beat(beat), Send(HeartbeatAck())]


def test_an_unknown_item_is_ignored(ready: Session) -> None:
    assert ready.says(UnknownItem()) == []


def test_a_result_is_handed_on_and_acknowledged_once_a_frame(ready: Session) -> None:
    ready.sent("a")
    ready.sent("b")

    assert ready.says(done("a"), failed("b")) == [
        Answered("a", Outcome(b"encoded")),
        Answered("b", Outcome(b"failure")),
        Send(ResultAck(("a", "b"))),
    ]
    assert ready.protocol.room == 2


def test_an_answer_that_nobody_waits_for_is_only_acknowledged(ready: Session) -> None:
    assert ready.says(done("unknown")) == [Send(ResultAck(("unknown",)))]


def test_an_item_after_done_changes_nothing(ready: Session) -> None:
    ready.sent("a")
    ready.says(done("a"))

    assert ready.says(ResultChunk("a", 0, b"x"), done("a")) == [Send(ResultAck(("a",)))]
    assert ready.budget.used == 0


def test_pieces_of_a_result_are_put_together(ready: Session) -> None:
    ready.sent("a")

    assert ready.says(ResultChunk("a", 0, b"one"), ResultChunk("a", 3, b"two")) == []
    assert ready.budget.used == 6
    assert ready.says(chunked("a", 6)) == [
        Answered("a", Outcome(b"chunked", (b"one", b"two"))),
        Send(ResultAck(("a",))),
    ]
    assert ready.budget.used == 0


@pytest.mark.parametrize(
    "pieces",
    [
        [ResultChunk("a", 1, b"x")],
        [ResultChunk("a", 0, b"")],
        [ResultChunk("a", 0, b"xx"), ResultChunk("a", 1, b"x")],
        [ResultChunk("a", 0, b"xx"), ResultChunk("a", 3, b"x")],
        [ResultChunk("a", -1, b"x")],
    ],
)
def test_pieces_out_of_order_fail_their_call_only(ready: Session, pieces: list[ResultChunk]) -> None:
    ready.sent("a")
    ready.sent("b")

    assert ready.says(*pieces) == [Broken("a", Fault.MALFORMED), Send(Cancel("a"))]
    assert ready.budget.used == 0
    assert ready.says(done("b"))[0] == Answered("b", Outcome(b"encoded"))


@pytest.mark.parametrize(
    "answer",
    [
        chunked("a", 3),
        chunked("a", 1),
        done("a"),
        CallDone("a", OutcomeKind.NONE, 0, b""),
    ],
)
def test_an_answer_that_does_not_fit_its_pieces_fails_its_call_only(ready: Session, answer: CallDone) -> None:
    ready.sent("a")
    ready.says(ResultChunk("a", 0, b"xx"))

    assert ready.says(answer) == [Broken("a", Fault.MALFORMED), Send(ResultAck(("a",)))]
    assert ready.protocol.state is SessionState.READY


def test_a_tool_may_fail_after_it_has_sent_pieces(ready: Session) -> None:
    ready.sent("a")
    ready.says(ResultChunk("a", 0, b"xx"))

    assert ready.says(failed("a"))[0] == Answered("a", Outcome(b"failure"))


def test_a_result_over_the_limit_fails_its_call_only(ready: Session) -> None:
    ready.sent("a")
    ready.sent("b")

    assert ready.says(done("a", size=101))[0] == Broken("a", Fault.TOO_LARGE)
    assert ready.says(ResultChunk("b", 0, b"x" * 101)) == [Broken("b", Fault.TOO_LARGE), Send(Cancel("b"))]
    assert ready.protocol.state is SessionState.READY


def test_a_tool_may_have_a_smaller_limit_of_its_own(session: Session) -> None:
    session.says(hello())
    session.admitted(known=tools(echo=10, other=1000))
    session.sent("a", tool="echo")
    session.sent("b", tool="other")

    assert session.says(done("a", size=11))[0] == Broken("a", Fault.TOO_LARGE)
    assert session.says(done("b", size=101))[0] == Broken("b", Fault.TOO_LARGE)


def test_results_past_the_budget_of_the_process_fail_their_call_only() -> None:
    session = Session(budget=5)
    session.says(hello())
    session.admitted()
    session.sent("a")

    assert session.says(ResultChunk("a", 0, b"xxxxxx"))[0] == Broken("a", Fault.NO_ROOM)


def test_changed_tools_are_learnt(ready: Session) -> None:
    changed = tools(echo=10)

    assert ready.says(ToolsChanged(changed)) == [Learn(changed)]
    ready.sent("a")
    assert ready.says(done("a", size=11))[0] == Broken("a", Fault.TOO_LARGE)


def test_no_more_calls_go_out_than_there_are_slots(ready: Session) -> None:
    ready.sent("a")
    ready.sent("b")

    assert ready.protocol.room == 0
    with pytest.raises(LocalProtocolError):
        ready.protocol.deliver(parcel("c"))


def test_a_cancelled_call_keeps_its_slot_until_the_device_says_that_it_ended(ready: Session) -> None:
    ready.sent("a")

    assert ready.protocol.withdraw("a", ready.now) == [Send(Cancel("a"))]
    assert ready.protocol.withdraw("a", ready.now) == []
    assert ready.protocol.room == 1
    assert ready.says(done("a")) == [RoomMade(), Send(ResultAck(("a",)))]
    assert ready.protocol.room == 2


def test_a_device_that_never_says_so_loses_the_slot_to_time(ready: Session) -> None:
    ready.sent("a")
    ready.protocol.withdraw("a", ready.now)

    assert ready.protocol.deadline == ready.now + WITHDRAWN_KEEPS_SLOT
    assert ready.protocol.tick(ready.now + WITHDRAWN_KEEPS_SLOT) == [RoomMade()]
    assert ready.protocol.room == 2


def test_a_call_that_is_cancelled_before_it_was_written_is_not_cancelled_on_the_device(ready: Session) -> None:
    ready.protocol.deliver(parcel("a"))

    assert ready.protocol.withdraw("a", ready.now) == []
    assert ready.protocol.room == 1
    assert ready.protocol.passed_over("a") == [RoomMade()]
    assert ready.protocol.room == 2


def test_after_a_reconnect_the_two_sides_compare_their_calls(session: Session) -> None:
    wanted = {key: parcel(key, written=True) for key in ("running", "answered", "lost")}
    calls = (CallInFlight("running", False), CallInFlight("answered", True), CallInFlight("old", True))

    session.says(hello(calls=calls))

    assert session.admitted(wanted) == [
        Send(Welcome(terms=TERMS, resend=("answered",), forget=("old",))),
        Send(Deliver(wanted["lost"], redelivery=True)),
    ]
    assert session.protocol.calls_under_way == 3
    assert session.says(done("running"), done("answered"), done("lost"))[:3] == [
        Answered("running", Outcome(b"encoded")),
        Answered("answered", Outcome(b"encoded")),
        Answered("lost", Outcome(b"encoded")),
    ]


def test_goodbye_ends_the_session_well(ready: Session) -> None:
    ready.sent("a")

    assert ready.says(Goodbye("suspend"), done("a")) == [End(None)]
    assert ready.protocol.state is SessionState.CLOSED


def test_a_closing_session_tells_the_device_and_then_hears_nothing(ready: Session) -> None:
    ready.sent("a")
    ready.says(ResultChunk("a", 0, b"xx"))

    closing = ready.protocol.close(CloseReason.SUPERSEDED, SessionSuperseded())

    assert isinstance(closing[0], Send)
    assert isinstance(closing[0].item, Closed)
    assert isinstance(error_of(closing), SessionSuperseded)
    assert ready.says(chunked("a", 2), Heartbeat(0, 0.0)) == []
    assert ready.protocol.close(CloseReason.SHUTDOWN, SessionRetired()) == []
    assert ready.protocol.tick(ready.now + 1000) == []
    assert ready.budget.used == 0
    assert ready.protocol.deadline is None


def test_before_welcome_a_close_is_told_by_the_status_alone(session: Session) -> None:
    session.says(hello())

    assert isinstance(error_of(session.protocol.close(CloseReason.SHUTDOWN, SessionRetired())), SessionRetired)
    with pytest.raises(LocalProtocolError):
        session.admitted()


def test_the_table_of_transitions_has_one_way_out_of_every_state() -> None:
    for state in SessionState:
        ways = {happening for known, happening in TRANSITIONS if known is state}

        assert (Happening.PEER_GONE in ways) is (state is not SessionState.CLOSED)
