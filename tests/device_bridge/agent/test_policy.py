"""The pure rules, exhaustively: every tool against every set of data types, phases and permissions."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from device_bridge.agent.domain import EffectClass, Failure, JsonObject, Reason, ToolCall, ToolError, ToolSpec
from device_bridge.agent.policy import (
    CONTROL,
    FILESYSTEM,
    PROCESSING,
    PROJECTS,
    TRIAGE,
    Budgets,
    Policy,
    RunRecord,
    Usage,
    decide,
    decide_read_bytes,
    may_change,
    policy_from_arguments,
    policy_from_json,
    policy_to_json,
)
from device_bridge.agent.tools import catalogue
from tests.device_bridge.agent.workspace.support import ALL_TYPES, policy_arguments, run_context

SPECS = {spec.name: spec for spec in catalogue()}
MODEL_SPECS = [spec for spec in SPECS.values() if spec.toolset != CONTROL]
TYPE_SETS = [set(chosen) for size in range(5) for chosen in itertools.combinations(ALL_TYPES, size)]
OPEN = Policy(
    phase=PROCESSING,
    group="g",
    tools=frozenset(SPECS),
    read_only=False,
    directories=("sample",),
    files=None,
    data_types=frozenset(ALL_TYPES),
    budgets=Budgets(max_calls=10, max_read_bytes=1000, max_creates=2),
)
RECORD = RunRecord(run_id="run-1", epoch=1, closed=False, usage=Usage())


def judge(
    spec: ToolSpec,
    policy: Policy | None = OPEN,
    record: RunRecord | None = RECORD,
    arguments: JsonObject | None = None,
    **context: object,
) -> Failure | None:
    call = ToolCall(call_id="c", tool=spec.name, arguments=arguments or at("sample"), context=run_context(**context))  # type: ignore[arg-type]  # fields by name
    return decide(call, spec, policy, record)


def at(path: str) -> JsonObject:
    return {"path": path, "paths": [path]}


def reason(failure: Failure | None) -> Reason | None:
    return None if failure is None else failure.reason


@pytest.mark.parametrize("spec", MODEL_SPECS, ids=lambda spec: spec.name)
class TestEveryToolOfAModel:
    def test_is_refused_without_a_run_unless_it_only_reads(self, spec: ToolSpec) -> None:
        call = ToolCall(call_id="c", tool=spec.name, arguments={}, context=None)

        decided = decide(call, spec, OPEN, RECORD)

        assert reason(decided) is (None if spec.effect is EffectClass.READ_ONLY else Reason.POLICY_DENIED)

    def test_is_refused_in_a_scope_without_a_policy(self, spec: ToolSpec) -> None:
        assert reason(judge(spec, None)) is Reason.POLICY_DENIED
        assert reason(judge(spec, OPEN, None)) is Reason.POLICY_DENIED

    def test_is_refused_when_the_policy_does_not_name_it(self, spec: ToolSpec) -> None:
        assert judge(spec) is None
        assert reason(judge(spec, replace(OPEN, tools=OPEN.tools - {spec.name}))) is Reason.POLICY_DENIED

    @pytest.mark.parametrize("types", TYPE_SETS, ids=lambda types: "+".join(sorted(types)) or "none")
    def test_is_limited_to_the_chosen_data_types(self, spec: ToolSpec, types: set[str]) -> None:
        reads = spec.effect is EffectClass.READ_ONLY
        allowed = spec.toolset in types or spec.toolset == FILESYSTEM or (spec.toolset == PROJECTS and reads)

        decided = judge(spec, replace(OPEN, data_types=frozenset(types)))

        assert reason(decided) is (None if allowed else Reason.POLICY_DENIED)

    @pytest.mark.parametrize(("phase", "read_only"), [(TRIAGE, False), (TRIAGE, True), (PROCESSING, True)])
    def test_only_reads_in_triage_and_in_a_read_only_scope(self, spec: ToolSpec, phase: str, read_only: bool) -> None:
        decided = judge(spec, replace(OPEN, phase=phase, read_only=read_only))

        assert reason(decided) is (None if spec.effect is EffectClass.READ_ONLY else Reason.POLICY_DENIED)

    def test_is_refused_to_a_worker_whose_epoch_is_over(self, spec: ToolSpec) -> None:
        record = replace(RECORD, epoch=5)

        assert reason(judge(spec, record=record, epoch=4)) is Reason.STALE_EPOCH
        assert judge(spec, record=record, epoch=5) is None
        assert judge(spec, record=record, epoch=6) is None

    def test_is_refused_once_the_run_is_completed(self, spec: ToolSpec) -> None:
        assert reason(judge(spec, record=replace(RECORD, closed=True))) is Reason.POLICY_DENIED

    def test_stops_at_exactly_the_budget_of_calls(self, spec: ToolSpec) -> None:
        assert judge(spec, record=replace(RECORD, usage=Usage(calls=9))) is None
        assert reason(judge(spec, record=replace(RECORD, usage=Usage(calls=10)))) is Reason.BUDGET_EXCEEDED

    def test_is_held_to_the_budget_of_new_records_only_if_it_makes_one(self, spec: ToolSpec) -> None:
        decided = judge(spec, record=replace(RECORD, usage=Usage(creates=2)))

        assert reason(decided) is (Reason.BUDGET_EXCEEDED if spec.name.startswith("create_") else None)

    def test_is_held_to_the_budget_of_bytes_only_if_it_reads_files(self, spec: ToolSpec) -> None:
        decided = judge(spec, record=replace(RECORD, usage=Usage(read_bytes=1000)))

        assert reason(decided) is (Reason.BUDGET_EXCEEDED if spec.name == "read_file_content" else None)


@pytest.mark.parametrize("name", ["begin_run", "mark_processed", "complete_run"])
class TestRunControl:
    @pytest.mark.parametrize("phase", [TRIAGE, PROCESSING, ""])
    def test_is_closed_to_the_phases_in_which_models_call(self, name: str, phase: str) -> None:
        assert reason(judge(SPECS[name], phase=phase)) is Reason.POLICY_DENIED

    def test_needs_a_run(self, name: str) -> None:
        call = ToolCall(call_id="c", tool=name, arguments={}, context=None)

        assert reason(decide(call, SPECS[name], None, None)) is Reason.POLICY_DENIED

    def test_is_fenced_and_ends_with_the_run(self, name: str) -> None:
        assert judge(SPECS[name], None, phase=CONTROL) is None
        assert reason(judge(SPECS[name], None, replace(RECORD, epoch=2), phase=CONTROL)) is Reason.STALE_EPOCH
        assert reason(judge(SPECS[name], None, replace(RECORD, closed=True), phase=CONTROL)) is Reason.POLICY_DENIED

    def test_of_an_unknown_run_may_begin_or_complete_it_and_no_more(self, name: str) -> None:
        decided = judge(SPECS[name], None, None, phase=CONTROL)

        assert reason(decided) is (Reason.POLICY_DENIED if name == "mark_processed" else None)


LISTED = replace(OPEN, files=frozenset({"sample/a.md", "sample/sub/b.md"}))


@pytest.mark.parametrize("name", ["read_file_content", "get_file_metadata"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("sample/a.md", None),
        ("sample//./a.md", None),
        ("sample/sub/b.md", None),
        ("sample/other.md", Reason.POLICY_DENIED),
        ("sample/A.md", Reason.POLICY_DENIED),
        ("sample", Reason.POLICY_DENIED),
        (".", Reason.POLICY_DENIED),
        ("elsewhere/a.md", Reason.POLICY_DENIED),
        ("sample/../sample/a.md", Reason.PATH_DENIED),
        ("/sample/a.md", Reason.INVALID_ARGUMENT),
        ("sample/.env", Reason.DENIED_BY_POLICY),
    ],
)
def test_with_a_file_list_only_listed_files_are_read(name: str, path: str, expected: Reason | None) -> None:
    assert reason(judge(SPECS[name], LISTED, arguments={"path": path})) is expected


@pytest.mark.parametrize("spec", [s for s in MODEL_SPECS if s.toolset == FILESYSTEM], ids=lambda spec: spec.name)
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("sample", None),
        ("sample/deep/er", None),
        ("./sample/", None),
        ("sample_evil/x", Reason.POLICY_DENIED),
        ("samples", Reason.POLICY_DENIED),
        (".", Reason.POLICY_DENIED),
        ("", Reason.INVALID_ARGUMENT),
        ("other", Reason.POLICY_DENIED),
        ("..", Reason.PATH_DENIED),
        ("sample/..", Reason.PATH_DENIED),
        ("/etc", Reason.INVALID_ARGUMENT),
    ],
)
def test_files_are_looked_for_only_under_the_agents_folders(spec: ToolSpec, path: str, expected: Reason | None) -> None:
    assert reason(judge(spec, OPEN, arguments=at(path))) is expected


def test_every_folder_of_a_search_must_be_the_agents() -> None:
    arguments: JsonObject = {"paths": ["sample/a", "other"]}

    assert reason(judge(SPECS["find_changed_files"], arguments=arguments)) is Reason.POLICY_DENIED


def test_listing_without_a_path_lists_the_roots_which_an_agent_of_one_folder_may_not() -> None:
    spec = SPECS["list_directory"]
    call = ToolCall(call_id="c", tool=spec.name, arguments={}, context=run_context())

    assert reason(decide(call, spec, OPEN, RECORD)) is Reason.POLICY_DENIED
    assert decide(call, spec, replace(OPEN, directories=(".",)), RECORD) is None


def test_an_agent_without_folders_reads_no_file() -> None:
    assert reason(judge(SPECS["read_file_content"], replace(OPEN, directories=()))) is Reason.POLICY_DENIED


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("sample/a.md", None),
        ("sample/./a.md", None),
        ("", None),
        ("sample/other.md", Reason.INVALID_ARGUMENT),
        ("/sample/a.md", Reason.INVALID_ARGUMENT),
        ("the meeting notes", Reason.INVALID_ARGUMENT),
    ],
)
def test_a_source_is_one_of_the_groups_files(source: str, expected: Reason | None) -> None:
    arguments: JsonObject = {"title": "t", "source": source}

    assert reason(judge(SPECS["create_task"], LISTED, arguments=arguments)) is expected
    assert judge(SPECS["create_task"], OPEN, arguments=arguments) is None


def test_bytes_are_handed_out_up_to_exactly_the_budget() -> None:
    assert decide_read_bytes(OPEN, Usage(read_bytes=600), 400) is None
    assert reason(decide_read_bytes(OPEN, Usage(read_bytes=600), 401)) is Reason.BUDGET_EXCEEDED


def test_a_run_changes_only_what_is_still_a_suggestion() -> None:
    assert may_change(is_ai_suggested=True, is_approved=False)
    assert not may_change(is_ai_suggested=True, is_approved=True)
    assert not may_change(is_ai_suggested=False, is_approved=True)
    assert not may_change(is_ai_suggested=False, is_approved=False)


@given(
    tools=st.frozensets(st.text(max_size=5)),
    files=st.none() | st.lists(st.sampled_from(["a/b", "a//c", "d"])),
    read_only=st.booleans(),
    calls=st.integers(0, 2**40),
)
def test_a_policy_survives_the_database(
    tools: frozenset[str], files: list[str] | None, read_only: bool, calls: int
) -> None:
    budgets = {"max_calls": calls, "max_read_bytes": 0, "max_creates": 3}
    arguments = policy_arguments(tools=list(tools), files=files, read_only=read_only, budgets=budgets)

    policy = policy_from_arguments(arguments)

    assert policy == policy_from_json(policy_to_json(policy))


@pytest.mark.parametrize("fields", [{"directories": ["/abs"]}, {"directories": ["a/.."]}, {"files": ["ok", "../no"]}])
def test_a_policy_with_a_path_that_is_no_wire_path_is_refused(fields: JsonObject) -> None:
    with pytest.raises(ToolError):
        policy_from_arguments(policy_arguments(**fields))
