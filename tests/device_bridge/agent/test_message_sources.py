"""A run over messages: its groups list message ids, which are sources and nothing that could be opened."""

from __future__ import annotations

import pytest

from device_bridge.agent.domain import EffectClass, Failure, Reason, ToolCall, ToolSpec
from device_bridge.agent.policy import PROCESSING, RunRecord, Usage, decide, policy_from_arguments
from device_bridge.agent.tools import catalogue
from tests.device_bridge.agent.workspace.support import policy_arguments, run_context

GMAIL = "message:gmail:18c2a9f0b1"
OUTLOOK = "message:outlook:AAMkAGI2/x+y=="
TEAMS = "message:teams:19:abc@thread.v2/1772445600123@2026-03-02T09:00:00Z"
SPECS = {spec.name: spec for spec in catalogue()}
POLICY = policy_from_arguments(
    policy_arguments(phase=PROCESSING, group="g1", directories=[], files=[GMAIL, OUTLOOK, TEAMS])
)
RECORD = RunRecord(run_id="run-1", epoch=1, closed=False, usage=Usage())


def judge(tool: str, **arguments: str) -> Failure | None:
    call = ToolCall(
        call_id="c", tool=tool, arguments=dict(arguments), context=run_context(phase=PROCESSING, group="g1")
    )
    return decide(call, SPECS[tool], POLICY, RECORD)


def test_the_ids_of_messages_are_kept_as_they_are() -> None:
    assert POLICY.files == frozenset({GMAIL, OUTLOOK, TEAMS})


@pytest.mark.parametrize("source", [GMAIL, OUTLOOK, TEAMS])
def test_a_message_of_the_group_can_be_a_source(source: str) -> None:
    assert judge("create_task", title="Send the logo", source=source) is None


@pytest.mark.parametrize(
    "source",
    ["message:gmail:other", "message:", "message:gmail:18c2a9f0b1/..", "MESSAGE:gmail:18c2a9f0b1", "sample/a.md"],
)
def test_any_other_source_is_refused(source: str) -> None:
    failure = judge("create_task", title="Send the logo", source=source)

    assert failure is not None
    assert failure.reason is Reason.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "spec", [spec for spec in SPECS.values() if spec.toolset == "filesystem"], ids=lambda spec: spec.name
)
def test_nothing_on_the_device_can_be_read_under_the_name_of_a_message(spec: ToolSpec) -> None:
    assert spec.effect is EffectClass.READ_ONLY
    for path in (GMAIL, OUTLOOK, TEAMS, "sample/a.md", "."):
        call = ToolCall(
            call_id="c",
            tool=spec.name,
            arguments={"path": path, "paths": [path]},
            context=run_context(phase=PROCESSING, group="g1"),
        )
        assert decide(call, spec, POLICY, RECORD) is not None
