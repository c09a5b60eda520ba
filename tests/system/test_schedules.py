"""Agents that start by themselves, in a real stack."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sample import FILES
from tests.system.local_stack import ADIUVA, LocalStack, clean_environment, local_stack

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(150)]

A_MINUTE = 75.0
SOON = 20.0
YEARLY = "0 0 1 1 *"


@pytest.fixture(scope="module")
def root(scratch: Path) -> Path:
    made = scratch / "scheduled" / "clients"
    shutil.copytree(sorted(path for path in FILES.iterdir() if path.is_dir())[0], made)
    return made


@pytest.fixture(scope="module")
def stack(scratch: Path, root: Path) -> Iterator[LocalStack]:
    """A stack without a device agent of its own: the tests start theirs."""
    with local_stack(scratch / "schedules", None) as running:
        yield running


@pytest.fixture
def device(stack: LocalStack, root: Path, scratch: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """A function that starts the same device agent again each time."""
    data = scratch / "device"
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        command = [ADIUVA, "device", "--data", str(data), "--bridge", stack.facts["devices"], "--root", str(root)]
        if not (data / "device" / "identity.json").exists():
            command += ["--ca", str(stack.data / "tls" / "ca.pem"), "--code", stack.json("devices", "enrol")["code"]]
        with (scratch / "device.log").open("ab") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log, env=clean_environment()))
        return started[-1]

    yield start
    for process in started:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(20)


def eventually(ask: Callable[[], Any], within: float) -> Any:
    """Return the first answer that is not empty."""
    give_up = time.monotonic() + within
    while not (answer := ask()):
        assert time.monotonic() < give_up, "it never happened"
        time.sleep(0.2)
    return answer


def ended_runs(stack: LocalStack, agent: dict[str, Any]) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = stack.json("runs", "list", "--agent", agent["agent_id"])["runs"]
    return [run for run in runs if run.get("end_time")]


def online(stack: LocalStack, expected: bool) -> bool:
    return any(bool(device["online"]) for device in stack.json("devices", "list")["devices"]) == expected


def test_agents_start_at_their_slot_and_when_their_device_connects(
    stack: LocalStack, device: Callable[[], subprocess.Popen[bytes]]
) -> None:
    overdue = stack.json("agents", "create", "Overdue", "--directory", "clients", "--cron", YEARLY)
    minutely = stack.json("agents", "create", "Minutely", "--directory", "clients", "--cron", "* * * * *")
    first = device()

    # Each agent has never run, so each is overdue when the device connects; that neither runs twice shows below.
    [run] = eventually(lambda: ended_runs(stack, overdue), SOON)
    assert (run["trigger"], run["state"]) == ("TRIGGER_DEVICE_CONNECTED", "RUN_STATE_SUCCEEDED")
    eventually(lambda: ended_runs(stack, minutely), SOON)

    # The next slot comes by itself.
    scheduled = eventually(
        lambda: [run for run in ended_runs(stack, minutely) if run["trigger"] == "TRIGGER_SCHEDULE"], A_MINUTE
    )
    assert scheduled[0]["slot_time"].endswith(":00Z")

    # A device that comes and goes starts nothing more.
    stack.adiuva("agents", "pause", minutely["agent_id"], "--reason", "Holidays")
    stop(first)
    eventually(lambda: online(stack, False), SOON)
    device()
    eventually(lambda: online(stack, True), SOON)
    assert len(ended_runs(stack, overdue)) == 1

    slots = [run["slot_time"] for run in ended_runs(stack, minutely)]
    assert len(slots) == len(set(slots))
    shown = stack.json("agents", "show", minutely["agent_id"])
    assert (shown["paused"], shown["pause_reason"]) == (True, "Holidays")
    assert not shown.get("next_run_at")
    assert stack.json("agents", "resume", minutely["agent_id"])["next_run_at"]
    assert len(stack.json("agents", "preview", minutely["agent_id"])["firings"]) == 10

    # What is named changes, and nothing else.
    changed = stack.json("agents", "update", minutely["agent_id"], "--overlap", "queue-one", "--jitter", "10s")[
        "schedule"
    ]
    assert (changed["cron"], changed["overlap"], changed["jitter"]) == ("* * * * *", "OVERLAP_QUEUE_ONE", "10s")
    assert f"schedule {slots[0][5:10]}" in " ".join(stack.adiuva("runs", "show", scheduled[0]["run_id"]).stdout.split())
