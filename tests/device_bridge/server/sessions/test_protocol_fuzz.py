"""The session under frames in any order: nothing crashes, nothing is answered twice, nothing is held for ever."""

from __future__ import annotations

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from device_bridge.server.errors import SessionSuperseded
from device_bridge.server.routing.domain import ByteBudget, Parcel
from device_bridge.server.sessions.domain import (
    CallDone,
    CallInFlight,
    CloseReason,
    Deliver,
    DeviceItem,
    Goodbye,
    Heartbeat,
    Limits,
    OutcomeKind,
    ResultAck,
    ResultChunk,
    ToolsChanged,
    UnknownItem,
    Welcome,
)
from device_bridge.server.sessions.protocol import (
    Action,
    Answered,
    Broken,
    End,
    Greet,
    Send,
    SessionProtocol,
    SessionState,
)
from tests.device_bridge.server.sessions.examples import TERMS, frame, hello, parcel, tools

LIMITS = Limits(max_calls=4, max_result_bytes=40, heartbeat_interval=20.0)
KEYS = [f"k{number}" for number in range(8)]

keys = st.sampled_from(KEYS)
chunks = st.builds(ResultChunk, keys, st.integers(-1, 12), st.binary(max_size=12))
answers = st.builds(CallDone, keys, st.sampled_from(OutcomeKind), st.integers(0, 50), st.just(b"outcome"))
noise = st.sampled_from([Heartbeat(1, 0.0), UnknownItem(), ToolsChanged(tools(echo=20))])
hellos = st.builds(
    lambda calls: hello(calls=tuple(calls)), st.lists(st.builds(CallInFlight, keys, st.booleans()), max_size=4)
)
harmless: st.SearchStrategy[DeviceItem] = st.one_of(chunks, answers, noise)
LETHAL_AFTER = 12
"""Steps before anything may end the session: most rules need one that stands."""


