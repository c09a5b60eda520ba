"""Fixtures of the sandbox tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.device_bridge.agent.sandbox.stage import BACK_ENDS, Stage, make_opener


@pytest.fixture(params=BACK_ENDS)
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Stage:
    """The stage, once with each back end."""
    return Stage(tmp_path, make_opener(request.param))
