"""The swap race at length: a hostile thread exchanges a name for a link out of the root, no call may follow it."""

from __future__ import annotations

import pytest

from tests.device_bridge.agent.sandbox.race import (
    naive_escapes,
    race_file_against_link,
    race_folder_against_link,
)
from tests.device_bridge.agent.sandbox.stage import Stage

LONG_RACE = 200_000


def test_the_race_catches_code_that_checks_first_and_opens_then(stage: Stage) -> None:
    assert naive_escapes(stage, calls=20_000) > 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_call_escapes_through_a_folder_in_a_long_race(stage: Stage) -> None:
    race_folder_against_link(stage, calls=LONG_RACE)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_call_escapes_through_a_file_in_a_long_race(stage: Stage) -> None:
    race_file_against_link(stage, calls=LONG_RACE)
