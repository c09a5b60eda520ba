"""The table of adversarial cases, each row on each back end."""

from __future__ import annotations

import pytest

from tests.device_bridge.agent.sandbox.cases import TABLE, kinds, links, listings, names, paths, texts
from tests.device_bridge.agent.sandbox.stage import Stage

# Each of these enters its rows by being imported.
CHAPTERS = (paths, links, kinds, listings, names, texts)


@pytest.mark.parametrize("row", TABLE)
async def test_the_sandbox_withstands_case(row: str, stage: Stage) -> None:
    case = TABLE[row]
    if case.check is None:
        pytest.skip(f"{row} {case.title}: {case.elsewhere}")

    await case.check(stage)


def test_all_68_cases_are_in_the_table() -> None:
    assert set(TABLE) == {f"P{number}" for number in range(1, 69)}


def test_every_case_runs_or_says_why_it_cannot() -> None:
    assert all((case.check is None) == bool(case.elsewhere) for case in TABLE.values())
