"""The calls that the device has not forgotten, across sessions."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from device_bridge.agent.domain import Effect, EffectKind, Failure, Outcome, Reason, ToolCall
from device_bridge.agent.link.calls import CallLimits, Calls
from device_bridge.agent.link.domain import Answer, Call, InFlight, MalformedCall
from tests.device_bridge.agent.link.support import INTRODUCTION, Tools, settle, welcome


def call(key: str, tool: str = "echo", arguments: dict[str, Any] | None = None, timeout: float | None = None) -> Call:
    tool_call = ToolCall(call_id=f"id-{key}", tool=tool, arguments=arguments or {}, context=None)
    return Call(call_key=key, tool_call=tool_call, timeout=timeout)


class Answers(list[Answer]):
    """A sink."""

    def reason(self, index: int = -1) -> Reason | None:
        failure = self[index].failure
        return failure.reason if failure else None

    def keys(self) -> list[str]:
        return [answer.call_key for answer in self]


def attached(calls: Calls, **terms: Any) -> Answers:
    answers = Answers()
    calls.attach(answers.append, welcome(**terms), calls.in_flight())
    return answers


async def test_a_call_is_answered_with_its_result() -> None:
    async with Calls(Tools(), INTRODUCTION.tools) as calls:
        answers = attached(calls)

        calls.start(call("a", arguments={"text": "grüß"}))
        await calls.idle.wait()
        await settle()

    assert answers.keys() == ["a"]
    assert answers[0].body == '{"text":"grüß"}'.encode()
    assert answers[0].failure is None


async def test_a_call_that_runs_already_is_joined() -> None:
    tools = Tools()
    async with Calls(tools) as calls:
        answers = attached(calls)

        calls.start(call("a", "slow"))
        calls.start(call("a", "slow"))
        await settle()
        tools.release("slow")
        await settle()

    assert len(tools.started) == 1
    assert answers.keys() == ["a"]


async def test_a_call_that_has_ended_is_answered_again_and_not_run_again() -> None:
    tools = Tools()
    async with Calls(tools) as calls:
        answers = attached(calls)
        calls.start(call("a"))
        await settle()

        calls.start(call("a"))

    assert len(tools.started) == 1
    assert answers.keys() == ["a", "a"]


async def test_an_acknowledged_answer_is_forgotten() -> None:
    async with Calls(Tools()) as calls:
        attached(calls)
        calls.start(call("a"))
        calls.start(call("b"))
        await settle()

        calls.acknowledge(["a", "unknown"])

        assert calls.in_flight() == (InFlight(call_key="b", finished=True),)


async def test_calls_run_on_without_a_session_and_are_answered_in_the_next() -> None:
    tools = Tools()
    async with Calls(tools) as calls:
        first = attached(calls)
        calls.start(call("a", "slow"))
        await settle()

        calls.detach(first.append)
        tools.release("slow")
        await settle()
        assert calls.in_flight() == (InFlight(call_key="a", finished=True),)
        second = attached(calls, resend=frozenset({"a"}))

    assert first.keys() == []
    assert second.keys() == ["a"]


async def test_a_call_that_ended_between_hello_and_welcome_is_answered() -> None:
    tools = Tools()
    async with Calls(tools) as calls:
        calls.start(call("a", "slow"))
        await settle()
        told = calls.in_flight()

        tools.release("slow")
        await settle()
        answers = Answers()
        calls.attach(answers.append, welcome(), told)

    assert told == (InFlight(call_key="a", finished=False),)
    assert answers.keys() == ["a"]


async def test_an_answer_that_the_bridge_did_not_ask_for_is_kept_and_not_sent() -> None:
    async with Calls(Tools()) as calls:
        calls.start(call("a"))
        await settle()

        answers = attached(calls)

        assert answers.keys() == []
        assert len(calls.in_flight()) == 1


async def test_a_forgotten_call_is_stopped_and_its_answer_is_dropped() -> None:
    tools = Tools()
    async with Calls(tools) as calls:
        calls.start(call("done"))
        calls.start(call("running", "slow"))
        await settle()

        answers = attached(calls, forget=frozenset({"done", "running", "unknown"}))
        await settle()

        assert calls.in_flight() == ()
        assert answers.keys() == []
        assert tools.cancelled == ["id-running"]


async def test_the_detach_of_an_old_session_does_not_silence_the_new_one() -> None:
    async with Calls(Tools()) as calls:
        old = attached(calls)
        new = attached(calls)

        calls.detach(old.append)
        calls.start(call("a"))
        await settle()

    assert new.keys() == ["a"]


async def test_a_cancelled_call_answers_cancelled() -> None:
    tools = Tools()
    async with Calls(tools) as calls:
        answers = attached(calls)
        calls.start(call("a", "slow"))
        await settle()

        calls.cancel("a")
        calls.cancel("a")
        calls.cancel("unknown")
        await settle()

    assert answers.reason() is Reason.CANCELLED
    assert tools.cancelled == ["id-a"]


async def test_a_call_that_is_cancelled_before_it_began_answers_too() -> None:
    tools = Tools()
    async with Calls(tools) as calls:
        answers = attached(calls)

        calls.start(call("a", "slow"))
        calls.cancel("a")
        await settle()

        assert tools.started == []
        assert answers.reason() is Reason.CANCELLED
        assert calls.idle.is_set()


async def test_a_cancelled_call_that_had_taken_effect_answers_what_it_did() -> None:
    effect = Effect(kind=EffectKind.CREATED, entity_type="task", entity_id="1", title="t")

    async def committed(_call: ToolCall) -> Outcome:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return Outcome(result={"id": "1"}, effects=(effect,))
        raise AssertionError

    async with Calls(committed) as calls:
        answers = attached(calls)
        calls.start(call("a"))
        await settle()

        calls.cancel("a")
        await settle()

    assert answers[0].effects == (effect,)
    assert answers.reason() is None


async def test_a_call_past_its_deadline_answers_timeout_and_is_stopped() -> None:
    tools = Tools()
    async with Calls(tools) as calls:
        answers = attached(calls)

        calls.start(call("a", "slow", timeout=0.01))
        await calls.idle.wait()
        await settle()

    assert answers.reason() is Reason.TIMEOUT
    assert answers[0].failure is not None
    assert answers[0].failure.retryable
    assert tools.cancelled == ["id-a"]


async def test_a_call_without_a_timeout_has_the_default_one() -> None:
    async with Calls(Tools(), limits=CallLimits(timeout_seconds=0.01)) as calls:
        answers = attached(calls)

        calls.start(call("a", "slow"))
        await calls.idle.wait()
        await settle()

    assert answers.reason() is Reason.TIMEOUT


async def test_no_caller_may_wait_longer_than_the_device_allows() -> None:
    async with Calls(Tools(), limits=CallLimits(longest_timeout_seconds=0.01)) as calls:
        answers = attached(calls)

        calls.start(call("a", "slow", timeout=3600.0))
        await calls.idle.wait()
        await settle()

    assert answers.reason() is Reason.TIMEOUT


async def test_no_more_calls_run_than_the_bridge_was_granted() -> None:
    tools = Tools()
    async with Calls(tools) as calls:
        answers = attached(calls, max_calls=2)
        for key in "abc":
            calls.start(call(key, "slow"))
        await settle()

        assert answers.keys() == ["c"]
        assert answers.reason() is Reason.UNAVAILABLE
        assert len(tools.started) == 2
        assert [entry.call_key for entry in calls.in_flight()] == ["a", "b"]


async def test_forgotten_calls_that_still_end_take_no_room_from_the_bridge() -> None:
    hold = asyncio.Event()

    async def stubborn(tool_call: ToolCall) -> Outcome:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await hold.wait()
        return Outcome(result={})

    async with Calls(stubborn) as calls:
        attached(calls, max_calls=1)
        calls.start(call("old"))
        await settle()
        answers = attached(calls, max_calls=1, forget=frozenset({"old"}))

        calls.start(call("new"))
        await settle()

        assert answers.keys() == []
        assert calls.running == 2
        hold.set()


async def test_the_device_has_a_limit_of_its_own_whatever_the_bridge_grants() -> None:
    async with Calls(Tools(), limits=CallLimits(running=1)) as calls:
        answers = attached(calls, max_calls=1000)

        calls.start(call("a", "slow"))
        calls.start(call("b", "slow"))

        assert answers.keys() == ["b"]


@pytest.mark.parametrize(
    ("limits", "kept"),
    [(CallLimits(kept_answers=2), ["c", "d"]), (CallLimits(kept_bytes=1000), ["c", "d"])],
    ids=["count", "bytes"],
)
async def test_the_oldest_answers_go_when_too_many_wait(limits: CallLimits, kept: list[str]) -> None:
    async with Calls(Tools(), limits=limits) as calls:
        for key in "abcd":
            calls.start(call(key, arguments={"text": "x" * 200}))
            await settle()

        assert [entry.call_key for entry in calls.in_flight()] == kept


async def test_a_result_past_the_tools_limit_fails_that_call_only() -> None:
    async with Calls(Tools(), INTRODUCTION.tools) as calls:
        answers = attached(calls)

        calls.start(call("a", "small", {"text": "x" * 100}))
        calls.start(call("b", "small", {"text": "x" * 10}))
        await settle()

    assert [answer.failure.reason if answer.failure else None for answer in answers] == [Reason.RESULT_TOO_LARGE, None]


def _raises(_call: ToolCall) -> Outcome:
    raise RuntimeError("secret text of a file")


@pytest.mark.parametrize(
    "outcome",
    [_raises, lambda _: Outcome(result={"a": object()}), lambda _: Outcome(result={"a": math.nan})],
    ids=["raises", "no JSON", "NaN"],
)
async def test_a_tool_that_breaks_its_promise_fails_its_own_call(outcome: Callable[[ToolCall], Outcome]) -> None:
    async def broken(tool_call: ToolCall) -> Outcome:
        return outcome(tool_call)

    async with Calls(broken) as calls:
        answers = attached(calls)
        calls.start(call("a"))
        await settle()

    assert answers.reason() is Reason.INTERNAL
    assert answers[0].failure is not None
    assert "secret" not in answers[0].failure.message


async def test_a_name_that_is_no_utf8_is_still_answered() -> None:
    async with Calls(Tools()) as calls:
        answers = attached(calls)
        calls.start(call("a", arguments={"path": "caf\udce9"}))
        await settle()

    assert json.loads(answers[0].body) == {"path": "caf?"}


async def test_a_malformed_call_is_answered_and_not_kept() -> None:
    async with Calls(Tools()) as calls:
        answers = attached(calls)

        calls.refuse(MalformedCall(call_key="a", message="no tool"))

        assert answers.reason() is Reason.INVALID_ARGUMENT
        assert calls.in_flight() == ()


async def test_leaving_cancels_what_still_runs_and_answers_nothing() -> None:
    tools = Tools()
    async with Calls(tools) as calls:
        answers = attached(calls)
        calls.start(call("a", "slow"))
        await settle()

    assert tools.cancelled == ["id-a"]
    assert answers == []
    assert calls.running == 0


async def test_five_thousand_failing_calls_leave_nothing_behind() -> None:
    async def failing(_call: ToolCall) -> Outcome:
        return Outcome(failure=Failure(reason=Reason.NOT_FOUND, message="There is no such task."))

    async with Calls(failing) as calls:
        attached(calls, max_calls=256)
        before = len(asyncio.all_tasks())
        for number in range(5000):
            calls.start(call(str(number)))
            if number % 250 == 249:
                await calls.idle.wait()
                await settle()
                calls.acknowledge(str(n) for n in range(number + 1))

        assert calls.in_flight() == ()
        assert len(asyncio.all_tasks()) == before
