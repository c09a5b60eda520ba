"""A stack's life: starts that are refused, Ctrl-C, kill -9 of the supervisor, and the start after that."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.local_stack import ADIUVA, FREE_PORTS, LocalStack, adiuva, clean_environment, local_stack
from tests.system.users import Json, at_once, check_refused, processed, reasons, state, until

pytestmark = pytest.mark.system

NOBODY = "http://127.0.0.1:9/v1"
"""A model endpoint where nothing listens."""


def processes_of(data: Path) -> list[str]:
    """Return the names of the processes that work on a data directory, by their arguments and environments."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            traces = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            name = (process / "comm").read_text().strip()
        except OSError:
            continue
        if re.search(re.escape(str(data)).encode() + rb"[/\0]", traces + b"\0"):
            found.append(name)
    return found


@dataclass(frozen=True)
class Killed:
    """What a stack left behind whose supervisor was killed."""

    data: Path
    root: Path
    agent_id: str
    run: Json
    left: list[str]
    client_file: Path


@pytest.fixture(scope="module")
def killed(scratch: Path) -> Killed:
    root, data = scratch / "papers", scratch / "killed"
    root.mkdir()
    (root / "a.md").write_text("- [ ] Water the ferns\n", encoding="utf-8")
    with local_stack(data, root, env={"OPENAI_API_KEY": "sk-none", "OPENAI_BASE_URL": NOBODY}) as stack:
        agent = stack.json("agents", "create", "Papers", "--directory", "papers")["agent_id"]
        run = stack.json("runs", "start", agent, "--watch", check=False)
        before = processes_of(data)
        stack.supervisor.kill()
        stack.supervisor.wait()
        assert len(before) >= 5, before
        until(lambda: set(processes_of(data)) <= {"postgres"}, within=20)
        return Killed(data, root, agent, run, processes_of(data), stack.client_file)


# --- starts that are refused


def test_a_second_stack_on_one_data_directory_is_refused_and_the_first_one_goes_on(stack: LocalStack) -> None:
    done = adiuva("up", "--data", str(stack.data), *FREE_PORTS, check=False)

    check_refused(done, "DATA_IN_USE", str(stack.data), f"process {stack.supervisor.pid}", "--data")
    assert stack.adiuva("runs", "list").returncode == 0


def test_a_port_in_use_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    options = ("--orchestrator-port", "--bridge-port", "--device-port", "--connectors-port")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refusals = at_once(
            lambda option: adiuva("up", "--data", str(tmp_path / option), *FREE_PORTS, option, port, check=False),
            options,
        )

    for option, done in zip(options, refusals, strict=True):
        check_refused(done, "PORT_IN_USE", f"port {port} is in use", option)
    assert processes_of(tmp_path) == []


def test_a_data_directory_that_cannot_be_made_or_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    tls = tmp_path / "damaged" / "tls"
    tls.mkdir(parents=True)
    for name in ("ca.pem", "ca-key.pem"):
        (tls / name).write_text("not a certificate", encoding="utf-8")

    names = ("file", "file/below", "damaged")
    for done in at_once(lambda name: adiuva("up", "--data", str(tmp_path / name), *FREE_PORTS, check=False), names):
        check_refused(done, "DATA_UNUSABLE", str(tmp_path))


# --- ends


def test_ctrl_c_while_it_starts_leaves_nothing_behind(scratch: Path) -> None:
    data = scratch / "early"
    command = [ADIUVA, "up", "--data", str(data), *FREE_PORTS]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=clean_environment()) as starting:
        assert starting.stderr is not None
        while "starting the device bridge" not in starting.stderr.readline():
            assert starting.poll() is None
        starting.send_signal(signal.SIGINT)
        _, said = starting.communicate(timeout=30)

    assert (starting.returncode, said.split()[-1], "Traceback" in said) == (0, "stopped", False)
    assert processes_of(data) == []


def test_ctrl_c_in_the_demo_leaves_nothing_behind(scratch: Path) -> None:
    data = scratch / "early-demo"
    command = [ADIUVA, "demo", "--data", str(data)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=clean_environment()) as starting:
        assert starting.stderr is not None
        # In the middle of what cannot be interrupted: PostgreSQL is being started by a thread.
        while "starting PostgreSQL" not in starting.stderr.readline():
            assert starting.poll() is None
        starting.send_signal(signal.SIGINT)
        _, said = starting.communicate(timeout=30)

    assert (starting.returncode, said.split()[-1], "Traceback" in said) == (130, "stopped", False)
    assert processes_of(data) == []


def test_a_supervisor_that_is_killed_leaves_no_service_behind(killed: Killed) -> None:
    # The database goes on until the next start, which takes it over.
    assert set(killed.left) <= {"postgres"}
    done = adiuva("runs", "list", check=False, env={"ADIUVA_CLIENT": str(killed.client_file)})
    check_refused(done, "UNAVAILABLE", "Is `adiuva up` running")


def test_the_next_start_finds_earlier_runs_and_takes_the_files_that_were_left(killed: Killed) -> None:
    with local_stack(killed.data, killed.root) as stack:
        earlier = stack.json("runs", "show", killed.run["run_id"])
        again = stack.json("runs", "start", killed.agent_id, "--watch")
        tasks = [task["title"] for task in stack.json("workspace", "show")["tasks"]]

    assert (state(killed.run), reasons(killed.run)) == ("FAILED", ["MODEL_UNAVAILABLE"])
    assert earlier == killed.run
    assert (state(again), processed(again), tasks) == ("SUCCEEDED", (1, 1), ["Water the ferns"])
    # `local_stack` ends it with SIGINT, as Ctrl-C does.
    assert stack.supervisor.returncode == 0
    assert processes_of(killed.data) == []


def test_the_demo_works_on_the_folder_it_is_given_also_where_others_are_shared_already(killed: Killed) -> None:
    folder = killed.root.parent / "Büro & Söhne (neu)"
    folder.mkdir()
    (folder / "brief.md").write_text("# Umzug\n\n- [ ] Kartons bestellen\n", encoding="utf-8")

    shown = json.loads(adiuva("demo", str(folder), "--data", str(killed.data), "--json").stdout)

    assert shown["model"] == "offline"
    assert (state(shown["first"]), processed(shown["first"])) == ("SUCCEEDED", (1, 1))
    assert "Kartons bestellen" in [one["title"] for one in shown["made"] if one["type"] == "task"]
    assert all(one["source"].endswith("/brief.md") for one in shown["made"])
    assert (state(shown["second"]), shown["second"]["usage"]["model_calls"]) == ("SUCCEEDED", 0)
    assert processes_of(killed.data) == []
