"""kill -9 in the middle of a run ends, after the restart, in the same workspace as a run without it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.sample import FILES
from tests.system.local_stack import local_stack
from tests.system.workspaces import content, created

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(240)]

FOLDERS = 3
"""Of the sample: enough for several groups at a time, and quick."""

OFTEN = [
    "orchestrator.after_tool_answer=kill@20",
    "orchestrator.before_finished=kill@1",
    "device.after_commit=kill@6",
    "bridge.before_answer=kill@15",
]
"""In every run of the tests."""
RARELY = [
    "orchestrator.after_model_answer=kill@2",
    "device.before_commit=kill@6",
    "bridge.before_call=kill@15",
    "orchestrator.after_claim=kill@1",
    "orchestrator.before_tool_call=kill@12",
    "orchestrator.before_mark_processed=kill@1",
    "orchestrator.before_complete_run=kill@1",
    "device.before_commit=kill@1",
    "device.after_commit=kill@1",
    "device.before_answer=kill@15",
]
"""With `make faults`."""


@pytest.fixture(scope="module")
def root(scratch: Path) -> Path:
    made = scratch / "clients"
    for folder in sorted(path for path in FILES.iterdir() if path.is_dir())[:FOLDERS]:
        shutil.copytree(folder, made / folder.name)
    return made


def run_once(data: Path, root: Path, env: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    with local_stack(data, root, env=env) as stack:
        run = stack.json("runs", "start", "--directory", "clients", "--watch")
        return run, stack.json("workspace", "show")


@pytest.fixture(scope="module")
def undisturbed(scratch: Path, root: Path) -> dict[str, Any]:
    run, workspace = run_once(scratch / "undisturbed", root, {})
    assert run["state"] == "RUN_STATE_SUCCEEDED", run["errors"]
    return workspace


@pytest.mark.parametrize("failpoint", [*OFTEN, *(RARELY if os.environ.get("ADIUVA_FAULTS") == "full" else [])])
def test_a_process_killed_in_mid_run_changes_nothing_in_the_end(
    failpoint: str, place: Path, root: Path, undisturbed: dict[str, Any]
) -> None:
    fired = place / "fired"
    fired.mkdir()

    run, workspace = run_once(
        place / "data", root, {"ADIUVA_FAILPOINTS": failpoint, "ADIUVA_FAILPOINTS_DIR": str(fired)}
    )

    assert [file.name for file in fired.iterdir()] == [failpoint.split("=")[0]], "the failpoint did not fire"
    assert run["state"] == "RUN_STATE_SUCCEEDED", run["errors"]
    assert content(workspace) == content(undisturbed)
    assert dict(created(workspace, run["run_id"])) == run["counts"]["created"]
