"""`make demo-cloud`: two linked accounts, a week of mail, and exactly what a careful person would write down of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.demo_cloud.expected import Record, expected
from tests.demo_cloud.week import GMAIL, OUTLOOK, gmail, outlook
from tests.system.local_stack import children, clean_environment
from tests.system.test_up import processes_of
from tests.system.users import ROOT, Json

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

COMMAND = [sys.executable, "-m", "tests.demo_cloud"]
LONGEST_SECONDS = 60


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=2 * LONGEST_SECONDS,
        check=False,
        cwd=ROOT,
        env=clean_environment(),
    )


@pytest.fixture(scope="module")
def shown() -> Json:
    began = time.monotonic()
    done = demo("--json")
    took = time.monotonic() - began
    assert done.returncode == 0, f"{done.stdout[-4_000:]}\n{done.stderr[-4_000:]}"
    assert took < LONGEST_SECONDS
    document: Json = json.loads(done.stdout)
    return document


def wanted(shown: Json, kind: str) -> list[Record]:
    now = datetime.fromisoformat(shown["now"])
    return ordered(one for one in expected(now, [*gmail(now), *outlook(now)]) if one.kind == kind)


def there(shown: Json, kind: str) -> list[Record]:
    made = [Record(**{**one, "assignees": tuple(one["assignees"])}) for one in shown["records"]]
    return ordered(one for one in made if one.kind == kind)


def ordered(records: Iterable[Record]) -> list[Record]:
    return sorted(records, key=lambda record: (record.source, record.title))


def counts(run: Json) -> tuple[Any, ...]:
    return run["counts"]["items_found"], run["counts"]["items_processed"], run["usage"]["model_calls"]


def test_both_accounts_are_linked_and_work(shown: Json) -> None:
    linked = [(one["provider"], one["account"], one["state"]) for one in shown["connections"]]

    assert linked == [
        ("gmail", GMAIL, "CONNECTION_STATE_ACTIVE"),
        ("outlook", OUTLOOK, "CONNECTION_STATE_ACTIVE"),
    ]


@pytest.mark.parametrize("kind", ["project", "task", "note", "timeline"])
def test_everything_is_found_in_its_project_and_nothing_is_invented(kind: str, shown: Json) -> None:
    assert shown["model"] == "offline"
    assert there(shown, kind) == wanted(shown, kind)


def test_the_mail_that_cannot_be_read_is_told_and_holds_nothing_up(shown: Json) -> None:
    private, business = shown["first"]["gmail"], shown["first"]["outlook"]

    assert (private["state"], [error["reason"] for error in private["errors"]]) == (
        "RUN_STATE_PARTIAL",
        ["MESSAGE_UNREADABLE"],
    )
    assert (business["state"], business["errors"]) == ("RUN_STATE_SUCCEEDED", [])
    assert counts(private)[:2] == (len(gmail(datetime.fromisoformat(shown["now"]))) - 1,) * 2
    assert counts(business)[:2] == (len(outlook(datetime.fromisoformat(shown["now"]))),) * 2


def test_every_suggestion_names_its_message(shown: Json) -> None:
    assert shown["made"]
    assert all(one["source"].startswith(f"message:{one['provider']}:") for one in shown["made"])
    assert all(one["message_id"].startswith("<") and one["subject"] for one in shown["made"])


def test_a_second_run_asks_no_model_and_the_provider_hardly_anything(shown: Json) -> None:
    assert {provider: counts(run) for provider, run in shown["again"].items()} == {
        "gmail": (0, 0, 0),
        "outlook": (0, 0, 0),
    }
    assert {run["state"] for run in shown["again"].values()} == {"RUN_STATE_SUCCEEDED"}
    assert all(0 < calls <= 3 for calls in shown["provider_calls"].values())


def test_it_tells_people_the_same(scratch: Path) -> None:
    data = scratch / "demo-cloud"

    done = demo("--data", str(data))

    assert done.returncode == 0, done.stdout[-4_000:]
    for words in (GMAIL, "New messages at Outlook", "not read: Fwd: Fwd: Fwd: welcome", "Again, with nothing new"):
        assert words in done.stdout
    assert "0 model calls, 1 request to the provider" in done.stdout
    assert processes_of(data) == []


def test_a_directory_that_is_there_already_is_left_alone(scratch: Path) -> None:
    done = demo("--data", str(scratch))

    assert (done.returncode, done.stdout) == (1, "")
    assert f"error: {scratch} cannot be made" in " ".join(done.stderr.split())


def test_ctrl_c_leaves_nothing_behind(scratch: Path) -> None:
    data = scratch / "early-cloud"
    command = [*COMMAND, "--data", str(data)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=clean_environment(), cwd=ROOT) as starting:
        assert starting.stderr is not None
        while "starting the connectors" not in starting.stderr.readline():
            assert starting.poll() is None
        # The emulator, and what has been started of the stack.
        started = children(starting.pid)
        starting.send_signal(signal.SIGINT)
        _, said = starting.communicate(timeout=30)

    assert (starting.returncode, said.split()[-1], "Traceback" in said) == (130, "stopped", False)
    assert len(started) >= 2
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []
    assert processes_of(data) == []
