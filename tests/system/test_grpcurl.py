"""Engineers use grpcurl: reflection, a tool call, and a run, against `adiuva up`."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from typing import Any

import pytest

from tests.system.local_stack import LocalStack

GRPCURL = shutil.which("grpcurl")

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(GRPCURL is None, reason="GRPCURL IS NOT INSTALLED: the commands of the README go untested"),
]


def grpcurl(stack: LocalStack, service: str, *arguments: str, data: dict[str, Any] | None = None) -> str:
    assert GRPCURL is not None
    client = stack.client
    command = [
        GRPCURL,
        "-cacert",
        client["ca_file"],
        "-servername",
        client["server_name"],
        "-H",
        f"authorization: Bearer {client['token']}",
    ]
    if data is not None:
        command += ["-d", json.dumps(data)]
    done = subprocess.run(
        [*command, client[service]["target"], *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_reflection_lists_and_describes_the_services(stack: LocalStack) -> None:
    assert "adiuva.orchestrator.v1.RunService" in grpcurl(stack, "orchestrator", "list")
    assert "adiuva.device_bridge.v1.ToolService" in grpcurl(stack, "device_bridge", "list")
    assert "rpc WatchRun" in grpcurl(stack, "orchestrator", "describe", "adiuva.orchestrator.v1.RunService")


def test_a_tool_is_called_on_the_device(stack: LocalStack) -> None:
    answer = json.loads(
        grpcurl(
            stack,
            "device_bridge",
            "adiuva.device_bridge.v1.ToolService/CallTool",
            data={"call": {"tool": "list_directory", "arguments_json": '{"path": "sample"}'}},
        )
    )

    entries = json.loads(answer["outcome"]["result_json"])["entries"]
    assert "acme" in json.dumps(entries).lower() or len(entries) > 5


def test_a_run_is_started_and_watched_to_its_end(stack: LocalStack) -> None:
    started = json.loads(
        grpcurl(
            stack,
            "orchestrator",
            "adiuva.orchestrator.v1.RunService/StartRun",
            data={
                "request_id": str(uuid.uuid4()),
                "definition": {
                    "display_name": "By hand",
                    "client_agent_id": str(uuid.uuid4()),
                    "local_directory": {"directory_paths": ["sample"], "file_extensions": [".nothing"]},
                    "data_types": ["DATA_TYPE_TASKS"],
                },
            },
        )
    )["run"]

    events = grpcurl(
        stack,
        "orchestrator",
        "adiuva.orchestrator.v1.RunService/WatchRun",
        data={"run_id": started["run_id"]},
    )

    assert "RUN_STATE_SUCCEEDED" in events


def test_a_call_without_a_token_learns_nothing(stack: LocalStack) -> None:
    assert GRPCURL is not None
    client = stack.client

    done = subprocess.run(
        [GRPCURL, "-cacert", client["ca_file"], "-servername", "localhost", client["orchestrator"]["target"], "list"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode != 0
    assert "adiuva." not in done.stdout
