"""Failures that take their time. What they wait for began long ago, beside the other tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.users import User, processed, reasons, state

pytestmark = [pytest.mark.system, pytest.mark.slow]


def test_a_run_for_a_device_that_is_offline_fails_and_the_next_one_takes_its_files(noa: User) -> None:
    device = noa.json("devices", "list")["devices"][0]
    run = noa.ended(noa.json("runs", "list")["runs"][0]["run_id"])
    with noa.at_the_device():
        again = noa.run(run["agent_id"])

    assert not device["online"]
    assert (state(run), reasons(run)) == ("FAILED", ["DEVICE_OFFLINE"])
    assert (state(again), processed(again), again["counts"]["created"]["tasks"]) == ("SUCCEEDED", (1, 1), 1)


def test_a_tool_that_does_not_answer_in_30_s_fails_and_the_next_run_tries_again(uma: User, healed: Path) -> None:
    run = uma.ended(uma.json("runs", "list")["runs"][0]["run_id"])
    healed.touch()
    again = uma.run(run["agent_id"])

    assert (state(run), reasons(run), processed(run)) == ("FAILED", ["FILE_UNREADABLE"], (1, 0))
    assert "too long" in run["errors"][0]["message"]
    assert (state(again), processed(again)) == ("SUCCEEDED", (1, 1))
