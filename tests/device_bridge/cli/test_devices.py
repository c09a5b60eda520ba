"""`adiuva devices` against a real bridge, each command in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from adiuva.device_bridge.v1 import tool_pb2
from tests.device_bridge.server.harness import Harness, harness
from tests.fakes.device import FakeDevice, ToolFailed, descriptor, echo


async def fails(_call: tool_pb2.ToolCall) -> dict[str, Any]:
    raise ToolFailed("PATH_DENIED", "That is outside \x1b[31mthe roots.")


pytestmark = pytest.mark.system

TOOLS: dict[str, Any] = {"echo": echo, "fails": fails}
DESCRIPTORS = [descriptor("echo", toolset="filesystem"), descriptor("fails", toolset="control")]


@dataclass(slots=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(slots=True)
class Terminal:
    """Runs commands as the user of a bridge."""

    bridge: Harness
    client: Path

    async def run(self, *arguments: str, stdin: str = "") -> Said:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "device_bridge.cli",
            *arguments,
            env={**os.environ, "ADIUVA_CLIENT": str(self.client), "COLUMNS": "200"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        with anyio.fail_after(30):
            out, err = await process.communicate(stdin.encode())
        assert process.returncode is not None
        said = Said(process.returncode, out.decode(), err.decode())
        assert "Traceback" not in said.err
        return said


@pytest.fixture
async def terminal(database_url: str, tmp_path: Path) -> AsyncIterator[Terminal]:
    async with harness(database_url, tmp_path) as bridge:
        client = tmp_path / "client.json"
        client.write_text(
            json.dumps(
                {
                    "orchestrator": {"target": "127.0.0.1:1"},
                    "device_bridge": {
                        "target": f"127.0.0.1:{bridge.bridge.internal_server.port}",
                        "device_target": f"127.0.0.1:{bridge.bridge.device_server.port}",
                    },
                    "token": bridge.user_token,
                }
            )
        )
        yield Terminal(bridge, client)


@pytest.fixture
async def laptop(terminal: Terminal) -> AsyncIterator[FakeDevice]:
    code = await terminal.bridge.code()
    async with FakeDevice(terminal.bridge.device_channel, code=code, tools=TOOLS, descriptors=DESCRIPTORS) as device:
        yield device


async def test_a_code_from_the_command_line_enrols_a_device(terminal: Terminal) -> None:
    nothing = await terminal.run("list")
    made = await terminal.run("enrol", "--minutes", "5", "--json")

    async with FakeDevice(terminal.bridge.device_channel, code=made.json["code"]) as device:
        listed = await terminal.run("list", "--json")
        table = await terminal.run("list")

    assert (nothing.code, made.code, listed.code, table.code) == (0, 0, 0, 0)
    assert "adiuva devices enrol" in nothing.out
    (shown,) = listed.json["devices"]
    assert shown["device_id"] == device.welcome.device_id
    assert shown["online"] is True
    assert device.welcome.device_id in table.out
    assert "online" in table.out


async def test_a_code_is_shown_with_what_to_do_with_it(terminal: Terminal) -> None:
    said = await terminal.run("enrol")

    assert said.code == 0
    assert "adiuva device --code" in said.out


async def test_one_device_and_its_tools_are_shown(terminal: Terminal, laptop: FakeDevice) -> None:
    device_id = laptop.welcome.device_id

    shown = await terminal.run("show", device_id)
    as_json = await terminal.run("show", device_id, "--json")
    table = await terminal.run("tools", device_id)
    some = await terminal.run("tools", device_id, "--toolset", "control", "--json")

    assert "Anna's laptop" in shown.out
    assert as_json.json["user_id"] == terminal.bridge.user
    assert "echo" in table.out
    assert "read only" in table.out
    assert [tool["name"] for tool in some.json["tools"]] == ["fails"]
    assert some.json["tools"][0]["input_schema"]["type"] == "object"


async def test_a_tool_is_called_with_arguments_from_anywhere(
    terminal: Terminal, laptop: FakeDevice, tmp_path: Path
) -> None:
    device_id = laptop.welcome.device_id
    file = tmp_path / "arguments.json"
    file.write_text('{"from": "file"}')

    said = [
        await terminal.run("call", device_id, "echo", '{"from": "line"}'),
        await terminal.run("call", device_id, "echo", f"@{file}"),
        await terminal.run("call", "-", "echo", "-", stdin='{"from": "stdin"}'),
    ]
    as_json = await terminal.run("call", device_id, "echo", "--call-id", "c-1", "--json")

    assert [each.code for each in said] == [0, 0, 0]
    assert [json.loads(each.out) for each in said] == [{"from": "line"}, {"from": "file"}, {"from": "stdin"}]
    assert as_json.json["call_id"] == "c-1"
    assert as_json.json["outcome"]["result"] == {}


async def test_a_tool_that_fails_fails_the_command_in_one_line(terminal: Terminal, laptop: FakeDevice) -> None:
    said = await terminal.run("call", laptop.welcome.device_id, "fails")
    as_json = await terminal.run("call", laptop.welcome.device_id, "fails", "--json")

    assert said.code == as_json.code == 1
    assert said.err == "error [PATH_DENIED] That is outside \\x1b[31mthe roots.\n"
    assert as_json.json["outcome"]["failure"]["reason"] == "PATH_DENIED"


async def test_what_the_bridge_refuses_is_said_in_one_line_with_what_to_do(terminal: Terminal) -> None:
    unknown = await terminal.run("show", "nowhere")
    offline_id = await enrolled(terminal)
    offline = await terminal.run("call", offline_id, "echo")

    assert unknown.code == offline.code == 1
    assert unknown.err.startswith("error [DEVICE_UNKNOWN] ")
    assert "adiuva devices list" in unknown.err
    assert offline.err.startswith("error [DEVICE_OFFLINE] ")
    assert "adiuva device" in offline.err
    assert offline.err.count("\n") == 1


async def enrolled(terminal: Terminal) -> str:
    async with FakeDevice(terminal.bridge.device_channel, code=await terminal.bridge.code()) as device:
        return device.welcome.device_id


async def test_a_device_is_revoked_when_the_user_is_sure(terminal: Terminal, laptop: FakeDevice) -> None:
    device_id = laptop.welcome.device_id

    doubtful = await terminal.run("revoke", device_id, stdin="n\n")
    assert laptop.status is None
    sure = await terminal.run("revoke", device_id, "--reason", "stolen", "--yes")
    await laptop.ended()
    usual, everything = await terminal.run("list", "--json"), await terminal.run("list", "--all", "--json")

    assert doubtful.code == 1
    assert sure.code == 0
    assert "revoked" in sure.out
    assert usual.json == {"devices": []}
    assert [device["device_id"] for device in everything.json["devices"]] == [device_id]


async def test_a_bridge_that_is_not_there_is_said_plainly(terminal: Terminal) -> None:
    config = json.loads(terminal.client.read_text())
    config["device_bridge"]["target"] = "127.0.0.1:1"
    terminal.client.write_text(json.dumps(config))

    said = await terminal.run("list")

    assert said.code == 1
    assert "adiuva up" in said.err


async def test_a_wrong_token_is_said_plainly(terminal: Terminal) -> None:
    config = json.loads(terminal.client.read_text())
    terminal.client.write_text(json.dumps({**config, "token": "adv_wrong"}))

    said = await terminal.run("list")

    assert said.code == 1
    assert said.err.startswith("error [UNAUTHENTICATED] ")
