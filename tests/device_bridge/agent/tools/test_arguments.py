"""I4 and I8: whatever JSON comes in, the answer is safe arguments or a refusal that repeats no value."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from device_bridge.agent.domain import JsonObject, Reason, ToolError, ToolSpec
from device_bridge.agent.tools import catalogue
from device_bridge.agent.tools.arguments import (
    MAX_ARGUMENTS_BYTES,
    MAX_DEPTH,
    ArgumentCheck,
    guard,
    parse_arguments,
)

CHECKS = {spec.name: ArgumentCheck(spec) for spec in catalogue()}
ID = "0b9a1c2d-3e4f-4a5b-8c6d-7e8f9a0b1c2d"


def refusal(tool: str, arguments: Any) -> ToolError:
    with pytest.raises(ToolError) as caught:
        CHECKS[tool](arguments)
    return caught.value


def checked_or_refused(tool: str, arguments: Any) -> JsonObject | ToolError:
    try:
        return CHECKS[tool](arguments)
    except ToolError as error:
        return error


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


VALID: dict[str, JsonObject] = {
    "list_directory": {},
    "get_file_metadata": {"path": "sample/a.md"},
    "read_file_content": {"path": "sample/a.md", "offset": 0, "max_bytes": 1},
    "find_changed_files": {"paths": ["sample"], "extensions": [".md"], "page_size": 1000},
    "list_projects": {},
    "list_all_projects": {},
    "get_project": {"project_id": ID},
    "create_project": {"name": "Website"},
    "update_project": {"project_id": ID, "status": "On Hold"},
    "list_tasks": {"project_id": None, "status": "ToDo"},
    "create_task": {"title": "Send draft", "due_date": "2028-02-29", "assignees": ["Ada"], "priority": None},
    "update_task": {"task_id": ID, "status": "In Progress", "project_id": None, "due_date": None},
    "add_task_comment": {"task_id": ID, "text": "Sent."},
    "list_notes": {"project_id": ID},
    "get_note": {"note_id": ID},
    "create_note": {"title": "Kick-off", "content": "…", "source": "sample/a.md"},
    "update_note": {"note_id": ID, "content": "…"},
    "list_timelines": {},
    "create_timeline": {"title": "Launch", "date": "2026-05-01", "end_date": None},
    "update_timeline": {"timeline_id": ID, "is_completed": True},
    "begin_run": {
        "phase": "triage",
        "group": "",
        "agent_name": "a",
        "trigger": "manual",
        "tools": [],
        "read_only": True,
        "directories": [],
        "files": None,
        "data_types": [],
        "budgets": {"max_calls": 0, "max_read_bytes": 0, "max_creates": 0},
    },
    "get_call": {"call_id": "run-1.g1.2.0"},
    "mark_processed": {"files": [{"path": "a", "size_bytes": 0, "mtime_ns": -1}]},
    "complete_run": {"state": "PARTIAL", "counts": {"processed": 3, "created": {"task": 2}}},
}


@pytest.mark.parametrize("tool", CHECKS)
def test_good_arguments_pass_as_they_are(tool: str) -> None:
    assert CHECKS[tool](VALID[tool]) == VALID[tool]


FLAGS = [
    "is_approved",
    "isApproved",
    "IS_APPROVED",
    "Is_Approved",
    "is-approved",
    "isapproved",
    "approved",
    "is_approved ",
    "\u0131s_approved",
    "is_ai_suggested",
    "isAiSuggested",
    "created_by_run",
    "user_id",
    "run_id",
    "id",
    "__proto__",
]


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("tool", CHECKS)
def test_no_tool_takes_a_flag_that_the_device_sets_in_any_spelling(tool: str, name: str) -> None:
    for value in (True, 1, "1", {"value": 1}):
        assert refusal(tool, {**VALID[tool], name: value}).reason is Reason.INVALID_ARGUMENT


def test_a_flag_hidden_deeper_is_refused_too() -> None:
    file = {"path": "a", "size_bytes": 0, "mtime_ns": 0, "is_approved": 1}

    assert refusal("mark_processed", {"files": [file]}).reason is Reason.INVALID_ARGUMENT
    assert refusal("create_task", {"title": {"is_approved": 1}}).reason is Reason.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "arguments: needs title"),
        ({"title": ""}, "title: must not be empty"),
        ({"title": " \t"}, "title: must not be blank"),
        ({"title": 5}, "title: must be string"),
        ({"title": "x" * 301}, "title: must have at most 300 characters"),
        ({"title": "x", "colour": "red"}, "arguments: has no argument named colour"),
        ({"title": "x", "status": "Done"}, 'status: must be one of "ToDo", "In Progress", "Completed"'),
        ({"title": "x", "status": "todo"}, "status: must be one of"),
        ({"title": "x", "due_date": "2026-02-29"}, "due_date: must be a real date as YYYY-MM-DD"),
        ({"title": "x", "due_date": "20260228"}, "due_date: must be a real date"),
        ({"title": "x", "due_date": "2026-W01-1"}, "due_date: must be a real date"),
        ({"title": "x", "due_date": "2026-02-28\n"}, "due_date: must"),
        ({"title": "x", "due_date": "٢٠٢٦-٠٢-٢٨"}, "due_date: must be a real date"),
        ({"title": "x", "due_date": "0000-01-01"}, "due_date: must be a real date"),
        ({"title": "x", "due_date": 20260228}, "due_date: must be string or null"),
        ({"title": "x", "assignees": "Ada"}, "assignees: must be array"),
        ({"title": "x", "assignees": ["A"] * 21}, "assignees: must have at most 20 items"),
        ({"title": "x", "assignees": ["A", ""]}, "assignees.1: must not be empty"),
        ({"title": "x", "priority": "Urgent"}, "priority: must be one of"),
    ],
)
def test_a_refusal_names_the_place_and_the_rule(arguments: JsonObject, message: str) -> None:
    error = refusal("create_task", arguments)

    assert error.reason is Reason.INVALID_ARGUMENT
    assert message in error.message


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("read_file_content", {"path": "a", "offset": -1}),
        ("read_file_content", {"path": "a", "offset": 10**30}),
        ("read_file_content", {"path": "a", "offset": 1.5}),
        ("read_file_content", {"path": "a", "offset": True}),
        ("read_file_content", {"path": "a", "max_bytes": 0}),
        ("read_file_content", {"path": "a", "max_bytes": 256 * 1024 + 1}),
        ("read_file_content", {"path": "x" * 1025}),
        ("find_changed_files", {"paths": []}),
        ("find_changed_files", {"paths": ["a"], "page_size": 1001}),
        ("begin_run", {**VALID["begin_run"], "phase": "control"}),
        ("begin_run", {**VALID["begin_run"], "budgets": {"max_calls": 1}}),
        ("complete_run", {"state": "RUNNING", "counts": {}}),
        ("complete_run", {"state": "FAILED", "counts": {"a": {"b": {"c": 1}}}}),
        ("complete_run", {"state": "FAILED", "counts": {"a": "many"}}),
    ],
)
def test_a_value_out_of_its_bounds_is_refused(tool: str, arguments: JsonObject) -> None:
    assert refusal(tool, arguments).reason is Reason.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "1",
        "x" * 36,
        "'; DROP TABLE tasks; --",
        "../../etc/passwd",
        "a" * 1_000_000,
        "%",
        ID + "\n",
        ID.upper() + "0",
    ],
    ids=lambda text: text[:20].strip() or "blank",
)
@pytest.mark.parametrize(
    ("tool", "name"),
    [
        (t, n)
        for t, args in VALID.items()
        for n in args
        # A call_id is the caller's own, and no row's.
        if n.endswith("_id") and n != "call_id" and args[n] is not None
    ],
)
def test_an_id_that_cannot_be_is_answered_like_one_that_is_not_there(tool: str, name: str, bad: str) -> None:
    error = refusal(tool, {**VALID[tool], name: bad})

    assert error.reason is Reason.NOT_FOUND
    assert len(error.message) < 200


@pytest.mark.parametrize("bad", [5, None, True, ["x"], {"id": "x"}])
def test_an_id_that_is_not_text_is_a_mistake_in_the_arguments(bad: object) -> None:
    assert refusal("get_note", {"note_id": bad}).reason is Reason.INVALID_ARGUMENT


def test_another_mistake_beside_a_strange_id_is_named() -> None:
    assert "status" in refusal("update_task", {"task_id": "task-1", "status": "Done"}).message


@pytest.mark.parametrize(
    "value",
    [
        nested(MAX_DEPTH + 1),
        nested(5000),
        math.nan,
        math.inf,
        10**5000,
        "half \ud800 of a pair",
        "a\0b",
        b"bytes",
        object(),
        [1] * 60_000,
        "x" * (MAX_ARGUMENTS_BYTES + 1),
        {1: "number as key"},
        {"\ud800": 1},
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_decent_json_is_refused_before_the_schema(value: Any) -> None:
    with pytest.raises(ToolError) as caught:
        guard({"x": value})

    assert caught.value.reason is Reason.INVALID_ARGUMENT
    assert "half" not in caught.value.message


@pytest.mark.parametrize("value", [[], "text", None, 1])
def test_arguments_that_are_no_object_are_refused(value: Any) -> None:
    with pytest.raises(ToolError):
        guard(value)


def test_depth_is_counted_from_the_arguments_themselves() -> None:
    assert guard({"x": nested(MAX_DEPTH - 1)})


def test_whole_numbers_come_out_as_integers() -> None:
    checked = CHECKS["read_file_content"]({"path": "a", "offset": 10.0})

    assert checked["offset"] == 10
    assert isinstance(checked["offset"], int)


CANARY = "canary 4711"


@pytest.mark.parametrize("tool", CHECKS)
def test_no_refusal_repeats_a_value(tool: str) -> None:
    names = list(VALID[tool]) or ["path"]
    for arguments in (
        {**VALID[tool], f"{CANARY} \x1b[31m": 1},
        dict.fromkeys(names, CANARY * 1000),
        {name: {CANARY: CANARY} for name in names},
        {name: [CANARY] for name in names},
    ):
        assert CANARY not in refusal(tool, arguments).message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=10), children, max_size=4),
    max_leaves=12,
)


@st.composite
def calls(draw: st.DrawFn) -> tuple[ToolSpec, JsonObject]:
    """Return a tool and arguments near its schema: its own names with odd values, some strangers, some left out."""
    spec = draw(st.sampled_from(catalogue()))
    names = list(spec.input_schema["properties"])
    near = st.dictionaries(st.sampled_from(names) if names else st.nothing(), JSON, max_size=len(names))
    good = draw(st.fixed_dictionaries({}, optional={n: st.just(v) for n, v in VALID[spec.name].items()}))
    return spec, {**good, **draw(near), **draw(st.dictionaries(st.text(max_size=8), JSON, max_size=1))}


@settings(max_examples=500, deadline=None)
@given(calls())
def test_any_json_is_taken_or_refused_and_never_an_accident(call: tuple[ToolSpec, JsonObject]) -> None:
    spec, arguments = call

    checked = checked_or_refused(spec.name, arguments)

    if isinstance(checked, ToolError):
        assert checked.reason in {Reason.INVALID_ARGUMENT, Reason.NOT_FOUND}
        assert len(checked.message) < 1000
    else:
        assert set(checked) <= set(spec.input_schema["properties"])
        json.dumps(checked, allow_nan=False).encode()


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "5",
        "{",
        '{"a": 1, "a": 2}',
        '{"x": {"a": 1, "a": 2}}',
        '{"a": NaN}',
        '{"a": -Infinity}',
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"a": ' + "9" * 5000 + "}",
        b'{"a": "\xff"}',
        '{"a": "' + "x" * MAX_ARGUMENTS_BYTES + '"}',
    ],
    ids=range(12),
)
def test_hostile_json_text_is_refused(text: str | bytes) -> None:
    with pytest.raises(ToolError) as caught:
        parse_arguments(text)

    assert caught.value.reason is Reason.INVALID_ARGUMENT


def test_json_text_is_parsed_and_nothing_is_no_arguments() -> None:
    assert parse_arguments('{"path": "a", "n": 1}') == {"path": "a", "n": 1}
    assert parse_arguments(" ") == {}
