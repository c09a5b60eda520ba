"""The small parts of routing: deadlines, the memory of outcomes, and what a call must be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from adiuva_rpc.errors import InvalidArgument
from device_bridge.server.errors import DeviceOffline
from device_bridge.server.routing.arguments import MAX_DEPTH, check_arguments, check_call
from device_bridge.server.routing.deadlines import SLOT_SECONDS, Deadlines
from device_bridge.server.routing.domain import MAX_ARGUMENT_BYTES, ByteBudget, Finished, Outcome, rejection
from device_bridge.server.routing.memory import OutcomeMemory
from tests.device_bridge.server.routing.examples import call


class TestDeadlines:
    @given(
        due=st.dictionaries(st.text(min_size=1), st.floats(0, 100)),
        removed=st.sets(st.text(min_size=1)),
        steps=st.lists(st.floats(0.01, 30), max_size=10),
    )
    def test_each_key_is_due_once_and_never_early_nor_much_too_late(
        self, due: dict[str, float], removed: set[str], steps: list[float]
    ) -> None:
        deadlines = Deadlines(0.0)
        for key, moment in due.items():
            deadlines.add(key, moment)
        for key in removed & due.keys():
            deadlines.remove(key, due[key])
        left = {key: moment for key, moment in due.items() if key not in removed}
        now = 0.0

        for step in [*steps, 200.0]:
            before, now = now, now + step
            for key in deadlines.take_due(now):
                moment = left.pop(key)
                assert moment <= now
                assert moment >= before - 2 * SLOT_SECONDS

        assert left == {}
        assert len(deadlines) == 0

    def test_an_overdue_key_comes_with_the_next_sweep(self) -> None:
        deadlines = Deadlines(100.0)
        deadlines.take_due(110.0)

        deadlines.add("late", 50.0)

        assert deadlines.take_due(110.2) == ["late"]


class TestMemory:
    def test_the_pieces_of_a_long_result_are_not_kept(self) -> None:
        memory = OutcomeMemory()

        memory.remember(call(), Finished(Outcome(b"x", (b"long",)), "laptop", 1), 0.0)

        assert memory.recall("anna", "c1", 0.0) == Finished(Outcome(b"x"), "laptop", 1)

    def test_old_answers_go_first_when_there_are_too_many(self) -> None:
        memory = OutcomeMemory(max_answers=2)

        for call_id in ("a", "b", "a", "c"):
            memory.remember(call(call_id), rejection(DeviceOffline()), 0.0)

        assert memory.recall("anna", "b", 0.0) is None
        assert memory.recall("anna", "a", 0.0) is not None

    def test_old_answers_go_first_when_they_are_too_large(self) -> None:
        memory = OutcomeMemory(max_bytes=100)

        for call_id in ("a", "b", "c"):
            memory.remember(call(call_id), Finished(Outcome(b"x" * 40), "laptop", 1), 0.0)

        assert memory.size_bytes == 80
        assert memory.recall("anna", "a", 0.0) is None

    def test_an_answer_is_forgotten_after_ten_minutes(self) -> None:
        memory = OutcomeMemory()
        memory.remember(call(), rejection(DeviceOffline()), 0.0)

        assert memory.recall("anna", "c1", 599.0) is not None
        assert memory.recall("anna", "c1", 600.0) is None
        assert len(memory) == memory.size_bytes == 0


class TestArguments:
    @pytest.mark.parametrize("text", ["{}", '{"a": [1, {"b": null}]}', '{"a": 1.5e3, "ü": "\\u00fc"}'])
    def test_a_json_object_passes(self, text: str) -> None:
        check_arguments(text)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "null",
            "[]",
            '"text"',
            "{",
            "{}{}",
            "{'a': 1}",
            '{"a": NaN}',
            '{"a": -Infinity}',
            '{"a": 1, "a": 2}',
            '{"b": {"a": 1, "a": 2}}',
            '{"a": ' + "9" * 5000 + "}",
            '{"a": ' + "[" * 100_000,
            '{"a": ' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}",
            json.dumps({"a": "x" * MAX_ARGUMENT_BYTES}),
            json.dumps({"a": "ü" * (MAX_ARGUMENT_BYTES // 2)}, ensure_ascii=False),
        ],
    )
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidArgument) as refused:
            check_arguments(text)

        assert refused.value.field == "call.arguments_json"

    def test_the_deepest_nesting_that_is_allowed_passes(self) -> None:
        check_arguments('{"a": ' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "}")

    @given(st.text())
    def test_no_text_makes_the_check_crash(self, text: str) -> None:
        try:
            check_arguments(text)
        except InvalidArgument:
            return
        assert isinstance(json.loads(text), dict)

    @pytest.mark.parametrize(
        ("field", "changes"),
        [
            ("call_id", {"call_id": ""}),
            ("call_id", {"call_id": "a b"}),
            ("call_id", {"call_id": "x" * 129}),
            ("call_id", {"call_id": "a\n"}),
            ("call.user_id", {"user_id": "a\0"}),
            ("call.user_id", {"user_id": ""}),
            ("call.tool", {"tool": ""}),
            ("call.tool", {"tool": "rm -rf"}),
            ("call.device_id", {"device_id": "a/b"}),
            ("call.timeout", {"timeout": 0.0}),
            ("call.timeout", {"timeout": -1.0}),
            ("call.timeout", {"timeout": 300.1}),
            ("call.run_context", {"run_context": b"x" * 8193}),
        ],
    )
    def test_a_wrong_field_is_named(self, field: str, changes: dict[str, Any]) -> None:
        with pytest.raises(InvalidArgument) as refused:
            check_call(call(**changes))

        assert refused.value.field == field


def test_a_budget_gives_no_more_than_it_has() -> None:
    budget = ByteBudget(10)

    assert budget.take(6)
    assert not budget.take(5)
    budget.give_back(6)

    assert budget.take(10)
    assert budget.used == 10