class SessionMachine(RuleBasedStateMachine):
    """Drives a session as a hostile device, a hasty caller and a clock would, and keeps the books."""

    @initialize(said=hellos, wanted=st.lists(keys, unique=True, max_size=4), at_once=st.integers(0, 5))
    def open(self, said: DeviceItem, wanted: list[str], at_once: int) -> None:
        self.now = 0.0
        self.steps = 0
        self.budget = ByteBudget(60)
        self.protocol = SessionProtocol(LIMITS, self.budget, now=self.now)
        self.seq = 0
        self.waited_for: dict[str, Parcel] = {}
        self.greeted = False
        self.welcomed = False
        self.ended = False
        if at_once:
            self.say_hello(said, [])
            self.admit(wanted)

    def may_end(self) -> bool:
        return self.steps > LETHAL_AFTER

    def perform(self, actions: list[Action]) -> None:
        for action in actions:
            assert not self.ended, "nothing comes after the end"
            match action:
                case Greet():
                    assert not self.greeted
                    self.greeted = True
                case Answered(key) | Broken(key):
                    assert key in self.waited_for, "one answer each, and only for calls that somebody waits for"
                    del self.waited_for[key]
                case Send(Welcome()):
                    assert not self.welcomed
                    self.welcomed = True
                case Send(Deliver(each)):
                    assert self.welcomed
                    each.written = True
                case Send():
                    assert self.welcomed, "the first item is Welcome"
                case End():
                    self.ended = True

    @rule(listed=st.lists(harmless, max_size=5))
    def speak(self, listed: list[DeviceItem]) -> None:
        self.seq += 1
        self.steps += 1
        ready = self.protocol.state is SessionState.READY
        actions = self.protocol.receive(frame(self.seq, *listed), self.now)
        self.perform(actions)
        if ready and self.protocol.state is SessionState.READY:
            sent = [action.item for action in actions if isinstance(action, Send)]
            acked = [key for item in sent if isinstance(item, ResultAck) for key in item.keys]
            assert acked == [item.key for item in listed if isinstance(item, CallDone)]

    @precondition(lambda self: self.protocol.calls_under_way)
    @rule(data=st.data(), piece=st.binary(min_size=1, max_size=12), whole=st.booleans())
    def answer_in_order(self, data: st.DataObject, piece: bytes, whole: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.in_flight())))
        offset = self.protocol._calls._open[key].size
        sent: list[DeviceItem] = [ResultChunk(key, offset, piece)]
        if whole:
            sent.append(CallDone(key, OutcomeKind.CHUNKED, offset + len(piece), b"outcome"))
        self.speak(sent)

    @precondition(may_end)
    @rule(first=st.lists(harmless, max_size=2), last=st.one_of(hellos, st.just(Goodbye("bye"))))
    def speak_fatally(self, first: list[DeviceItem], last: DeviceItem) -> None:
        self.speak([*first, last])
        assert self.ended or not self.welcomed

    @precondition(may_end)
    @rule(jump=st.sampled_from([-1, 1, 5]))
    def skip_a_frame(self, jump: int) -> None:
        was = self.protocol.state
        self.perform(self.protocol.receive(frame(self.seq + 1 + jump), self.now))
        assert self.protocol.state in {SessionState.CLOSING, SessionState.CLOSED}
        if was in {SessionState.AWAITING_HELLO, SessionState.READY}:
            assert self.ended

    @precondition(lambda self: not self.greeted)
    @rule(said=hellos, more=st.lists(harmless, max_size=2))
    def say_hello(self, said: DeviceItem, more: list[DeviceItem]) -> None:
        self.speak([said, *more])

    @precondition(lambda self: self.greeted and not self.welcomed and not self.ended)
    @rule(wanted=st.lists(keys, unique=True, max_size=4))
    def admit(self, wanted: list[str]) -> None:
        parcels = {key: parcel(key, written=True) for key in wanted}
        self.waited_for = dict(parcels)
        self.perform(self.protocol.admitted(TERMS, known=None, wanted=parcels, now=self.now))

    @precondition(lambda self: self.protocol.room > 0)
    @rule(key=keys)
    def deliver(self, key: str) -> None:
        if key not in self.in_flight():
            self.steps += 1
            self.waited_for[key] = parcel(key)
            self.perform(self.protocol.deliver(self.waited_for[key]))

    @rule(key=keys)
    def withdraw(self, key: str) -> None:
        self.waited_for.pop(key, None)
        self.perform(self.protocol.withdraw(key, self.now))

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.9, 31.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        due = self.protocol.deadline
        actions = self.protocol.tick(self.now)
        assert actions == [] or (due is not None and due <= self.now), "nothing happens before the deadline"
        self.perform(actions)
        later = self.protocol.deadline
        assert later is None or later > self.now, "a tick leaves nothing overdue"

    @precondition(may_end)
    @rule()
    def fall_silent(self) -> None:
        self.wait(LIMITS.silence)
        assert self.ended or not self.welcomed

    @precondition(may_end)
    @rule()
    def take_over(self) -> None:
        self.perform(self.protocol.close(CloseReason.SUPERSEDED, SessionSuperseded()))

    @precondition(may_end)
    @rule()
    def hang_up(self) -> None:
        self.protocol.peer_gone()
        assert self.protocol.state is SessionState.CLOSED
        self.ended = True

    def in_flight(self) -> set[str]:
        return {key for key in KEYS if key in self.protocol._calls}

    @invariant()
    def the_books_agree(self) -> None:
        if not hasattr(self, "protocol"):
            return
        open_calls = self.protocol._calls._open.values()
        assert self.budget.used == sum(sum(map(len, entry.pieces)) for entry in open_calls)
        assert self.budget.used == sum(entry.size for entry in open_calls)
        assert 0 <= self.protocol.room <= LIMITS.max_calls
        if self.protocol.state is SessionState.READY:
            assert self.protocol.room + self.protocol.calls_under_way == LIMITS.max_calls
            assert set(self.waited_for) <= self.in_flight(), "somebody waits for a call that the session forgot"
        else:
            assert self.protocol.room == 0
        if self.protocol.state in {SessionState.CLOSING, SessionState.CLOSED}:
            assert self.budget.used == 0
            assert self.protocol.deadline is None


def test_no_order_of_frames_breaks_a_session() -> None:
    run_state_machine_as_test(
        SessionMachine,
        settings=settings(
            max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
