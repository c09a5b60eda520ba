"""kill -9 in the middle of a run over messages ends, after the restart, in the same workspace as a run without it."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.demo_cloud import week
from tests.emulator.client import ControlClient
from tests.system.accounts import Providers, emulator_process, link
from tests.system.local_stack import LocalStack, local_stack
from tests.system.users import User, until
from tests.system.workspaces import content, created

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(300)]

FULL = os.environ.get("ADIUVA_FAULTS") == "full"
NOW = datetime.now(UTC)
"""The week of all mailboxes: what is due by Friday is the same in all of them."""
AGENT = "5b1e2f6e-3c53-4e0e-9a3d-0d8f3a1f2b11"
ANSWER_MS = 30
SEED = 86
PARTS = ("connectors", "orchestrator", "device bridge", "device agent")
LATEST_SECONDS = 3.0
"""About as long as a run takes."""

Json = dict[str, Any]

OFTEN = [
    "orchestrator.before_cursor_commit=kill@1",
    "connectors.before_delivery=kill@5",
    "device.after_commit=kill@4",
]
"""In every run of the tests."""
RARELY = [
    "orchestrator.after_cursor_commit=kill@1",
    "connectors.after_commit=kill@1",
    "bridge.before_answer=kill@12",
    "connectors.before_refresh_commit=kill@1",
    "connectors.after_refresh_commit=kill@1",
    "connectors.before_round_stored=kill@1",
    "connectors.after_round_stored=kill@1",
    "connectors.before_delivery=kill@1",
    "connectors.before_delivery=kill@12",
    "connectors.before_commit=kill@1",
    "orchestrator.after_claim=kill@1",
    "orchestrator.after_model_answer=kill@3",
    "orchestrator.before_tool_call=kill@9",
    "orchestrator.after_tool_answer=kill@16",
    "orchestrator.before_complete_run=kill@1",
    "orchestrator.before_finished=kill@1",
    "bridge.before_call=kill@12",
    "device.before_commit=kill@4",
    "device.before_answer=kill@12",
]
"""With `make faults`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run, and of the next one, which found nothing new."""

    run: Json
    workspace: Json
    after: Json
    workspace_after: Json


def watch(place: Path, env: dict[str, str], meanwhile: Callable[[LocalStack], None] = lambda _stack: None) -> Outcome:
    """Start a stack, link an account with a week of mail, and run an agent over it; and once more."""
    root = place / "empty"
    root.mkdir(parents=True)
    with emulator_process(place / "emulator.err") as providers:
        fill(providers)
        with local_stack(place / "data", root, env={**providers.environment, **env}) as stack:
            connection = link(User(stack, "local", stack.data, root), "gmail", week.GMAIL)
            # The first fetch has to get a new token.
            providers.do(lambda emulator: emulator.google.expire_access())
            command = ("runs", "start", "--connection", connection["connection_id"], "--client-agent-id", AGENT)
            started = stack.json(*command)
            working = threading.Thread(target=meanwhile, args=(stack,))
            working.start()
            try:
                run = stack.json("runs", "watch", started["run_id"], check=False)
            finally:
                working.join()
            # What was killed at the very end is being started again.
            until(lambda: stack.adiuva("runs", "list", check=False).returncode == 0)
            workspace = stack.json("workspace", "show")
            after = stack.json(*command, "--watch", check=False)
            return Outcome(run, workspace, after, stack.json("workspace", "show"))


def fill(providers: Providers) -> None:
    """Put the mail of both accounts of the week into one mailbox."""

    async def deliver(emulator: ControlClient) -> None:
        await emulator.google.add_account(week.GMAIL)
        mails = sorted([*week.gmail(NOW), *week.outlook(NOW)], key=lambda mail: mail.received_at)
        await emulator.google.deliver(week.GMAIL, *mails)
        await emulator.set_latency("^/gmail/", ANSWER_MS)

    providers.do(deliver)


def check(outcome: Outcome, undisturbed: Outcome) -> None:
    """Check that nothing was lost, and nothing done twice."""
    run = outcome.run
    assert run["state"] == undisturbed.run["state"], run["errors"]
    assert run["errors"] == undisturbed.run["errors"]
    assert content(outcome.workspace) == content(undisturbed.workspace)
    assert run["counts"] == undisturbed.run["counts"]
    check_nothing_new(outcome)


def check_nothing_new(outcome: Outcome) -> None:
    """Check that the run after it had nothing to do."""
    # Where the cursor was not moved, what cannot be read is told once more, and that is all that such a run has.
    again = outcome.after["errors"]
    assert [error["reason"] for error in again] in ([], ["MESSAGE_UNREADABLE"]), again
    assert outcome.after["state"] == ("RUN_STATE_FAILED" if again else "RUN_STATE_SUCCEEDED")
    assert outcome.after["counts"]["items_found"] == 0
    assert outcome.after["usage"]["model_calls"] == 0
    assert content(outcome.workspace_after) == content(outcome.workspace)


@pytest.fixture(scope="module")
def undisturbed(scratch: Path) -> Outcome:
    outcome = watch(scratch / "cloud-undisturbed", {})
    assert outcome.run["state"] in {"RUN_STATE_SUCCEEDED", "RUN_STATE_PARTIAL"}, outcome.run["errors"]
    assert dict(created(outcome.workspace, outcome.run["run_id"])) == outcome.run["counts"]["created"]
    check_nothing_new(outcome)
    return outcome


@pytest.mark.parametrize("failpoint", [*OFTEN, *(RARELY if FULL else [])])
def test_a_process_killed_in_mid_run_changes_nothing_in_the_end(
    failpoint: str, place: Path, undisturbed: Outcome
) -> None:
    fired = place / "fired"
    fired.mkdir()

    outcome = watch(place, {"ADIUVA_FAILPOINTS": failpoint, "ADIUVA_FAILPOINTS_DIR": str(fired)})

    assert [file.name for file in fired.iterdir()] == [failpoint.split("=")[0]], "the failpoint did not fire"
    check(outcome, undisturbed)


@pytest.mark.parametrize("number", range(12 if FULL else 1))
def test_a_process_killed_at_any_moment_changes_nothing_in_the_end(
    number: int, place: Path, undisturbed: Outcome
) -> None:
    rng = random.Random(SEED + number)  # noqa: S311 - the same moments each time
    part, seconds = PARTS[number % len(PARTS)], rng.uniform(0, LATEST_SECONDS)

    def kill(stack: LocalStack) -> None:
        time.sleep(seconds)
        stack.kill(part)

    check(watch(place, {}, kill), undisturbed)
